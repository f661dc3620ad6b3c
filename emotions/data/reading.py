"""What readers share: decoding the files of a listing, and a cache for what takes long to read."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from emotions.data import audit
from emotions.data.images import Store, Streamed, common_size, decode, in_colour, in_threads, is_grey, progress
from emotions.data.places import REPOSITORY_DATA


@dataclass
class Contents:
    """What a file or folder holds, before it is split.

    Attributes:
        images: uint8, N x H x W x 3, RGB.
        table: one row per image: `id`, `label` (class name), `part` ("train", "validation", "test", or "" where the
            distributor has no splits), `group` (equal for copies), and for FER2013's CSV `row`.
        notes, dropped: as in `Dataset`.
    """

    images: np.ndarray | Streamed
    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def leave_out(self, mask: np.ndarray, reason: str) -> None:
        """Leave those of the images (bool, N) out that are in training."""
        mask = mask & (self.table["part"] == "train").to_numpy()
        if mask.any():
            self.table.loc[mask, "part"] = "dropped"
            self.dropped[reason] = tuple(self.table["id"][mask])
            self.notes.append(f"{mask.sum()} training images were left out: {reason}.")


class NotThisOne(LookupError):
    """A file or folder is not the data set that was looked for."""


@dataclass(frozen=True)
class Source:
    """How a data set known by name is found, read and split.

    Attributes:
        read: (path, size, memory limit) -> `Contents`; raises `NotThisOne`. Of drawn faces: (size, seed) -> `Contents`.
        patterns: names of its files and folders, the best first; none for drawn faces.
        kaggle: its handle there.
        classes: keep these only, after everything else.
        votes: FER+ voted on its images.
        folds: one part in so many is held out of training where a split is missing.
        pool: ignore the distributor's splits.
        grouped: keep copies on one side of a split that is drawn here, and out of training where they are in the
            distributor's validation or test split.
        published: how many images each of the distributor's splits should hold.
    """

    read: Callable[..., Contents]
    patterns: tuple[str, ...] = ()
    kaggle: str = ""
    classes: tuple[str, ...] = ()
    votes: bool = False
    folds: int = 5
    pool: bool = False
    grouped: bool = True
    published: dict[str, int] = field(default_factory=dict)


def read_images(store: Store, listing: pd.DataFrame, size=None, memory_limit: float = 4e9) -> Contents:
    """Decode the files of a listing (`file`, `part`, `label`); or check them, to stream them later.

    Raises:
        ValueError: none of the files decodes.
    """
    files = listing["file"].to_numpy(str)
    shapes = list(in_threads(store.shape_of, files))
    readable = np.array([isinstance(shape, tuple) for shape in shapes], bool)
    if len(files) and not readable.any():
        raise ValueError(f"None of the {len(files)} images in {store.path} decodes; the first is {files[0]} "
                         f"({shapes[0]}).")
    shapes = [shape for shape in shapes if isinstance(shape, tuple)]
    size = size or common_size(shapes)
    stream = len(shapes) * size[0] * size[1] * 3 > memory_limit
    images = np.empty((0 if stream else len(shapes), *size, 1), np.uint8)  # one channel until an image has colours
    digests, rows = [], np.flatnonzero(readable)

    def read(file):
        image = decode(store.read(file), size)
        return image, is_grey(image), audit.digest(image)

    bar = progress(in_threads(read, files[rows]), f"Reading {store.path.name}", len(rows))
    for row, result in zip(rows, bar, strict=True):
        if isinstance(result, Exception):
            readable[row] = False
            continue
        image, grey, digest = result
        if not grey and images.shape[-1] == 1:
            images = np.repeat(images, 3, axis=-1)
        if not stream:
            images[len(digests)] = image[..., :images.shape[-1]]
        digests.append(digest)
    images = Streamed(store, files[readable], size) if stream else in_colour(images[:len(digests)])
    table = listing.loc[readable, ["file", "part", "label"]].rename(columns={"file": "id"}).reset_index(drop=True)
    contents = Contents(images, table.assign(group=digests))
    _describe_reading(contents, store, files[~readable], shapes, stream)
    return contents


def _describe_reading(contents: Contents, store: Store, unreadable, shapes, stream: bool) -> None:
    notes, size = contents.notes, contents.images.shape[1:3]
    if len(unreadable):
        contents.dropped["unreadable"] = tuple(unreadable)
        more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
        notes.append(f"{len(unreadable)} of {len(unreadable) + len(contents.table)} images in {store.path} do not "
                     f"decode and were skipped: {', '.join(unreadable[:5])}{more}.")
    if set(shapes) - {tuple(size)}:
        notes.append(f"Images of {len(set(shapes))} sizes were resized to {size[0]} x {size[1]} pixels.")
    if tiny := sum(min(shape) < audit.TINY for shape in shapes):
        notes.append(f"{tiny} images are tiny: under {audit.TINY} pixels on their shorter side.")
    if stream:
        notes.append(f"{len(contents.table)} images of {size[0]} x {size[1]} exceed the memory limit: they are "
                     "streamed from disk.")


def cached(path: Path | None, name: str, options: list, read: Callable[[], Contents]) -> Contents:
    """Return `read()`, or what it returned before for the same files, options and code of this package.

    Args:
        path: the file or folder that is read, None where images are drawn. The cache is the folder cache/ beside it,
            or ~/.cache/emotions where that can't be written; the environment variable EMOTIONS_CACHE names another
            folder, or none if it is empty.
        name: of the cached file; not like the data, or it would be found in place of them.
        options: all that `read` depends on besides; anything that prints.
    """
    folder = _cache_folder(path.resolve().parent if path else REPOSITORY_DATA)
    if folder is None:
        return read()
    place = f"{path and path.resolve()} {options}"
    file = folder / f"cached-{name}-{_digest(place)}.npz"
    files = [] if path is None else [path] if path.is_file() else sorted(path.rglob("*"))
    key = _digest(place, [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()],
                  [code.read_bytes() for code in sorted(Path(__file__).parent.glob("*.py"))])
    contents = _restore(file, key)
    if contents is None:
        contents = read()
        if isinstance(contents.images, np.ndarray):
            _save(contents, file, key)
    return contents


def _digest(*values) -> str:
    return hashlib.blake2b(repr(values).encode(), digest_size=8).hexdigest()


def _cache_folder(beside: Path) -> Path | None:
    if (named := os.environ.get("EMOTIONS_CACHE")) is not None:
        return Path(named) if named else None
    # What is marked read-only stays as it is, even for those who could write there.
    writable = beside.is_dir() and os.access(beside, os.W_OK) and beside.stat().st_mode & stat.S_IWUSR
    return beside / "cache" if writable else Path("~/.cache/emotions").expanduser()


def _save(contents: Contents, file: Path, key: str) -> None:
    images = contents.images[..., :1] if contents.images.strides[-1] == 0 else contents.images
    columns = {name: column.to_numpy(None if column.dtype.kind == "i" else str)
               for name, column in contents.table.items()}
    rest = json.dumps([key, contents.notes, contents.dropped])
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as target:
            np.savez(target, rest=rest, images=images, **columns)
        new.replace(file)
    except OSError as reason:
        new.unlink(missing_ok=True)
        warnings.warn(f"What was read is not cached in {file.parent}: {reason}.", stacklevel=2)


def _restore(file: Path, key: str) -> Contents | None:
    """Return what was cached, or None if there is none of that key, or if the file is damaged (zip checks its CRCs)."""
    if not file.exists():
        return None
    try:
        with np.load(file) as arrays:
            saved, notes, dropped = json.loads(str(arrays["rest"]))
            if saved != key:
                return None
            images = in_colour(arrays["images"])
            table = pd.DataFrame({name: arrays[name] for name in arrays.files if name not in ("rest", "images")})
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as reason:
        warnings.warn(f"{file} is damaged and made anew: {reason}.", stacklevel=2)
        return None
    return Contents(images, table, notes, {why: tuple(ids) for why, ids in dropped.items()})
