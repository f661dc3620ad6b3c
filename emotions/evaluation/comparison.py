"""Is one model really better than another? Paired tests on the same pictures, and the spread over seeds.

runs = read("results/fer2013")
pairs = compare_all(runs)       # one row per pair of models, with Holm's correction
matrix(pairs, "mcnemar_p_holm")
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score

from emotions.evaluation.metrics import RESAMPLES, Predictions, resampled

FIGURES = ("accuracy", "macro_f1")  # what pairs are compared by


# ------------------------------------------------------------------------------------------- which runs


def read(
    folder: str | Path, names: Iterable[str] | None = None, file: str = "predictions.csv"
) -> dict[str, Predictions]:
    """The predictions of the runs of a data set, on the same pictures in the same order.

    Args:
        folder: `results/<data set>`.
        names: of run folders in it; by default all that have the file.
        file: or "predictions_tta.csv", "predictions_validation.csv", "predictions_validation_tta.csv".

    Raises:
        FileNotFoundError: a run without that file.
        ValueError: see `align`.
    """
    folder = Path(folder)
    there = sorted(path.parent.name for path in folder.glob(f"*/{file}"))
    names = there if names is None else list(names)
    if missing := [name for name in names if name not in there]:
        raise FileNotFoundError(f"{folder} has no {missing[0]}/{file}; there are {', '.join(there) or 'no such runs'}.")
    return align({name: Predictions.read(folder / name / file) for name in names})


def align(runs: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """The same predictions, with the pictures of all runs in the order of the first run.

    Raises:
        ValueError: the runs differ in their pictures, classes or labels, so nothing between them is paired.
    """
    aligned: dict[str, Predictions] = {}
    for name, run in runs.items():
        one, first = next(iter(aligned.items()), (name, run))
        if run.class_names != first.class_names:
            raise ValueError(f"{one} and {name} know different classes, {first.class_names} and {run.class_names}.")
        positions = pd.Index(run.ids)
        if not positions.is_unique:
            raise ValueError(f"{name} predicts the picture {positions[positions.duplicated()][0]} twice.")
        shared = set(run.ids) & set(first.ids)
        if not len(shared) == len(run) == len(first):
            raise ValueError(
                f"{one} and {name} predict different pictures: {len(first):,} and {len(run):,}, of which "
                f"{len(shared):,} are the same. Compare runs on one split of one data set."
            )
        run = run.take(positions.get_indexer(first.ids))
        if (differs := run.labels != first.labels).any():
            example = run.ids[differs][0]
            raise ValueError(f"{one} and {name} give different labels to {differs.sum():,} pictures, as {example}.")
        aligned[name] = run
    return aligned


# ------------------------------------------------------------------------------------------------- tests


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Exact McNemar test (McNemar 1947; recommended for one test set by Dietterich 1998, section 3.1).

    Args:
        first, second: bool, N: whether each model is right on each picture.

    Returns:
        how many pictures only the first and only the second gets right, and the two-sided p-value.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def compare(first: Predictions, second: Predictions, resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """How much better is the first model than the second, and could that be chance?

    Returns:
        n; for accuracy and macro_f1 `<figure>_difference` (first minus second), `<figure>_low` and
        `<figure>_high` (its 95% percentile interval by paired bootstrap) and `<figure>_p` (two-sided; never
        below 2 / (resamples + 1)); only_first, only_second and mcnemar_p, see `mcnemar`.
    """
    pair = compare_all({"first": first, "second": second}, resamples, seed)
    return {
        name: value for name, value in pair.iloc[0].items() if name not in ("first", "second") and "holm" not in name
    }


def compare_all(runs: Mapping[str, Predictions], resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Compare every two models.

    Returns:
        one row per pair: first, second, all that `compare` returns, and beside each p-value the same after Holm's
        correction over all pairs, `<name>_holm`.
    """
    runs = align(runs)
    if len(runs) < 2:
        raise ValueError(f"A comparison needs two runs, and there is {len(runs)}.")
    right = {name: run.predicted == run.labels for name, run in runs.items()}
    observed = {name: figures_of(run) for name, run in runs.items()}
    samples = {name: resampled(run, resamples, seed) for name, run in runs.items()}
    rows = []
    for first, second in combinations(runs, 2):
        row = {"first": first, "second": second, "n": len(runs[first])}
        for figure in FIGURES:
            differences = samples[first][figure] - samples[second][figure]
            row |= _bootstrapped(figure, observed[first][figure] - observed[second][figure], differences)
        row["only_first"], row["only_second"], row["mcnemar_p"] = mcnemar(right[first], right[second])
        rows.append(row)
    pairs = pd.DataFrame(rows)
    return pairs.assign(**{f"{name}_holm": holm(pairs[name]) for name in pairs if name.endswith("_p")})


