"""How is a picture read? Any file to upright RGB, one picture or a whole folder or zip archive of them.

Light on purpose: use reads pictures with it as training does, and needs nothing else that training needs.
"""

from __future__ import annotations

import io
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
LARGEST_SIDE = 256  # pixels, of pictures that have no size in common
SHARES = 16  # into which work is cut for threads: enough that none idles while another decodes large pictures


class Store:
    """The files of a folder or of a zip archive, read in place: nothing is unpacked, so nothing can land elsewhere.

    Raises:
        ValueError: the path is neither.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.is_dir():
            names = [entry.relative_to(self.path).as_posix() + "/" * entry.is_dir() for entry in self.path.rglob("*")]
        elif zipfile.is_zipfile(self.path):
            names = self._zip.namelist()
        else:
            raise ValueError(f"{self.path} is neither a folder nor a zip archive.")
        names = [name for name in sorted(names) if not re.search(r"(^|/)(\.|__MACOSX)", name)]
        self.files = [name for name in names if not name.endswith("/")]
        self.folders = [name.rstrip("/") for name in names if name.endswith("/")]

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    def open(self, name: str):
        return self._zip.open(name) if self.path.is_file() else (self.path / name).open("rb")

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()


class Streamed:
    """Pictures on disk that look like one array: what is indexed is decoded.

    Attributes:
        shape: (N, H, W, 3).
        dtype: uint8.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, store: Store, files, size: tuple[int, int]):
        self.store, self.files, self.size = store, np.asarray(files, str), tuple(size)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.files), *self.size, 3)

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices) -> Streamed:
        return Streamed(self.store, self.files[indices], self.size)

    def __getitem__(self, indices) -> np.ndarray:
        """uint8 pictures at an integer, a slice, integers or a mask."""
        files = self.files[indices]
        if files.ndim == 0:
            return decode(self.store.read(str(files)), self.size)
        images = np.empty((len(files), *self.size, 3), np.uint8)
        decoded = in_threads(lambda file: decode(self.store.read(file), self.size), files)
        for image, picture in zip(images, decoded, strict=True):
            if isinstance(picture, Exception):  # it decoded when the set was loaded
                raise picture
            image[...] = picture
        return images

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def in_threads(task, items):
    """`task` of each item in order, or the exception it raised, a thousand at a time.

    A thread takes several at once: handing one over costs a good part of decoding a tiny picture.
    """
    def run(item):
        try:
            return task(item)
        except Exception as reason:  # one bad picture must not lose the others; the caller lists it
            return reason

    with ThreadPoolExecutor() as threads:
        for start in range(0, len(items), 1000):
            some = items[start:start + 1000]
            share = -(-len(some) // SHARES)
            parts = [some[i:i + share] for i in range(0, len(some), share)]
            for done in threads.map(lambda part: [run(item) for item in part], parts):
                yield from done


def decode(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """An encoded picture as uint8, H x W x 3, RGB, 0-255, upright; transparency lies on white.

    Args:
        data: the file's bytes: JPEG, PNG, BMP, WebP, TIFF or GIF; grey, palette, CMYK, 16-bit, alpha.
        size: height and width to resize to, antialiased.

    Raises:
        OSError and others: the bytes are no complete picture.
    """
    with Image.open(io.BytesIO(data)) as picture:
        return to_array(picture, size)


def to_array(picture: Image.Image, size: tuple[int, int] | None = None) -> np.ndarray:
    """A Pillow picture in any mode, as `decode` gives it."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16-bit grey: keep the upper byte
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    if "A" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return fit(np.asarray(picture.convert("RGB")), size)


def fit(picture: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Resize a picture (uint8, H x W x 3) to `size` (height, width), antialiased."""
    if size is None or picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BICUBIC))


def fit_all(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize N x H x W x 3 pictures; grey ones become a broadcast view."""
    return grey_view(np.stack([fit(np.ascontiguousarray(picture), size) for picture in images]))


def shape_of(data: bytes) -> tuple[int, int]:
    """Height and width from a picture's header, upright."""
    with Image.open(io.BytesIO(data)) as picture:
        return upright_shape(picture)


def upright_shape(picture: Image.Image) -> tuple[int, int]:
    """Height and width of a Pillow picture that may lie on its side."""
    width, height = picture.size
    turned = picture.getexif().get(0x0112, 1) >= 5  # orientation: 5 to 8 lie on their side
    return (width, height) if turned else (height, width)


def grey_view(images: np.ndarray) -> np.ndarray:
    """Keep one channel where all three are equal."""
    if (images[..., :1] == images[..., 1:]).all():
        return np.broadcast_to(images[..., :1].copy(), images.shape)
    return images


def common_size(shapes: list[tuple[int, int]]) -> tuple[int, int]:
    """The one size of all pictures, if it is at most 256 pixels; otherwise a square of their median shorter side."""
    if not shapes:
        return (1, 1)
    if len(set(shapes)) == 1 and max(shapes[0]) <= LARGEST_SIDE:
        return shapes[0]
    return (min(int(np.median([min(shape) for shape in shapes])), LARGEST_SIDE),) * 2
