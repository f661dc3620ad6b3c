// The page in a real browser, and its resizing against Pillow. CHROMIUM names the browser, PYTHON the interpreter.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { preview } from "vite";
import { answerOf, calibrate } from "../classifier.js";
import { merge, squares } from "../detector.js";
import { crop, resize } from "../faces.js";
import { summary } from "../summary.js";
import { aboutModel } from "../view.js";
import { json, path } from "./fixtures.js";

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const CAMERA = ["--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${path("camera.y4m")}`];
const NOTES = /^(INFO|WARNING): /; // LiteRT.js writes these as errors
const TYPES = { png: "image/png", jpg: "image/jpeg", webm: "video/webm" };

let server, address, browser, withCamera;

before(async () => {
  const root = `${import.meta.dirname}/..`;
  server = await preview({ root, preview: { port: 0, host: "127.0.0.1" }, logLevel: "error" });
  address = server.resolvedUrls.local[0];
  [browser, withCamera] = await Promise.all([[], CAMERA].map((more) => chromium.launch(
    { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [...FLAGS, ...more] })));
});

after(async () => {
  await Promise.all([browser?.close(), withCamera?.close()]);
  await server?.close();
});

/** Open the page, with other values in the model's metadata if need be; fail the test on any error in it, and on any request to elsewhere. */
async function open(t, { from = browser, metadata = {}, ...options } = {}) {
  const context = await from.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(90_000); // a busy machine is no failure
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(address)) wrong.push(request.url());
  });
  page.on("console", (message) => {
    if (message.type() === "error" && !NOTES.test(message.text())) wrong.push(message.text());
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(wrong, []);
  });
  await page.route("**/model.json", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), ...metadata } });
  });
  await page.goto(address);
  await page.getByText("Ready.").waitFor();
  return page;
}

/** Drop files on the page, as a person does; wait until all are done, and return what the page says then. */
async function drop(page, ...names) {
  const type = (name) => TYPES[name.split(".").pop()];
  const contents = names.map((name) => [name, type(name), readFileSync(path(name)).toString("base64")]);
  const transfer = await page.evaluateHandle(async (all) => {
    const made = new DataTransfer();
    for (const [name, type, base64] of all) {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      made.items.add(new File([bytes], name, { type }));
    }
    return made;
  }, contents);
  await page.dispatchEvent("#inputs", "drop", { dataTransfer: transfer });
  return done(page);
}

/** Wait until the page no longer looks at files; return what it says. */
async function done(page) {
  const status = page.getByRole("status").filter({ hasNotText: /^(Ready|Looking at)/ });
  await status.waitFor();
  return status.textContent();
}

const card = (page, name) => page.locator("article", { has: page.getByRole("heading", { name, exact: true }) });
const probabilities = (face) => face.locator("[data-probability]")
  .evaluateAll((all) => all.map((one) => Number(one.dataset.probability)));
const classNames = (page) => page.evaluate(async () => (await (await fetch("model.json")).json()).class_names);
const sentence = (page, words) => page.getByRole("status").filter({ hasText: words }).waitFor();

test("a dropped photo gives one face with a bar for each class", async (t) => {
  const page = await open(t);
  assert.equal(await drop(page, "astronaut.png"), "astronaut.png: 1 face, happy.");
  assert.equal(await page.locator(".face").count(), 1);
  assert.match(await page.locator(".emotion").textContent(), /^happy, \d+\.\d %$/);
  const values = await probabilities(page.locator(".face"));
  assert.equal(values.length, (await classNames(page)).length);
  assert.ok(Math.abs(values.reduce((a, b) => a + b) - 1) < 1e-6);
});

test("chosen files are looked at, and the same ones can be chosen again", async (t) => {
  const page = await open(t);
  for (const _ of [1, 2]) {
    await page.locator("#files").setInputFiles(path("astronaut.png"));
    assert.equal(await done(page), "astronaut.png: 1 face, happy.");
    assert.equal(await page.locator("article").count(), 1);
    assert.equal(await page.locator("#files").inputValue(), ""); // so that choosing it again is a change
  }
});

test("a photo shows nothing once something newer is chosen", async (t) => {
  const page = await open(t);
  for (const name of ["astronaut.png", "tilted.png"]) await page.locator("#files").setInputFiles(path(name));
  assert.match(await done(page), /^tilted\.png: 1 face/);
  assert.equal(await page.locator("article").count(), 1);
});

test("a tilted face is levelled", async (t) => {
  const page = await open(t);
  await drop(page, "astronaut.png", "tilted.png");
  const upright = await probabilities(card(page, "astronaut.png"));
  const tilted = await probabilities(card(page, "tilted.png"));
  const happy = (await classNames(page)).indexOf("happy");
  assert.ok(Math.abs(upright[happy] - tilted[happy]) < 0.15, `${upright[happy]} and ${tilted[happy]}`);
});

