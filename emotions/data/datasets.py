"""What can I train on? Locate or download a data set, verify it, split it; arrays out.

    dataset = load("fer2013")
    dataset.train.images    # uint8, N x H x W x 3, RGB
    dataset.describe()      # pictures by split and class

`SOURCES` lists what is known by name; any folder of class sub-folders works as well.
"""

from __future__ import annotations

import difflib
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import NearestNeighbors

from emotions.data import audit
from emotions.data import variants
from emotions.data.images import SUFFIXES, Store, Streamed, common_size, decode, fit_all, grey_view, in_threads, shape_of

FER2013_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # codes 0 to 6
FER2013_PARTS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
FERPLUS_CSV = ("fer2013new.csv",)
FERPLUS_VOTES = {"anger": "angry", "disgust": "disgust", "fear": "fear", "happiness": "happy", "neutral": "neutral",
                 "sadness": "sad", "surprise": "surprise"}
THREE_CLASSES = ("angry", "happy", "sad")
PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
         "validation": "validation", "test": "test", "testing": "test"}
HELP = "The repository's data/README.md says where to get what, and what to put where."
NO_SOFT_LABELS = "There are soft labels for fer2013 only, not for {}."
NO_COPIES = "Keeping copies changes nothing: none would be left out of these training pictures."


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        images: uint8, N x H x W x 3, RGB, 0-255. A grey set is a broadcast view: three channels, one copy.
            A set larger than memory is a `Streamed`: it decodes what is indexed.
        labels: int64, N: positions in the data set's `class_names`.
        ids: str, N: stable names of the pictures, unique within the split.
        targets: float32, N x classes: soft labels where the data set has them, otherwise None.
    """

    images: np.ndarray | Streamed
    labels: np.ndarray
    ids: np.ndarray
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices) -> Split:
        """The pictures at `indices` (integers or a mask), in that order."""
        targets = None if self.targets is None else self.targets[indices]
        return Split(take(self.images, indices), self.labels[indices], self.ids[indices], targets)


@dataclass(frozen=True)
class Dataset:
    """Pictures of faces with emotions, in three splits.

    Attributes:
        name: as in `results/<name>/`.
        class_names: alphabetical.
        train, validation, test: `Split`s. Choose on validation; touch test once.
        copied: ids of the test pictures of which a copy stands in the training split as it is distributed,
            whether or not loading dropped those copies. Copies are exact; in Human Emotions they
            are all pictures made from the same photo.
        notes: sentences on what loading found and did, for people.
        dropped: ids of the pictures that were left out, by reason.
        variants: what loading did to the training pictures because it was asked to, as `variants.VARIANTS` names it.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    copied: frozenset[str] = frozenset()
    notes: tuple[str, ...] = field(default=())
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variants: tuple[str, ...] = ()

    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def describe(self) -> pd.DataFrame:
        """Number of pictures by split (rows) and class (columns)."""
        counts = {name: np.bincount(split.labels, minlength=len(self.class_names))
                  for name, split in self.splits().items()}
        return pd.DataFrame.from_dict(counts, orient="index", columns=list(self.class_names))


def take(images, indices):
    """`images[indices]`, keeping a grey set's broadcast view a view and a streamed set streamed."""
    if isinstance(images, Streamed):
        return images.take(indices)
    if images.ndim == 4 and images.strides[-1] == 0:
        return np.broadcast_to(images[..., :1][indices], (*np.shape(images[..., 0][indices]), 3))
    return images[indices]


