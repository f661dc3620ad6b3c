"""Can I trust these data? Copies, leakage, label noise, constant pictures, outliers.

    report = audit(load("fer2013", keep_copies=True))
    print(report)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from emotions.data.datasets import Dataset

TINY = 32  # pixels: on fewer, a face's expression is a handful of pixels
OUTLIER = 3.5  # modified z-score: Iglewicz & Hoaglin (1993), How to Detect and Handle Outliers, ch. 3
HASH_DISTANCE = 4  # of 64 bits: re-encoding FER2013 as JPEG moves no hash by more than 5, 99.97% by at most 3
CORRELATION = 0.95  # of the pixels: what makes two pictures with close hashes near duplicates


def measure(images) -> pd.DataFrame:
    """What can be told from each picture alone.

    Args:
        images: uint8, N x H x W x 3, RGB; an array, or anything that decodes when sliced.

    Returns:
        One row per picture: `digest` (equal exactly when the pixels are), `hash` (`difference_hash`),
        `brightness` (mean grey, 0-255), `sharpness` (variance of the Laplacian of the grey picture) and
        `contrast` (largest minus smallest value of a channel, the most of the three; 0 for a picture of one colour).
    """
    batches = (np.asarray(images[start:start + 512]) for start in range(0, len(images), 512))
    rows = [_measure(picture) for batch in batches for picture in batch]
    table = pd.DataFrame(rows, columns=["digest", "hash", "brightness", "sharpness", "contrast"])
    return table.astype({"hash": np.uint64, "brightness": float, "sharpness": float, "contrast": int})


def _measure(picture: np.ndarray) -> tuple:
    grey = to_grey(picture)
    sharpness = cv2.Laplacian(grey, cv2.CV_32F).var()
    return digest(picture), difference_hash(grey), grey.mean(), sharpness, int(np.ptp(picture, axis=(0, 1)).max())


def to_grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)


def digest(picture: np.ndarray) -> str:
    """The same for two pictures exactly when shape and pixels are."""
    return hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16, salt=str(picture.shape).encode()[:16]
                           ).hexdigest()


def difference_hash(grey: np.ndarray) -> int:
    """64 bits: is each cell of a 9 x 8 thumbnail darker than its right neighbour? ("dHash", Krawetz 2013)

    Light, contrast, size and compression hardly change it; rotation and mirroring do.
    """
    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def near_duplicates(images, measures: pd.DataFrame | None = None, distance: int = HASH_DISTANCE,
                    correlation: float = CORRELATION) -> np.ndarray:
    """Pairs of pictures that look alike, exact copies included.

    Close hashes nominate a pair, the correlation of the grey pixels confirms it. Comparing all hashes
    with all takes 2 seconds for 36,000 pictures. Constant pictures have nothing to compare and are left out.

    Args:
        images: uint8, N x H x W x 3, RGB.
        measures: `measure(images)`, where it is at hand.
        distance: most bits in which the hashes may differ.
        correlation: least correlation of the pixels.

    Returns:
        int, P x 2: positions i < j.
    """
    measures = measure(images) if measures is None else measures
    varied = np.flatnonzero(measures["contrast"])
    pairs = varied[close_pairs(measures["hash"].to_numpy()[varied], distance)]
    digests = measures["digest"].to_numpy()
    alike = digests[pairs[:, 0]] == digests[pairs[:, 1]]
    doubtful = np.flatnonzero(~alike)
    for start in range(0, len(doubtful), 512):
        some = doubtful[start:start + 512]
        one, other = (_standardised(np.asarray(images[pairs[some, side]])) for side in (0, 1))
        alike[some] = (one * other).mean(axis=1) >= correlation
    return pairs[alike]


def _standardised(images: np.ndarray) -> np.ndarray:
    flat = np.stack([to_grey(picture) for picture in images]).reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / flat.std(axis=1, keepdims=True)


def close_pairs(hashes: np.ndarray, distance: int) -> np.ndarray:
    """int, P x 2: the positions i < j of all 64-bit hashes that differ in at most `distance` bits."""
    found = [np.empty((0, 2), int)]
    for start in range(0, len(hashes), 1024):
        close = np.bitwise_count(hashes[start:start + 1024, None] ^ hashes[None, start:]) <= distance
        i, j = np.nonzero(np.triu(close, k=1))
        found.append(np.stack([i, j], axis=1) + start)
    return np.concatenate(found)


def linked(keys) -> np.ndarray:
    """int, P x 2: pairs that connect all pictures with equal keys, each with the first of its kind."""
    first = pd.Series(np.arange(len(keys))).groupby(np.asarray(keys)).transform("first").to_numpy()
    later = np.flatnonzero(first != np.arange(len(first)))
    return np.stack([first[later], later], axis=1)


def group(pairs: np.ndarray, count: int) -> np.ndarray:
    """int, `count`: one number per picture, shared by all that the pairs connect, directly or not."""
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1]


def shared(groups, splits) -> pd.DataFrame:
    """How many pictures of one split (row) have a copy in another (column)?

    The diagonal counts the pictures that could go without losing a distinct one.
    """
    groups, splits = pd.Series(np.asarray(groups)), np.asarray(splits)
    names = pd.unique(splits)
    table = pd.DataFrame(0, index=names, columns=names)
    for row in names:
        mine = groups[splits == row]
        for column in names:
            table.loc[row, column] = (mine.duplicated() if row == column else mine.isin(groups[splits == column])).sum()
    return table


def conflicting(groups, labels) -> np.ndarray:
    """bool, N: does the picture's group carry more than one label?"""
    return pd.Series(np.asarray(labels)).groupby(np.asarray(groups)).transform("nunique").to_numpy() > 1


