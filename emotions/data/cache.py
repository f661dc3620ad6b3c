"""Keep what takes long to read or draw, until its files, options or this code change."""

import hashlib
import json
import os
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from emotions.data.images import channels, in_colour
from emotions.data.places import REPOSITORY_DATA
from emotions.data.reading import Contents
from emotions.files import expanded, written


def cached(path: Path | None, name: str, options: list, read: Callable[[], Contents]) -> Contents:
    """Return `read()`, or what it returned before for the same files, options and code of this package.

    `path` is what is read, None where images are drawn. The cache is the folder cache/ beside it, or ~/.cache/emotions
    where that can't be written; EMOTIONS_CACHE of the environment names another folder, or none if it is empty. `name`:
    not like the data, or it would be found in place of them. `options`: all that `read` depends on besides."""
    path = path and path.resolve()
    folder = _cache_folder(path.parent if path else REPOSITORY_DATA)
    if folder is None:
        return read()
    file = folder / f"cached-{name}-{_digest(f'{path} {options}')}.npz"
    files = [] if path is None else [path] if path.is_file() else sorted(path.rglob("*"))
    key = _digest(str(path), options, [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()],
                  [code.read_bytes() for code in sorted(Path(__file__).parent.glob("*.py"))])
    contents = _restore(file, key)
    if contents is None:
        contents = read()
        _save(contents, file, key)
    return contents


def _digest(*values) -> str:
    return hashlib.blake2b(repr(values).encode(), digest_size=8).hexdigest()


def _cache_folder(beside: Path) -> Path | None:
    if (named := os.environ.get("EMOTIONS_CACHE")) is not None:
        return expanded(named) if named else None
    # What is marked read-only stays as it is, even for those who could write there.
    writable = beside.is_dir() and os.access(beside, os.W_OK) and beside.stat().st_mode & stat.S_IWUSR
    return beside / "cache" if writable else Path("~/.cache/emotions").expanduser()


def _save(contents: Contents, file: Path, key: str) -> None:
    columns = {name: column.to_numpy(None if column.dtype.kind == "i" else str)
               for name, column in contents.table.items()}
    rest = json.dumps([key, contents.notes, contents.dropped])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with written(file) as new, new.open("wb") as target:
            np.savez(target, rest=rest, images=channels(contents.images), **columns)
    except OSError as reason:
        warnings.warn(f"What was read is not cached in {file.parent}: {reason}.", stacklevel=2)


def _restore(file: Path, key: str) -> Contents | None:
    """Return what was cached, or None if there is none of that key, or if the file is damaged (zip checks its CRCs)."""
    if not file.exists():
        return None
    try:
        with np.load(file) as arrays:
            saved, notes, dropped = json.loads(str(arrays["rest"]))
            if saved != key:
                return None
            images = in_colour(arrays["images"])
            table = pd.DataFrame({name: arrays[name] for name in arrays.files if name not in ("rest", "images")})
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as reason:
        warnings.warn(f"{file} is damaged and made anew: {reason}.", stacklevel=2)
        return None
    return Contents(images, table, notes, {why: tuple(ids) for why, ids in dropped.items()})
