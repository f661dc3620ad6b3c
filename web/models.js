// LiteRT models in the browser, by LiteRT.js: plain WebAssembly without threads, which any static host can serve.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

let runtime;

/** Fetch a file, an address relative to the page. */
export async function load(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer;
}

/** Load a .tflite file, while the runtime is loaded. */
export async function loadModel(address) {
  runtime ??= loadLiteRt(new URL("wasm/", document.baseURI).href).catch((error) => {
    throw new Error(error.message ?? "wasm/ is missing"); // a script that is not there fails with an event
  });
  const [content] = await Promise.all([load(address).then((answer) => answer.arrayBuffer()), runtime]);
  return loadAndCompile(new Uint8Array(content), { accelerator: "wasm" });
}

/** Run a model on one input, a Float32Array of the given shape; return its outputs as Float32Arrays. */
export async function run(model, values, shape) {
  const input = new Tensor(values, shape);
  const outputs = await model.run([input]);
  const arrays = outputs.map((output) => output.toTypedArray().slice());
  for (const tensor of [input, ...outputs]) tensor.delete(); // their memory is outside JavaScript's
  return arrays;
}
