"""What are copies of test photos worth? Two data sets that differ in nothing but them.

Both are made of the leak-free split of Human Emotions. Some photos of test give half of their images away; for each
of them a photo of training, of the same class and with as many images, gives half of its images too, and the rest of
that photo is left out. Training takes one half or the other: as many images, photos and images per class."""

from dataclasses import replace

import numpy as np
import pandas as pd

from emotions.data.dataset import Dataset, Split
from emotions.data.images import channels, in_colour


def exchange(dataset: Dataset, *, with_copies: bool) -> Dataset:
    """Return one of the two data sets, of a leak-free one: with copies of test's photos in training, or without."""
    random = np.random.default_rng(0)
    test, train = _photos(dataset.test), _photos(dataset.train)
    pairs = []
    for kind, photos in test.groupby(["label", "images"]).groups.items():
        others = train.index[(train[["label", "images"]] == kind).all(axis=1)]
        count = min(len(photos), len(others)) if kind[1] > 1 else 0
        pairs += zip(random.permutation(photos)[:count], random.permutation(others)[:count], strict=True)
    if not pairs:
        raise ValueError("No photo of test has one of training as its like: the data set is too small.")
    ours, theirs = (list(column) for column in zip(*pairs, strict=True))
    given, stand_ins = _half(dataset.test, ours, random), _half(dataset.train, theirs, random)
    rest = ~np.isin(dataset.train.groups, theirs)
    added = dataset.test.take(given) if with_copies else dataset.train.take(stand_ins)
    tested = dataset.test.take(~given)
    copied = tested.ids[np.isin(tested.groups, ours)] if with_copies else ()
    note = (f"{len(ours)} photos of test gave {given.sum()} images away; training takes "
            f"{'these' if with_copies else f'{stand_ins.sum()} images of as many other photos'}.")
    return replace(dataset, train=_join(dataset.train.take(rest), added), test=tested, copied=frozenset(copied),
                   notes=(*dataset.notes, note))


def _photos(split: Split) -> pd.DataFrame:
    """Count the images of each photo (index: its group), with its most frequent label."""
    table = pd.DataFrame({"group": split.groups, "label": split.labels})
    return table.groupby("group")["label"].agg(label=lambda labels: labels.mode()[0], images="size")


def _half(split: Split, groups: list[int], random: np.random.Generator) -> np.ndarray:
    """Choose half of the images (rounded down) of each of the groups; return a mask."""
    chosen = np.zeros(len(split), bool)
    for group in groups:
        rows = random.permutation(np.flatnonzero(split.groups == group))
        chosen[rows[: len(rows) // 2]] = True
    return chosen


def _join(first: Split, second: Split) -> Split:
    """Return the images of both parts of one data set."""
    images = np.concatenate([channels(split.images) for split in (first, second)])
    labels, ids, groups = (np.concatenate([getattr(split, name) for split in (first, second)])
                           for name in ("labels", "ids", "groups"))
    return Split(in_colour(images), labels, ids, groups=groups)
