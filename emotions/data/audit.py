"""Find copies, leakage, label noise and odd images: `print(audit(load("fer2013", keep_copies=True)))`."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emotions.data.dataset import Dataset
from emotions.data.images import is_grey, progress

TINY = 32  # pixels: on fewer, a face's expression is a handful of pixels
OUTLIER = 3.5  # modified z-score: Iglewicz & Hoaglin (1993), How to Detect and Handle Outliers, ch. 3
HASH_DISTANCE = 4  # of 64 bits: re-encoding FER2013 as JPEG moves no hash by more than 5, 99.97% by at most 3
CORRELATION = 0.95  # of the pixels: what makes two images with close hashes near duplicates


def measure(images) -> pd.DataFrame:
    """Measure each image alone: uint8, N x H x W x 3, RGB.

    One row per image: `digest` (equal exactly when the pixels are), `hash` (`difference_hash`), `brightness` (mean
    grey, 0-255), `sharpness` (variance of the Laplacian of the grey image) and `contrast` (largest minus smallest value
    of a channel, the most of the three; 0 for an image of one colour)."""
    rows = []
    for image in progress(images, "Measuring images", len(images)):
        grey, channels = to_grey(image), 1 if is_grey(image) else 3
        contrast = max(int(np.ptp(image[..., channel])) for channel in range(channels))  # at once: 50 x slower
        sharpness = cv2.Laplacian(grey, cv2.CV_32F).var()
        rows.append((digest(image), difference_hash(grey), grey.mean(), sharpness, contrast))
    table = pd.DataFrame(rows, columns=["digest", "hash", "brightness", "sharpness", "contrast"])
    return table.astype({"hash": np.uint64, "brightness": float, "sharpness": float, "contrast": int})


def to_grey(image: np.ndarray) -> np.ndarray:
    if image.strides[-1] == 0:
        return np.ascontiguousarray(image[..., 0])
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def digest(image: np.ndarray) -> str:
    """Return a checksum that is the same for two images exactly when shape and pixels are."""
    pixels = np.ascontiguousarray(image[..., 0] if is_grey(image) else image)
    return hashlib.blake2b(pixels.data, digest_size=16, salt=str(image.shape).encode()[:16]).hexdigest()


def difference_hash(grey: np.ndarray) -> int:
    """Return 64 bits: is each cell of a 9 x 8 thumbnail darker than its right neighbour? ("dHash", Krawetz 2013) Light,
    contrast, size and compression hardly change it; rotation and mirroring do."""
    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def near_duplicates(images, measures: pd.DataFrame | None = None, distance: int = HASH_DISTANCE) -> np.ndarray:
    """Find pairs of images that look alike, exact copies included: int, P x 2, positions i < j.

    Close hashes, which differ in at most `distance` bits, nominate a pair, the correlation of the grey pixels confirms
    it. Comparing all hashes with all takes 2 seconds for 36,000 images. Constant images have nothing to compare."""
    measures = measure(images) if measures is None else measures
    varied = np.flatnonzero(measures["contrast"])
    pairs = varied[close_pairs(measures["hash"].to_numpy()[varied], distance)]
    digests = measures["digest"].to_numpy()

    def alike(*pair) -> bool:
        return np.corrcoef([to_grey(images[i]).ravel() for i in pair], dtype=np.float32)[0, 1] >= CORRELATION

    return pairs[np.array([digests[i] == digests[j] or alike(i, j) for i, j in pairs], bool)]


def close_pairs(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Return the positions (int, P x 2, i < j) of all 64-bit hashes that differ in at most `distance` bits."""
    pairs = [np.empty((0, 2), int)]
    for start in range(0, len(hashes), 1024):
        close = np.bitwise_count(hashes[start:start + 1024, None] ^ hashes[start:]) <= distance
        pairs.append(np.argwhere(np.triu(close, k=1)) + start)
    return np.concatenate(pairs)


def linked(keys) -> np.ndarray:
    """Return pairs (int, P x 2) that connect all images with equal keys, each with the first of its kind."""
    first = pd.Series(np.arange(len(keys))).groupby(np.asarray(keys)).transform("first").to_numpy()
    later = np.flatnonzero(first != np.arange(len(first)))
    return np.stack([first[later], later], axis=1)


