"""Use it: a saved model on a picture, an array, a list, a folder, the camera.

    classifier = load("champion-fer2013")      # a name in models/, or any .keras file
    classifier.predict("party.jpg")                # a table, one row per face
    classifier.predict("holiday photos/")          # the same for a folder

Pictures are RGB with values 0-255. OpenCV reads BGR: turn its arrays round first, `picture[..., ::-1]`.
Any Keras backend; nothing of what training needs is imported.
"""

from __future__ import annotations

import difflib
import io
import itertools
import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from emotions.data.images import SUFFIXES, Store, fit, in_threads, to_array, upright_shape
from emotions.models.layers import input_size, soften
from emotions.models.registry import CARD, read_card
from emotions.colors import rgb

DEFAULT = "champion-fer2013"  # a committed file of models/, used where none is named
BATCH = 64        # pictures in memory at a time
FACE_SIZED = 96   # pixels: a picture no larger is taken for a face already cut out
LARGEST = 1600    # pixels on the longer side, to which larger pictures are reduced before faces are looked for
SMALLEST = 0.04   # of the longer side: the smallest face looked for
HUGE = 25_000_000  # pixels: pictures above are made small one at a time, for memory's sake
MARGIN = 0.025    # of the box, on each side: the box is 95% as wide as FER2013's pictures of faces are (median)
UNSURE = "unsure"
NO_FACE = "No face was found in {}: if it is a face already cut out, take it whole (faces=False, or --no-faces)."
BOX = ("x", "y", "width", "height")

# Pillow warns of pictures above 89 million pixels and refuses them above 179 million; the refusal is enough.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
Box = tuple[int, int, int, int]  # x, y, width, height in pixels


# --------------------------------------------------------------------------------------------------- faces


_cascades = threading.local()  # a cascade must not be shared by threads


def find_faces(picture: np.ndarray) -> list[Box]:
    """Boxes of frontal faces in an RGB picture, uint8, H x W x 3, by OpenCV's Haar cascade (Viola & Jones 2001)."""
    if not hasattr(_cascades, "frontal"):
        if not hasattr(cv2, "CascadeClassifier"):
            raise ImportError(f"OpenCV {cv2.__version__} has no Haar cascades: install opencv-python-headless<5.")
        _cascades.frontal = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    smallest = (round(SMALLEST * max(grey.shape)),) * 2
    boxes = _cascades.frontal.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=smallest)
    return [tuple(map(int, box)) for box in boxes]


def crop(picture: np.ndarray, box: Box, margin: float = MARGIN) -> np.ndarray:
    """The square around a box, with a margin on each side (share of the box's longer side).

    Beyond the picture's edge its last pixels are repeated, so that the face stays in the middle.
    """
    x, y, width, height = box
    half = max(1, round(max(width, height) * (0.5 + margin)))
    left, top = round(x + width / 2) - half, round(y + height / 2) - half
    rows = np.arange(top, top + 2 * half).clip(0, picture.shape[0] - 1)
    columns = np.arange(left, left + 2 * half).clip(0, picture.shape[1] - 1)
    return picture[np.ix_(rows, columns)]


# ---------------------------------------------------------------------------------------------- the model


