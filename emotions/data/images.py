"""Read images: any file to upright RGB, from a folder or zip archive; training and prediction read alike."""

import contextlib
import io
import os
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

with contextlib.suppress(ImportError):  # the extra "heif"
    from pillow_heif import register_heif_opener

    register_heif_opener()

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".pgm", ".ppm", ".webp", ".tif", ".tiff", ".gif", ".jp2",
            ".heic", ".heif", ".avif"}
# Files and folders that are left out, and the copies with boxes that `predict --annotate` writes.
HIDDEN = re.compile(r"(^|/)(\.[^/]|__MACOSX|Thumbs\.db$|desktop\.ini$)|\.annotated\.(jpg|mp4)$")
LARGEST_SIDE = 256  # pixels: images that are larger, or differ in size, become squares of at most this


class Store:
    """The files of a folder or of a zip archive, read in place: nothing is unpacked, so nothing can land elsewhere.
    `closed` names its folders that cannot be read or are links, `outside` the members of an archive that lead out."""

    def __init__(self, path: str | Path):
        self.path, self.closed, self.outside = Path(path), [], []
        if self.path.is_dir():
            names = list(self._walk())
        elif zipfile.is_zipfile(self.path):
            self._zip = zipfile.ZipFile(self.path)
            self._written = {name.replace("\\", "/"): name for name in self._zip.namelist()}  # Windows' zips have \
            names = [name for name in self._written if not name.startswith("/") and ".." not in name.split("/")]
            self.outside = sorted(set(self._written) - set(names))
            if self._written and not names:
                raise ValueError(f"All names in {self.path} lead out of it, such as {self.outside[0]}.")
        else:
            raise ValueError(f"{self.path} is neither a folder nor a zip archive.")
        names = [name for name in sorted(names) if not HIDDEN.search(name)]
        self.files = [name for name in names if not name.endswith("/")]
        self.folders = [name.rstrip("/") for name in names if name.endswith("/")]

    def _walk(self) -> Iterator[str]:
        """Yield the names of all files, and of all folders with a slash at their end. Links to folders are not
        followed: they may lead around in a circle."""
        def refused(reason: OSError):
            name = Path(reason.filename).relative_to(self.path).as_posix()
            self.closed += [] if HIDDEN.search(name) else [name]

        for above, folders, files in os.walk(self.path, onerror=refused):
            here = Path(above).relative_to(self.path)
            linked = [(here / name).as_posix() for name in folders if Path(above, name).is_symlink()]
            self.closed += [name for name in linked if not HIDDEN.search(name)]
            yield from ((here / name).as_posix() for name in files)
            yield from (f"{(here / name).as_posix()}/" for name in folders)

    def open(self, name: str):
        return self._zip.open(self._written[name]) if self.path.is_file() else (self.path / name).open("rb")

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def shape_of(self, name: str) -> tuple[int, int]:
        """Return an image's height and width, upright, from its header alone."""
        with self.open(name) as file, Image.open(file) as image:
            return upright_shape(image)


def in_threads(task, items):
    """Yield `task` of each item in order, or the exception it raised."""
    def run(item):
        try:
            return task(item)
        except Exception as reason:  # one bad image must not lose the others; the caller lists it
            return reason

    with ThreadPoolExecutor() as threads:
        for start in range(0, len(items), 1000):  # results wait in memory: not all at once
            yield from threads.map(run, items[start:start + 1000])


def progress(items, words: str, total: int):
    """Iterate with a progress bar where that takes more than a second."""
    return tqdm(items, words, total, leave=False, delay=1, mininterval=1)


def decode(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a file's bytes (JPEG, PNG, BMP, WebP, TIFF or GIF of any mode) to uint8, H x W x 3, RGB, 0-255, upright,
    on white where it is transparent, resized to `size` (height, width), antialiased. Incomplete: OSError and others."""
    with Image.open(io.BytesIO(data)) as image:
        return to_array(image, size)


def to_array(image: Image.Image, size: tuple[int, int] | None = None) -> np.ndarray:
    """Convert a Pillow image of any mode to what `decode` returns."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey, if a value needs more than a byte: keep the upper one
        values = np.asarray(image).clip(0, 65535)
        image = Image.fromarray((values // (257 if values.max() > 255 else 1)).astype(np.uint8))
    elif image.mode == "F":
        values = np.asarray(image)
        low, high = values.min(), values.max()
        if not 0 <= low <= high <= 255:  # in this form NaN fails, too
            raise ValueError(f"its values range from {low:g} to {high:g}, not from 0 to 1 or from 0 to 255")
        image = Image.fromarray(np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image if image.mode == "L" else image.convert("RGB")  # one channel takes a third of the time
    if size is not None:
        image = image.resize(size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image.convert("RGB"))


def fit_all(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize N x H x W x 3 images to `size` (height, width), antialiased; a grey set's broadcast view stays one."""
    grey = images.strides[-1] == 0
    stored = (Image.fromarray(image[..., 0] if grey else image) for image in images)
    resized = np.stack([np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC)) for image in stored])
    return in_colour(resized[..., None]) if grey else resized


def upright_shape(image: Image.Image) -> tuple[int, int]:
    """Return height and width of a Pillow image that may lie on its side."""
    width, height = image.size
    # Orientation; anything else turns nothing. Of a TIFF, Pillow gives the upright size.
    turned = image.format != "TIFF" and image.getexif().get(0x0112) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def is_grey(image: np.ndarray) -> bool:
    """Tell whether the three channels of H x W x 3 are equal."""
    first = image[..., 0]
    return image.strides[-1] == 0 or bool((first == image[..., 1]).all() and (first == image[..., 2]).all())


def in_colour(images: np.ndarray) -> np.ndarray:
    """Return N x H x W x 3: a broadcast view where there is one channel."""
    return np.broadcast_to(images, (*images.shape[:-1], 3)) if images.shape[-1] == 1 else images


def channels(images: np.ndarray) -> np.ndarray:
    """Return the channels that are stored: one of the broadcast view that `in_colour` makes, otherwise all three."""
    return images[..., :1] if images.strides[-1] == 0 else images


def common_size(shapes: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the size that all images share, if at most 256 pixels; or a square of their median shorter side."""
    if not shapes:
        return (1, 1)
    if len(set(shapes)) == 1 and max(shapes[0]) <= LARGEST_SIDE:
        return shapes[0]
    return (min(int(np.median([min(shape) for shape in shapes])), LARGEST_SIDE),) * 2
