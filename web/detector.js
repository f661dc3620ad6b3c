// Find faces with BlazeFace (Bazarevsky et al. 2019), MediaPipe's short-range model: 128 x 128 pixels, 896 anchors.

import { loadModel, run } from "./models.js";

const SIZE = 128;
const LAYERS = [[8, 2], [16, 6]]; // pixels from anchor to anchor, and anchors at each place
const SMALLEST = 256; // pixels: a part of an image smaller than this shows no more than the next larger one
const OVERLAP = 1 / 3; // of neighbouring squares: a face up to this size is whole in one of them
const LIKELY = 0.75; // a face must be more probable than this
const PAUSE = 50; // milliseconds of search without a break
const SAME = 0.3; // boxes that overlap by more (intersection over union) show the same face
// How FER2013 frames a face: its images' side over a box's, and how much higher their middles are, in such sides;
// medians on 600 of its validation images.
const FRAMING = 1.18;
const HIGHER = 0.07;

const ANCHORS = LAYERS.flatMap(([step, count]) => {
  const places = SIZE / step;
  return Array.from({ length: places * places * count }, (_, i) => {
    const place = Math.floor(i / count);
    return [((place % places) + 0.5) * step, (Math.floor(place / places) + 0.5) * step];
  });
});

/** Load the detector: a function from a canvas to its faces, {x, y, side, eyes}, from left to right.
 *
 * The canvas is searched in overlapping squares: its longer side divided by each of `parts`. More find smaller faces.
 */
export async function loadDetector() {
  const model = await loadModel("detector.tflite");
  const small = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE });
  const context = small.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";

  async function search(canvas, [x, y, side]) {
    context.clearRect(0, 0, SIZE, SIZE);
    context.drawImage(canvas, x, y, side, side, 0, 0, SIZE, SIZE);
    const { data } = context.getImageData(0, 0, SIZE, SIZE);
    const values = Float32Array.from({ length: 3 * SIZE * SIZE }, (_, i) =>
      data[4 * Math.floor(i / 3) + (i % 3)] / 127.5 - 1);
    const outputs = await run(model, values, [1, SIZE, SIZE, 3]);
    const [boxes, scores] = outputs.sort((a, b) => b.length - a.length);
    const within = (box) => box.x > 0 && box.y > 0 && box.x + box.width < SIZE && box.y + box.height < SIZE;
    const whole = side >= Math.max(canvas.width, canvas.height);
    return decode(boxes, scores).filter((box) => whole || within(box)).map((box) => scaled(box, side / SIZE, x, y));
  }

  return async function find(canvas, parts = [1]) {
    const boxes = [];
    let since = performance.now();
    for (const square of squares(canvas.width, canvas.height, parts)) {
      boxes.push(...(await search(canvas, square)));
      if (performance.now() - since < PAUSE) continue;
      await new Promise((done) => setTimeout(done)); // a model runs on the page's own thread: let the page answer
      since = performance.now();
    }
    return merge(boxes).map(framed).sort((a, b) => a.x - b.x);
  };
}

/** Return squares, [x, y, side], that cover an image: one around it, or overlapping ones inside; see `loadDetector`. */
export function squares(width, height, parts) {
  const [shorter, longer] = [width, height].sort((a, b) => a - b);
  const result = parts.includes(1) ? [[(width - longer) / 2, (height - longer) / 2, longer]] : [];
  const sides = parts.filter((part) => part > 1).map((part) => Math.min(longer / part, shorter));
  const large = sides.filter((side) => side >= Math.min(SMALLEST, shorter));
  for (const side of new Set(large)) { // of a panorama, some are equal
    const starts = (length) => {
      const count = Math.ceil((length - side) / (side * (1 - OVERLAP))) + 1;
      return Array.from({ length: count }, (_, i) => (count === 1 ? 0 : (i * (length - side)) / (count - 1)));
    };
    for (const y of starts(height)) for (const x of starts(width)) result.push([x, y, side]);
  }
  return result;
}

/** Return the likely faces among the model's raw outputs, 896 x 16 and 896: boxes in pixels, with score and eyes. */
export function decode(boxes, scores) {
  return ANCHORS.flatMap(([x, y], i) => {
    const score = 1 / (1 + Math.exp(-scores[i]));
    if (score < LIKELY) return [];
    const [dx, dy, width, height, ...points] = boxes.subarray(16 * i, 16 * (i + 1));
    const eyes = [0, 2].map((k) => [x + points[k], y + points[k + 1]]);
    return [{ score, x: x + dx - width / 2, y: y + dy - height / 2, width, height, eyes }];
  });
}

function scaled(box, scale, x, y) {
  const eyes = box.eyes.map(([a, b]) => [x + scale * a, y + scale * b]);
  const size = { width: scale * box.width, height: scale * box.height };
  return { ...box, x: x + scale * box.x, y: y + scale * box.y, ...size, eyes };
}

/** Join boxes that show the same face: their mean, weighted by score, as BlazeFace's authors do against trembling. */
export function merge(boxes) {
  const left = [...boxes].sort((a, b) => b.score - a.score);
  const result = [];
  while (left.length) {
    const same = left.filter((box) => overlap(box, left[0]) > SAME);
    const total = same.reduce((sum, box) => sum + box.score, 0);
    const mean = (value) => same.reduce((sum, box) => sum + box.score * value(box), 0) / total;
    const box = Object.fromEntries(["x", "y", "width", "height"].map((key) => [key, mean((one) => one[key])]));
    box.eyes = [0, 1].map((eye) => [0, 1].map((axis) => mean((one) => one.eyes[eye][axis])));
    result.push({ ...box, score: left[0].score });
    left.splice(0, left.length, ...left.filter((one) => !same.includes(one)));
  }
  return result;
}

function overlap(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  const shared = Math.max(0, width) * Math.max(0, height);
  return shared / (a.width * a.height + b.width * b.height - shared);
}

/** Return the square as FER2013 frames a face. */
function framed({ x, y, width, height, eyes, score }) {
  const side = FRAMING * Math.sqrt(width * height);
  return { x: x + (width - side) / 2, y: y + (height - side) / 2 - HIGHER * side, side, eyes, score };
}