def select(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """The pictures of some classes only, with labels counted anew in the order of the data set's classes."""
    if unknown := set(class_names) - set(dataset.class_names):
        raise ValueError(f"{dataset.name} has no class {min(unknown)!r}; it has {', '.join(dataset.class_names)}.")
    class_names = tuple(sorted(class_names, key=dataset.class_names.index))
    codes = [dataset.class_names.index(name) for name in class_names]
    parts = {}
    for name, split in dataset.splits().items():
        chosen = split.take(np.isin(split.labels, codes))
        labels = np.searchsorted(codes, chosen.labels)
        parts[name] = replace(chosen, labels=labels, targets=None)
    copied = dataset.copied & frozenset(parts["test"].ids)
    left = ", ".join(class_names)
    notes = tuple(f"Before {left} were chosen: {note}" for note in dataset.notes)
    return replace(dataset, class_names=class_names, copied=copied, notes=notes, **parts)


def load(name: str = "synthetic", path: str | Path | None = None, *, keep_copies: bool = False,
         soft_labels: bool = False, clean: bool = False, size: int | tuple[int, int] | None = None,
         memory_limit: float = 4e9, seed: int = 0) -> Dataset:
    """Load a data set by name.

    Looked for in this order: `path`; the folders in the environment variable EMOTIONS_DATA; data/ of the
    repository and of the current directory; Kaggle. Zip archives are read as they are.

    Args:
        name: one of `NAMES`; "folder:PATH" for any folder (or zip) of class sub-folders, with or
            without train, validation and test above them, not named like one of `NAMES`; or the name of
            such a folder in data/.
        path: file or folder that holds the data set, or lies directly above it.
        keep_copies: keep the training pictures of which an exact copy is in validation or test. They are
            dropped by default; results in the literature are mostly with them. No effect, but a note, where there
            are none to drop: on Human Emotions, which is cut either way under two names, and on "synthetic".
        soft_labels: fill `Split.targets` with the shares of FER+'s votes ("fer2013" only).
        clean: leave suspect pictures out of training (`audit.suspects`, and by FER+'s votes "not a face"
            where they are at hand). `dropped` lists them. Validation and test are never cleaned.
        size: height and width to resize to, antialiased. By default pictures keep their size if they
            all share one of at most 256 pixels, and otherwise become squares of the median of their shorter sides,
            at most 256.
        memory_limit: bytes; folders that need more are streamed from disk.
        seed: of the splits that are drawn here, and of "synthetic".

    Returns:
        A `Dataset`. Its `notes` tell what was found and done, its `variants` which of these choices took effect.

    Raises:
        FileNotFoundError: the data set was not found; says what was tried.
        ValueError: unknown name, or data that cannot be used; says why.
    """
    size = (size, size) if isinstance(size, int) else size
    if name == "synthetic":
        from emotions.data import synthetic
        if soft_labels:
            raise ValueError(NO_SOFT_LABELS.format(name))
        if size and size[0] != size[1]:
            raise ValueError(f"Drawn faces are squares, not {size[0]} x {size[1]} pixels.")
        dataset = synthetic.load(seed=seed) if size is None else synthetic.load(seed=seed, size=size[0])
        dataset = replace(dataset, notes=(*dataset.notes, NO_COPIES)) if keep_copies else dataset
        return _clean(dataset) if clean else dataset
    name, own = place_of(name)
    path = own or path
    source = SOURCES.get(name) or _folder_source(name, path)
    if soft_labels and (not source.votes or source.classes):
        raise ValueError(NO_SOFT_LABELS.format(name))
    pictures = _locate(name, source, path, size, memory_limit)
    if size and pictures.images.shape[1:3] != size:
        pictures.images = fit_all(pictures.images, size)
    votes = _votes(pictures, path, needed=soft_labels) if source.votes and (soft_labels or clean) else None
    dataset = _assemble(name, source, pictures, votes if soft_labels else None, keep_copies, seed)
    if clean:
        dataset = _clean(dataset, votes, pictures)
    if soft_labels:
        dataset = replace(dataset, variants=(*dataset.variants, variants.SOFT_LABELS))
    return select(dataset, source.classes) if source.classes else dataset


# Which data sets are known


@dataclass
class Pictures:
    """What a file or folder holds, before it is split.

    Attributes:
        images: uint8, N x H x W x 3, RGB.
        table: one row per picture: `id`, `label` (class name), `part` ("train", "validation", "test", or ""
            where the distributor has no splits), `group` (the same for copies), and for FER2013 `row`, the
            position in the CSV.
        notes, dropped: as in `Dataset`.
    """

    images: np.ndarray | Streamed
    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)


class NotThisOne(LookupError):
    """A file or folder is not the data set that was looked for."""


@dataclass(frozen=True)
class Source:
    """How a data set known by name is found, read and split.

    Attributes:
        read: (path, size, memory limit) -> `Pictures`; raises `NotThisOne`.
        patterns: names of its files and folders, the best first.
        kaggle: its handle there.
        classes: keep these only, after everything else.
        votes: FER+ votes on the same pictures.
        folds: one part in so many is held out of training where a split is missing.
        pool: ignore the distributor's splits.
        grouped: keep copies on one side of a split that is drawn here, and out of training where they are
            in the distributor's validation or test split.
        published: how many pictures each of the distributor's splits should hold.
    """

    read: Callable[[Path, tuple[int, int] | None, float], Pictures]
    patterns: tuple[str, ...]
    kaggle: str = ""
    classes: tuple[str, ...] = ()
    votes: bool = False
    folds: int = 5
    pool: bool = False
    grouped: bool = True
    published: dict[str, int] = field(default_factory=dict)


