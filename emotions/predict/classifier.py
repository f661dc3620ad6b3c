"""Apply a saved model to images: which emotion does each face show?

    classifier = predict.load("champion-fer2013")  # a name in models/, or any .keras file
    classifier.predict("party.jpg")                # a table with one row per face
    classifier.predict("photos/")                  # the same for a folder

Images are RGB with values 0-255. OpenCV reads BGR: reverse its channels first, `image[..., ::-1]`."""

import itertools
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
from PIL import Image

from emotions import DEFAULT_MODEL, files
from emotions.data.dataset import TABLE_COLUMNS
from emotions.data.images import in_threads
from emotions.models.files import read_card
from emotions.models.layers import resizing_layer, temperature_scale
from emotions.predict import inputs
from emotions.predict.faces import crop, find_faces

BATCH = 64  # images in memory at a time
FACE_SIZED, SMALL = 48, 96  # pixels: an image no larger is a cropped face; or is one, unless a smaller face is in it
ROUNDED = 0.02  # by how much the sum of probabilities may differ from 1: half precision rounds
BOX = ("x", "y", "width", "height")
NO_FACE = "No face was detected in {}: if it is a cropped face, use the whole image (faces=False, or --no-faces)."


@dataclass(frozen=True)
class Classifier:
    """A model with what is needed to use it. `load` makes one."""

    model: keras.Model  # from N x H x W x 3 (RGB) or N x H x W x 1 (grey), 0-255, to probabilities, N x classes
    class_names: tuple[str, ...]  # of the model's outputs, in order
    card: dict = field(default_factory=dict)  # in the model's file; its `temperature`, if any, calibrates probabilities

    def __post_init__(self):
        self.size  # noqa: B018  refuses a model without a size before any image

    def predict(self, images, *, faces: bool = True, unsure_below: float = 0.0) -> pd.DataFrame:
        """Return which emotion each face shows.

        Args:
            images: a file, by its path, opened, or its bytes; a folder, with all files in it; an RGB array H x W x 3, a
                grey one H x W, or a stack N x H x W x 3, values 0-255; a Pillow image; or a list of these.
            faces: detect faces. False takes every whole image for one face, as always for images up to 48 pixels,
                and for images up to 96 pixels unless a face of less than half their side is detected in them.
            unsure_below: a confidence below this makes the emotion "unsure".

        Returns:
            one row per face, from left to right: `image` (the file, or the position in the list or stack), `x`, `y`,
            `width`, `height` (in pixels of the upright image), `detected` (False: the whole image was taken),
            `emotion`, `confidence` (its probability), one column of probabilities per class, `note` (of an animation,
            the first frame is used), and `error`, a sentence, in the row of an image without a face, or of one in a
            list or folder that cannot be used.

        ValueError, OSError: a single image cannot be used, or there is no such file, or a folder is empty."""
        tolerated = () if inputs.is_one(images) else (ValueError, OSError)
        rows = self.rows(inputs.single_images(images), tolerated, faces=faces, unsure_below=unsure_below)
        return self.table(itertools.chain(*rows))

    def table(self, rows: Iterable[dict]) -> pd.DataFrame:
        """Return rows as the table that `predict` returns."""
        columns = ["image", *BOX, "detected", "emotion", "confidence", *self.class_names, "note", "error"]
        kinds = dict.fromkeys(BOX, "Int64") | {"detected": "boolean"}
        kinds |= dict.fromkeys(["confidence", *self.class_names], float)
        # Texts stay objects: names of files may hold what Arrow's strings cannot.
        return pd.DataFrame(list(rows), columns=columns, dtype=object).astype(kinds)

    def rows(self, items: Iterator, tolerated, *, faces: bool, unsure_below: float) -> Iterator[list[dict]]:
        """Yield what `predict` returns, image by image, as lists of rows, so that memory stays flat over any folder; of
        pairs as `inputs.single_images` yields. A tolerated exception becomes a row."""
        while batch := list(itertools.islice(items, BATCH)):
            results = list(in_threads(lambda item: self._faces(item[1], faces), batch))
            for result in results:
                if isinstance(result, Exception) and not isinstance(result, tolerated):
                    raise result
            crops = [face for result in results if isinstance(result, list) for *_, face in result]
            probabilities = iter(self.probabilities(crops))
            for (name, _), result in zip(batch, results, strict=True):
                if isinstance(result, Exception) or not result:
                    yield [{"image": name, "error": files.sentence(result) if result else NO_FACE.format(name)}]
                else:
                    yield [self._row(name, *face, next(probabilities), unsure_below) for *face, _ in result]

    def probabilities(self, crops: list[np.ndarray]) -> np.ndarray:
        """Return calibrated probabilities, N x classes, of N images of one size, uint8, H x W x 3, RGB, 0-255."""
        batches = (self.stack(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH))
        none = np.empty((0, len(self.class_names)))
        raw = np.concatenate([none, *(self.model.predict_on_batch(batch) for batch in batches)])
        if not (abs(raw.sum(axis=1) - 1) < ROUNDED).all():  # in this form NaN fails, too
            raise ValueError(f"The outputs of the model {self.model.name} are not probabilities: they do not sum to 1. "
                             "Let it end in a softmax.")
        return temperature_scale(raw, self.card.get("temperature", 1.0))

    def stack(self, crops: list[np.ndarray]) -> np.ndarray:
        """Return images of one size, uint8, H x W x 3, RGB, as the model takes them, N x H x W x 3 or 1 (grey)."""
        if self.model.input_shape[-1] == 1:
            crops = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] for image in crops]
        return np.stack(crops)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width at which the model sees a face: of its input, or of the resizing inside."""
        if all(self.model.input_shape[1:3]):
            return self.model.input_shape[1:3]
        if layer := resizing_layer(self.model):
            return layer.output.shape[1:3]
        raise ValueError(f"The model {self.model.name} does not resize its images: give it an input of fixed size.")

    def _faces(self, source, detect: bool) -> list[tuple[tuple, bool, str | None, np.ndarray]]:
        """Return the box, whether it was detected, a note, and the level crop of every face in an image."""
        image, (height, width), note = inputs.read(source)
        larger = max(height, width)
        faces = sorted(find_faces(image), key=lambda face: face[:4]) if detect and larger > FACE_SIZED else []
        if larger <= SMALL:
            faces = [face for face in faces if face.width < larger / 2]
        if not faces and (not detect or larger <= SMALL):
            return [((0, 0, width, height), False, note, self.resize(image))]
        scale = width / image.shape[1]
        boxes = [tuple(round(scale * n) for n in face[:4]) for face in faces]
        return [(box, True, note, self.resize(crop(image, face))) for box, face in zip(boxes, faces, strict=True)]

    def resize(self, image: np.ndarray) -> np.ndarray:
        """Resize as the models do inside, bilinear and antialiased, so that faces of any size fit into one batch."""
        return np.asarray(Image.fromarray(image).resize(self.size[::-1], Image.Resampling.BILINEAR))

    def emotion(self, probabilities: np.ndarray, unsure_below: float = 0.0) -> str:
        """Return the most probable class, or "unsure"."""
        if not 0 <= unsure_below <= 1:
            raise ValueError(f"unsure_below is {unsure_below}; a confidence lies between 0 and 1.")
        return self.class_names[probabilities.argmax()] if probabilities.max() >= unsure_below else "unsure"

    def _row(self, name, box: tuple, detected: bool, note, probabilities: np.ndarray, unsure_below: float) -> dict:
        emotion, confidence = self.emotion(probabilities, unsure_below), float(probabilities.max())
        row = {"image": name, "detected": detected, "emotion": emotion, "confidence": confidence, "note": note,
               "error": None}
        return row | dict(zip((*BOX, *self.class_names), (*box, *probabilities.tolist()), strict=True))


def load(model: str | Path = DEFAULT_MODEL, class_names: Iterable[str] | None = None) -> Classifier:
    """Load a model with its class names.

    `model` is a name in models/, as "lenet-fer2013-3", or the path of a file; see `find`. `.keras` and `.h5` files from
    elsewhere work too, if they take RGB or grey images with values 0-255 and need no code of their own; `class_names`,
    in the order of the outputs, are for these. FileNotFoundError, ValueError: the file is missing or not a model, or
    its class names do not fit."""
    path = find(model)
    network = _load_network(path)
    try:
        card = read_card(path)
    except (ValueError, zipfile.BadZipFile) as reason:
        if class_names is None:
            raise ValueError(f"The class names of {path} are unknown: give them (class_names, or --classes), "
                             "in the order of its outputs.") from reason
        card = {}
    names = tuple(class_names or card["class_names"])
    if card and list(names) != card["class_names"]:
        raise ValueError(f"The classes of {path} are {', '.join(card['class_names'])}, not {', '.join(names)}.")
    shape, output = network.input_shape, network.output_shape
    if len(shape) != 4 or shape[-1] not in (1, 3) or output[1:] != (len(names),):
        raise ValueError(f"{path} goes from {shape} to {output}; a model of {len(names)} classes goes "
                         f"from (None, height, width, 3 or 1) to (None, {len(names)}).")
    if len(set(names)) < len(names):
        raise ValueError(f"The class names of {path} are not distinct: {', '.join(names)}.")
    if taken := TABLE_COLUMNS & set(names):
        raise ValueError(f'{path} has a class "{min(taken)}": predictions mean something else by that word.')
    temperature = card.get("temperature", 1.0)
    if not isinstance(temperature, int | float) or not temperature > 0:
        raise ValueError(f"The temperature in the card of {path} is {temperature!r}, and must be a positive number.")
    return Classifier(network, names, card)


def find(model: str | Path = DEFAULT_MODEL) -> Path:
    """Return a model's file, given its path or its name: in models/ of this directory, $EMOTIONS_HOME, repository. An
    empty name is the default model's."""
    path = files.expanded(model or DEFAULT_MODEL)
    if path.is_file():
        return path
    if len(path.parts) != 1:
        raise FileNotFoundError(f"There is no file {path}.")
    folders = (files.REPOSITORY, files.home(), Path.cwd())  # the last wins
    known = {file.stem: file for folder in folders for file in folder.glob("models/*.keras")}
    name = path.name.removesuffix(".keras")
    if name in known:
        return known[name]
    if path.suffix not in ("", ".keras"):
        raise FileNotFoundError(f"There is no file {path}.")
    unknown = f"file {path}, and no model of that name in models/" if path.suffix else f'model "{name}"'
    listed = f"There are {', '.join(sorted(known))}." if known else "models/ is empty."
    raise FileNotFoundError(f"There is no {unknown}{files.nearest(name, known)} {listed}")


def _load_network(path: Path) -> keras.Model:
    try:
        if path.suffix == ".keras" and not zipfile.is_zipfile(path):  # Keras would say that there is no such file
            raise ValueError("it is not a .keras archive, or not all of one")
        if path.suffix == ".keras" and not zipfile.Path(path, "config.json").exists():
            raise ValueError("it is a zip archive without a Keras model")
        network = keras.models.load_model(path, compile=False)
        network.input_shape  # noqa: B018  a model that was never built has none
        return network
    except Exception as reason:  # Keras raises nearly anything
        raise ValueError(f"{path} is not a model that Keras can load: {files.first_sentence(reason)}.") from reason