@dataclass(frozen=True)
class Classifier:
    """A model with what is needed to use it. `load` makes one.

    Attributes:
        model: from RGB pictures, N x H x W x 3, values 0-255, to probabilities, N x classes.
        class_names: of the model's outputs, in order.
        card: what the file says of itself. Its `temperature`, where it has one, makes the probabilities
            calibrated (Guo et al. 2017, section 4.2).
        detector: from an RGB picture, uint8, H x W x 3, to the boxes of its faces, tuples (x, y, width, height).
    """

    model: keras.Model
    class_names: tuple[str, ...]
    card: dict = field(default_factory=dict)
    detector: Callable[[np.ndarray], list[Box]] = find_faces

    def __post_init__(self):
        self.size  # noqa: B018  a model that has none is refused here, before any picture

    def predict(self, pictures, *, faces: bool = True, unsure_below: float = 0.0) -> pd.DataFrame:
        """Which emotion does each face show?

        A single picture that cannot be used raises. In a list or a folder it gets a row whose `error` says
        why, and the others go on. A picture without a face has such a row in any case.

        Args:
            pictures: a file; a folder, with all in it; an RGB array H x W x 3, a grey one H x W, or a stack
                N x H x W x 3, values 0-255; a Pillow picture; the bytes of a file; or a list of these.
            faces: look for faces. False takes every picture as a whole for one face, as is done with
                pictures of at most 96 pixels anyway.
            unsure_below: a confidence under this makes the emotion "unsure".

        Returns:
            one row per face, faces from left to right: `picture` (the file, or the position in the list or
            stack), `x`, `y`, `width`, `height` (the face in pixels of the upright picture), `detected`
            (False: the whole picture was taken), `emotion`, `confidence` (its probability), one column of
            probabilities per class, and `error`, a sentence, where there is no emotion.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: what is given is no picture, or its values are 0-1, or a folder holds no pictures.
        """
        found = self.stream(pictures, faces=faces, unsure_below=unsure_below)
        return self.table(itertools.chain.from_iterable(found))

    def table(self, rows: Iterable[dict]) -> pd.DataFrame:
        """The rows of `stream` as `predict` returns them."""
        columns = ["picture", *BOX, "detected", "emotion", "confidence", *self.class_names, "error"]
        return pd.DataFrame(list(rows), columns=columns).astype(dict.fromkeys(BOX, "Int64") | {"detected": "boolean"})

    def stream(self, pictures, *, faces: bool = True, unsure_below: float = 0.0) -> Iterator[list[dict]]:
        """What `predict` tells, picture by picture, as lists of rows: memory stays flat over any folder."""
        alone = _is_alone(pictures)
        items = listed(pictures)
        while batch := list(itertools.islice(items, BATCH)):
            found = list(in_threads(lambda item: self._faces(item[1], faces), batch))
            for reason in found:
                if isinstance(reason, Exception) and (alone or not isinstance(reason, ValueError | OSError)):
                    raise reason
            crops = [crop for each in found if isinstance(each, list) for *_, crop in each]
            probabilities = iter(self.probabilities(crops))
            for (name, _), each in zip(batch, found, strict=True):
                if isinstance(each, Exception):
                    yield [{"picture": name, "error": str(each)}]
                elif not each:
                    yield [{"picture": name, "error": NO_FACE.format(name)}]
                else:
                    yield [self._row(name, *face[:2], next(probabilities), unsure_below) for face in each]

    def probabilities(self, crops: list[np.ndarray]) -> np.ndarray:
        """Calibrated probabilities, N x classes, of N pictures of one size, uint8, RGB, values 0-255."""
        batches = (np.stack(crops[start:start + BATCH]) for start in range(0, len(crops), BATCH))
        found = [self.model.predict_on_batch(batch) for batch in batches]
        found = np.concatenate([np.empty((0, len(self.class_names))), *found])
        return soften(found, self.card.get("temperature", 1.0))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width at which the model looks at a face: of its input, or of the largest resizing inside."""
        if all(self.model.input_shape[1:3]):
            return self.model.input_shape[1:3]
        if size := input_size(self.model):
            return size, size
        resizing = [layer for layer in _layers(self.model) if isinstance(layer, keras.layers.Resizing)]
        if not resizing:
            raise ValueError(f"The model {self.model.name} takes pictures of any size and resizes them nowhere: "
                             "give it an input of fixed size.")
        return max((layer.height, layer.width) for layer in resizing)

    def _faces(self, source, faces: bool) -> list[tuple[Box, bool, np.ndarray]]:
        """Box, whether it was detected, and crop of every face in a picture."""
        picture, (height, width) = _read(source)
        if not faces or max(height, width) <= FACE_SIZED:
            return [((0, 0, width, height), False, _resize(picture, self.size))]
        scale = width / picture.shape[1]
        crops = {box: _resize(crop(picture, box), self.size) for box in sorted(self.detector(picture))}
        return [(tuple(round(scale * side) for side in box), True, face) for box, face in crops.items()]

    def _row(self, name: str, box: Box, detected: bool, probabilities: np.ndarray, unsure_below: float) -> dict:
        confidence = float(probabilities.max())
        emotion = self.class_names[probabilities.argmax()] if confidence >= unsure_below else UNSURE
        return {
            "picture": name, **dict(zip(BOX, box, strict=True)), "detected": detected,
            "emotion": emotion, "confidence": confidence,
            **dict(zip(self.class_names, probabilities.tolist(), strict=True)), "error": None,
        }


def load(model: str | Path = DEFAULT, class_names: Iterable[str] | None = None) -> Classifier:
    """Load a model with its class names.

    Args:
        model: a name, as "lenet-fer2013-3", of a file in models/ of the repository or of the current
            directory; or the path of a file. `.keras` and `.h5` files from elsewhere work too, if they take
            RGB pictures with values 0-255 and need no code of their own.
        class_names: in the order of the outputs, for a file that was not written by this package.

    Raises:
        FileNotFoundError: there is no such model; names the nearest.
        ValueError: the file is no model, or its class names are unknown or do not fit.
    """
    path = find(model)
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):  # Keras would say that there is no such file
        raise ValueError(f"{path} is no model that Keras can load: it is not the archive that a .keras file is; "
                         "was it downloaded completely?")
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ValueError(f"{path} is no model that Keras can load: their names end in .keras, .h5 or .hdf5.")
    try:
        loaded = keras.models.load_model(path, compile=False)
    except Exception as reason:  # Keras raises nearly anything; the reason is told
        raise ValueError(f"{path} is no model that Keras can load: {_first_sentence(reason)}.") from reason
    card = _card(path)
    if class_names is None and not card:
        raise ValueError(f"{path} holds no {CARD}, so its class names are unknown: "
                         "give them (class_names, or --classes), in the order of its outputs.")
    names = tuple(class_names or card["class_names"])
    if card and list(names) != card["class_names"]:
        raise ValueError(f"{path} says that its classes are {', '.join(card['class_names'])}, not {', '.join(names)}.")
    if len(loaded.input_shape) != 4 or loaded.input_shape[-1] != 3 or loaded.output_shape[1:] != (len(names),):
        raise ValueError(f"{path} goes from {loaded.input_shape} to {loaded.output_shape}; a model of {len(names)} "
                         f"classes goes from (None, height, width, 3) to (None, {len(names)}).")
    return Classifier(loaded, names, card)


def find(model: str | Path = DEFAULT) -> Path:
    """The file of a model, given by a name of models/ or by its path; see `load`."""
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if len(path.parts) != 1 or path.suffix not in ("", ".keras"):
        raise FileNotFoundError(f"There is no file {path}.")
    places = dict.fromkeys((Path("models").resolve(), Path(__file__).resolve().parents[2] / "models"))
    known = {file.stem: file for place in places for file in sorted(place.glob("*.keras"))}
    name = path.name.removesuffix(".keras")
    if name in known:
        return known[name]
    if not known:
        raise FileNotFoundError(f"There is no model named {name!r}, nor any other in models/: give the path of a file, "
                                f"as of {DEFAULT}.keras from the repository's folder models/.")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
    raise FileNotFoundError(f"There is no model named {name!r}; did you mean {near!r}? "
                            f"There are {', '.join(sorted(known))}.")


def _card(path: Path) -> dict:
    """The card in a file, or an empty one."""
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as file:
        return read_card(path) if CARD in file.namelist() else {}


def _first_sentence(reason: Exception) -> str:
    return (str(reason).strip() or type(reason).__name__).splitlines()[0].split(". ")[0].rstrip(".")


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


# ------------------------------------------------------------------------------------------------ pictures


def listed(pictures, name: str = "") -> Iterator[tuple[str, object]]:
    """The single pictures in anything `Classifier.predict` takes, each as `(name, source)`.

    A source is a path, the bytes of a file, a Pillow picture or an array, uint8, H x W x 3. In a list, what
    cannot be used comes as the exception that tells why.
    """
    if isinstance(pictures, str | os.PathLike):
        yield from _files(Path(pictures).expanduser())
    elif isinstance(pictures, bytes | bytearray | Image.Image):
        yield name or "0", pictures
    elif isinstance(pictures, np.ndarray) or keras.ops.is_tensor(pictures):
        pictures = _checked(pictures)
        if pictures.ndim == 3:
            yield name or "0", pictures
        else:
            yield from ((f"{name}/{i}".lstrip("/"), picture) for i, picture in enumerate(pictures))
    elif isinstance(pictures, Iterable):
        for i, one in enumerate(pictures):
            place = f"{name}/{i}".lstrip("/")
            try:
                yield from listed(one, place)
            except (ValueError, OSError) as reason:
                yield str(one) if isinstance(one, str | os.PathLike) else place, reason
    else:
        raise ValueError(f"A {type(pictures).__name__} is no picture: give a path, an array, bytes, a Pillow picture, "
                         "or a list of these.")


def _is_alone(pictures) -> bool:
    if isinstance(pictures, str | os.PathLike):
        return not Path(pictures).expanduser().is_dir()
    return isinstance(pictures, bytes | bytearray | Image.Image)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.is_dir():
        yield str(path), path
        return
    files = [path / file for file in Store(path).files if Path(file).suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(f"There are no pictures in the folder {path}: "
                         f"their names must end in {', '.join(sorted(SUFFIXES))}.")
    yield from ((str(file), file) for file in files)


def _checked(array) -> np.ndarray:
    """A picture or a stack of them as uint8, (N x) H x W x 3; grey becomes three equal channels."""
    array = keras.ops.convert_to_numpy(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim not in (3, 4) or array.shape[-1] not in (1, 3) or not array.size:
        raise ValueError(f"An array of shape {array.shape} is no picture: "
                         "give H x W x 3 (RGB), H x W (grey) or a stack, N x H x W x 3.")
    if array.dtype.kind not in "buif":
        raise ValueError(f"An array of {array.dtype} is no picture: give numbers from 0 to 255.")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255):  # so written that NaN fails
        raise ValueError(f"The array's values run from {low:g} to {high:g}; models take 0 to 255.")
    if high <= 1:
        raise ValueError(f"The array's largest value is {high:g}; models take 0 to 255 and scale inside: "
                         "multiply by 255.")
    if array.dtype != np.uint8:
        array = np.rint(array).astype(np.uint8)
    return np.broadcast_to(array, (*array.shape[:-1], 3))


_one_at_a_time = threading.Lock()


def _read(source) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture, uint8, RGB, upright, reduced if it is large; and its height and width before."""
    if isinstance(source, Exception):
        raise source
    if isinstance(source, np.ndarray):
        shape = source.shape[:2]
        return fit(np.ascontiguousarray(source), _reduced(shape)), shape
    try:
        picture = _opened(source)
        shape = upright_shape(picture)
        if shape[0] * shape[1] > HUGE:
            with _one_at_a_time:  # made small as it is decoded, which takes a fraction of the memory
                picture = picture.copy() if picture is source else picture
                picture.thumbnail((LARGEST, LARGEST))
        return to_array(picture, _reduced(shape)), shape
    except Exception as reason:  # Pillow raises nearly anything; the reason is told
        what = source if isinstance(source, Path) else "What was given"
        why = "its format is unknown" if isinstance(reason, UnidentifiedImageError) else _first_sentence(reason)
        raise ValueError(f"{what} cannot be read as a picture: {why}.") from reason


