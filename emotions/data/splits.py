"""From what a reader returned to a data set: leak-free splits, soft labels."""

import numpy as np
import pandas as pd

from emotions.data.dataset import WITH_DUPLICATES, Dataset, Split
from emotions.data.ferplus import NO_MAJORITY, majority, plurality
from emotions.data.reading import SPLITS, Contents, Source


def assemble(name: str, source: Source, contents: Contents, votes: pd.DataFrame | None = None,
             keep_copies: bool = False, seed: int = 0) -> Dataset:
    """Split as distributed where there are splits, draw the others, and keep copies on one side.

    `votes`, counts of FER+'s votes in the order of the contents, become `Split.targets` and, where the source says so,
    their majority becomes the label. ValueError: there are no training images, or a class has too few to split."""
    table = contents.table
    drawn = _distributed(name, contents, source)
    if source.majority:
        _by_majority(contents, votes)
    class_names = tuple(sorted(table["label"].unique()))
    labels, groups = np.searchsorted(class_names, table["label"]), pd.factorize(table["group"])[0]
    part = table["part"].to_numpy(str)
    copied = (part == "test") & np.isin(groups, groups[part == "train"])
    kept = _part_copies(contents, groups, source.grouped, keep_copies)
    for split in drawn:
        rows = np.flatnonzero(table["part"] == "train")
        held = hold_out(labels[rows], groups[rows] if source.grouped else rows, source.folds, seed, class_names)
        table.loc[rows[held], "part"] = split
        contents.notes.append(f"1/{source.folds} of training was held out for {split}, stratified by class "
                              f"(seed {seed}).")
    for split in SPLITS:
        if absent := sorted(set(class_names) - set(table["label"][table["part"] == split])):
            contents.notes.append(f"No {split} image is of the class {', '.join(absent)}.")
    counts = None if votes is None else votes[list(class_names)].to_numpy(np.float32)
    targets = None if votes is None else counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # 0 without votes
    whole = Split(contents.images, labels, table["id"].to_numpy(str), targets, groups)
    splits = {split: whole.take((table["part"] == split).to_numpy()) for split in SPLITS}
    return Dataset(name, class_names, **splits, copied=frozenset(whole.ids[copied]), notes=tuple(contents.notes),
                   dropped=contents.dropped, variants=(WITH_DUPLICATES,) if kept else ())


def _distributed(name: str, contents: Contents, source: Source) -> list[str]:
    """Put what has no split into training; return the splits that must be drawn."""
    if source.pool:
        contents.table["part"] = ""
    part = contents.table["part"]
    given = set(part) & set(SPLITS)
    contents.table["part"] = part = part.replace("", "train")
    if "train" not in set(part):
        raise ValueError(f"{name} has no training images: put them into train/, beside {' and '.join(given)}/.")
    sizes = {split: int((part == split).sum()) for split in source.published}
    if sizes != source.published:
        contents.notes.append(f"This copy holds {sizes} images; published are {source.published}.")
    return [split for split in ("test", "validation") if split not in given]


def _part_copies(contents: Contents, groups: np.ndarray, grouped: bool, keep_copies: bool) -> bool:
    """Leave copies of validation and test images out of training; return whether some were kept on request."""
    part, notes = contents.table["part"].to_numpy(str), contents.notes
    leaked = (part == "train") & np.isin(groups, groups[np.isin(part, SPLITS[1:])])
    kept = bool(keep_copies and grouped and leaked.any())
    if keep_copies and not kept:
        notes.append("Keeping copies changes nothing: none would be left out of these training images.")
    if grouped and not keep_copies:
        contents.leave_out(leaked, "copy of a validation or test image")
    elif leaked.any():
        notes.append(f"{leaked.sum()} training images are copies of validation or test images, and were kept.")
    if between := ((part == "test") & np.isin(groups, groups[part == "validation"])).sum():
        notes.append(f"{between} test images are also in validation; neither is changed.")
    return kept


def _by_majority(contents: Contents, votes: pd.DataFrame) -> None:
    """Label all splits by FER+'s majority, and leave out images without one."""
    table, winner = contents.table, majority(votes).to_numpy(str)
    table["label"] = np.where(np.isin(winner, list(NO_MAJORITY)), table["label"], winner)
    plural = (plurality(votes).to_numpy() & (table["part"] == "test")).sum()
    for answer, reason in NO_MAJORITY.items():
        contents.leave_out(winner == answer, reason, SPLITS)
    train, validation, test = ((table["part"] == split).sum() for split in SPLITS)
    contents.notes.append(f"By FER+'s majority vote {train} training, {validation} validation and {test} test images "
                          "have a label; by plurality, one emotion alone with the most votes, "
                          f"{plural} test images would.")


def hold_out(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, class_names) -> np.ndarray:
    """Return the positions of one part in `folds`, stratified by label, no group on both sides; of a class with fewer
    groups than that, one group. A class with fewer than two raises ValueError."""
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second: not for those who only read images

    distinct = pd.DataFrame({"label": labels, "group": groups}).groupby("label")["group"].nunique()
    distinct = distinct.reindex(range(len(class_names)), fill_value=0)
    if distinct.min() < 2:
        raise ValueError(f'The class "{class_names[distinct.idxmin()]}" has too few distinct images left: it needs '
                         "one for each split. Add some, or bring train, validation and test folders.")
    common, left, rare = np.arange(len(labels)), distinct, []
    while (left < folds).any():  # groups of a rare class may hold images of others, of which too few are left then
        rare += list(left.index[left < folds])
        common = np.flatnonzero(~np.isin(groups, groups[np.isin(labels, rare)]))
        left = pd.Series(groups[common]).groupby(labels[common]).nunique()
    held = [np.random.default_rng(seed).choice(np.unique(groups[labels == label])) for label in rare]
    if len(common):
        folder = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        held += groups[common][next(folder.split(common, labels[common], groups[common]))[1]].tolist()
    return np.flatnonzero(np.isin(groups, held))