def outliers(values, threshold: float = OUTLIER) -> np.ndarray:
    """bool, N: further from the median than `threshold` times the scaled median absolute deviation?"""
    distance = np.abs(values - np.median(values))
    spread = np.median(distance) / 0.6745  # the standard deviation, for normal data
    return distance > threshold * spread if spread else np.zeros(len(distance), bool)


def suspects(measures: pd.DataFrame, labels) -> dict[str, np.ndarray]:
    """Why might one leave a picture out of training? bool masks (N) by reason.

    Of identical pictures the first may stay, unless their labels disagree: then none can be trusted.
    """
    constant = measures["contrast"].to_numpy() == 0
    digests = measures["digest"].to_numpy()
    return {
        "constant": constant,
        "copy within training": pd.Series(digests).duplicated().to_numpy(),
        "copies with conflicting labels": conflicting(digests, labels),
        "outlier in brightness": outliers(measures["brightness"].to_numpy()) & ~constant,
        "outlier in sharpness": outliers(np.log1p(measures["sharpness"].to_numpy())) & ~constant,
    }


@dataclass(frozen=True)
class Audit:
    """What `audit` found; `print` it, or show `findings()` as a table.

    Attributes:
        name: of the data set.
        counts: pictures by split (rows) and class (columns).
        pictures: one row per picture: split, id, label (class name), all that `measure` tells, `group`
            (shared by near duplicates) and one bool column per reason of `suspects`, over all splits.
        copies: exact copies by split, see `shared`.
        near: the same for near duplicates, exact copies included.
        size: height and width, pixels.
    """

    name: str
    counts: pd.DataFrame
    pictures: pd.DataFrame
    copies: pd.DataFrame
    near: pd.DataFrame
    size: tuple[int, int]

    @property
    def distinct(self) -> int:
        return self.pictures["digest"].nunique()

    def ids(self, finding: str) -> list[str]:
        """The pictures behind a finding: a bool column of `pictures`."""
        return self.pictures.loc[self.pictures[finding], "id"].tolist()

    def findings(self) -> pd.Series:
        """Counts, by what was found."""
        table = self.pictures
        groups = table.loc[table["copies with conflicting labels"], "digest"].nunique()
        classes = self.counts.sum()
        found = {
            "pictures": len(table),
            "distinct pictures": self.distinct,
            "test pictures also in training": self.copies.loc["test", "train"],
            "validation pictures also in training": self.copies.loc["validation", "train"],
            "test pictures also in validation": self.copies.loc["test", "validation"],
            "test pictures with a near duplicate in training": self.near.loc["test", "train"],
            "groups of identical pictures with conflicting labels": groups,
            "constant pictures": table["constant"].sum(),
            f"pictures under {TINY} pixels": len(table) if min(self.size) < TINY else 0,
            "outliers in brightness": table["outlier in brightness"].sum(),
            "outliers in sharpness": table["outlier in sharpness"].sum(),
            "largest class / smallest class": round(classes.max() / max(classes.min(), 1), 1),
        }
        return pd.Series(found, name=self.name, dtype=object)

    def __str__(self) -> str:
        parts = {"": self.findings(), "pictures by class": self.counts,
                 "exact copies: pictures of the row's split that are also in the column's": self.copies,
                 "near duplicates, likewise": self.near}
        return "\n\n".join(f"{title}\n{part.to_string()}".strip() for title, part in parts.items())


def audit(dataset: Dataset) -> Audit:
    """Examine all pictures of a data set: copies, leakage, conflicting labels, constant pictures, outliers.

    To judge a set as it is distributed, load it with `keep_copies=True`. FER2013 takes 15 seconds.
    """
    splits = dataset.splits()
    parts = [measure(split.images) for split in splits.values()]
    names = np.asarray(dataset.class_names)
    table = pd.concat(
        [part.assign(split=name, id=split.ids, label=names[split.labels])
         for part, (name, split) in zip(parts, splits.items(), strict=True)], ignore_index=True)
    pairs = near_duplicates(_Joined([split.images for split in splits.values()]), table)
    table["group"] = group(np.concatenate([pairs, linked(table["digest"])]), len(table))
    table = table.assign(**suspects(table, table["label"]))
    return Audit(dataset.name, dataset.describe(), table, shared(table["digest"], table["split"]),
                 shared(table["group"], table["split"]), tuple(dataset.train.images.shape[1:3]))


class _Joined:
    """Several arrays of pictures, indexed as one, without copying them."""

    def __init__(self, arrays):
        self.arrays = arrays
        self.starts = np.cumsum([0, *map(len, arrays)])

    def __getitem__(self, indices):
        which = np.searchsorted(self.starts, indices, side="right") - 1
        return np.stack([self.arrays[w][i - self.starts[w]] for w, i in zip(which, indices, strict=True)])
