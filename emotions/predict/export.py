"""Export a saved model to ONNX or LiteRT (formerly TensorFlow Lite), for phones, browsers and other languages.

An exported file takes float32 images N x size x size x 3 (RGB, 0-255) of the model's own size. It does not resize:
converters change antialiased resizing without a word, so it is cut off, and the caller resizes
(`PIL.Image.resize(…, Image.Resampling.BILINEAR)` and `Classifier.predict` do what the model does inside)."""

import json
import shutil
import tempfile
import timeit
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

from emotions import backend, files
from emotions.data import loading, synthetic
from emotions.models.files import CARD
from emotions.models.layers import resizing_layer
from emotions.predict import classifier as classifiers

FORMATS = {"onnx": "ONNX", "litert": "LiteRT"}
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "int8": 1e-2}  # largest difference of a probability
COMPARED = 256  # images on which an exported file is compared with the Keras model
BATCHES = (1, 32)  # batch sizes at which it is
COVERAGE = 0.9  # "unsure" below the confidence that this share of the validation images reaches


def export(model: str | Path, to: str, precision: str = "float32", folder: str | Path = ".", class_names=None) -> dict:
    """Convert a saved model, compare the file with it, and write it only if their probabilities agree.

    Args:
        model: a name in models/, or the path of a file; see `predict.find`.
        to: "onnx" or "litert" (its built-in operators alone).
        precision: "float32"; "float16", of weights and with ONNX also of computation; or "int8", of weights, with
            activations quantized on the fly.
        folder: for the file, which is named after the model and the precision.
        class_names: of a file that holds none; see `classifier.load`.

    Returns `file`; `mb`, its size; `difference`, the largest of any probability, on `images` (words); `accuracy` on
    validation, if the model's data set is at hand; `ms` for one image alone. ValueError: the file would not agree, the
    model cannot be converted, or the backend is not TensorFlow."""
    if to not in FORMATS or precision not in TOLERANCES:
        raise ValueError(f"There is no {to} with {precision}: the formats are {', '.join(FORMATS)}, the precisions "
                         f"{', '.join(TOLERANCES)}.")
    if backend.NAME != "tensorflow":
        raise ValueError(f"Models are exported under TensorFlow, not {backend.NAME}: set KERAS_BACKEND=tensorflow.")
    loaded, ending = classifiers.load(model, class_names), "" if precision == "float32" else f"-{precision}"
    target = Path(folder) / f"{classifiers.find(model).stem}{ending}{SUFFIXES[to]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / target.name
        try:
            convert = {"onnx": _to_onnx, "litert": backend.to_litert}[to]
            convert(at_fixed_size(loaded), precision, file)
            _add_metadata(file, metadata(loaded, precision))
            run = runner(file)
        except (ModuleNotFoundError, OSError):
            raise
        except Exception as reason:  # converters and runtimes raise nearly anything
            raise ValueError(f"{target.name} was not written: {FORMATS[to]} cannot hold this model "
                             f"({files.first_sentence(reason)}).") from reason
        images, labels, words = faces_for(loaded)
        wanted = _probabilities(loaded, loaded.model.predict_on_batch, images[:COMPARED])
        computed = np.stack([_probabilities(loaded, run, images[:COMPARED], size) for size in BATCHES])
        difference = float(np.abs(computed - wanted).max())
        if not difference <= TOLERANCES[precision]:  # in this form NaN is no agreement
            raise ValueError(f"{target.name} was not written: its probabilities differ by up to {difference:.2g} from "
                             f"the Keras model's, and {TOLERANCES[precision]:g} is allowed with {precision}.")
        with files.written(target) as copy:
            shutil.copyfile(file, copy)
    figures = {"difference": difference, "images": words, **measure(loaded, run, images, labels)}
    return {"file": target, "mb": target.stat().st_size / 1e6, **figures}


def at_fixed_size(loaded: classifiers.Classifier) -> keras.Model:
    """Return the model for images of its own size, without the resizing that it begins with."""
    model = loaded.model
    if all(model.input_shape[1:3]):
        return model
    image = keras.Input((*loaded.size, model.input_shape[-1]), name="image")
    resizing = resizing_layer(model)
    if isinstance(model, keras.Sequential):
        return keras.Sequential([image, *(layer for layer in model.layers if layer is not resizing)])

    def call(layer, x, *rest, **options):
        return x if layer is resizing else layer(x, *rest, **options)

    return keras.models.clone_model(model, image, clone_function=lambda layer: layer, call_function=call)


