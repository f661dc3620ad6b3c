// What the page shows of a photo, a video or the camera: the picture with boxes, and the probabilities of each face.

const DATASETS = { ferplus: "FER+", fer2013: "FER2013", "human-emotions": "Human Emotions" }; // as people write them

/** Make an element with properties and children. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Write a share as "99.8 %", with one decimal everywhere, so that numbers can be compared. */
export function inPercent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

/** Name a model, and how often it is right on images that it was not trained on. */
export function aboutModel({ name, title, dataset, test_accuracy }) {
  if (test_accuracy === undefined) return `${title ?? name} (${name})`;
  return `${name}, right on ${inPercent(test_accuracy)} of ${DATASETS[dataset] ?? dataset}'s test images`;
}

/** Add a card for one photo or video: its name, a picture, a list of faces, and a sentence. */
export function addCard(name, picture) {
  const note = element("p", { className: "note" });
  const list = element("ol", { className: "faces" });
  const parts = picture ? [element("div", { className: "picture" }, ...picture), list] : [];
  const card = element("article", {}, element("h2", { textContent: name }), ...parts, note);
  document.querySelector("#results").append(card);
  return { card, list, note };
}

/** Draw a numbered box around each face, turned as the face is. */
export function drawBoxes(canvas, faces) {
  const context = canvas.getContext("2d");
  const line = Math.max(2, canvas.width / 250);
  const size = Math.max(5 * line, (12 * canvas.width) / canvas.clientWidth); // of numbers: 12 pixels on a phone, too
  faces.forEach(({ box, angle }, i) => {
    if (!box) return;
    const half = box.side / 2;
    context.save();
    context.translate(box.x + half, box.y + half);
    context.rotate(angle);
    for (const [colour, width] of [["#000", 2 * line], ["#fff", line]]) { // seen on any background
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(-half, -half, box.side, box.side);
    }
    const bottom = box.y < 1.5 * size ? half + 1.2 * size : -half; // no room above the box: below it
    if (faces.length > 1) drawNumber(context, String(i + 1), -half, bottom, size);
    context.restore();
  });
}

/** Write a number above the place (x, y), so that it hides nothing of the face. */
function drawNumber(context, number, x, y, size) {
  context.font = `bold ${size}px system-ui, sans-serif`;
  context.fillStyle = "#000";
  context.fillRect(x, y - 1.2 * size, context.measureText(number).width + size / 2, 1.2 * size);
  context.fillStyle = "#fff";
  context.fillText(number, x + size / 4, y - 0.25 * size);
}

/** Show the faces in a list: the level crop, the emotion, and a bar for each class. */
export function showFaces(list, faces, classNames) {
  list.replaceChildren(...faces.map((face, i) => {
    const percent = inPercent(Math.max(...face.probabilities));
    const unsure = face.emotion === "unsure";
    const words = unsure ? `unsure (most likely ${face.best}, ${percent})` : `${face.emotion}, ${percent}`;
    const number = faces.length > 1 ? `${i + 1}: ` : "";
    const emotion = element("strong", { className: "emotion", textContent: number + words });
    const title = element("p", {}, asCanvas(face.image), emotion);
    return element("li", { className: unsure ? "face unsure" : "face" }, title, bars(face.probabilities, classNames));
  }));
}

function bars(probabilities, classNames) {
  const rows = classNames.flatMap((name, i) => {
    const bar = element("span", { className: "bar" });
    bar.style.width = `${100 * probabilities[i]}%`;
    const number = element("span", { className: "number", textContent: inPercent(probabilities[i]) });
    const value = element("dd", {}, element("span", { className: "track" }, bar), number);
    value.dataset.probability = probabilities[i];
    return [element("dt", { textContent: name }), value];
  });
  return element("dl", { className: "bars" }, ...rows);
}

function asCanvas({ data, width, height }) {
  const channels = data.length / (width * height);
  const canvas = element("canvas", { width, height, ariaHidden: "true" }); // the words beside it say all
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    pixels.data.set(data.subarray(channels * i, channels * i + 3), 4 * i);
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}
