// The page: photos, a video or the camera go in; faces and their emotions come out. Nothing is sent anywhere.

import { loadClassifier } from "./classifier.js";
import { loadDetector } from "./detector.js";
import { chooseFaces, crop, resize, tilt } from "./faces.js";
import { summary } from "./summary.js";
import { aboutModel, addCard, drawBoxes, element, inPercent, showFaces } from "./view.js";

const LARGEST = 2048; // pixels on the longer side: larger photos are analysed at this size
const PARTS = [1, 2, 4, 8]; // a photo is searched for faces as a whole, in halves … for small ones
const TELL = 3000; // milliseconds between two sentences about a video
const CROP = 224; // pixels: what is shown of a face

const [files, choose, camera, stop, status, results] =
  ["files", "choose", "camera", "stop", "status", "results"].map((id) => document.getElementById(id));
const ready = Promise.all([loadClassifier(), loadDetector()]);
const LOADING = "Loading the model …";
let stopWatching = () => {};
let turn = 0; // counts what was chosen, so that a newer choice ends an older one

/** Return the faces of a canvas, each with its box (null: the whole image), angle, level image and answer. */
async function analyse(canvas, parts) {
  const [classifier, find] = await ready;
  const { width, height } = canvas;
  const image = canvas.getContext("2d").getImageData(0, 0, width, height);
  const faces = [];
  for (const box of chooseFaces(await find(canvas, parts), width, height)) {
    const face = box ? crop(image, box) : image;
    const angle = box ? (tilt(box.eyes) * Math.PI) / 180 : 0;
    const shown = face.width > CROP ? resize(face, CROP, CROP) : face;
    faces.push({ box, angle, image: shown, ...(await classifier.classify(face)) });
  }
  return faces;
}

/** Return the size at which an image is analysed. */
function fitted(...size) {
  const scale = Math.min(1, LARGEST / Math.max(...size));
  return size.map((length) => Math.max(1, Math.round(scale * length)));
}

/** Show a photo; return what came out, for `summary`. */
async function showPhoto(file) {
  const mine = turn;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (mine !== turn) return; // something newer was chosen
  if (!bitmap) return refuse(file.name, `${file.name} is not an image or video that this browser can read.`);
  const [width, height] = fitted(bitmap.width, bitmap.height);
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // under transparent images
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const size = `${bitmap.width} × ${bitmap.height} pixels, analysed at ${width} × ${height}. `;
  const large = width < bitmap.width || height < bitmap.height ? size : "";
  bitmap.close();
  const faces = await analyse(canvas, PARTS);
  const [classifier] = await ready;
  if (mine !== turn) return; // something newer is shown by now
  canvas.setAttribute("role", "img");
  canvas.ariaLabel = `${file.name}, faces: ${faces.length}`;
  const { list, note } = addCard(file.name, [canvas]);
  showFaces(list, faces, classifier.class_names);
  drawBoxes(canvas, faces); // then: several faces are below a wider photo
  note.textContent = large + (faces.length ? "" : "No face was found.");
  note.hidden = !note.textContent;
  const { name } = file;
  return faces.length ? { name, emotions: faces.map((face) => face.emotion) } : { name, ending: "has no face" };
}

/** Play a video, its faces shown; return what came out. */
async function showVideo(file) {
  const mine = turn;
  if (!stop.hidden) return refuse(file.name, `${file.name} was left out: one video at a time.`, "was left out");
  const src = URL.createObjectURL(file);
  const video = element("video", { src, controls: true, muted: true, playsInline: true, loop: true });
  const playable = await new Promise((done) => {
    video.onloadeddata = () => done(video.videoWidth > 0);
    video.onerror = () => done(false);
  });
  if (mine !== turn) return URL.revokeObjectURL(src);
  if (!playable) return refuse(file.name, `${file.name} cannot be played by this browser.`);
  watch(file.name, video, () => URL.revokeObjectURL(video.src));
  await video.play().catch(() => {}); // some browsers play nothing on their own: its controls do
  return { name: file.name, ending: video.paused ? "is ready to play" : "is playing" };
}

async function showCamera() {
  if (!navigator.mediaDevices) return say("Browsers allow the camera on https:// and localhost pages only.");
  const before = turn;
  say("Waiting for the camera …");
  try {
    const wanted = { facingMode: "user", width: { ideal: 1280 } }; // a phone's camera beside the screen
    const stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    const release = () => stream.getTracks().forEach((track) => track.stop());
    if (before !== turn) return release(); // something else was chosen while the browser asked
    const video = element("video", { srcObject: stream, muted: true, playsInline: true });
    const mine = begin(); // only now: a refused or missing camera leaves the results as they are
    await video.play().catch((error) => { release(); throw error; });
    if (mine !== turn) return release();
    stream.getVideoTracks()[0].onended = () => { stopWatching(); say("The camera was switched off."); };
    watch("Camera", video, release);
    say(`The camera is on. ${LOADING}`);
    await ready.catch((error) => { stopWatching(); throw error; });
    if (mine === turn && !stop.hidden) say("The camera is on.");
  } catch (error) {
    say(CAMERA_ERRORS[error.name] ?? `The camera cannot be used (${error.message}).`);
  }
}

