"""Is one model really better than another? Paired tests on the same images, and the spread over seeds."""

import re
from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score

from emotions.evaluation.metrics import RESAMPLES, measure, resampled, wilson
from emotions.runs import Predictions

FIGURES = ("accuracy", "macro_f1")  # by which pairs are compared


def align(runs: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Return the same predictions, with the images of all runs in the order of the first run. Runs that differ in their
    images, classes or labels raise ValueError: nothing between them is paired."""
    aligned: dict[str, Predictions] = {}
    for name, run in runs.items():
        one, first = next(iter(aligned.items()), (name, run))
        if run.class_names != first.class_names:
            raise ValueError(f"{one} and {name} have different classes, {first.class_names} and {run.class_names}.")
        if len(set(run.ids)) < len(run) or set(run.ids) != set(first.ids):
            sizes = f"{len(first):,} and {len(run):,}"
            raise ValueError(f"{one} and {name} predict different images, {sizes}, or one twice.")
        aligned[name] = run.take(pd.Index(run.ids).get_indexer(first.ids))
        if (differs := aligned[name].labels != first.labels).any():
            raise ValueError(f"{one} and {name} differ in {differs.sum():,} labels.")
    return aligned


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Run the exact McNemar test (McNemar 1947; recommended for one test set by Dietterich 1998, section 3.1).

    `first` and `second`, bool, N, tell whether each model is correct on each image. Returns on how many only the first
    and only the second is, and the two-sided p-value."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def compare(first: Predictions, second: Predictions, resamples: int = RESAMPLES, photos=None) -> dict:
    """Estimate how much better the first model is than the second, and whether that is statistically significant.

    `photos`, int, N: the source photo of each of `first`'s images, see `metrics.photos_of`. Returns n; for accuracy and
    macro_f1 `<figure>_difference` (first minus second), its 95% interval `<figure>_low` and `<figure>_high` by paired
    bootstrap, and `<figure>_p` (two-sided; at least 2 / (resamples + 1)); only_first, only_second, see `mcnemar`; p, to
    report: McNemar's, or `accuracy_p` with `photos`, where that does not hold."""
    pair = compare_all({"first": first, "second": second}, resamples, photos).iloc[0]
    return pair.drop([name for name in pair.index if name in ("first", "second") or name.endswith("_holm")]).to_dict()


def samples_for(comparisons: int) -> int:
    """Return a number of bootstrap samples with which a p-value can be 0.01 after `holm` over so many comparisons."""
    return max(RESAMPLES, 200 * comparisons)


def compare_all(runs: Mapping[str, Predictions], resamples: int | None = None, photos=None) -> pd.DataFrame:
    """Compare every two models: a row per pair with first, second, all that `compare` returns, and beside each p-value
    `<name>_holm`, the same after Holm's correction over all pairs. Default of `resamples`: `samples_for` the pairs."""
    runs = align(runs)
    if len(runs) < 2:
        raise ValueError(f"A comparison needs two runs, and there is {len(runs)}.")
    correct = {name: run.predicted == run.labels for name, run in runs.items()}
    observed = {name: {"accuracy": accuracy_score(run.labels, run.predicted),
                       "macro_f1": f1_score(run.labels, run.predicted, average="macro", zero_division=0)}
                for name, run in runs.items()}
    couples = list(combinations(runs, 2))
    resamples = resamples or samples_for(len(couples))
    samples = {name: resampled(run, resamples, photos=photos) for name, run in runs.items()}
    rows = []
    for first, second in couples:
        row = {"first": first, "second": second, "n": len(runs[first])}
        for figure in FIGURES:
            differences = samples[first][figure] - samples[second][figure]
            row |= _bootstrapped(figure, observed[first][figure] - observed[second][figure], differences)
        row["only_first"], row["only_second"], row["p"] = mcnemar(correct[first], correct[second])
        rows.append(row if photos is None else row | {"p": row["accuracy_p"]})
    pairs = pd.DataFrame(rows)
    return pairs.assign(**{f"{name}_holm": holm(pairs[name]) for name in ("p", *(f"{name}_p" for name in FIGURES))})


def mean_difference(first, second) -> dict[str, float]:
    """Compare the means of two groups of images, a number each, by a bootstrap over both, not paired. Returns
    mean_difference (first minus second), mean_low, mean_high and mean_p, as `compare` does."""
    random = np.random.default_rng(0)
    groups = [np.asarray(values, float) for values in (first, second)]
    means = [values[random.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1) for values in groups]
    return _bootstrapped("mean", groups[0].mean() - groups[1].mean(), means[0] - means[1])


def _bootstrapped(figure: str, difference: float, samples: np.ndarray) -> dict[str, float]:
    """Return a difference with its percentile interval and two-sided p-value, from its bootstrap samples."""
    low, high = np.percentile(samples, [2.5, 97.5])
    tail = min((samples <= 0).sum(), (samples >= 0).sum())
    p = min(1.0, 2 * (1 + tail) / (1 + len(samples)))
    return {f"{figure}_difference": difference, f"{figure}_low": low, f"{figure}_high": high, f"{figure}_p": p}


def points(pair: Mapping, figure: str = "accuracy") -> str:
    """Return a difference of `compare` with its 95% interval in percentage points: `+2.3 points [+0.8, +3.9]`."""
    difference, low, high = (100 * pair[f"{figure}_{end}"] for end in ("difference", "low", "high"))
    return f"{difference:+.1f} points [{low:+.1f}, {high:+.1f}]"


def verdict(p: float) -> str:
    """Return `significant (p = 0.032)` or `not statistically significant (p = 0.36)`, at the level of 0.05."""
    text = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
    return f"significant ({text})" if p < 0.05 else f"not statistically significant ({text})"


def holm(p_values) -> np.ndarray:
    """Correct p-values for their number by Holm's step-down method (Holm 1979)."""
    ordered = np.sort(p_values)
    corrected = np.minimum(np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1)), 1)
    return corrected[np.argsort(np.argsort(p_values))]


