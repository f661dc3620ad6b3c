"""FER+: how ten voters labelled the images of FER2013 (Barsoum et al. 2016)."""

from pathlib import Path

import pandas as pd

from emotions.data.places import HELP, candidates, places

FERPLUS_CSV = "fer2013new.csv"
FERPLUS_VOTES = {"anger": "angry", "disgust": "disgust", "fear": "fear", "happiness": "happy", "neutral": "neutral",
                 "sadness": "sad", "surprise": "surprise"}
NO_MAJORITY = {"": "no majority of FER+'s votes", "unknown": "the majority of FER+'s votes says unknown",
               "NF": "the majority of FER+'s votes says not a face"}  # by `majority`'s answer


def ferplus_votes(ids, path: str | Path | None = None) -> pd.DataFrame:
    """Return FER+'s votes on images of FER2013, from `fer2013new.csv`: in or beside `path`, or in the usual places.

    The ids are as loading FER2013's CSV gives them, "PrivateTest_32298": split and row. The result has a row for each:
    the number of votes for each of the seven classes, by our names, and for contempt, unknown and NF (not a face). They
    add up to ten, or less where voters did not finish.

    FileNotFoundError: there is no fer2013new.csv. ValueError: the ids are those of images in folders."""
    near = [Path(path), Path(path).parent / FERPLUS_CSV] if path else []  # beside it and no deeper
    matches = [match for place in (*near, *places()) for match in candidates(place, (FERPLUS_CSV,))]
    file = next((match for match in matches if match.is_file() and match.name == FERPLUS_CSV), None)
    if file is None:
        raise FileNotFoundError(f"FER+'s {FERPLUS_CSV} was not found beside FER2013 or in data/: "
                                f"get it from https://github.com/microsoft/FERPlus. {HELP}")
    votes = pd.read_csv(file).rename(columns=str.strip).rename(columns=FERPLUS_VOTES)
    named = pd.Series(ids, dtype=str).str.extract(r"^(?P<part>[A-Za-z]+)_(?P<row>\d+)$")
    rows = pd.to_numeric(named["row"])
    known = rows.between(0, len(votes) - 1)
    if not known.all() or not (votes["Usage"].to_numpy()[rows.astype(int)] == named["part"]).all():
        raise ValueError(f"These ids do not name rows of {file}: FER+'s votes follow the rows of FER2013's CSV in "
                         "their original order, and images in folders have other names.")
    return votes.iloc[rows.astype(int)].drop(columns=["Usage", "Image name"]).reset_index(drop=True)


def majority(votes: pd.DataFrame) -> pd.Series:
    """Return the winner of each vote, as Barsoum et al. (2016) count, a column's name, or "": it has more than half of
    the votes, not counting answers with a single one."""
    counted = votes.where(votes > 1, 0)
    return counted.idxmax(axis=1).where(counted.max(axis=1) > counted.sum(axis=1) / 2, "")


def plurality(votes: pd.DataFrame) -> pd.Series:
    """Mark the votes (bool) in which one emotion alone has the most."""
    most = votes.eq(votes.max(axis=1), axis=0)
    return (most.sum(axis=1) == 1) & ~most[["unknown", "NF"]].any(axis=1)
