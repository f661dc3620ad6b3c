"""FER2013: the competition's CSV, Kaggle's folders, and the re-cut."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from emotions.data import audit
from emotions.data.images import Store
from emotions.data.reading import Contents, NotThisOne, read_images

FER2013_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # codes 0 to 6
FER2013_PARTS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
FER2013_FILES = ("fer2013.csv*", "icml_face_data.csv*", "fer2013/fer2013.csv*", "fer2013*", "archive.zip")
RECUT_FILES = ("fer2013-recut*", "face-expression-recognition*", "archive.zip")
SIDE = 48  # pixels


def read_fer2013(path: Path, size=None) -> Contents:
    """Read FER2013 from its CSV (plain or compressed), Kaggle's folders, or a zip of either."""
    if path.name.endswith(".csv.zip") or (path.is_file() and not zipfile.is_zipfile(path)):
        if ".csv" not in path.suffixes:
            raise NotThisOne("neither a CSV nor a zip archive")
        return _read_csv(path)
    store = Store(path)
    if tables := [file for file in store.files if Path(file).name in ("fer2013.csv", "icml_face_data.csv")]:
        with store.open(tables[0]) as file:
            return _read_csv(file)
    pattern = rf"^(?P<file>(?:.*/)?(?:train|test)/(?P<label>\w+)/(?P<part>{'|'.join(FER2013_PARTS)})_[^/]*)$"
    listing = pd.Series(store.files, dtype=str).str.extract(pattern).dropna()
    listing = listing[listing["label"].isin(FER2013_CLASSES)]
    if listing.empty:
        raise NotThisOne("no fer2013.csv and no train|test/<class>/Training_*, PublicTest_*, PrivateTest_* in it")
    listing["part"] = listing["part"].map(FER2013_PARTS)
    contents = read_images(store, listing, size)
    contents.table["id"] = [Path(file).stem for file in contents.table["id"]]
    return contents


def _read_csv(file) -> Contents:
    frame = pd.read_csv(file).rename(columns=str.strip)
    if not {"emotion", "pixels", "Usage"} <= set(frame.columns):
        raise NotThisOne(f"its columns are {', '.join(frame.columns)}, not emotion, pixels, Usage")
    name = getattr(file, "name", file)
    texts = frame["pixels"].fillna("")
    pixels = np.fromstring(" ".join(texts), dtype=np.int32, sep=" ")
    if pixels.size != len(frame) * SIDE**2:
        lengths = texts.str.split().str.len()
        row = int((lengths != SIDE**2).idxmax())
        raise ValueError(f"Row {row} of {name} has {lengths[row]} pixels instead of 48 x 48.")
    if len(outside := np.flatnonzero((pixels < 0) | (pixels > 255))):
        row, value = outside[0] // SIDE**2, pixels[outside[0]]
        raise ValueError(f"Row {row} of {name} has a pixel of {value}: pixels run from 0 to 255.")
    usage = frame["Usage"].str.strip()
    known = frame["emotion"].isin(range(len(FER2013_CLASSES))) & usage.isin(FER2013_PARTS)
    if not known.all():
        row = int((~known).idxmax())
        raise ValueError(f"Row {row} of {name} has the emotion {frame['emotion'][row]} and the usage {usage[row]}: "
                         f"emotions run from 0 to 6, and usages are {', '.join(FER2013_PARTS)}.")
    images = np.broadcast_to(pixels.astype(np.uint8).reshape(-1, SIDE, SIDE, 1), (len(frame), SIDE, SIDE, 3))
    table = pd.DataFrame({
        "id": [f"{use}_{row:05d}" for row, use in enumerate(usage)],
        "label": np.array(FER2013_CLASSES)[frame["emotion"].to_numpy()],
        "part": usage.map(FER2013_PARTS),
        "group": [audit.digest(image) for image in images],
        "row": np.arange(len(frame)),
    })
    return Contents(images, table)


def read_recut(path: Path, size=None) -> Contents:
    """Read the re-cut of FER2013, `train|validation/<class>`: its `validation` is the test split."""
    store = Store(path)
    pattern = rf"^(?P<file>(?:.*/)?(?P<part>train|validation)/(?P<label>{'|'.join(FER2013_CLASSES)})/[^/]+)$"
    listing = pd.Series(store.files, dtype=str).str.extract(pattern).dropna()
    if set(listing["part"]) != {"train", "validation"}:
        raise NotThisOne("no train|validation/<class> folders in it")
    if listing["file"].str.contains("/images/images/").any():  # Kaggle's archive holds all of it twice
        listing = listing[~listing["file"].str.contains("/images/images/")]
    listing["part"] = listing["part"].replace("validation", "test")
    contents = read_images(store, listing, size)
    contents.notes.append("The re-cut's validation folder is the test split; validation is held out of its training.")
    return contents
