"""Where do results lie, and how are files written? Whole or not at all, the same on every system."""

import contextlib
import difflib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]


def home() -> Path:
    """Return the folder that holds `results/` and `models/`: EMOTIONS_HOME of the environment; otherwise the
    repository, or the current folder where only the package is installed."""
    if named := os.environ.get("EMOTIONS_HOME"):
        return expanded(named)
    return REPOSITORY if (REPOSITORY / "notebooks").is_dir() else Path.cwd()


def expanded(path: str | Path) -> Path:
    """Return a path with a leading "~/" as the home directory. A name that only begins with "~" stays as it is."""
    path = Path(path)
    return path.expanduser() if path.parts[:1] == ("~",) else path


def first_sentence(reason: Exception) -> str:
    """Return the first sentence of an error's message, without its full stop."""
    message = getattr(reason, "strerror", None) or str(reason).strip() or type(reason).__name__
    return message.splitlines()[0].split(". ")[0].rstrip(".")


def sentence(reason: Exception) -> str:
    """Return an error's message; of an operating system's own, the file and what is wrong with it, without numbers."""
    if isinstance(reason, OSError) and reason.filename and reason.strerror:
        return f"{reason.filename}: {reason.strerror}."
    return str(reason)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return how a sentence about an unknown name goes on: with the known one that is much like it, if there is one."""
    lowered = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f'; did you mean "{lowered[near[0]]}"?' if near else "."


def refused(kind: type, reason: BaseException, trace) -> None:
    """Say in one sentence, as `sys.excepthook`, what the machine refuses (OSError), or this package (its ValueErrors);
    another error is a mistake in the code, shown whole."""
    if issubclass(kind, KeyboardInterrupt):  # the command that started this process says so
        sys.exit(130)
    *_, (frame, _) = traceback.walk_tb(trace)
    ours = frame.f_globals.get("__name__", "").startswith("emotions.")
    if not (issubclass(kind, OSError) or (issubclass(kind, ValueError) and ours)):
        sys.__excepthook__(kind, reason, trace)
        return
    print(f"emotions: {sentence(reason)}", file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def written(path: Path, ending: str = "") -> Iterator[Path]:
    """Give another name to write a file under, and rename it once it is whole. Whatever goes wrong, the file that was
    there stays, and nothing half written, in the way on a full disk. Some libraries insist on an `ending`."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.writing{ending}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as reason:
        with contextlib.suppress(OSError):  # the first error says more
            temporary.unlink(missing_ok=True)
        if not getattr(reason, "errno", None):
            raise
        raise OSError(f"{path} was not written: {os.strerror(reason.errno)}.") from reason


def write(path: Path, text: str) -> None:
    """Write a text file, whole or not at all: UTF-8, lines ending in a line feed."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: dict) -> None:
    write(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def cached(file: Path, key: dict | None, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return a table that takes long to compute, from its `.csv` file while its key stays the same.

    The key says what the table depends on, and is kept in the `.json` beside it; None takes the table as it is."""
    beside = file.with_suffix(".json")
    if not (file.exists() and beside.exists()) or key not in (None, read_json(beside)):
        table = compute()
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, table.to_csv(index=False, float_format="%.4g", lineterminator="\n"))
        write_json(beside, key)
    return pd.read_csv(file)


def git_commit() -> str | None:
    """Return the commit the package is at, with "+" if files were changed since; None outside a repository."""
    command = ["git", "describe", "--always", "--dirty=+", "--match="]
    try:
        result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