test("probabilities of crops agree with Python's, resizing included", async (t) => {
  const expected = json("expected.json");
  assert.equal(Object.keys(expected).length, 16);
  const page = await open(t);
  await drop(page, ...Object.keys(expected));
  let largest = 0;
  for (const [name, wanted] of Object.entries(expected)) {
    const values = await probabilities(card(page, name).locator(".face"));
    assert.equal(values.length, wanted.length, name);
    largest = Math.max(largest, ...values.map((value, i) => Math.abs(value - wanted[i])));
  }
  t.diagnostic(`largest difference of a probability: ${largest}`);
  assert.ok(largest < 0.01, `differs by ${largest}`);
});

test("bad and large files get a sentence, and the others are still used", async (t) => {
  const page = await open(t);
  const names = ["text.jpg", "empty.png", "large.jpg", "astronaut.png"];
  assert.equal(await drop(page, ...names), "4 files: 2 faces; 1 has no face, 1 cannot be read.");
  assert.deepEqual(await page.locator("article h2").allTextContents(), names);
  await card(page, "text.jpg").getByText("is not an image or video that this browser can read").waitFor();
  await card(page, "empty.png").getByText("No face was found.").waitFor();
  await card(page, "large.jpg").getByText("8000 × 5000 pixels, analysed at 2048 × 1280.").waitFor();
  assert.equal(await card(page, "astronaut.png").locator(".face").count(), 1);
});

test("without a camera, and without permission, the page says so and keeps its results", async (t) => {
  const page = await open(t, { permissions: ["camera"] });
  await drop(page, "astronaut.png");
  await page.getByRole("button", { name: "Use the camera" }).click();
  await sentence(page, "No camera was found on this device.");
  assert.equal(await card(page, "astronaut.png").count(), 1);
  const refused = await open(t, { from: withCamera });
  await refused.getByRole("button", { name: "Use the camera" }).click();
  await sentence(refused, "This page may not use the camera");
});

test("the camera's faces are shown until it is stopped, from the keyboard", async (t) => {
  const page = await open(t, { from: withCamera, permissions: ["camera"] });
  await page.evaluate(() => {
    const ask = navigator.mediaDevices.getUserMedia;
    navigator.mediaDevices.getUserMedia = function (wanted) { window.asked = wanted; return ask.call(this, wanted); };
  });
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await card(page, "Camera").locator(".face").waitFor();
  await sentence(page, "Camera: 1 face, "); // for screen readers
  assert.equal(await page.evaluate(() => window.asked.video.facingMode), "user");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await sentence(page, "Stopped.");
  assert.equal(await page.locator("article").count(), 0);
});

test("a camera that is unplugged is switched off", async (t) => {
  const page = await open(t, { from: withCamera, permissions: ["camera"] });
  await page.getByRole("button", { name: "Use the camera" }).click();
  await card(page, "Camera").locator(".face").waitFor();
  await page.locator("video").evaluate((video) => video.srcObject.getVideoTracks()[0].dispatchEvent(new Event("ended")));
  await sentence(page, "The camera was switched off.");
  assert.equal(await page.locator("article").count(), 0);
});

test("a browser that plays nothing on its own leaves the video to its controls", async (t) => {
  const page = await open(t);
  await page.evaluate(() => { HTMLMediaElement.prototype.play = () => Promise.reject(new Error("not allowed")); });
  assert.equal(await drop(page, "clip.webm"), "clip.webm is ready to play.");
  await card(page, "clip.webm").locator(".face").waitFor();
});

test("a missing model is named", async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.route("**/model.tflite", (route) => route.fulfill({ status: 404, body: "not here" }));
  await page.goto(address);
  await sentence(page, "The model could not be loaded (model.tflite: 404): reload the page.");
});

test("a video is analysed while it plays, and a broken one gets a sentence", async (t) => {
  const page = await open(t);
  assert.equal(await drop(page, "clip.webm"), "clip.webm is playing.");
  await card(page, "clip.webm").locator(".face").waitFor();
  assert.equal(await drop(page, "text.webm"), "text.webm cannot be read.");
  await card(page, "text.webm").getByText("cannot be played by this browser").waitFor();
});

test("unsure is explained where it occurs, by the model's threshold", async (t) => {
  const words = "unsure: less than 99.9 % sure, this model's threshold.";
  const page = await open(t, { metadata: { unsure_below: 0.999 } });
  assert.equal(await page.getByText(words).isVisible(), false);
  assert.equal(await drop(page, "astronaut.png"), "astronaut.png: 1 face, unsure.");
  assert.equal(await page.getByText(words).isVisible(), true);
  await drop(page, "empty.png");
  assert.equal(await page.getByText(words).isVisible(), false);
});

