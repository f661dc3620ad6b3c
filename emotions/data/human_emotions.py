"""Human Emotions: photos with rotated and darkened copies, grouped by photo."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from emotions.data import audit
from emotions.data.images import SUFFIXES, Store
from emotions.data.reading import Contents, WrongDataset, read_images

HUMAN_EMOTIONS_CLASSES = ("angry", "happy", "sad")
HUMAN_EMOTIONS_FILES = ("human-emotions*", "Emotions Dataset*", "EmotionsDataset*", "archive.zip")


def read_human_emotions(path: Path, size=None) -> Contents:
    """Read Human Emotions, `train|test/angry|happy|sad` and no other class, wherever in the folder or zip that is.

    The download holds more than one copy of the set; they are never pooled. Images made from the same photo form a
    `group`: by name (the author's scripts add `_rotation_<n>` and `_brightness_<n>`), by pixels, or by looks."""
    store = Store(path)
    listing, others = _listing(store)
    contents = read_images(store, listing, size)
    # The same ids whatever folders the copy lies in: run records hold them.
    contents.table["id"] = "Emotions Dataset/" + contents.table["id"].str[len(listing["root"].iloc[0]):]
    if others:
        names = ", ".join(f'"{root}"' for root in others)
        contents.notes.append(f"{path} also holds {names}, which was not read: to use that, give its path.")
    photos = contents.table["label"] + "/" + contents.table["id"].map(source_photo)
    links = [audit.linked(photos), audit.linked(contents.table["group"]), audit.near_duplicates(contents.images)]
    groups = audit.group(np.concatenate(links), len(photos))
    sizes = np.bincount(groups)
    found = f"{len(groups)} images come from {len(sizes)} photos, by names and looks; at most {sizes.max()} from one."
    alone = "No two images were found to come from one photo: grouping changed nothing."
    contents.notes.append(found if sizes.max() > 1 else alone)
    contents.table["group"] = groups
    return contents


def _listing(store: Store) -> tuple[pd.DataFrame, list[str]]:
    """List the files of one copy of the set (`file`, `part`, `label`), and the folders of other copies."""
    pattern = r"^(?P<file>(?P<root>(?:.*/)?)(?P<part>train|test)/(?P<label>[^/]+)/[^/]+)$"
    files = [name for name in store.files if Path(name).suffix.lower() in SUFFIXES]
    listing = pd.Series(files, dtype=str).str.extract(pattern, flags=re.IGNORECASE).dropna()
    listing = listing.assign(part=listing["part"].str.lower(), label=listing["label"].str.lower())
    wanted = {(part, label) for part in ("train", "test") for label in HUMAN_EMOTIONS_CLASSES}
    held = {root: set(zip(rows["part"], rows["label"], strict=True)) for root, rows in listing.groupby("root")}
    roots = sorted((root for root in held if held[root] == wanted), key=lambda root: ("split" in root.lower(), root))
    if not roots:  # FER2013 in folders has these three too: it must not pass for Human Emotions
        more = sorted({label for labels in held.values() if labels > wanted for _, label in labels - wanted})
        raise WrongDataset(f"its train|test folders hold other classes too: {', '.join(more)}" if more
                         else f"no train|test/{'|'.join(HUMAN_EMOTIONS_CLASSES)} folders in it")
    return listing[listing["root"] == roots[0]], roots[1:]


def source_photo(file: str) -> str:
    """Return the photo that an image of Human Emotions was made from: `a.jpg_rotation_1.jpg` -> `a`."""
    name = Path(file).name.lower()
    return re.sub(r"(?<!^)(\.(jpe?g|png|bmp|webp)|_(rotation|brightness)_[^_.]+)+$", "", name)


def kinds(ids) -> np.ndarray:
    """Return how each image of Human Emotions was made, by its name: "original", "rotated" or "darkened"."""
    script = pd.Series(ids, dtype=str).str.lower().str.extract("_(rotation|brightness)_")[0]
    return script.map({"rotation": "rotated", "brightness": "darkened"}).fillna("original").to_numpy()