def place_of(name: str) -> tuple[str, Path | None]:
    """The name that a data set goes by, and of "folder:PATH" also where it is.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is named like a known data set, whose results its own would be mixed with.
    """
    if not name.startswith("folder:"):
        return name, None
    path = Path(name.removeprefix("folder:")).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is no folder {path}.")
    path = path.resolve()
    own = path.name.removesuffix(".zip")
    if own.lower() in NAMES:  # in lower case: some file systems would take results/FER2013 for results/fer2013
        raise ValueError(f'{path} is named like the data set "{own.lower()}": rename the folder, '
                         "so that results on it are not taken for results on that data set.")
    return own, path


def _folder_source(name: str, path: str | Path | None) -> Source:
    """Class sub-folders in a folder of that name, or in the path given."""
    places = [Path(path)] if path else _places()
    entries = [entry for place in places for entry in (place, *(place.iterdir() if place.is_dir() else ()))]
    own = [entry.name.removesuffix(".zip") for entry in entries if entry.is_dir() or entry.suffix == ".zip"]
    known = [*NAMES, *own]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, cutoff=0)[0]
        raise ValueError(f'Unknown data set "{name}"; did you mean "{near}"? There are {", ".join(NAMES)}, '
                         '"folder:PATH", and the names of folders in data/ that hold class sub-folders.')
    return Source(read_folder, (name, f"{name}.zip"))


# Where they are


def _places() -> list[Path]:
    """The folders to look in, without a path given."""
    places = []
    for entry in filter(None, os.environ.get("EMOTIONS_DATA", "").split(os.pathsep)):
        if not Path(entry).exists():
            raise FileNotFoundError(f"The environment variable EMOTIONS_DATA names {entry}, which does not exist: "
                                    "correct it or unset it.")
        places.append(Path(entry))
    own = [Path(__file__).parents[2] / "data", Path("data").resolve()]
    return places + [place for place in dict.fromkeys(own) if place.is_dir()]


def _candidates(place: Path, patterns: tuple[str, ...]) -> list[Path]:
    if place.is_file():
        return [place]
    depths = ("", "*/", "*/*/", "*/*/*/")  # Kaggle puts a data set up to three folders below /kaggle/input
    found = [match for above in depths for pattern in patterns for match in sorted(place.glob(above + pattern))]
    return list(dict.fromkeys(found)) + ([place] if (place / "train").is_dir() else [])


def _locate(name: str, source: Source, path: str | Path | None, size, memory_limit: float) -> Pictures:
    """Read the first candidate that is this data set."""
    tried = []

    def attempt(candidates) -> Pictures | None:
        for candidate in candidates:
            try:
                return source.read(candidate, size, memory_limit)
            except NotThisOne as reason:
                tried.append(f"{candidate} ({reason})")
        return None

    if path is not None:
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"There is no {path}.")
        found = attempt(dict.fromkeys([*_candidates(path, source.patterns), path]))
        if found is None:
            raise FileNotFoundError(f"{path} does not hold {name}. Tried: {'; '.join(tried)}. {HELP}")
        return found
    if "EMOTIONS_DATA" not in os.environ:
        tried.append("the environment variable EMOTIONS_DATA (not set)")
    for place in _places():
        candidates = _candidates(place, source.patterns)
        if not candidates:
            tried.append(f"{place} (no {' or '.join(source.patterns)})")
        if found := attempt(candidates):
            return found
    if source.kaggle:
        try:
            import kagglehub
            return source.read(Path(kagglehub.dataset_download(source.kaggle)), size, memory_limit)
        except Exception as reason:  # whatever went wrong there is part of the answer
            why = shorten(str(reason), 90, placeholder="…")
            tried.append(f"Kaggle, {source.kaggle} ({type(reason).__name__}: {why})")
    raise FileNotFoundError(f"{name} was not found. Tried: {'; '.join(tried)}. Put it into data/, or set EMOTIONS_DATA "
                            f"to its folder, or give its path; “synthetic” needs no download. {HELP}")


# Reading