def metadata(loaded: classifiers.Classifier, precision: str) -> dict:
    """Return what using an exported file takes, from the card of the model."""
    answered = {row["validation_answered"]: row["threshold"] for row in loaded.card.get("abstention", ())}
    counted = loaded.card.get(loaded.card.get("counts", "test"))  # the split whose figures count
    grey = loaded.model.input_shape[-1] == 1
    return {
        "class_names": list(loaded.class_names),
        "size": list(loaded.size),
        "input": f"float32, one upright face, N x height x width x {'1, grey' if grey else '3, RGB'}, values 0-255; "
                 "scaled inside",
        "resizing": "before: bilinear, antialiased",
        "output": "probabilities, N x classes; softmax(log(p) / temperature) are calibrated",
        "temperature": loaded.card.get("temperature", 1.0),
        "unsure_below": answered.get(COVERAGE, 0.0),
        "precision": precision,
        **{name: loaded.card[name] for name in ("title", "dataset", "limits") if name in loaded.card},
        **({"test_accuracy": counted["accuracy"]} if counted else {}),
    }


def read_metadata(file: str | Path) -> dict:
    """Read the `metadata` of an exported file."""
    if Path(file).suffix == SUFFIXES["litert"]:
        with zipfile.ZipFile(file) as archive:
            return json.loads(archive.read(CARD))
    import onnxruntime

    return json.loads(onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map[CARD])


def _add_metadata(file: Path, content: dict) -> None:
    """Add metadata as "emotions.json": to ONNX's metadata_props; to LiteRT as an associated file, in a zip archive."""
    if file.suffix == SUFFIXES["litert"]:
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(zipfile.ZipInfo(CARD), json.dumps(content))
        return
    import onnx

    model = onnx.load(file)
    onnx.helper.set_model_props(model, {CARD: json.dumps(content)})
    onnx.save(model, file)


def runner(file: str | Path):
    """Return a function from images, N x size x size x 3, to probabilities, N x classes, that runs an exported file."""
    if Path(file).suffix == SUFFIXES["onnx"]:
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: session.run(None, {name: np.asarray(images, "float32")})[0]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(image["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], np.asarray(images, "float32"))
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    interpreter.allocate_tensors()
    return run


def faces_for(loaded: classifiers.Classifier) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Return images to measure a model on, N x H x W x 3, their labels, and which these are: the validation images of
    its data set; where that is not at hand, drawn faces, without labels."""
    name = loaded.card.get("dataset", "synthetic")
    try:
        faces = loading.load(name) if loading.is_local(name) else None
    except (FileNotFoundError, ValueError):  # a file of that name, but not or not all of the data set
        faces = None
    if faces and faces.class_names == loaded.class_names:
        return faces.validation.images, faces.validation.labels, f"validation images of {name}"
    labels = np.arange(COMPARED) % len(synthetic.CLASS_NAMES)
    return synthetic.render(labels, size=64), None, "drawn faces"


def _probabilities(loaded: classifiers.Classifier, run, images: np.ndarray, batch: int = BATCHES[-1]) -> np.ndarray:
    """Run images of any size, N x H x W x 3, batch by batch, by a model or an exported file."""
    parts = (_resized(loaded, images[start : start + batch]) for start in range(0, len(images), batch))
    return np.concatenate([run(part) for part in parts])


def _resized(loaded: classifiers.Classifier, images: np.ndarray) -> np.ndarray:
    """Return images as the model sees them, in its size and with its channels, float32."""
    return loaded.stack([loaded.resize(image) for image in images]).astype("float32")


def measure(loaded: classifiers.Classifier, run, images: np.ndarray, labels: np.ndarray | None) -> dict:
    """Return `accuracy`, None without labels, and `ms` for one image: the fastest, for other work can only add."""
    image = _resized(loaded, images[:1])
    seconds = min(timeit.repeat(lambda: run(image), number=1, repeat=30))  # the first ones compile
    right = None if labels is None else np.mean(_probabilities(loaded, run, images).argmax(axis=1) == labels)
    return {"accuracy": right, "ms": 1000 * seconds}


def _to_onnx(model: keras.Model, precision: str, file: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings(action="ignore"):  # of tf2onnx, about NumPy's names
        _know_erfc()
        image = keras.InputSpec(shape=model.input_shape, dtype="float32", name="image")
        model.export(file, format="onnx", verbose=False, input_signature=[image])
    if precision == "float16":
        onnx.save(convert_float_to_float16(onnx.load(file), keep_io_types=True), file)
    if precision == "int8":
        quantize_dynamic(file, file, per_channel=True, weight_type=QuantType.QInt8)


def _know_erfc() -> None:
    """Teach tf2onnx the operation in TensorFlow's GELU that it lacks: erfc(x) = 1 - erf(x)."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            output, options = node.output[0], {"dtypes": [graph.get_dtype(node.output[0])]}
            options["shapes"] = [graph.get_shape(output)]
            graph.remove_node(node.name)
            erf = graph.make_node("Erf", node.input, **options)
            one = graph.make_const(f"{node.name}/one", np.float32(1))
            graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=[output], **options)