test("a screen reader meets headings in order, and no canvas without a name", async (t) => {
  const page = await open(t);
  await drop(page, "astronaut.png", "empty.png");
  const headings = await page.getByRole("heading").evaluateAll((all) => all.map((one) => one.tagName));
  assert.deepEqual(headings, ["H1", "H2", "H2", "H2"]); // the page, a card for each file, the footer
  const images = page.getByRole("img");
  assert.equal(await images.count(), 2);
  assert.equal(await page.locator(".face canvas:not([aria-hidden=true])").count(), 0);
  assert.equal(await images.first().getAttribute("aria-label"), "astronaut.png, faces: 1");
});

test("dropping is offered where a pointer can drop", async (t) => {
  for (const [isMobile, offered] of [[false, true], [true, false]]) {
    const page = await open(t, { isMobile, hasTouch: isMobile });
    assert.equal(await page.getByText("Drop photos or a video here, or").isVisible(), offered);
  }
});

test("the page fits a narrow window", async (t) => {
  const page = await open(t);
  await page.setViewportSize({ width: 320, height: 640 });
  await drop(page, "astronaut.png");
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 320));
});

test("resizing gives Pillow's bytes", () => {
  for (const { before, after, image, wanted } of json("resized.json")) {
    const { data } = resize({ data: Uint8Array.from(image), width: before + 7, height: before }, after, after);
    assert.deepEqual(Array.from(data), wanted, `${before} to ${after} pixels`);
  }
});

test("a crop beyond the edge repeats the last pixels, and a turned one follows the eyes", () => {
  const image = { data: Uint8Array.from([10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40]), width: 2, height: 2 };
  const level = [[0, 0], [1, 0]];
  const red = (face) => Array.from(crop(image, face).data).filter((_, i) => i % 3 === 0);
  assert.deepEqual(red({ x: 1, y: 0, side: 2, eyes: level }), [20, 20, 40, 40]);
  assert.deepEqual(red({ x: 0, y: 0, side: 2, eyes: [[1, 0], [1, 1]] }), [20, 40, 10, 30]); // a quarter turn
});

test("a photo is covered by squares, and boxes of the same face are joined", () => {
  assert.deepEqual(squares(800, 400, [1]), [[0, -200, 800]]);
  assert.deepEqual(squares(800, 400, [2, 4]), [[0, 0, 400], [200, 0, 400], [400, 0, 400]]);
  assert.equal(squares(2048, 200, [1, 2, 4, 8]).length, 1 + 15); // a panorama
  const box = { x: 0, y: 0, width: 10, height: 10, score: 0.9, eyes: [[3, 3], [7, 3]] };
  assert.equal(merge([box, { ...box, x: 1 }, { ...box, x: 50 }]).length, 2);
});

test("probabilities are calibrated, and a doubtful answer is unsure", () => {
  const sharper = calibrate([0.6, 0.4], 0.5);
  assert.ok(Math.abs(sharper[0] - 0.36 / 0.52) < 1e-9);
  const metadata = { class_names: ["sad", "happy"], unsure_below: 0.65 };
  assert.equal(answerOf([0.4, 0.6], metadata).emotion, "unsure");
  assert.equal(answerOf([0.3, 0.7], metadata).emotion, "happy");
});

test("what came out of the files is said in a sentence", () => {
  const name = "a.png";
  assert.equal(summary([{ name, emotions: ["unsure"] }]), "a.png: 1 face, unsure.");
  assert.equal(summary([{ name, emotions: ["happy", "sad", "happy"] }]), "a.png: 3 faces, 2 happy, 1 sad.");
  assert.equal(summary([{ name, ending: "has no face" }]), "a.png has no face.");
  const two = { name, emotions: ["sad", "sad"] };
  const none = { name, ending: "has no face" };
  assert.equal(summary([two, two]), "2 files: 4 faces.");
  assert.equal(summary([none, none]), "2 files: 2 have no face.");
  const rest = ["is playing", "was left out", "was left out"].map((ending) => ({ name, ending }));
  assert.equal(summary([two, ...rest]), "4 files: 2 faces; 1 is playing, 2 were left out.");
});

test("the model is named with its accuracy, where the export holds it", () => {
  const model = { name: "champion-ferplus", title: "Champion", dataset: "ferplus" };
  const words = "champion-ferplus, right on 86.7 % of FER+'s test images";
  assert.equal(aboutModel({ ...model, test_accuracy: 0.8671 }), words);
  assert.equal(aboutModel(model), "Champion (champion-ferplus)");
});
