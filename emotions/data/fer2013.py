"""FER2013: the competition's CSV, Kaggle's folders, and the re-cut."""

import warnings
import zipfile
from pathlib import Path
from textwrap import shorten

import numpy as np
import pandas as pd

from emotions.data import audit
from emotions.data.images import Store, in_colour
from emotions.data.reading import Contents, WrongDataset, read_images
from emotions.files import first_sentence

FER2013_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # codes 0 to 6
FER2013_PARTS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
FER2013_FILES = ("fer2013.csv*", "icml_face_data.csv*", "fer2013/fer2013.csv*", "fer2013*", "archive.zip")
RECUT_FILES = ("fer2013-recut*", "face-expression-recognition*", "archive.zip")
SIDE = 48  # pixels


def read_fer2013(path: Path, size=None) -> Contents:
    """Read FER2013 from its CSV (plain or compressed), Kaggle's folders, or a zip of either."""
    if path.name.endswith(".csv.zip") or (path.is_file() and not zipfile.is_zipfile(path)):
        if ".csv" not in path.suffixes:
            raise WrongDataset("neither a CSV nor a zip archive")
        return _read_csv(path)
    store = Store(path)
    if tables := [file for file in store.files if Path(file).name in ("fer2013.csv", "icml_face_data.csv")]:
        with store.open(tables[0]) as file:
            return _read_csv(file)
    pattern = rf"^(?P<file>(?:.*/)?(?:train|test)/(?P<label>\w+)/(?P<part>{'|'.join(FER2013_PARTS)})_[^/]*)$"
    listing = pd.Series(store.files, dtype=str).str.extract(pattern).dropna()
    listing = listing[listing["label"].isin(FER2013_CLASSES)]
    if listing.empty:
        raise WrongDataset("no fer2013.csv and no train|test/<class>/Training_*, PublicTest_*, PrivateTest_* in it")
    listing["part"] = listing["part"].map(FER2013_PARTS)
    contents = read_images(store, listing, size)
    contents.table["id"] = [Path(file).stem for file in contents.table["id"]]
    return contents


def _read_csv(file) -> Contents:
    name = getattr(file, "name", file)
    try:
        frame = pd.read_csv(file, index_col=False).rename(columns=str.strip)
    except Exception as reason:  # pandas and decompression raise nearly anything
        raise ValueError(f"{name} cannot be read as a CSV: {first_sentence(reason)}.") from reason
    if missing := [column for column in ("emotion", "pixels", "Usage") if column not in frame]:
        columns = shorten(", ".join(frame.columns), 90, placeholder="…")
        raise WrongDataset(f"no column {missing[0]}: its columns are {columns}")
    if frame.empty:
        raise ValueError(f"{name} has no rows.")
    pixels = _pixels(frame["pixels"].fillna("").astype(str), name)
    usage, emotions = frame["Usage"].astype(str).str.strip(), pd.to_numeric(frame["emotion"], errors="coerce")
    known = emotions.isin(range(len(FER2013_CLASSES))) & usage.isin(FER2013_PARTS)
    if not known.all():
        row = int((~known).idxmax())
        raise ValueError(f"Row {row} of {name} has the emotion {frame['emotion'][row]} and the usage {usage[row]}: "
                         f"emotions run from 0 to 6, and usages are {', '.join(FER2013_PARTS)}.")
    images = in_colour(pixels.reshape(-1, SIDE, SIDE, 1))
    table = pd.DataFrame({
        "id": [f"{use}_{row:05d}" for row, use in enumerate(usage)],
        "label": np.array(FER2013_CLASSES)[emotions.to_numpy(int)],
        "part": usage.map(FER2013_PARTS),
        "group": [audit.digest(image) for image in images],
    })
    return Contents(images, table)


def _pixels(texts: pd.Series, name) -> np.ndarray:
    """Return the pixels of all rows, uint8, N x 48², or raise ValueError about the first row that is no image."""
    images = np.empty((len(texts), SIDE**2), np.uint8)
    for row, text in enumerate(texts):
        try:
            with warnings.catch_warnings(action="error"):  # NumPy before 2.3 warns only
                pixels = np.fromstring(text, np.int64, sep=" ")
        except (ValueError, DeprecationWarning):
            raise ValueError(f"Row {row} of {name} has pixels that are no whole numbers.") from None
        if pixels.size != SIDE**2:
            raise ValueError(f"Row {row} of {name} has {pixels.size} pixels instead of 48 x 48.")
        if len(outside := pixels[(pixels < 0) | (pixels > 255)]):
            raise ValueError(f"Row {row} of {name} has a pixel of {outside[0]}: pixels run from 0 to 255.")
        images[row] = pixels
    return images


def read_recut(path: Path, size=None) -> Contents:
    """Read the re-cut of FER2013, `train|validation/<class>`: its `validation` is the test split."""
    store = Store(path)
    pattern = rf"^(?P<file>(?:.*/)?(?P<part>train|validation)/(?P<label>{'|'.join(FER2013_CLASSES)})/[^/]+)$"
    listing = pd.Series(store.files, dtype=str).str.extract(pattern).dropna()
    if set(listing["part"]) != {"train", "validation"}:
        raise WrongDataset("no train|validation/<class> folders in it")
    listing = listing[~listing["file"].str.contains("/images/images/")]  # Kaggle's archive holds all of it twice
    listing["part"] = listing["part"].replace("validation", "test")
    contents = read_images(store, listing, size)
    contents.notes.append("The re-cut's validation folder is the test split; validation is held out of its training.")
    return contents
