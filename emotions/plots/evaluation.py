"""Confusion, ROC curves, recalls, intervals, reliability: how good models are."""

import textwrap
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from sklearn.metrics import auc, roc_curve

from emotions.colors import OTHER, colors
from emotions.evaluation import comparison
from emotions.plots.style import SERIES, VALIDATION, grid


def confusion_matrix(metrics: dict, title: str = "", axis=None) -> plt.Figure:
    """Draw the confusion matrix of a split of a `metrics.json`, counts and shares, on `axis` or a new figure."""
    names, counts = list(metrics["per_class"]), np.array(metrics["confusion"])
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.75 * len(names)
    if axis is None:
        axis, title = grid(1, 1, (side, side))[1][0, 0], textwrap.fill(title, int(10 * side))  # as wide as the figure
    notes = np.char.add(np.char.mod("%.0f %%\n", shares), counts.astype(str))
    sns.heatmap(shares, annot=notes, fmt="", cmap="Blues", vmin=0, vmax=100, square=True, xticklabels=names,
                yticklabels=names, annot_kws={"fontsize": 9}, ax=axis, cbar=False)
    axis.set(xlabel="predicted class", ylabel="true class", title=title)
    axis.tick_params(axis="y", rotation=0)
    return axis.figure


def roc_curves(predictions, title: str = "", axis=None) -> plt.Figure:
    """Plot the ROC curve of each class that is present against all others, on `axis` or a new figure."""
    axis = grid(1, 1, (6.5, 6))[1][0, 0] if axis is None else axis
    names = predictions.class_names
    for k, (name, color) in enumerate(zip(names, colors(names), strict=True)):
        positive = predictions.labels == k
        if 0 < positive.sum() < len(positive):
            false, true, _ = roc_curve(positive, predictions.probabilities[:, k])
            axis.plot(100 * false, 100 * true, color=color, linewidth=2, label=f"{name}, AUC {auc(false, true):.2f}")
    axis.plot([0, 100], [0, 100], color=OTHER, linestyle=":", label="chance, AUC 0.50")
    axis.set(xlabel="false positive rate (%)", ylabel="true positive rate (%)", title=title, aspect=1)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, loc="lower right")
    return axis.figure


def recalls(runs: dict, title: str = "", photos=None) -> plt.Figure:
    """Plot the recall of each class with its 95 % interval, from predictions on the same images, by model; `photos`, of
    each image, as in `comparison.accuracy_by`."""
    first = next(iter(runs.values()))
    names, n = first.class_names, np.bincount(first.labels, minlength=len(first.class_names))
    tables = [comparison.accuracy_by(run, run.labels, photos).reindex(range(len(names))) * 100 for run in runs.values()]
    size = (2 + (2.4 if len(names) <= 4 else 1.7) * len(names), 1.4 + 0.45 * len(runs))
    figure, axes = grid(1, len(names), size, title, "x", sharey=True)
    for k, (axis, name, color) in enumerate(zip(axes[0], names, colors(names), strict=True)):
        recall, low, high = (np.array([table[end][k] for table in tables]) for end in ("accuracy", "low", "high"))
        axis.barh(list(runs), recall, color=color)
        axis.errorbar(recall, list(runs), xerr=(recall - low, high - recall), fmt="none", ecolor="black", capsize=2)
        for place, value in enumerate(recall):  # numbers stand at the right, clear of the intervals
            axis.text(104, place, "-" if np.isnan(value) else f"{value:.0f}", va="center")
        axis.set(title=f"{name}\nn = {n[k]:,}", xlabel="recall (%)", xlim=(0, 125), xticks=(0, 50, 100))
    axes[0, 0].invert_yaxis()
    return figure


def intervals(tables: dict[str, pd.DataFrame], xlabel: str, title: str = "", column: str = "accuracy",
              zero: bool = False) -> plt.Figure:
    """Plot values with their 95 % intervals as a forest plot: a row per index entry, a colour per table. Tables, by
    legend entry, have the same rows, `column` and its ends, `<column>_low` and `<column>_high` or low and high, all 0-1
    (drawn in per cent or points). `zero` draws a line at 0, for differences."""
    rows = list(next(iter(tables.values())).index)
    figure, ((axis,),) = grid(1, 1, (9, 1.6 + 0.4 * len(rows)), lines="x")
    for k, ((name, table), color) in enumerate(zip(tables.items(), cycle(SERIES), strict=False)):
        prefix = f"{column}_" if f"{column}_low" in table else ""
        middle, low, high = (100 * table[end].to_numpy(float) for end in (column, f"{prefix}low", f"{prefix}high"))
        places = np.arange(len(rows)) + 0.26 * (k - (len(tables) - 1) / 2)
        axis.errorbar(middle, places, xerr=np.abs([middle - low, high - middle]), fmt="o", color=color, capsize=2,
                      markersize=5, label=name)
    if zero:
        axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel=xlabel, title=title, yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.5))
    if len(tables) > 1:
        figure.legend(fontsize=9, loc="outside lower right", ncols=len(tables))  # clear of the intervals
    return figure


def reliability(tables: dict[str, pd.DataFrame], title: str = "") -> plt.Figure:
    """Draw the reliability diagrams of `calibration.reliability` tables, by panel title, with 95 % intervals."""
    figure, axes = grid(1, len(tables), (1 + 4.2 * len(tables), 4.7), title, "both", sharey=True)
    for axis, (name, table) in zip(axes[0], tables.items(), strict=True):
        table = table[table["n"] > 0]
        confidence, accuracy = 100 * table["confidence"], 100 * table["accuracy"]
        limits = 100 * np.array(comparison.wilson(table["n"] * table["accuracy"], table["n"]))
        axis.plot([0, 100], [0, 100], color=OTHER, linestyle=":", label="calibrated")
        axis.errorbar(confidence, accuracy, np.abs(limits - accuracy.to_numpy()), fmt="none", color=VALIDATION)
        axis.scatter(confidence, accuracy, s=12 + 500 * table["n"] / table["n"].sum(), color=VALIDATION, alpha=0.8)
        axis.set(xlabel="confidence (%)", title=name, xlim=(0, 102), ylim=(0, 102), aspect=1)
    axes[0, 0].set_ylabel("accuracy (%)")
    axes[0, 0].legend(fontsize=9, loc="upper left")
    return figure
