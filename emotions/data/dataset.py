"""Images of faces with labels, in three splits."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from emotions.data.images import channels, in_colour

WITH_DUPLICATES = "with duplicates"  # of test images in training: a variant, as run records hold it
TABLE_COLUMNS = {  # no names of classes
    "id", "label", "image", "x", "y", "width", "height", "detected", "emotion", "confidence", "note", "error", "unsure",
    "frame", "seconds", "face", "smoothed", "video",
}


@dataclass(frozen=True)
class Split:
    """One part of a data set."""

    images: np.ndarray  # uint8, N x H x W x 3, RGB, 0-255; a grey set is a broadcast view: three channels, one copy
    labels: np.ndarray  # int64, N, positions in the data set's `class_names`
    ids: np.ndarray  # str, N, unique within the split
    targets: np.ndarray | None = None  # float32, N x classes: soft labels where the data set has them
    groups: np.ndarray | None = None  # int64, N: equal for copies, and for images of one photo where that is known

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices) -> "Split":
        """Return the images at `indices` (integers, a slice or a mask), in that order."""
        targets, groups = (None if values is None else values[indices] for values in (self.targets, self.groups))
        images = in_colour(channels(self.images)[indices])  # a grey set's broadcast view stays a view
        return Split(images, self.labels[indices], self.ids[indices], targets, groups)


@dataclass(frozen=True)
class Dataset:
    """A data set as `load` returns it."""

    name: str  # as in `results/<name>/`
    class_names: tuple[str, ...]  # alphabetical
    train: Split
    validation: Split  # to choose on
    test: Split  # to be touched once
    # Ids of the test images of which a copy (in Human Emotions, an image of the same photo) is in the training split as
    # distributed, whether or not loading dropped those copies.
    copied: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()  # sentences on what loading found and did
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)  # ids of the images that were left out, by reason
    variants: tuple[str, ...] = ()  # what was done to the training images, such as WITH_DUPLICATES
    digest: int | None = None  # of a folder of one's own, whose name says little: a checksum of its images, as split

    @property
    def by_photo(self) -> bool:
        """Whether there are several images of a photo, so that intervals and tests resample photos."""
        return self.digest is None and self.name.startswith("human-emotions")

    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def describe(self) -> pd.DataFrame:
        """Count the images by split (rows) and class (columns)."""
        counts = {name: np.bincount(split.labels, minlength=len(self.class_names))
                  for name, split in self.splits().items()}
        return pd.DataFrame.from_dict(counts, orient="index", columns=list(self.class_names))


def select(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """Keep the images of some classes, or raise ValueError; labels are numbered anew, in the data set's order."""
    if unknown := set(class_names) - set(dataset.class_names):
        raise ValueError(f"{dataset.name} has no class {min(unknown)!r}; it has {', '.join(dataset.class_names)}.")
    class_names = tuple(sorted(class_names, key=dataset.class_names.index))
    codes = [dataset.class_names.index(name) for name in class_names]
    parts = {}
    for name, split in dataset.splits().items():
        chosen = split.take(np.isin(split.labels, codes))
        parts[name] = replace(chosen, labels=np.searchsorted(codes, chosen.labels), targets=None)
    copied = dataset.copied & frozenset(parts["test"].ids)
    notes = tuple(f"Before {', '.join(class_names)} were chosen: {note}" for note in dataset.notes)
    return replace(dataset, class_names=class_names, copied=copied, notes=notes, **parts)


def limit(split: Split, most: int) -> Split:
    """Return at most `most` images of a split, in order, with its class proportions to within one image."""
    if len(split) <= most:
        return split
    shuffled = np.random.default_rng(0).permutation(len(split))
    by_class = shuffled[np.argsort(split.labels[shuffled], kind="stable")]
    # Evenly spaced over all, class after class, each class is hit in proportion; the smallest need not be.
    return split.take(np.sort(by_class[np.arange(most) * len(split) // most]))