def _read(store: Store, listing: pd.DataFrame, size, memory_limit: float) -> Pictures:
    """Decode the files of a listing (`file`, `part`, `label`); or check them, to stream them later."""
    files = listing["file"].to_numpy(str)
    shapes = list(in_threads(lambda file: shape_of(store.read(file)), files))
    readable = np.array([isinstance(shape, tuple) for shape in shapes], bool)
    if len(files) and not readable.any():
        raise ValueError(f"None of the {len(files)} pictures in {store.path} decodes; the first is {files[0]} "
                         f"({shapes[0]}).")
    shapes = [shape for shape in shapes if isinstance(shape, tuple)]
    size = size or common_size(shapes)
    stream = len(shapes) * size[0] * size[1] * 3 > memory_limit
    images = np.empty((0 if stream else len(shapes), *size, 3), np.uint8)
    digests = []
    rows = np.flatnonzero(readable)
    for row, picture in zip(rows, in_threads(lambda file: decode(store.read(file), size), files[rows]), strict=True):
        if isinstance(picture, Exception):
            readable[row] = False
            continue
        if not stream:
            images[len(digests)] = picture
        digests.append(audit.digest(picture))
    images = Streamed(store, files[readable], size) if stream else grey_view(images[:len(digests)])

    table = listing.loc[readable, ["file", "part", "label"]].rename(columns={"file": "id"}).reset_index(drop=True)
    table["group"] = digests
    notes, dropped = [], {}
    if not readable.all():
        dropped["unreadable"] = tuple(files[~readable])
        notes.append(f"{(~readable).sum()} of {len(files)} pictures in {store.path} do not decode and were skipped: "
                     f"{_some(dropped['unreadable'])}.")
    if set(shapes) - {tuple(size)}:
        notes.append(f"Pictures of {len(set(shapes))} sizes were resized to {size[0]} x {size[1]} pixels.")
    if tiny := sum(min(shape) < audit.TINY for shape in shapes):
        notes.append(f"{tiny} pictures are tiny: under {audit.TINY} pixels on their shorter side.")
    if stream:
        notes.append(f"{len(digests)} pictures of {size[0]} x {size[1]} need more than {memory_limit / 1e9:g} GB: "
                     "they are streamed from disk.")
    return Pictures(images, table, notes, dropped)


