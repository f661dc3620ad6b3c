// LiteRT models in the browser, by LiteRT.js: plain WebAssembly without threads, which any static host can serve.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

let runtime;

/** Load a .tflite file, an address relative to the page. */
export async function loadModel(address) {
  runtime ??= loadLiteRt(new URL("wasm/", document.baseURI).href);
  await runtime;
  return loadAndCompile(new URL(address, document.baseURI).href, { accelerator: "wasm" });
}

/** Run a model on one input, a Float32Array of the given shape; return its outputs as Float32Arrays. */
export async function run(model, values, shape) {
  const input = new Tensor(values, shape);
  const outputs = await model.run([input]);
  const arrays = outputs.map((output) => output.toTypedArray().slice());
  for (const tensor of [input, ...outputs]) tensor.delete(); // their memory is outside JavaScript's
  return arrays;
}
