"""Read what a classifier is given: paths, open files, bytes, arrays, Pillow images, or a list of these."""

import io
import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
from PIL import Image, UnidentifiedImageError

from emotions.data.images import Store, to_array, upright_shape
from emotions.files import expanded, first_sentence

LARGEST = 1600  # pixels on the longer side: larger images are reduced to it
HUGE = 25_000_000  # pixels: larger images are decoded one at a time, to save memory
VIDEOS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp"}
# Formats that begin with "ftyp": the package that reads one, its brands.
FTYP = (("AVIF", "'pillow>=11.3'", b"avif", b"avis"), ("HEIC", "pillow-heif", b"heic", b"heix", b"mif1", b"msf1"))
PATH, ENCODED = str | os.PathLike, bytes | bytearray | memoryview | Image.Image

_opening, _decoding = threading.Lock(), threading.Lock()


def is_one(images) -> bool:
    """Tell whether the input is one file or one Pillow image."""
    given_open = isinstance(images, ENCODED) or hasattr(images, "read")
    return given_open or (isinstance(images, PATH) and not expanded(images).is_dir())


def single_images(images, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield each image of anything `Classifier.predict` takes as `(name, source)`.

    A source is a path, the bytes of a file or a Pillow image. What a list holds and cannot be used comes as the
    exception that says why. A folder yields all its files, images or not, except hidden ones."""
    if isinstance(images, PATH):
        if not str(images) or "://" in str(images):
            raise ValueError(f'"{images}" is no file or folder of this machine.')
        yield from ((str(path), path) for path in _files(expanded(images)))
    elif isinstance(images, ENCODED):
        yield name or "0", images
    elif isinstance(images, np.ndarray) or keras.ops.is_tensor(images):
        images = _checked(keras.ops.convert_to_numpy(images))
        if images.ndim == 3:
            yield name or "0", Image.fromarray(images)
        else:
            yield from ((f"{name}/{i}".lstrip("/"), Image.fromarray(image)) for i, image in enumerate(images))
    elif hasattr(images, "read"):  # an open file
        yield name or "0", images.read()
    elif isinstance(images, Iterable):
        for i, one in enumerate(images):
            position = f"{name}/{i}".lstrip("/")
            try:
                yield from single_images(one, position)
            except (ValueError, OSError) as reason:
                yield str(one) if isinstance(one, PATH) else position, reason
    else:
        raise ValueError(f"An object of type {type(images).__name__} is not an image: "
                         "give a path, an open file, bytes, an array, a Pillow image, or a list of these.")


def read(source) -> tuple[np.ndarray, tuple[int, int], str | None]:
    """Read a source of `single_images`, or an address that fsspec knows: uint8, RGB, upright, at most 1600 pixels; its
    original height and width; a note on what is left out."""
    if isinstance(source, Exception):
        raise source
    name = source if isinstance(source, PATH) else "The input"
    try:
        if isinstance(source, str):
            import fsspec  # comes with Ray

            with fsspec.open(source) as file:
                source = file.read()
        # The lock comes first: to look for the orientation of a PNG, Pillow decodes it.
        with _opened(source) as image, _decoding if image.width * image.height > HUGE else nullcontext():
            shape = upright_shape(image)
            reduced = tuple(max(1, round(min(1, LARGEST / max(shape)) * side)) for side in shape)
            if image is not source:
                image.draft(None, (LARGEST, LARGEST))  # a JPEG is decoded no larger than needed
            pixels, frames = to_array(image, reduced), getattr(image, "n_frames", 1)
            animated = frames > 1 and image.format != "MPO"  # its second one is a preview: phones write them as .jpg
            return pixels, shape, f"the first of {frames} frames" if animated else None
    except Exception as reason:  # Pillow raises nearly anything
        raise ValueError(f"{name} cannot be read as an image: {_why(reason, source)}.") from reason


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.is_dir():
        return [path]
    store = Store(path)
    if not (names := store.files + store.closed):
        raise ValueError(f"There are no files in the folder {path}.")
    return [path / name for name in names]


def _checked(array: np.ndarray) -> np.ndarray:
    """Return an image or a stack of them as uint8, (N x) H x W x 3; grey becomes three equal channels."""
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim not in (3, 4) or array.shape[-1] not in (1, 3) or not array.size or array.dtype.kind not in "uif":
        raise ValueError(f"An array of {array.dtype} with shape {array.shape} is not an image: give numbers from 0 to "
                         "255, H x W x 3 (RGB), H x W (grey) or a stack, N x H x W x 3.")
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if not (low >= 0 and 1 < high <= 255):  # in this form NaN fails, too
            raise ValueError(f"The array's values range from {low:g} to {high:g}; models take 0 to 255, scale inside.")
        array = np.rint(array).astype(np.uint8)
    return np.broadcast_to(array, (*array.shape[:-1], 3))


def _opened(source: Path | bytes | Image.Image):
    """Open an image without decoding it, as a context manager."""
    if isinstance(source, Image.Image):
        return nullcontext(source)
    if isinstance(source, Path) and source.is_fifo():
        raise ValueError("it is a pipe, and reading it would wait for ever")
    if isinstance(source, Path) and source.is_symlink() and source.is_dir():
        raise ValueError("it is a link to a folder, which is not followed")
    # Pillow refuses bombs; its warning of half their size helps nobody. The lock: filters belong to all threads.
    with _opening, warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
        return Image.open(source if isinstance(source, Path) else io.BytesIO(source))


def _why(reason: Exception, source) -> str:
    """Say in plain words why an image was not read."""
    if isinstance(reason, UnidentifiedImageError):
        return _unknown(source)
    if isinstance(reason, Image.DecompressionBombError):
        pixels, limit = map(int, re.findall(r"\d+", str(reason)))
        return f"it has {pixels / 1e6:.0f} megapixels; at most {limit / 1e6:.0f} are read"
    why = first_sentence(reason)
    return "it is cut off" if "truncated" in why.lower() else why


def _unknown(source: Path | bytes) -> str:
    """Say why Pillow does not know a file: phones write HEIC, at times under the name .jpg."""
    if isinstance(source, Path):
        if source.suffix.lower() in VIDEOS:
            return "it is a video, to be given by itself (predict_video, or python -m emotions predict FILE)"
        with source.open("rb") as file:
            source = file.read(64)
    if not source:
        return "it is empty"
    for name, package, *brands in FTYP:
        if source[4:8] == b"ftyp" and any(brand in source[8:64] for brand in brands):
            return f"its format is {name}: `pip install {package}` reads it, or save it as JPEG or PNG"
    return "it is not an image, or its format is unknown"