def _some(ids, most: int = 5) -> str:
    return ", ".join(list(ids)[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")


# Folders of class sub-folders


def _listing(store: Store) -> tuple[pd.DataFrame, list[str], int]:
    """Which class and part is each file in?

    Returns:
        A table of `file`, `part`, `label`; the class folders found, empty ones too; the number of pictures outside.
    """
    files = [name for name in store.files if Path(name).suffix.lower() in SUFFIXES]
    folders = store.folders + [name.rpartition("/")[0] for name in store.files if "/" in name]
    tops = {folder.split("/")[0] for folder in folders if folder}
    depth = 0
    if store.path.is_file() and len(tops) == 1 and all("/" in file.partition("/")[2] for file in files):
        depth, tops = 1, {folder.split("/")[1] for folder in folders if "/" in folder}  # a folder around it all
    split = any(top.lower() in PARTS for top in tops)
    rows, classes, outside = [], set(), 0
    for name in files + [folder + "/" for folder in folders]:
        *above, last = name.split("/")[depth:]
        part = PARTS.get(above[0].lower()) if split and above else ""
        label = above[split] if len(above) > split else None
        if label and part is not None:
            classes.add(label)
            if last:
                rows.append((name, part, label))
        elif last:
            outside += 1
    return pd.DataFrame(rows, columns=["file", "part", "label"]), sorted(classes), outside


def read_folder(path: Path, size=None, memory_limit: float = 4e9) -> Pictures:
    """Read `class/picture` or `train|validation|test/class/picture` from a folder or zip."""
    store = Store(path)
    listing, classes, outside = _listing(store)
    if not classes:
        raise ValueError(f"There is no class folder in {path} ({outside} pictures lie directly in it): put the "
                         "pictures of each class into a sub-folder named like the class.")
    if len(classes) == 1:
        raise ValueError(f'{path} holds one class only, "{classes[0]}": add a folder for at least one other.')
    pictures = _read(store, listing, size, memory_limit)
    empty = sorted(set(classes) - set(pictures.table["label"]))
    if empty:
        raise ValueError(f'The class folder "{empty[0]}" in {path} holds no readable picture: add some, or remove it.')
    if outside:
        pictures.notes.append(f"{outside} pictures in {path} lie outside the class folders and were left out.")
    return pictures


# FER2013


def read_fer2013(path: Path, size=None, memory_limit: float = 4e9) -> Pictures:
    """Read FER2013 from its CSV (plain or compressed), Kaggle's folders, or a zip of either."""
    if path.name.endswith(".csv.zip") or (path.is_file() and not zipfile.is_zipfile(path)):
        if ".csv" not in path.suffixes:
            raise NotThisOne("neither a CSV nor a zip archive")
        return _read_csv(path)
    store = Store(path)
    tables = [file for file in store.files if Path(file).name in ("fer2013.csv", "icml_face_data.csv")]
    if tables:
        with store.open(tables[0]) as file:
            return _read_csv(file)
    prefixes = "|".join(FER2013_PARTS)
    found = pd.Series(store.files, dtype=str).str.extract(rf"^(?P<file>(?:.*/)?(?:train|test)/(?P<label>\w+)/"
                                                          rf"(?P<part>{prefixes})_[^/]*)$").dropna()
    found = found[found["label"].isin(FER2013_CLASSES)]
    if found.empty:
        raise NotThisOne("no fer2013.csv and no train|test/<class>/Training_*, PublicTest_*, PrivateTest_* in it")
    found["part"] = found["part"].map(FER2013_PARTS)
    pictures = _read(store, found, size, memory_limit)
    pictures.table["id"] = [Path(file).stem for file in pictures.table["id"]]
    return pictures


def _read_csv(file) -> Pictures:
    frame = pd.read_csv(file).rename(columns=str.strip)
    if not {"emotion", "pixels", "Usage"} <= set(frame.columns):
        raise NotThisOne(f"its columns are {', '.join(frame.columns)}, not emotion, pixels, Usage")
    pixels = np.fromstring(" ".join(frame["pixels"]), dtype=np.uint8, sep=" ")
    if pixels.size != len(frame) * 48 * 48:
        lengths = frame["pixels"].str.split().str.len()
        row = int((lengths != 48 * 48).idxmax())
        raise ValueError(f"Row {row} of {getattr(file, 'name', file)} has {lengths[row]} pixels instead of 48 x 48.")
    images = np.broadcast_to(pixels.reshape(-1, 48, 48, 1), (len(frame), 48, 48, 3))
    usage = frame["Usage"].str.strip()
    known = frame["emotion"].isin(range(len(FER2013_CLASSES))) & usage.isin(FER2013_PARTS)
    if not known.all():
        row = int((~known).idxmax())
        raise ValueError(f"Row {row} of {getattr(file, 'name', file)} has the emotion {frame['emotion'][row]} and the "
                         f"usage {usage[row]}: emotions run from 0 to 6, and usages are {', '.join(FER2013_PARTS)}.")
    table = pd.DataFrame({
        "id": [f"{use}_{row:05d}" for row, use in enumerate(usage)],
        "label": np.array(FER2013_CLASSES)[frame["emotion"].to_numpy()],
        "part": usage.map(FER2013_PARTS),
        "group": [audit.digest(image) for image in images],
        "row": np.arange(len(frame)),
    })
    return Pictures(images, table)


def read_recut(path: Path, size=None, memory_limit: float = 4e9) -> Pictures:
    """Read the re-cut of FER2013, `train|validation/<class>`: its `validation` is the test split."""
    store = Store(path)
    pattern = rf"^(?P<file>(?:.*/)?(?P<part>train|validation)/(?P<label>{'|'.join(FER2013_CLASSES)})/[^/]+)$"
    found = pd.Series(store.files, dtype=str).str.extract(pattern).dropna()
    if set(found["part"]) != {"train", "validation"}:
        raise NotThisOne("no train|validation/<class> folders in it")
    if found["file"].str.contains("/images/images/").any():  # Kaggle's archive holds all of it twice
        found = found[~found["file"].str.contains("/images/images/")]
    pictures = _read(store, found.assign(part=found["part"].replace("validation", "test")), size, memory_limit)
    pictures.notes.append("The re-cut's validation folder is the test split; validation is held out of its training.")
    return pictures


# FER+


def ferplus_votes(ids, path: str | Path | None = None) -> pd.DataFrame:
    """How FER+'s ten voters labelled pictures of FER2013 (Barsoum et al. 2016). Needs `fer2013new.csv`, no picture.

    Args:
        ids: N names as loading FER2013's CSV gives them, "PrivateTest_32298": split and row.
        path: a folder to look in first, before EMOTIONS_DATA and data/.

    Returns:
        N rows in the order of the ids: the number of votes for each of the seven classes, by our names, and for
        contempt, unknown and NF (not a face). They add up to ten, or less where voters did not finish.

    Raises:
        FileNotFoundError: there is no fer2013new.csv.
        ValueError: the ids do not name rows of FER+, as those of FER2013 in folders do not.
    """
    found = _files(path, FERPLUS_CSV)
    if not found:
        raise FileNotFoundError("FER+'s fer2013new.csv was not found beside FER2013 or in data/: "
                                f"get it from https://github.com/microsoft/FERPlus. {HELP}")
    votes = _read_votes(found[0])
    named = pd.Series(ids, dtype=str).str.extract(r"^(?P<part>[A-Za-z]+)_(?P<row>\d+)$")
    rows = pd.to_numeric(named["row"])
    known = rows.between(0, len(votes) - 1)
    if not known.all() or not (votes["Usage"].to_numpy()[rows.astype(int)] == named["part"]).all():
        raise ValueError(f"These ids do not name rows of {found[0]}: FER+'s votes follow the rows of FER2013's CSV, "
                         "and pictures in folders have other names.")
    return votes.iloc[rows.astype(int)].drop(columns=["Usage", "Image name"]).reset_index(drop=True)


def _files(path: str | Path | None, patterns: tuple[str, ...]) -> list[Path]:
    """Files of these names in the path, beside it, and in the usual places."""
    found = []
    if path:  # beside it and no deeper: anything may lie there
        found = _candidates(Path(path), patterns) + [it for name in patterns for it in Path(path).parent.glob(name)]
    found += [match for place in _places() for match in _candidates(place, patterns)]
    return [match for match in found if match.is_file() and any(match.match(name) for name in patterns)]


def _read_votes(file: Path) -> pd.DataFrame:
    return pd.read_csv(file).rename(columns=str.strip).rename(columns=FERPLUS_VOTES)


def _votes(pictures: Pictures, path: str | Path | None, needed: bool) -> pd.DataFrame | None:
    """FER+'s ten votes on each picture: shares of all candidates; NaN where the picture was not found.

    Joined by the CSV's rows; pictures from folders are looked up in the CSV first, by their pixels.
    """
    found = _files(path, FERPLUS_CSV)
    if not found and not needed:
        return None
    if not found:
        raise FileNotFoundError("Soft labels need FER+'s fer2013new.csv beside FER2013 or in data/: "
                                f"get it from https://github.com/microsoft/FERPlus. {HELP}")
    table = pictures.table
    if "row" not in table:
        csv = next(map(_read_csv, _files(path, FER2013_CSV)), None)
        if csv is None and not needed:
            return None
        if csv is None:
            raise FileNotFoundError("FER+'s votes follow the rows of fer2013.csv: soft labels for FER2013 in folders "
                                    f"need that CSV as well, to find the pictures in it. {HELP}")
        table = table.assign(row=_same_picture(pictures, csv))
        pictures.notes.append(f"{(table['row'] >= 0).sum()} of {len(table)} pictures were found in the CSV by their "
                              "pixels, which gives their FER+ votes; the others keep their label.")
    votes = _read_votes(found[0])
    known = table["row"].between(0, len(votes) - 1)
    aligned = votes["Usage"].map(FER2013_PARTS).reindex(table["row"]).to_numpy() == table["part"].to_numpy()
    if not aligned[known].all() or not known.any():
        raise ValueError(f"{found[0]} does not follow the rows of this FER2013 (row {int(np.argmin(aligned))} is in "
                         "another split): both must have the competition's 35,887 rows in their original order.")
    counts = votes.drop(columns=["Usage", "Image name"])
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    return shares.reindex(table["row"].where(known, -1)).reset_index(drop=True)


def _same_picture(pictures: Pictures, csv: Pictures, side: int = 12, tolerance: float = 4) -> np.ndarray:
    """The CSV's row of each picture, -1 where there is none: the nearest thumbnail of the same split and label.

    Kaggle's JPEG files differ from the CSV by at most 1.6 grey levels, averaged over a picture; `tolerance` is
    in the same unit.
    """
    def thumbnails(images):
        cells = images[..., 0].reshape(len(images), side, 48 // side, side, 48 // side)
        return cells.mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1)

    rows = np.full(len(pictures.table), -1)
    theirs = csv.table.groupby(["part", "label"]).indices
    for key, mine in pictures.table.groupby(["part", "label"]).indices.items():
        if key not in theirs:
            continue
        reference = thumbnails(csv.images[theirs[key]])
        nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(reference)
        pixels = fit_all(pictures.images[mine], (48, 48))
        found = theirs[key][nearest.kneighbors(thumbnails(pixels), return_distance=False)[:, 0]]
        one, other = csv.images[found, ..., 0], pixels[..., 0]
        difference = np.abs(one.astype(np.int16) - other).mean(axis=(1, 2))
        rows[mine] = np.where(difference <= tolerance, found, -1)
    return rows


def _soft(pictures: Pictures, votes: pd.DataFrame, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Targets (float32, N x classes), and where no vote fell on one of the classes (bool, N)."""
    shares = votes[list(class_names)].to_numpy(np.float32)
    hard = np.eye(len(class_names), dtype=np.float32)[np.searchsorted(class_names, pictures.table["label"])]
    total = shares.sum(axis=1, keepdims=True)
    return np.where(total > 0, shares / np.where(total > 0, total, 1), hard), total[:, 0] == 0


# Human Emotions


def read_human_emotions(path: Path, size=None, memory_limit: float = 4e9) -> Pictures:
    """Read Human Emotions, `train|test/angry|happy|sad` and no other class, wherever in the folder or zip that stands.

    The download holds more than one copy of the set; they are never pooled. Pictures made from the
    same photo form a `group`: by name (the author's scripts add `_rotation_<n>` and `_brightness_<n>`), by
    pixels, or by looks (`audit.near_duplicates`).
    """
    store = Store(path)
    pattern = r"^(?P<file>(?P<root>(?:.*/)?)(?P<part>train|test)/(?P<label>[^/]+)/[^/]+)$"
    files = [name for name in store.files if Path(name).suffix.lower() in SUFFIXES]
    found = pd.Series(files, dtype=str).str.extract(pattern, flags=re.IGNORECASE).dropna()
    found = found.assign(part=found["part"].str.lower(), label=found["label"].str.lower())
    wanted = {(part, label) for part in ("train", "test") for label in THREE_CLASSES}
    held = {root: set(zip(rows["part"], rows["label"], strict=True)) for root, rows in found.groupby("root")}
    roots = sorted((root for root in held if held[root] == wanted), key=lambda root: ("split" in root.lower(), root))
    if not roots:  # FER2013 in folders has these three too: it must not pass for Human Emotions
        more = {label for labels in held.values() if labels > wanted for _, label in labels} - set(THREE_CLASSES)
        raise NotThisOne(f"its train|test folders hold other classes too: {', '.join(sorted(more))}" if more
                         else f"no train|test/{'|'.join(THREE_CLASSES)} folders in it")
    pictures = _read(store, found[found["root"] == roots[0]], size, memory_limit)
    if len(roots) > 1:
        others = ", ".join(f'"{root}"' for root in roots[1:])
        pictures.notes.append(f'Read "{roots[0]}"; {path} also holds {others}: to use that, give its path.')
    photos = pictures.table["label"] + "/" + pictures.table["id"].map(source_photo)
    links = [audit.linked(photos), audit.linked(pictures.table["group"]), audit.near_duplicates(pictures.images)]
    groups = audit.group(np.concatenate(links), len(photos))
    sizes = np.bincount(groups)
    pictures.notes.append(
        f"{len(groups)} pictures come from {len(sizes)} photos, by names and looks; at most {sizes.max()} from one."
        if sizes.max() > 1 else "No two pictures were found to come from one photo: grouping changed nothing.")
    pictures.table["group"] = groups
    return pictures


def source_photo(file: str) -> str:
    """The photo that a picture of Human Emotions was made from: `a.jpg_rotation_1.jpg` -> `a`."""
    name = Path(file).name.lower()
    while (shorter := re.sub(r"(\.(jpe?g|png|bmp|webp)|_(rotation|brightness)_[^_.]+)$", "", name)) not in (name, ""):
        name = shorter
    return name


# Splitting


def _assemble(name: str, source: Source, pictures: Pictures, votes: pd.DataFrame | None, keep_copies: bool,
              seed: int) -> Dataset:
    """Splits as distributed where there are some, drawn where not, with copies on one side only."""
    table, notes = pictures.table, list(pictures.notes)
    dropped = dict(pictures.dropped)
    class_names = tuple(sorted(table["label"].unique()))
    labels = np.searchsorted(class_names, table["label"])
    groups = pd.factorize(table["group"])[0]
    part = np.full(len(table), "") if source.pool else table["part"].to_numpy(str)
    given = set(part) - {""}
    part = np.where(part == "", "train", part).astype("U10")
    if "train" not in part:
        raise ValueError(f"{name} has no training pictures: put them into train/, beside {' and '.join(given)}/.")

    def leave_out(mask, reason):
        if mask.any():
            part[mask] = "dropped"
            dropped[reason] = tuple(table["id"][mask])
            notes.append(f"{mask.sum()} training pictures were left out: {reason}.")

    sizes = {split: int((part == split).sum()) for split in source.published}
    if sizes != source.published:
        notes.append(f"This copy holds {sizes} pictures; published are {source.published}.")
    train = part == "train"
    copied = (part == "test") & np.isin(groups, groups[train])
    leaked = train & np.isin(groups, groups[~train])
    kept = keep_copies and source.grouped and leaked.any()
    if keep_copies and not kept:
        notes.append(NO_COPIES)
    if source.grouped and not keep_copies:
        leave_out(leaked, "copy of a validation or test picture")
    elif leaked.any():
        notes.append(f"{leaked.sum()} training pictures are copies of validation or test pictures, and were kept.")
    between = ((part == "test") & np.isin(groups, groups[part == "validation"])).sum()
    if between:
        notes.append(f"{between} test pictures are also in validation; neither is changed.")

    for split in ("test", "validation"):
        if split not in given:
            rows = np.flatnonzero(part == "train")
            held = hold_out(labels[rows], groups[rows] if source.grouped else rows, source.folds, seed, class_names)
            part[rows[held]] = split
            notes.append(f"1/{source.folds} of training was held out for {split}, stratified by class (seed {seed}).")

    targets = None
    if votes is not None:
        targets, outside = _soft(pictures, votes, class_names)
        leave_out((part == "train") & outside & votes["NF"].notna().to_numpy(), "no FER+ vote for one of the classes")
    whole = Split(pictures.images, labels, table["id"].to_numpy(str), targets)
    splits = {split: whole.take(part == split) for split in ("train", "validation", "test")}
    return Dataset(name, class_names, **splits, copied=frozenset(whole.ids[copied]), notes=tuple(notes),
                   dropped=dropped, variants=(variants.COPIES_KEPT,) if kept else ())


def hold_out(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, class_names) -> np.ndarray:
    """Positions of one part in `folds`, stratified by label, no group on both sides.

    Raises:
        ValueError: a class has too few groups.
    """
    distinct = pd.DataFrame({"label": labels, "group": groups}).groupby("label")["group"].nunique()
    if distinct.min() < folds:
        raise ValueError(f'The class "{class_names[distinct.idxmin()]}" has only {distinct.min()} distinct pictures to '
                         f"split, and needs at least {folds}: add some, or bring train, validation and test folders.")
    folder = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return next(folder.split(labels, labels, groups))[1]


def _clean(dataset: Dataset, votes: pd.DataFrame | None = None, pictures: Pictures | None = None) -> Dataset:
    """Leave suspect pictures out of training, each counted under the first reason that holds."""
    train = dataset.train
    reasons = audit.suspects(audit.measure(train.images), train.labels)
    if votes is not None:
        not_face = pd.Series(votes["NF"].to_numpy() >= 0.5, index=pictures.table["id"])
        reasons["not a face, say at least half of FER+'s votes"] = not_face[train.ids].to_numpy()
    keep = np.ones(len(train), bool)
    dropped, notes = dict(dataset.dropped), list(dataset.notes)
    for reason, mask in reasons.items():
        now = mask & keep
        keep &= ~mask
        dropped[reason] = tuple(train.ids[now])
        notes.append(f"{now.sum()} training pictures were left out by cleaning: {reason}.")
    return replace(dataset, train=train.take(keep), dropped=dropped, notes=tuple(notes),
                   variants=(*dataset.variants, variants.CLEANED))


FER2013_CSV = ("fer2013.csv*", "icml_face_data.csv*", "fer2013/fer2013.csv*")
FER2013 = Source(read_fer2013, (*FER2013_CSV, "fer2013*", "archive.zip"), kaggle="msambare/fer2013", votes=True,
                 published={"train": 28709, "validation": 3589, "test": 3589})
HUMAN_EMOTIONS = Source(
    read_human_emotions, ("human-emotions*", "Emotions Dataset*", "EmotionsDataset*", "archive.zip"),
    kaggle="muhammadhananasghar/human-emotions-datasethes")
SOURCES = {
    "fer2013": FER2013,
    "fer2013-3": replace(FER2013, classes=THREE_CLASSES),
    # 1/8 of its training pictures is about what FER2013's own validation split holds.
    "fer2013-recut": Source(read_recut, ("fer2013-recut*", "face-expression-recognition*", "archive.zip"),
                            kaggle="jonathanoheix/face-expression-recognition-dataset", folds=8,
                            published={"train": 28821, "test": 7066}),
    "human-emotions": replace(HUMAN_EMOTIONS, pool=True),
    "human-emotions-as-distributed": replace(HUMAN_EMOTIONS, grouped=False, published={"train": 6799, "test": 2278}),
}
NAMES = ("synthetic", *SOURCES)
