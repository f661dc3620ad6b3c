"""Any folder or zip of class sub-folders."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from emotions.data import audit
from emotions.data.dataset import TABLE_COLUMNS
from emotions.data.images import SUFFIXES, Store
from emotions.data.reading import SPLITS, Contents, read_images

PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
         "validation": "validation", "test": "test", "testing": "test"}


def read_folder(path: Path, size=None) -> Contents:
    """Read `class/image`, at any depth, or `train|validation|test/class/image` from a folder or zip.

    Near duplicates form a group; what lies in two class folders is left out, for its label is not known. Fewer than two
    class folders, one without a readable image, or one named like a column of our tables raise ValueError."""
    store = Store(path)
    listing, classes, outside = _listing(store)
    if not classes:
        raise ValueError(f"There is no class folder in {path} ({outside} images lie directly in it): put the "
                         "images of each class into a sub-folder named like the class.")
    if len(classes) == 1:
        raise ValueError(f'{path} holds one class only, "{classes[0]}": add a folder for at least one other.')
    if taken := TABLE_COLUMNS & set(classes):
        raise ValueError(f'{path} has a class "{min(taken)}", which is a column of our tables: rename the folder.')
    contents = read_images(store, listing, size)
    table = contents.table
    if empty := sorted(set(classes) - set(table["label"])):
        closed = f" Links and locked folders: {', '.join(store.closed)}." if store.closed else ""
        raise ValueError(f'The class folder "{empty[0]}" in {path} holds no readable image: add some, or remove it.'
                         + closed)
    if outside:
        contents.notes.append(f"{outside} images in {path} lie outside the class folders and were left out.")
    if others := [name for name in store.files if not _is_image(name)]:
        contents.notes.append(f"Left out: {len(others)} files in {path} whose names do not end like an image's, or are "
                              f"not UTF-8, such as {others[0]!a}.")
    disputed = audit.conflicting(table["group"], table["label"])
    links = [audit.linked(table["group"]), audit.near_duplicates(contents.images)]
    table["group"] = audit.group(np.concatenate(links), len(table))
    names = ", ".join(table["id"][disputed][:6])
    contents.leave_out(disputed, f"the same image is in two classes, such as {names}", ("", *SPLITS))
    return contents


def _listing(store: Store) -> tuple[pd.DataFrame, list[str], int]:
    """List `file`, `part` and `label`; the class folders, empty ones too; and count the images outside."""
    files = [name for name in store.files if _is_image(name)]
    folders = store.folders + [name.rpartition("/")[0] for name in store.files if "/" in name]
    depth, tops = 0, _names(folders, 0)
    while len(tops) == 1 and not tops & set(PARTS) and all(file.count("/") > depth + 1 for file in files):
        depth, tops = depth + 1, _names(folders, depth + 1)  # a folder around it all
    split = bool(tops & set(PARTS))
    rows, classes, outside = [], set(), 0
    for name in files + [folder + "/" for folder in folders if folder.count("/") + 1 >= depth]:
        *above, last = name.split("/")[depth:]
        part = PARTS.get(_plain(above[0])) if split and above else ""
        label = _plain(above[split]) if len(above) > split else None
        if label and part is not None:
            classes.add(label)
            if last:
                rows.append((name, part, label))
        elif last:
            outside += 1
    return pd.DataFrame(rows, columns=["file", "part", "label"]), sorted(classes), outside


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not re.search("[\ud800-\udfff]", name)  # bytes that are no UTF-8


def _names(folders: list[str], depth: int) -> set[str]:
    return {_plain(folder.split("/")[depth]) for folder in folders if folder.count("/") >= depth and folder}


def _plain(name: str) -> str:
    """Return a folder's name without capitals and outer blanks: "SAD " is the class "sad". Letters are composed, since
    macOS takes accents and Korean syllables apart."""
    return unicodedata.normalize("NFC", name).strip().lower()
