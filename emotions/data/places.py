"""Where data sets lie: EMOTIONS_DATA, then data/ of the repository and of the current directory."""

import os
from pathlib import Path

from emotions.files import expanded

REPOSITORY_DATA = Path(__file__).parents[2] / "data"
HELP = "The repository's data/README.md says where to get what, and what to put where."


def places() -> list[Path]:
    """Return the folders to look in; FileNotFoundError if EMOTIONS_DATA names one that does not exist."""
    named = [expanded(entry) for entry in os.environ.get("EMOTIONS_DATA", "").split(os.pathsep) if entry]
    for entry in named:
        if not entry.exists():
            raise FileNotFoundError(f"The environment variable EMOTIONS_DATA names {entry}, which does not exist: "
                                    "correct it or unset it.")
    own = dict.fromkeys([REPOSITORY_DATA, Path("data").resolve()])
    return named + [place for place in own if place.is_dir()]


def candidates(place: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the files and folders of these names in a place or up to three folders below, the best first."""
    if place.is_file():
        return [place]
    depths = ("", "*/", "*/*/", "*/*/*/")  # Kaggle puts a data set up to three folders below /kaggle/input
    matches = [match for above in depths for pattern in patterns for match in sorted(place.glob(above + pattern))]
    return list(dict.fromkeys(matches)) + ([place] if (place / "train").is_dir() else [])