const CAMERA_ERRORS = {
  NotFoundError: "No camera was found on this device.",
  NotAllowedError: "This page may not use the camera: allow it in your browser's settings, then try again.",
  NotReadableError: "The camera is busy: close other programs that use it, then try again.",
};

/** Analyse a video while it plays, frame after frame, until something else is chosen. */
function watch(name, video, release) {
  stopWatching();
  const frame = element("canvas");
  const overlay = element("canvas", { ariaHidden: "true" }); // the list says what its boxes show
  const { card, list, note } = addCard(name, [video, overlay]);
  let watching = true;
  let [reading, missed, next] = [false, false, 0];
  const finish = () => { watching = false; video.pause(); release(); card.remove(); stop.hidden = true; };

  let [told, since] = ["", performance.now()];
  const tell = (faces) => { // what is shown at each frame is read aloud now and then
    const ending = faces.length ? undefined : "shows no face";
    const words = summary([{ name, ending, emotions: faces.map((face) => face.emotion) }]);
    if (words === told || performance.now() - since < TELL) return;
    say(told = words);
    since = performance.now();
  };

  async function look() {
    missed = reading;
    if (!watching || reading) return;
    reading = true;
    // Asked for before the frame is drawn: of a video that does not play, the first one may still be blank.
    video.cancelVideoFrameCallback(next);
    next = video.requestVideoFrameCallback(() => look().catch(report));
    const [width, height] = fitted(video.videoWidth, video.videoHeight);
    if (frame.width !== width || frame.height !== height) {
      for (const canvas of [frame, overlay]) Object.assign(canvas, { width, height });
    }
    frame.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0, width, height);
    const faces = await analyse(frame, [1])
      .then((faces) => (faces.length ? faces : analyse(frame, [2]))) // a face far away
      .finally(() => { reading = false; });
    if (!watching) return;
    overlay.getContext("2d").clearRect(0, 0, width, height);
    drawBoxes(overlay, faces);
    showFaces(list, faces, (await ready)[0].class_names);
    note.textContent = faces.length ? "" : "No face was found.";
    note.hidden = faces.length > 0;
    tell(faces);
    if (missed) look().catch(report);
  }

  video.onseeked = () => look().catch(report);
  stopWatching = () => { stopWatching = () => {}; finish(); };
  stop.hidden = false;
  look().catch(report);
}

/** Clear the page for what was chosen; return its turn. */
function begin() {
  stopWatching();
  results.replaceChildren();
  return ++turn;
}

async function showAll(chosen) {
  const mine = begin();
  await ready;
  const outcomes = [];
  for (const [i, file] of chosen.entries()) {
    if (mine !== turn) return;
    say(`Looking at ${file.name} (${i + 1} of ${chosen.length}) …`);
    const show = file.type.startsWith("video/") ? showVideo : showPhoto;
    outcomes.push(await show(file).catch((error) =>
      mine === turn && refuse(file.name, `${file.name} cannot be used (${error.message}).`)));
  }
  if (mine === turn) say(summary(outcomes));
}

/** Show a sentence in place of a file's faces; return what came out. */
function refuse(name, sentence, ending = "cannot be read") {
  addCard(name).note.textContent = sentence;
  return { name, ending };
}

function say(sentence) {
  status.textContent = sentence;
}

function report(error) {
  say(`Something went wrong: ${error?.message ?? error}.`);
}

choose.onclick = () => files.click();
files.onchange = () => {
  const chosen = [...files.files];
  files.value = ""; // or choosing the same file again would be no change
  showAll(chosen).catch(report);
};
camera.onclick = () => { showCamera().catch(report); };
stop.onclick = () => { stopWatching(); say("Stopped."); camera.focus(); };
document.ondragover = (event) => { event.preventDefault(); document.body.classList.add("over"); };
document.ondragleave = () => document.body.classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files.length) showAll([...event.dataTransfer.files]).catch(report);
};
window.onunhandledrejection = (event) => report(event.reason);

say(LOADING);
ready.then(([metadata]) => {
  document.getElementById("unsure").textContent =
    `unsure: less than ${inPercent(metadata.unsure_below)} sure, this model's threshold.`;
  document.getElementById("model").textContent = `Model: ${aboutModel(metadata)}.`;
  if (status.textContent === LOADING) say("Ready.");
}).catch((error) => say(`The model could not be loaded (${error.message}): reload the page.`));
