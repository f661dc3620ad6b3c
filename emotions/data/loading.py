"""Load a data set by name: find or download it, read it, split it."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import shorten

from emotions.data import splits, synthetic
from emotions.data.cache import cached
from emotions.data.dataset import Dataset, select
from emotions.data.fer2013 import FER2013_FILES, RECUT_FILES, read_fer2013, read_recut
from emotions.data.ferplus import ferplus_votes
from emotions.data.folders import read_folder
from emotions.data.human_emotions import HUMAN_EMOTIONS_CLASSES, HUMAN_EMOTIONS_FILES, read_human_emotions
from emotions.data.images import fit_all
from emotions.data.places import HELP, candidates, places
from emotions.data.reading import Contents, Source, WrongDataset
from emotions.data.twins import exchange
from emotions.files import expanded, nearest

FER2013 = Source(read_fer2013, FER2013_FILES, kaggle="msambare/fer2013",
                 published={"train": 28709, "validation": 3589, "test": 3589})
HUMAN_EMOTIONS = Source(read_human_emotions, HUMAN_EMOTIONS_FILES,
                        kaggle="muhammadhananasghar/human-emotions-datasethes")
SOURCES = {
    "synthetic": Source(synthetic.contents),
    "synthetic-quick": Source(partial(synthetic.contents, **synthetic.QUICK)),
    "fer2013": FER2013,
    "fer2013-3": replace(FER2013, classes=HUMAN_EMOTIONS_CLASSES),
    "ferplus": replace(FER2013, kaggle="", majority=True),  # the votes follow the CSV; Kaggle's are folders
    # 1/8 of its training images is about what FER2013's own validation split holds.
    "fer2013-recut": Source(read_recut, RECUT_FILES, kaggle="jonathanoheix/face-expression-recognition-dataset",
                            folds=8, published={"train": 28821, "test": 7066}),
    "human-emotions": replace(HUMAN_EMOTIONS, pool=True),
    "human-emotions-with-copies":
        replace(HUMAN_EMOTIONS, pool=True, postprocess=partial(exchange, with_copies=True)),
    "human-emotions-without-copies":
        replace(HUMAN_EMOTIONS, pool=True, postprocess=partial(exchange, with_copies=False)),
    "human-emotions-as-distributed": replace(HUMAN_EMOTIONS, grouped=False, published={"train": 6799, "test": 2278}),
}
NAMES = tuple(SOURCES)
SMALL = 400  # test images; below, an interval is wider than ±4 points


def load(name: str = "synthetic", path: str | Path | None = None, *, keep_copies: bool = False,
         size: int | tuple[int, int] | None = None, seed: int = 0) -> Dataset:
    """Load a data set by name: from `path`; the folders in the environment variable EMOTIONS_DATA; data/ of the
    repository and of the current directory; Kaggle. Zip archives are read as they are.

    Args:
        name: one of `NAMES`; a path, or "folder:PATH", for any folder (or zip) of class sub-folders, with or without
            train, validation and test above them; or the name of such a folder in data/.
        path: file or folder that holds the data set, or lies directly above it.
        keep_copies: keep the training images of which a copy is in validation or test, as most published results do: an
            exact one, in folders of your own also a near duplicate. On Human Emotions, which is split either way under
            two names, and on drawn faces it changes nothing.
        size: height and width to resize to, antialiased. By default images keep their size if they all share one of
            at most 256 pixels, and otherwise become squares of the median of their shorter sides, at most 256.
        seed: of the splits that are drawn here, and of drawn faces.

    FileNotFoundError, ValueError: it was not found; the name is unknown, or the data cannot be used; says why."""
    size = (size, size) if isinstance(size, int) else size
    path = path and expanded(path)
    name, own = place_of(name)
    if name not in SOURCES:
        own = own or _own_folder(name, path)
    source = Source(read_folder) if own else SOURCES[name]
    contents = read_folder(own, size) if own else _read(name, source, path, size, seed)
    if size and contents.images.shape[1:3] != size:
        contents.images = fit_all(contents.images, size)
    votes = ferplus_votes(contents.table["id"], path) if source.majority else None
    dataset = splits.assemble(name, source, contents, votes, keep_copies, seed)
    if source.postprocess:
        dataset = source.postprocess(dataset)
    if name not in SOURCES:
        parts = [part for split in dataset.splits().values() for part in (split.ids, split.labels, split.images)]
        dataset = replace(dataset, digest=zlib.crc32(b"".join(part.tobytes() for part in parts)))
    if name not in SOURCES and (count := len(dataset.test)) < SMALL:
        from scipy.stats import binomtest  # takes half a second: not for those who read known data sets

        low, high = binomtest(round(0.8 * count), count).proportion_ci(method="wilson")
        note = (f"The test part is small, {count} images: an accuracy of 80 % measured there would have a 95 % "
                f"interval of {100 * low:.0f} to {100 * high:.0f} %.")
        dataset = replace(dataset, notes=(*dataset.notes, note))
    return select(dataset, source.classes) if source.classes else dataset


def is_local(name: str) -> bool:
    """Tell whether a known data set is drawn, or one of the `places` has files named like it."""
    source = SOURCES.get(name)
    return source is not None and (not source.patterns or any(candidates(p, source.patterns) for p in places()))


def place_of(name: str) -> tuple[str, Path | None]:
    """Return the name that a data set goes by, and of a path or "folder:PATH" also where it is.

    A folder named like a known data set raises ValueError: its results would be mixed with that one's."""
    name = str(name)
    if not name.startswith("folder:") and "/" not in name:
        return name, None
    path = expanded(name.removeprefix("folder:"))
    if not path.exists():
        raise FileNotFoundError(f"There is no folder {path}.")
    path = path.resolve()
    own = path.stem if path.suffix.lower() == ".zip" else path.name
    if own.lower() in NAMES:  # in lower case: some file systems would take results/FER2013 for results/fer2013
        raise ValueError(f'{path} is named like the data set "{own.lower()}": rename the folder, '
                         "so that results on it are not taken for results on that data set.")
    return own, path