def group(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return one number per image (int, `count`), shared by all that the pairs connect, directly or not."""
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1]


def shared(groups, splits) -> pd.DataFrame:
    """Count the images of one split (row) with a copy in another (column); within one, those that could go."""
    groups, splits = pd.Series(np.asarray(groups)), np.asarray(splits)
    parts = {name: groups[splits == name] for name in pd.unique(splits)}
    return pd.DataFrame({column: {row: (mine.duplicated() if row == column else mine.isin(theirs)).sum()
                                  for row, mine in parts.items()} for column, theirs in parts.items()})


def conflicting(groups, labels) -> np.ndarray:
    """Mark the images (bool, N) whose group carries more than one label."""
    return pd.Series(np.asarray(labels)).groupby(np.asarray(groups)).transform("nunique").to_numpy() > 1


def outliers(values) -> np.ndarray:
    """Mark values (bool, N) further from the median than 3.5 times the scaled median absolute deviation."""
    distance = np.abs(values - np.median(values))
    spread = np.median(distance) / 0.6745  # the standard deviation, for normal data
    return distance > OUTLIER * spread if spread else np.zeros(len(distance), bool)


def suspects(measures: pd.DataFrame, labels) -> dict[str, np.ndarray]:
    """Mark images (bool masks, N, by reason) that might be left out of training.

    Of identical images the first may stay, unless their labels disagree: then none can be trusted."""
    constant = measures["contrast"].to_numpy() == 0
    return {
        "constant": constant,
        "copy within training": measures["digest"].duplicated().to_numpy(),
        "copies with conflicting labels": conflicting(measures["digest"], labels),
        "outlier in brightness": outliers(measures["brightness"].to_numpy()) & ~constant,
        "outlier in sharpness": outliers(np.log1p(measures["sharpness"].to_numpy())) & ~constant}


@dataclass(frozen=True)
class Audit:
    """What `audit` found; `print` it, or show `findings()` as a table."""

    name: str  # of the data set
    counts: pd.DataFrame  # images by split (rows) and class (columns)
    # One row per image: split, id, label (class name), all that `measure` tells, `group` (shared by near duplicates)
    # and one bool column per reason of `suspects`, over all splits.
    images: pd.DataFrame
    copies: pd.DataFrame  # exact copies by split, see `shared`
    near: pd.DataFrame  # the same for near duplicates, exact copies included
    size: tuple[int, int]  # height and width, pixels

    def findings(self) -> pd.Series:
        """Count what was found."""
        table, classes = self.images, self.counts.sum()
        counts = {
            "images": len(table),
            "distinct images": table["digest"].nunique(),
            "test images also in training": self.copies.loc["test", "train"],
            "validation images also in training": self.copies.loc["validation", "train"],
            "test images also in validation": self.copies.loc["test", "validation"],
            "test images with a near duplicate in training": self.near.loc["test", "train"],
            "groups of identical images with conflicting labels":
                table.loc[table["copies with conflicting labels"], "digest"].nunique(),
            "constant images": table["constant"].sum(),
            f"images under {TINY} pixels": len(table) if min(self.size) < TINY else 0,
            "outliers in brightness": table["outlier in brightness"].sum(),
            "outliers in sharpness": table["outlier in sharpness"].sum(),
            "largest class / smallest class": round(classes.max() / max(classes.min(), 1), 1)}
        return pd.Series(counts, name=self.name, dtype=object)

    def __str__(self) -> str:
        parts = {"": self.findings(), "images by class": self.counts,
                 "exact copies: images of the row's split that are also in the column's": self.copies,
                 "near duplicates, likewise": self.near}
        return "\n\n".join(f"{title}\n{part.to_string()}".strip() for title, part in parts.items())


def audit(dataset: Dataset) -> Audit:
    """Examine all images of a data set; to judge it as it is distributed, load it with `keep_copies=True`."""
    splits, names = dataset.splits(), np.asarray(dataset.class_names)
    table = pd.concat([measure(split.images).assign(split=name, id=split.ids, label=names[split.labels])
                       for name, split in splits.items()], ignore_index=True)
    pairs = near_duplicates([image for split in splits.values() for image in split.images], table)
    table["group"] = group(np.concatenate([pairs, linked(table["digest"])]), len(table))
    table = table.assign(**suspects(table, table["label"]))
    return Audit(dataset.name, dataset.describe(), table, shared(table["digest"], table["split"]),
                 shared(table["group"], table["split"]), tuple(dataset.train.images.shape[1:3]))