def over_seeds(table: pd.DataFrame, figures: Iterable[str] = ("accuracy", "macro_f1", "log_loss")) -> pd.DataFrame:
    """Return mean and sample standard deviation over the runs of a model that differ in their seed. `table` has one
    row per run, indexed by name, as the leaderboard: `champion`, `champion-s1`, …, with figures and precision. The
    result has one row per model with two seeds or more: seeds (their number), precision (such as "float32 and
    mixed_bfloat16"), `<figure>_mean` and `<figure>_sd`."""
    models = [re.sub(r"-s\d+$", "", name) for name in table.index]
    groups = table[list(figures)].astype(float).groupby(models, sort=False)
    counts = groups.size().rename("seeds")
    columns = [groups[name].agg(["mean", "std"]).set_axis([f"{name}_mean", f"{name}_sd"], axis=1) for name in figures]
    precision = table.groupby(models, sort=False)["precision"].agg(lambda some: " and ".join(sorted({*some.dropna()})))
    return pd.concat([counts, precision, *columns], axis=1)[counts > 1]


def accuracy_by(run: Predictions, groups, photos=None) -> pd.DataFrame:
    """Return the accuracy in each group of images, of N values (missing: in none), with its 95% interval, see `wilson`,
    or with `photos` (see `compare`) a bootstrap over photos: one row per group, sorted: n, accuracy, low, high."""
    correct = pd.Series(run.predicted == run.labels).groupby(np.asarray(groups))
    table = correct.agg(n="size", hits="sum", accuracy="mean")
    table["low"], table["high"] = wilson(table["hits"], table["n"])
    for group in table.index if photos is not None else ():
        own = np.asarray(groups) == group
        table.loc[group, ["low", "high"]] = measure(run.take(own), photos=photos[own])["accuracy_interval"]
    return table.drop(columns="hits")
