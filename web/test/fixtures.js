// A folder of fixtures, written once by the Python package, for all tests of a process.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "emotions-page-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
const script = join(import.meta.dirname, "fixtures.py");
execFileSync(process.env.PYTHON ?? "python3", [script, folder], { stdio: ["ignore", "ignore", "inherit"] });

export const path = (name) => join(folder, name);
export const json = (name) => JSON.parse(readFileSync(path(name), "utf-8"));
