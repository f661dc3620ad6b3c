"""What readers share: what they return, and decoding the files of a listing."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from emotions.data import audit
from emotions.data.dataset import Dataset
from emotions.data.images import Store, common_size, decode, in_colour, in_threads, is_grey, progress

SPLITS = ("train", "validation", "test")


@dataclass
class Contents:
    """What a file or folder holds, before it is split; notes and dropped as in `Dataset`."""

    images: np.ndarray  # uint8, N x H x W x 3, RGB
    # One row per image: `id`, `label` (class name), `part` ("train", "validation", "test", or "" where the distributor
    # has no splits) and `group` (equal for copies).
    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def leave_out(self, mask: np.ndarray, reason: str, splits: tuple[str, ...] = ("train",)) -> None:
        """Leave those of the images (bool, N) out that are in one of the splits."""
        mask = mask & self.table["part"].isin(splits).to_numpy()
        if mask.any():
            self.table.loc[mask, "part"] = "dropped"
            self.dropped[reason] = tuple(self.table["id"][mask])
            which = "training images" if splits == ("train",) else "images"
            self.notes.append(f"{mask.sum()} {which} were left out: {reason}.")


class WrongDataset(LookupError):
    """A file or folder is not the data set that was looked for."""


@dataclass(frozen=True)
class Source:
    """How a data set known by name is found, read and split."""

    read: Callable[..., Contents]  # takes path and size, may raise `WrongDataset`; of drawn faces, takes size and seed
    patterns: tuple[str, ...] = ()  # names of its files and folders, the best first; none for drawn faces
    kaggle: str = ""  # its handle there
    classes: tuple[str, ...] = ()  # keep these only, after everything else
    majority: bool = False  # FER+'s votes are its soft labels, and their majority is its label
    folds: int = 5  # one part in so many is held out of training where a split is missing
    pool: bool = False  # ignore the distributor's splits
    grouped: bool = True  # keep copies on one side of a split, drawn here or the distributor's
    published: dict[str, int] = field(default_factory=dict)  # how many images the distributor's splits should hold
    postprocess: Callable[[Dataset], Dataset] | None = None  # of what was split


def read_images(store: Store, listing: pd.DataFrame, size=None) -> Contents:
    """Decode the files of a listing (`file`, `part`, `label`); ValueError if none decodes."""
    files = listing["file"].to_numpy(str)
    shapes = list(in_threads(store.shape_of, files))
    readable = np.array([isinstance(shape, tuple) for shape in shapes], bool)
    if len(files) and not readable.any():
        raise ValueError(f"None of the {len(files)} images in {store.path} decodes; the first is {files[0]} "
                         f"({shapes[0]}).")
    shapes = [shape for shape in shapes if isinstance(shape, tuple)]
    size = size or common_size(shapes)
    images, digests = _decode(store, files[readable], size)
    readable[readable] = decoded = np.array([digest is not None for digest in digests], bool)
    table = listing.loc[readable, ["file", "part", "label"]].rename(columns={"file": "id"}).reset_index(drop=True)
    table["group"] = [digest for digest in digests if digest]
    contents = Contents(in_colour(images[: decoded.sum()]), table)
    _describe_reading(contents, store, files[~readable], shapes)
    return contents


def _decode(store: Store, files, size: tuple[int, int]) -> tuple[np.ndarray, list[str | None]]:
    """Return the images, with one channel if none has colours, and their digests, None where a file is damaged."""
    def read(file):
        image = decode(store.read(file), size)
        return image, is_grey(image), audit.digest(image)

    images = np.empty((len(files), *size, 1), np.uint8)
    digests, count = [], 0
    for result in progress(in_threads(read, files), f"Reading {store.path.name}", len(files)):
        image, grey, digest = (None, True, None) if isinstance(result, Exception) else result
        if not grey and images.shape[-1] == 1:
            images = np.repeat(images, 3, axis=-1)
        if digest:
            images[count] = image[..., :images.shape[-1]]
            count += 1
        digests.append(digest)
    return images, digests


def _describe_reading(contents: Contents, store: Store, unreadable, shapes) -> None:
    notes, size = contents.notes, contents.images.shape[1:3]
    if len(unreadable):
        contents.dropped["unreadable"] = tuple(unreadable)
        more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
        notes.append(f"{len(unreadable)} of {len(unreadable) + len(contents.table)} images in {store.path} do not "
                     f"decode and were skipped: {', '.join(unreadable[:5])}{more}.")
    if store.outside:
        names = f"{count} names" if (count := len(store.outside)) > 1 else "1 name"
        notes.append(f"Left out: {names} in {store.path} that would lead out of it, such as {store.outside[0]}.")
    if store.closed:
        notes.append(f"Left out, since links are not followed, or they cannot be read: folders in {store.path} "
                     f"({len(store.closed)}), such as {store.closed[0]}.")
    if set(shapes) - {tuple(size)}:
        most = ", ".join(f"{height} x {width} ({n:,})" for (height, width), n in Counter(shapes).most_common(3))
        sizes = "1 size" if (count := len(set(shapes))) == 1 else f"{count} sizes"
        notes.append(f"Images of {sizes} were resized to {size[0]} x {size[1]} pixels; most frequent: {most}.")
    if tiny := sum(min(shape) < audit.TINY for shape in shapes):
        notes.append(f"{tiny} images are tiny: under {audit.TINY} pixels on their shorter side.")
