"""Put what the page loads into web/public: the exported model with its metadata, the face detector, the runtime."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from emotions.predict import export

WEB = Path(__file__).parent
PACKAGES = WEB / "node_modules"
DETECTOR = PACKAGES / "@mediapipe/face_detection/face_detection_short_range.tflite"
RUNTIME = PACKAGES / "@litertjs/core/wasm"
VARIANTS = ("litert_wasm_internal", "litert_wasm_compat_internal")  # neither needs threads; the second, older browsers


def prepare(model: str, public: Path = WEB / "public") -> None:
    """Write model.tflite and model.json, and copy what comes with npm packages."""
    (public / "wasm").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        file = export.export(model, "litert", folder=folder)["file"]
        (public / "model.tflite").write_bytes(for_one_face(file.read_bytes()))
        content = {"name": file.stem, **export.read_metadata(file)}
    (public / "model.json").write_text(json.dumps(content), "utf-8")
    shutil.copyfile(DETECTOR, public / "detector.tflite")
    for name in VARIANTS:
        for suffix in (".js", ".wasm"):
            shutil.copyfile(RUNTIME / f"{name}{suffix}", public / "wasm" / f"{name}{suffix}")


def for_one_face(content: bytes) -> bytes:
    """Return a LiteRT model for batches of one: LiteRT.js takes no batches of an unknown size."""
    model = schema.ModelT.InitFromPackedBuf(content)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.shapeSignature = None  # where unknown sizes are -1; `shape` has 1 in their place
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    prepare(sys.argv[1] if len(sys.argv) > 1 else "")