def mean_difference(first, second, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, float]:
    """How much larger is the mean over a group of pictures than over another group? Bootstrap over both, not paired.

    Args:
        first, second: a number per picture.

    Returns:
        mean_difference (first minus second), mean_low, mean_high and mean_p, as `compare`.
    """
    random = np.random.default_rng(seed)
    groups = [np.asarray(values, float) for values in (first, second)]
    means = [values[random.integers(len(values), size=(resamples, len(values)))].mean(axis=1) for values in groups]
    return _bootstrapped("mean", groups[0].mean() - groups[1].mean(), means[0] - means[1])


def _bootstrapped(figure: str, difference: float, samples: np.ndarray) -> dict[str, float]:
    """A difference with its percentile interval and two-sided p-value, from its bootstrap samples."""
    low, high = np.percentile(samples, [2.5, 97.5])
    tail = min((samples <= 0).sum(), (samples >= 0).sum())
    p = min(1.0, 2 * (1 + tail) / (1 + len(samples)))
    return {f"{figure}_difference": difference, f"{figure}_low": low, f"{figure}_high": high, f"{figure}_p": p}


def figures_of(run: Predictions) -> dict[str, float]:
    """Accuracy and macro F1, 0-1: what `resampled` gives, of the pictures as they are."""
    labels, predicted, classes = run.labels, run.predicted, range(len(run.class_names))
    macro_f1 = f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)
    return {"accuracy": accuracy_score(labels, predicted), "macro_f1": macro_f1}


def holm(p_values) -> np.ndarray:
    """p-values corrected for their number by Holm's step-down method (Holm 1979)."""
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)
    steps = np.arange(len(order), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * steps), 1)
    return corrected


def matrix(pairs: pd.DataFrame, value: str = "mcnemar_p_holm") -> pd.DataFrame:
    """A column of `compare_all` as a square table, empty on the diagonal; differences are row minus column."""
    names = pd.unique(pairs[["first", "second"]].to_numpy().ravel())
    table = pd.DataFrame(np.nan, index=names, columns=names)
    for first, second, found in pairs[["first", "second", value]].itertuples(index=False):
        table.loc[first, second] = found
        table.loc[second, first] = -found if value.endswith("_difference") else found
    return table


# -------------------------------------------------------------------------------------- seeds and classes


def over_seeds(table: pd.DataFrame, figures: Iterable[str] = ("accuracy", "macro_f1", "log_loss")) -> pd.DataFrame:
    """Mean and sample standard deviation over the runs of a model that differ in their seed alone.

    Args:
        table: one row per run, indexed by name, as the leaderboard: `champion-s0`, `champion-s1`, … A run
            named `champion` counts as the seed 0 where there is no `champion-s0`.
        figures: columns of the table.

    Returns:
        one row per model with two seeds or more: seeds (their number), `<figure>_mean` and `<figure>_sd`.
    """
    figures = list(figures)
    models: dict[str, list[str]] = {}
    for name in table.index:
        models.setdefault(re.sub(r"-s\d+$", "", name), []).append(name)
    rows = {}
    for model, names in models.items():
        names = [name for name in names if name != model or f"{model}-s0" not in names]
        if len(names) > 1:
            chosen = table.loc[names, figures].astype(float)
            rows[model] = {"seeds": len(names)}
            for figure in figures:
                rows[model] |= {f"{figure}_mean": chosen[figure].mean(), f"{figure}_sd": chosen[figure].std(ddof=1)}
    columns = ["seeds", *(f"{figure}_{end}" for figure in figures for end in ("mean", "sd"))]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def wilson(hits, n) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the 95% interval of a share (Wilson 1927).

    Args:
        hits, n: how many of how many; numbers or arrays. A share times its n is rounded to the whole number it was.
    """

    def ends(hits, n):
        return tuple(binomtest(round(hits), round(n)).proportion_ci(0.95, method="wilson"))

    low, high = np.vectorize(ends, otypes=[float, float])(hits, n)
    return low[()], high[()]  # of numbers, numbers


def accuracy_by(run: Predictions, groups) -> pd.DataFrame:
    """Accuracy in each group of the pictures, with its 95% interval, see `wilson`.

    Args:
        groups: N values; a picture whose value is missing is in none.

    Returns:
        one row per group, sorted: n, accuracy, low, high.
    """
    right = pd.Series(run.predicted == run.labels).groupby(np.asarray(groups))
    rows = {}
    for group, hits in right:
        low, high = wilson(hits.sum(), len(hits))
        rows[group] = {"n": len(hits), "accuracy": hits.mean(), "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["n", "accuracy", "low", "high"])