def _own_folder(name: str, path: Path | None) -> Path:
    """Return the folder or zip archive of that name: the path given, or what lies directly in it or in a place."""
    entries = [entry for place in ([path] if path else places())
               for entry in (place, *(place.iterdir() if place.is_dir() else ()))]
    own = {entry.name.removesuffix(".zip"): entry for entry in reversed(entries)
           if entry.is_dir() or entry.suffix == ".zip"}
    if name not in own:
        known = [*NAMES, *own]
        raise ValueError(f'Unknown data set "{name}"{nearest(name, known)} There are {", ".join(NAMES)}, '
                         '"folder:PATH", and the names of folders in data/ that hold class sub-folders.')
    return own[name]


def _read(name: str, source: Source, path, size, seed: int) -> Contents:
    """Draw the images, or read the first candidate that is this data set."""
    if not source.patterns:
        return cached(None, name, [size, seed], lambda: source.read(size, seed))
    label, tried = getattr(source.read, "__name__", name), []
    for candidate in _found(source, path, tried):
        try:
            return cached(candidate, label, [size], partial(source.read, candidate, size))
        except WrongDataset as reason:
            tried.append(f"{candidate} ({reason})")
    if path is not None:
        raise FileNotFoundError(f"{path} does not hold {name}. Tried: {'; '.join(tried)}. {HELP}")
    raise FileNotFoundError(f"{name} was not found. Tried: {'; '.join(tried)}. Put it into data/, or set EMOTIONS_DATA "
                            f"to its folder, or give its path; “synthetic” needs no download. {HELP}")


def _found(source: Source, path: Path | None, tried: list[str]) -> Iterator[Path]:
    """Yield files and folders that may be the data set, Kaggle's download last; add to `tried` where there is none."""
    if path is not None:
        if not path.exists():
            raise FileNotFoundError(f"There is no {path}.")
        yield from dict.fromkeys([*candidates(path, source.patterns), path])
        return
    if "EMOTIONS_DATA" not in os.environ:
        tried.append("the environment variable EMOTIONS_DATA (not set)")
    for place in places():
        matches = candidates(place, source.patterns)
        if not matches:
            tried.append(f"{place} (no {' or '.join(source.patterns)})")
        yield from matches
    if source.kaggle:
        try:
            import kagglehub
            download = Path(kagglehub.dataset_download(source.kaggle))
        except Exception as reason:  # whatever went wrong there is part of the answer
            why = shorten(str(reason), 90, placeholder="…")
            tried.append(f"Kaggle, {source.kaggle} ({type(reason).__name__}: {why})")
        else:
            yield download