def _opened(source: Path | bytes | Image.Image) -> Image.Image:
    """A Pillow picture, of a file not decoded yet."""
    if isinstance(source, Image.Image):
        return source
    return Image.open(io.BytesIO(source.read_bytes() if isinstance(source, Path) else source))


def _reduced(shape: tuple[int, int]) -> tuple[int, int]:
    scale = min(1, LARGEST / max(shape))
    return tuple(max(1, round(scale * side)) for side in shape)


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize as the models do inside, bilinear and antialiased, so that faces of any size fit into one batch."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))


# ------------------------------------------------------------------------------------------------- copies


def annotate(picture, faces: pd.DataFrame) -> np.ndarray:
    """A copy with a box in the colour of the emotion, its name and its confidence at every face.

    Its longer side has at most 1600 pixels; small pictures are enlarged, so that the text can be read.

    Args:
        picture: one picture, in any form that `Classifier.predict` takes.
        faces: what `predict` told of it.

    Returns:
        uint8, H x W x 3, RGB.
    """
    (_, source), = listed(picture)
    canvas, shape = _read(source)
    larger = max(1, -(-320 // min(canvas.shape[:2])))
    canvas = cv2.resize(canvas, None, fx=larger, fy=larger, interpolation=cv2.INTER_CUBIC)
    height, width = canvas.shape[:2]
    scale = width / shape[1]
    line = max(2, max(height, width) // 400)
    font = {"fontFace": cv2.FONT_HERSHEY_SIMPLEX, "fontScale": line / 4 + 0.1, "thickness": max(1, line // 2)}
    for face in faces[faces["error"].isna()].to_dict("records"):
        x, y, w, h = (round(scale * face[side]) for side in BOX)
        colour = rgb(face["emotion"])
        for one, thickness in ((WHITE, 2 * line), (colour, line)):
            cv2.rectangle(canvas, (x, y), (x + w - 1, y + h - 1), one, thickness)
        text = f"{face['emotion']} {face['confidence']:.0%}"
        (across, up), down = cv2.getTextSize(text, **font)
        left = min(max(x, 0), max(0, width - across - 2 * line))
        top = max(0, y - up - down - 2 * line)
        cv2.rectangle(canvas, (left, top), (left + across + 2 * line, top + up + down + 2 * line), colour, -1)
        # Rec. 601 luma: dark text on the light colours.
        ink = BLACK if np.dot(colour, (0.299, 0.587, 0.114)) > 127 else WHITE
        cv2.putText(canvas, text, (left + line, top + up + line), color=ink, lineType=cv2.LINE_AA, **font)
    return canvas


def places_for_copies(files: list[str], folder: str | Path) -> dict[str, Path]:
    """Where the annotated copy of each file goes: below the folder, as the files lie below what they have in common.

    Raises:
        ValueError: a copy would replace its picture.
    """
    parents = [Path(file).expanduser().resolve().parent for file in files]
    base = os.path.commonpath(parents)
    places = {}
    for file, parent in zip(files, parents, strict=True):
        name = Path(file).name if Path(file).suffix.lower() in SUFFIXES else f"{Path(file).name}.png"
        places[file] = Path(folder) / parent.relative_to(base) / name
        if places[file].resolve() == parent / Path(file).name:
            raise ValueError(f"The annotated copy of {file} would replace it: name another folder.")
    return places


def save_copy(file: str | Path, faces: pd.DataFrame, place: Path) -> None:
    """Write the annotated copy of a picture file."""
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(annotate(file, faces)).save(place, quality=95)
