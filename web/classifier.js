// Which emotion does each face show? The model's file is an export of the Python package, with its metadata beside it.

import { resize } from "./faces.js";
import { load, loadModel, run } from "./models.js";

/** Load the classifier: its metadata (class_names, temperature, unsure_below …), and `classify`. */
export async function loadClassifier() {
  const [answer, model] = await Promise.all([load("model.json"), loadModel("model.tflite")]);
  const metadata = await answer.json();
  const [height, width] = metadata.size;

  /** Return {probabilities, best, emotion} of one upright face, RGB or RGBA of any size. */
  async function classify(face) {
    const { data } = resize(face, width, height);
    const [raw] = await run(model, Float32Array.from(data), [1, height, width, 3]);
    return answerOf(calibrate(raw, metadata.temperature), metadata);
  }

  return { ...metadata, classify };
}

/** Return softmax(log p / temperature). */
export function calibrate(probabilities, temperature) {
  const powers = Array.from(probabilities, (p) => Math.max(p, 1e-12) ** (1 / temperature));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Name the most probable class; the emotion is "unsure" below the model's threshold. */
export function answerOf(probabilities, { class_names, unsure_below }) {
  const confidence = Math.max(...probabilities);
  const best = class_names[probabilities.indexOf(confidence)];
  return { probabilities, best, emotion: confidence < unsure_below ? "unsure" : best };
}
