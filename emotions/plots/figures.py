"""Show me. Every figure of the repository, drawn from saved results.

Functions return a Matplotlib figure; `draw_run` writes those of a run folder beside its numbers.
"""

from __future__ import annotations

import json
import textwrap
from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from sklearn.metrics import auc, roc_curve

from emotions.evaluation import comparison
from emotions.colors import EMOTION_COLORS, OTHER, colors

TRAIN, VALIDATION = "#999999", "#0072B2"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")  # models, one after another
USUAL, UNUSUAL = "#0072B2", "#D55E00"
TOO_FEW = 230  # grey value of a panel that stays empty


def training_curves(history: pd.DataFrame, title: str = "") -> plt.Figure:
    """Accuracy and loss by epoch, in training and validation, with the chosen epoch marked.

    The loss is what training minimises: with the recipe's label smoothing and penalties of weights, in training with
    class weights too. `metrics.json` has the plain log loss.

    Args:
        history: as `training.train` returns and `history.csv` holds.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.1), layout="constrained")
    best = history["epoch"][history["val_accuracy"].idxmax()]
    panels = (("accuracy", "accuracy (%)", 100), ("loss", "training objective (nats)", 1))
    for axis, (name, label, scale) in zip(axes, panels, strict=True):
        training, validation = scale * history[name], scale * history[f"val_{name}"]
        axis.plot(history["epoch"], training, color=TRAIN, marker=".", label="training (augmented pictures)")
        axis.plot(history["epoch"], validation, color=VALIDATION, marker=".", label="validation")
        axis.axvline(best, color="black", linewidth=0.8, linestyle=":", label=f"kept: epoch {best}")
        for start in history.groupby("phase")["epoch"].min().iloc[1:]:
            axis.axvline(start - 0.5, color="black", linewidth=0.8, label="fine-tuning begins")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=4)
    figure.suptitle(title)
    return figure


def compared_curves(histories: dict[str, pd.DataFrame], title: str = "") -> plt.Figure:
    """Accuracy by epoch of some trainings, in training and on validation, with the chosen epochs as dots.

    Args:
        histories: see `training_curves`, by what the line is called.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.1), sharey=True, layout="constrained")
    for k, (name, history) in enumerate(histories.items()):
        color, style = SERIES[k % len(SERIES)], "-" if k < len(SERIES) else "--"
        best = history.loc[history["val_accuracy"].idxmax()]
        for axis, column in zip(axes, ("accuracy", "val_accuracy"), strict=True):
            axis.plot(history["epoch"], 100 * history[column], style, color=color, label=name)
            axis.plot(best["epoch"], 100 * best[column], "o", color=color)
    for axis, words in zip(axes, ("training (augmented pictures)", "validation"), strict=True):
        axis.set(xlabel="epoch", title=words)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy (%)")
    lines = axes[0].get_legend_handles_labels()
    dots = "dots: the epoch that is kept"
    figure.legend(*lines, title=dots, title_fontsize=9, fontsize=9, loc="outside lower center", ncols=4)
    figure.suptitle(title)
    return figure


def confusion_matrix(metrics: dict, title: str = "") -> plt.Figure:
    """Recall-normalised confusion matrix with counts, from one split of a `metrics.json`."""
    names = list(metrics["per_class"])
    counts = np.array(metrics["confusion"])
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.75 * len(names)
    figure, axis = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    notes = np.array([f"{share:.0f}%\n{count}" for share, count in zip(shares.ravel(), counts.ravel(), strict=True)])
    sns.heatmap(
        shares,
        annot=notes.reshape(counts.shape),
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=100,
        square=True,
        xticklabels=names,
        yticklabels=names,
        annot_kws={"fontsize": 9},
        cbar_kws={"label": "share of the true class (%)", "shrink": 0.8},
        ax=axis,
    )
    axis.set(xlabel="predicted", ylabel="true", title=title)
    axis.tick_params(axis="y", rotation=0)
    return figure


def recalls(runs: dict, title: str = "") -> plt.Figure:
    """Recall of each class by each model with its 95% interval, as groups of bars in the colours of the classes.

    Args:
        runs: an `evaluation.Predictions` by model, all of the same pictures.
    """
    first = next(iter(runs.values()))
    names = first.class_names
    found = {model: comparison.accuracy_by(run, run.labels).reindex(range(len(names))) for model, run in runs.items()}
    width = 2.4 if len(names) <= 4 else 1.7
    figure, axes = plt.subplots(
        1,
        len(names),
        figsize=(2 + width * len(names), 1.4 + 0.45 * len(runs)),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for k, (axis, name) in enumerate(zip(axes[0], names, strict=True)):
        recall, low, high = (
            100 * np.array([table[end][k] for table in found.values()]) for end in ("accuracy", "low", "high")
        )
        bars = axis.barh(list(runs), recall, color=EMOTION_COLORS.get(name, OTHER))
        axis.errorbar(recall, list(runs), xerr=(recall - low, high - recall), fmt="none", ecolor="black", capsize=2)
        # Numbers stand at the right, clear of the intervals.
        for bar, value in zip(bars, recall, strict=True):
            place = bar.get_y() + bar.get_height() / 2
            axis.text(104, place, "-" if np.isnan(value) else f"{value:.0f}", va="center")
        n = int((first.labels == k).sum())
        axis.set(title=f"{name}\nn = {n:,}", xlabel="recall (%)", xlim=(0, 125), xticks=(0, 50, 100))
        axis.grid(axis="x", alpha=0.3)
    axes[0, 0].invert_yaxis()
    figure.suptitle(title)
    return figure


def roc_curves(predictions, title: str = "") -> plt.Figure:
    """Each class against all others: the share of it that is found against the share of others taken for it.

    Args:
        predictions: an `evaluation.Predictions`. Classes without pictures, or without others, are left out.
    """
    figure, axis = plt.subplots(figsize=(6, 5.4), layout="constrained")
    for k, name in enumerate(predictions.class_names):
        positive = predictions.labels == k
        if 0 < positive.sum() < len(positive):
            false, true, _ = roc_curve(positive, predictions.probabilities[:, k])
            label = f"{name}, area {auc(false, true):.2f}"
            axis.plot(100 * false, 100 * true, color=EMOTION_COLORS.get(name, OTHER), linewidth=2, label=label)
    axis.plot([0, 100], [0, 100], color=OTHER, linestyle=":", label="guessing, area 0.50")
    axis.set(
        xlabel="other pictures taken for the class (%)", ylabel="pictures of the class found (%)", title=title, aspect=1
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, loc="lower right")
    return figure


def intervals(series: dict[str, pd.DataFrame], xlabel: str, title: str = "", marks: pd.Series | None = None):
    """Accuracies with their 95% intervals, a row for each model and a colour for each series.

    Args:
        series: by its name in the legend: models (rows, the same in all) with accuracy, low and high, 0-1.
        marks: a figure reported elsewhere, by model, 0-1; drawn as a diamond.
    """
    models = list(next(iter(series.values())).index)
    figure, axis = plt.subplots(figsize=(9, 1.5 + 0.38 * len(models)), layout="constrained")
    for k, ((name, table), color) in enumerate(zip(series.items(), cycle(SERIES), strict=False)):
        places = np.arange(len(models)) + 0.26 * (k - (len(series) - 1) / 2)
        accuracy = 100 * table["accuracy"]
        errors = np.abs(100 * table[["low", "high"]].to_numpy().T - accuracy.to_numpy())
        axis.errorbar(accuracy, places, xerr=errors, fmt="o", color=color, capsize=2, markersize=5, label=name)
    if marks is not None and marks.notna().any():
        places = [models.index(name) for name in marks.dropna().index]
        axis.scatter(
            100 * marks.dropna(),
            places,
            marker="D",
            facecolor="white",
            edgecolor="black",
            zorder=3,
            label="reported elsewhere",
        )
    axis.set(xlabel=xlabel, title=title, yticks=range(len(models)), yticklabels=models, ylim=(len(models) - 0.5, -0.5))
    axis.grid(axis="x", alpha=0.3)
    axis.legend(fontsize=9)
    return figure


def pairs(differences: pd.DataFrame, p_values: pd.DataFrame, title: str = "") -> plt.Figure:
    """Every model against every other: how much better the row is than the column; pale where it may be chance.

    Args:
        differences: accuracy of the row minus that of the column, 0-1, see `comparison.matrix`.
        p_values: the same table, of corrected p-values.
    """
    shown = 100 * differences
    sure = p_values.to_numpy() < 0.05
    notes = np.where(shown.isna(), "", shown.map("{:+.1f}".format) + np.where(sure, "*", ""))
    side = 2.5 + 0.62 * len(shown)
    figure, axis = plt.subplots(figsize=(side + 1.2, side), layout="constrained")
    limit = max(1.0, float(np.nanmax(np.abs(shown))))
    sns.heatmap(
        shown.where(sure, 0.0).where(shown.notna()),
        annot=notes,
        fmt="",
        cmap="RdBu",
        center=0,
        vmin=-limit,
        vmax=limit,
        square=True,
        linewidths=0.5,
        annot_kws={"fontsize": 8},
        cbar_kws={"label": "accuracy, row minus column (points)", "shrink": 0.7},
        ax=axis,
    )
    axis.set_title(title)
    axis.tick_params(axis="x", rotation=90)
    axis.tick_params(axis="y", rotation=0)
    return figure


def reliability(tables: dict[str, pd.DataFrame], title: str = "") -> plt.Figure:
    """Reliability diagrams: how often a model is right against how sure it says it is.

    Args:
        tables: from `calibration.reliability`, by the panel's title.
    """
    figure, axes = plt.subplots(
        1, len(tables), figsize=(1 + 3.9 * len(tables), 4.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (name, table) in zip(axes.flat, tables.items(), strict=True):
        table = table[table["n"] > 0]
        limits = np.array(comparison.wilson(table["n"] * table["accuracy"], table["n"]))
        errors = 100 * np.abs(limits - table["accuracy"].to_numpy())
        axis.plot([0, 100], [0, 100], color=OTHER, linestyle=":", label="calibrated")
        axis.errorbar(100 * table["confidence"], 100 * table["accuracy"], yerr=errors, fmt="none", color=USUAL)
        sizes = 12 + 500 * table["n"] / table["n"].sum()
        axis.scatter(100 * table["confidence"], 100 * table["accuracy"], s=sizes, color=USUAL, alpha=0.8)
        axis.set(xlabel="confidence (%)", title=name, xlim=(0, 102), ylim=(0, 102), aspect=1)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("right answers (%)")
    axes[0, 0].legend(fontsize=9, loc="upper left")
    figure.suptitle(title)
    return figure


def curves(
    lines: dict[str, pd.Series],
    xlabel: str,
    ylabel: str,
    title: str = "",
    chance: float | None = None,
    counts: dict | None = None,
) -> plt.Figure:
    """Shares (0-1) against what each series is indexed by, a line for each.

    Args:
        chance: drawn as a dotted line.
        counts: of how many each share is, by line; then 95% intervals are shaded, point by point.
    """
    figure, axis = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    for (name, line), color in zip(lines.items(), cycle(SERIES), strict=False):
        axis.plot(line.index, 100 * line, color=color, linewidth=2, label=name)
        if counts is not None:
            low, high = comparison.wilson(line * counts[name], counts[name])
            axis.fill_between(line.index, 100 * low, 100 * high, color=color, alpha=0.15, linewidth=0)
    if chance is not None:
        axis.axhline(100 * chance, color=OTHER, linestyle=":", label=f"chance: {100 * chance:.1f}%")
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(0, 102))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    return figure


def steps(tables: dict[str, pd.DataFrame], xlabel: str, title: str = "") -> plt.Figure:
    """Accuracy in groups of pictures that have an order, with 95% intervals, a line for each model, the lines a
    little apart.

    Args:
        tables: from `comparison.accuracy_by`, by model; the groups are numbers.
    """
    figure, axis = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    counts = next(iter(tables.values()))["n"]
    apart = 0.1 * np.diff(counts.index).min() if len(counts) > 1 else 0
    for k, ((name, table), color) in enumerate(zip(tables.items(), cycle(SERIES), strict=False)):
        places = table.index + apart * (k - (len(tables) - 1) / 2)
        accuracy = 100 * table["accuracy"]
        errors = np.abs(100 * table[["low", "high"]].to_numpy().T - accuracy.to_numpy())
        axis.errorbar(places, accuracy, yerr=errors, color=color, marker="o", markersize=5, capsize=2, label=name)
    axis.set(xlabel=xlabel, ylabel="accuracy (%)", title=title, ylim=(0, 102))
    axis.set_xticks(counts.index, [f"{group:g}\nn = {n:,}" for group, n in counts.items()])
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    return figure


def draw_run(folder: str | Path) -> None:
    """Draw `training_accuracy_loss.png` and `confusion_matrix.png` of a run folder."""
    folder = Path(folder)
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    about = f"{found['title']}: {found['dataset']}"
    figures = {"confusion_matrix.png": confusion_matrix(found["test"], f"{about}, test, n = {found['test']['n']:,}")}
    if (folder / "history.csv").exists():
        figures["training_accuracy_loss.png"] = training_curves(pd.read_csv(folder / "history.csv"), about)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=120)
        plt.close(figure)


# ---------------------------------------------------------------------------------- looking at a data set


def class_distribution(dataset) -> plt.Figure:
    """Share and number of pictures of each class, split by split."""
    counts = dataset.describe()
    names = list(counts.columns)
    figure, axes = plt.subplots(
        1, len(counts), figsize=(10, 1.2 + 0.35 * len(names)), sharex=True, sharey=True, layout="constrained"
    )
    for axis, (split, row) in zip(axes, counts.iterrows(), strict=True):
        shares = 100 * row / max(row.sum(), 1)
        bars = axis.barh(names, shares, color=colors(names))
        axis.bar_label(bars, [f"{count:,}" for count in row], padding=3, fontsize=9)
        axis.set(xlabel="share of the split (%)", title=f"{split}, n = {row.sum():,}")
        axis.margins(x=0.25)
    axes[0].invert_yaxis()
    axes[0].set_ylabel("class")
    figure.suptitle(f"Classes of {dataset.name}")
    return figure


def class_rates(hits, labels, class_names, xlabel: str, title: str = "") -> plt.Figure:
    """In what share of each class did something happen? With 95% Wilson intervals.

    Args:
        hits: bool, N.
        labels: int, N: positions in `class_names`.
    """
    hits, labels = np.asarray(hits), np.asarray(labels)
    present = [k for k in range(len(class_names)) if (labels == k).any()]
    names = [f"{class_names[k]} (n = {(labels == k).sum():,})" for k in present]
    shares = np.array([100 * hits[labels == k].mean() for k in present])
    limits = 100 * np.array([comparison.wilson(hits[labels == k].sum(), (labels == k).sum()) for k in present])
    figure, axis = plt.subplots(figsize=(7, 1.3 + 0.35 * len(names)), layout="constrained")
    errors = np.abs(limits.T - shares)
    axis.barh(names, shares, xerr=errors, color=colors(class_names[k] for k in present), capsize=3)
    axis.set(xlabel=xlabel, ylabel="class", title=title, xlim=(0, 100))
    axis.invert_yaxis()
    return figure


def face_grid(images, titles, frames=None, columns: int = 7, caption: str = "") -> plt.Figure:
    """Pictures in rows, each under its title.

    Args:
        images: N x H x W x 3, RGB, values 0-255.
        titles: N.
        frames: N colours, see `colors`.
        caption: a line below all of them.
    """
    rows = -(-len(images) // columns)
    frames = ["white"] * len(images) if frames is None else frames
    lines = 1 + max(title.count("\n") for title in titles)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.25 * columns, (1.15 + 0.17 * lines) * rows + 0.4), squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.06)  # inches: frames must not touch
    for axis, image, title, frame in zip(axes.flat, images, titles, frames, strict=False):
        axis.imshow(np.round(image).astype(np.uint8))
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
        plt.setp(axis.spines.values(), color=frame, linewidth=3)
    for axis in axes.flat[len(images) :]:
        axis.remove()
    figure.supxlabel(caption, fontsize=10)
    return figure


def mean_faces(split, class_names, least: int = 16) -> plt.Figure:
    """The mean picture of each class.

    Args:
        split: a `datasets.Split`.
        least: the mean of fewer pictures is not drawn: persons could be recognised in it.
    """
    counts = np.bincount(split.labels, minlength=len(class_names))
    sums = np.zeros((len(class_names), *split.images.shape[1:]))
    for start in range(0, len(split), 512):
        batch, labels = np.asarray(split.images[start : start + 512]), split.labels[start : start + 512]
        for k in np.unique(labels):
            sums[k] += batch[labels == k].sum(axis=0, dtype=float)
    means, titles = [], []
    for name, count, total in zip(class_names, counts, sums, strict=True):
        means.append(total / count if count >= least else np.full_like(total, TOO_FEW))
        titles.append(f"{name}\nn = {count:,}" + (", too few" if count < least else ""))
    return face_grid(means, titles, colors(class_names), caption="mean of all pictures of a class")


def mean_batches(split, size: int = 64, count: int = 7, seed: int = 0) -> plt.Figure:
    """The mean pictures of batches as training sees them: drawn at random, without replacement.

    Args:
        split: a `datasets.Split`.
        size: pictures in a batch.
        count: batches, or as many as the split has.
    """
    order = np.random.default_rng(seed).permutation(len(split))
    batches = [np.sort(order[i * size : (i + 1) * size]) for i in range(max(1, min(count, len(split) // size)))]
    means = [np.asarray(split.images[batch]).mean(axis=0) for batch in batches]
    titles = [f"batch {i}\nbrightness {mean.mean():.0f}" for i, mean in enumerate(means, start=1)]
    caption = f"mean of {len(batches[0])} random pictures; brightness: mean grey value (0-255)"
    return face_grid(means, titles, caption=caption)


def measure_histograms(pictures: pd.DataFrame) -> plt.Figure:
    """Brightness and sharpness of all pictures, outliers apart.

    Args:
        pictures: of an `audit.Audit`. Constant pictures are left out.
    """
    pictures = pictures[~pictures["constant"]]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    labels = {
        "brightness": "brightness: mean grey value (0-255)",
        "sharpness": "sharpness: variance of the Laplacian (grey values²)",
    }
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        values, outlier = pictures[name].clip(lower=1), pictures[f"outlier in {name}"]
        bins = np.linspace(0, 255, 52) if name == "brightness" else np.geomspace(values.min(), values.max(), 52)
        axis.hist(
            [values[~outlier], values[outlier]],
            bins,
            stacked=True,
            color=[USUAL, UNUSUAL],
            label=[f"usual: {(~outlier).sum():,}", f"outliers: {outlier.sum():,}"],
        )
        axis.set(xlabel=label, ylabel="pictures (log scale)", yscale="log")
        axis.set_xscale("linear" if name == "brightness" else "log")
        axis.legend(fontsize=9)
    return figure


# -------------------------------------------------------------------------------- looking into a transformer


def tiles(pictures: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Small pictures side by side as one large picture.

    Args:
        pictures: N x H x W, or N x H x W x channels.
        gap: pixels between them, which are NaN, as is the place of pictures that would complete the last row.
    """
    count, height, width, *channels = pictures.shape
    rows = -(-count // columns)
    large = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, *channels), np.nan)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top, left = row * (height + gap), column * (width + gap)
        large[top : top + height, left : left + width] = picture
    return large


def mosaics(sets: dict, columns: int, caption: str = "", limits=(-1, 1), label: str = "", gap: int = 1) -> plt.Figure:
    """Sets of small pictures, each set as one mosaic under its title.

    Args:
        sets: {title: pictures}, N x H x W, drawn in colours from `limits[0]` to `limits[1]`, or N x H x W x 3, RGB,
            where the limits are black and full colour.
        columns: pictures in a row.
        caption: a line below all of them.
        label: of the colour bar, with its unit; pictures that are RGB have none.
    """
    rows = -(-max(map(len, sets.values())) // columns)
    size = (4.4 * len(sets) + 0.8, 4.1 * rows / columns + 0.9)
    figure, axes = plt.subplots(1, len(sets), figsize=size, squeeze=False, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)  # wider than the gaps within a mosaic
    for axis, (title, pictures) in zip(axes.flat, sets.items(), strict=True):
        large = tiles(np.asarray(pictures, float), columns, gap)
        if large.ndim == 3:
            large = np.nan_to_num(np.clip((large - limits[0]) / (limits[1] - limits[0]), 0, 1), nan=1.0)
        image = axis.imshow(large, cmap="viridis", vmin=limits[0], vmax=limits[1], interpolation="nearest")
        axis.set(xticks=[], yticks=[], title=title)
        plt.setp(axis.spines.values(), visible=False)
    if large.ndim == 2:
        figure.colorbar(image, ax=axes, label=label, shrink=0.8)
    return captioned(figure, caption)


def captioned(figure: plt.Figure, caption: str) -> plt.Figure:
    """The figure with a caption below, in as many lines as its width asks for."""
    figure.supxlabel(textwrap.fill(caption, int(13 * figure.get_figwidth())), fontsize=10)
    return figure


def attention_heads(picture: np.ndarray, maps: np.ndarray, title: str = "") -> plt.Figure:
    """What the class token takes from each patch of a picture, in every head (rows) of every block (columns).

    Args:
        picture: H x W x 3, RGB, values 0-255.
        maps: depth x heads x tokens x tokens, as from `vit.attention`; token 0 is the class token.
    """
    depth, heads, tokens, _ = maps.shape
    grid = round((tokens - 1) ** 0.5)
    taken = tokens * maps[:, :, 0, 1:].reshape(depth, heads, grid, grid)
    figure, axes = plt.subplots(
        heads,
        depth + 1,
        figsize=(depth + 2.2, 0.95 * heads + 0.6),
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    sides = (0, picture.shape[1], picture.shape[0], 0)
    grey = np.asarray(picture).mean(axis=-1)
    for head in range(heads):
        for block in range(depth):
            axis = axes[head, block + 1]
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
            image = axis.imshow(taken[block, head], cmap="inferno", vmin=0, vmax=4, alpha=0.7, extent=sides)
            if head == 0:
                axis.set_title(f"block {block + 1}", fontsize=10)
        axes[head, 1].set_ylabel(f"head {head + 1}", fontsize=10)
        axes[head, 0].set_axis_off()
    axes[0, 0].imshow(np.asarray(picture, np.uint8))
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=axes, label="attention x tokens\n(1: all alike)", shrink=0.9, extend="max", aspect=30)
    figure.suptitle(title)
    return figure


def attention_distances(distances: dict, alike: dict, title: str = "") -> plt.Figure:
    """How far attention reaches, block by block, each head a dot.

    Args:
        distances: {title: depth x heads}, in shares of the picture's side, as from `vit.attention_distance`.
        alike: {title: the distance if all patches were attended to alike}.
    """
    figure, axes = plt.subplots(
        1, len(distances), figsize=(3.8 * len(distances) + 2, 3.6), squeeze=False, sharey=True, layout="constrained"
    )
    for axis, (name, values) in zip(axes.flat, distances.items(), strict=True):
        blocks = np.arange(1, len(values) + 1)
        axis.plot(
            np.repeat(blocks, values.shape[1]), 100 * values.ravel(), "o", color=VALIDATION, alpha=0.7, label="a head"
        )
        axis.plot(blocks, 100 * values.mean(axis=1), color=VALIDATION, linewidth=1, label="mean of the heads")
        axis.axhline(100 * alike[name], color="black", linestyle=":", linewidth=1, label="all patches alike")
        axis.set(xlabel="block", title=name, xticks=blocks)
        axis.grid(alpha=0.3)
    highest = max(values.max() for values in distances.values())
    axes[0, 0].set(ylabel="mean attention distance\n(% of the side)", ylim=(0, 110 * highest))
    axes[0, -1].legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    figure.suptitle(title)
    return figure


def learning_rates(rates: dict, title: str = "") -> plt.Figure:
    """How learning rates go through a training.

    Args:
        rates: {name: one rate per step}.
    """
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(rates)))
    for shade, (name, values) in zip(shades, rates.items(), strict=True):
        axis.plot(np.linspace(0, 100, len(values)), values, color=shade, linewidth=2, label=name)
    axis.set(xlabel="share of the training (%)", ylabel="learning rate (log scale)", yscale="log", title=title)
    axis.set_ylim(bottom=max(values.max() for values in rates.values()) / 1e4)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, loc="lower left", bbox_to_anchor=(1, 0))
    return figure


# ------------------------------------------------------------------------------- looking at single predictions


def examples(predictions, each: int = 7, seed: int = 0) -> np.ndarray:
    """Positions of randomly chosen predictions: at most `each` right ones, then at most `each` wrong ones."""
    random = np.random.default_rng(seed)
    right = predictions.predicted == predictions.labels
    return np.concatenate([random.permutation(np.flatnonzero(mask))[:each] for mask in (right, ~right)])


def gallery(images, predictions, columns: int = 7, caption: str = "") -> plt.Figure:
    """Pictures with what a model says of them: the right predictions first, framed in the colour of the true class.

    Args:
        images: N x H x W x 3, RGB, values 0-255, in the order of `predictions`; see `examples` for choosing them.
        predictions: an `evaluation.Predictions`.
    """
    names, right = predictions.class_names, predictions.predicted == predictions.labels
    order = np.concatenate([np.flatnonzero(right), np.flatnonzero(~right)])
    titles = []
    for i in order:
        said = f"{names[predictions.predicted[i]]} {predictions.probabilities[i].max():.0%}"
        titles.append(f"{said}\nright" if right[i] else f"{said}\nwrong, is {names[predictions.labels[i]]}")
    frames = colors(names[predictions.labels[i]] for i in order)
    return face_grid(np.asarray(images)[order], titles, frames, columns, caption)


# ------------------------------------------------------------------------------------ why did it say that?

PART_COLORS = {"mouth": "#882255", "eyes": "#332288", "brows": "#999933"}  # no emotion's; of Tol's muted palette


def heat_maps(images, maps: dict, titles, masks: dict | None = None, caption: str = "") -> plt.Figure:
    """Pictures in a row, and below them a row of heat maps for each method, laid over the pictures.

    Args:
        images: N x H x W x 3, RGB, values 0-255.
        maps: {method: N x H x W, values 0-1}.
        titles: N.
        masks: {part of the face: bool, N x H x W}, outlined in the first row.
    """
    rows = ["picture", *maps]
    figure, axes = plt.subplots(
        len(rows),
        len(images),
        figsize=(1.35 * len(images) + 0.6, 1.3 * len(rows) + 0.7),
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        grey = np.asarray(image, float).mean(axis=-1)
        axes[0, place].imshow(np.round(image).astype(np.uint8))
        axes[0, place].set_title(title, fontsize=10)
        for part, mask in (masks or {}).items():
            axes[0, place].contour(mask[place], levels=[0.5], colors=PART_COLORS.get(part, OTHER), linewidths=1.2)
        for axis, of in zip(axes[1:, place], maps.values(), strict=True):
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
            shown = axis.imshow(of[place], cmap="inferno", vmin=0, vmax=1, alpha=0.65)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        plt.setp(axis.spines.values(), visible=False)
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(name.replace(" ", "\n"), fontsize=10)
    figure.colorbar(shown, ax=axes[1:, :], shrink=min(1, 2.2 / len(maps)), label="heat (strongest place: 1)", pad=0.01)
    return captioned(figure, caption)


def differences(tables: dict[str, pd.DataFrame], column: str, xlabel: str, title: str = "") -> plt.Figure:
    """Differences with 95% intervals as a forest plot: one line per row, one colour per table.

    Args:
        tables: {what was subtracted: a table of `explain.summary`}; the same rows.
        column: which of its figures.
    """
    rows = list(next(iter(tables.values())).index)
    figure, axis = plt.subplots(figsize=(8.5, 1.6 + 0.42 * len(rows)), layout="constrained")
    for place, (name, table) in enumerate(tables.items()):
        at = np.arange(len(rows)) + 0.28 * (place - (len(tables) - 1) / 2)
        middle = table[column]
        errors = [middle - table[f"{column}_low"], table[f"{column}_high"] - middle]
        color = SERIES[place]
        axis.errorbar(middle, at, xerr=errors, fmt="o", color=color, capsize=3, label=name)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(yticks=range(len(rows)), yticklabels=rows, xlabel=xlabel, title=title)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    figure.legend(fontsize=9, loc="outside lower center", ncols=len(tables))
    return figure


def feature_maps(maps: dict[str, np.ndarray], image, each: int = 7) -> plt.Figure:
    """The strongest feature maps of some layers for one picture, layer by layer.

    Args:
        maps: {title of the layer: h x w x channels}.
        image: H x W x 3, RGB, values 0-255.
        each: channels per layer, those with the highest mean.
    """
    figure, axes = plt.subplots(
        len(maps), each + 1, figsize=(1.1 * (each + 1) + 0.4, 1.35 * len(maps)), layout="constrained"
    )
    for row, (name, of) in zip(np.atleast_2d(axes), maps.items(), strict=True):
        row[0].imshow(np.round(image).astype(np.uint8))
        row[0].set_ylabel(name, fontsize=10)
        for axis, channel in zip(row[1:], np.argsort(-of.mean(axis=(0, 1)))[:each], strict=False):
            axis.imshow(of[..., channel], cmap="viridis")
            axis.set_title(f"filter {channel}", fontsize=9)
    for axis in np.ravel(axes):
        axis.set(xticks=[], yticks=[])
    return figure


def strongest_inputs(patches: dict[int, list], made: np.ndarray | None = None, title: str = "") -> plt.Figure:
    """For each filter a row: the patches that excite it most, and the picture made for it.

    Args:
        patches: as `filters.strongest` returns.
        made: as `filters.ascent` returns, for the same filters; grey, shown with its contrast stretched.
    """
    columns = max(len(row) for row in patches.values()) + (made is not None)
    figure, axes = plt.subplots(
        len(patches),
        columns,
        figsize=(0.95 * columns + 0.6, 0.95 * len(patches) + 0.7),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        plt.setp(axis.spines.values(), visible=False)
    for number, (channel, row) in enumerate(patches.items()):
        for axis, picture in zip(axes[number], row, strict=False):
            axis.imshow(picture)
        if made is not None:
            axes[number, -1].imshow(made[number][..., 0], cmap="gray")  # from its darkest to its brightest
        axes[number, 0].set_ylabel(f"filter {channel}", fontsize=10)
    axes[0, 0].set_title("strongest", fontsize=10)
    if made is not None:
        axes[0, -1].set_title("made for it,\nstretched", fontsize=10)
    figure.suptitle(title)
    return figure


def activation_by_part(tables: dict[str, pd.DataFrame], parts=tuple(PART_COLORS), columns: int = 3) -> plt.Figure:
    """How densely each layer is active on the parts of the face, model by model.

    Args:
        tables: {title: table of `filters.by_part`}.
    """
    columns = min(columns, len(tables))
    rows = -(-len(tables) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1 + 3.6 * columns, 0.6 + 2.9 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (title, table) in zip(axes.flat, tables.items(), strict=False):
        for part in parts:
            color = PART_COLORS.get(part, OTHER)
            axis.plot(table["depth"], table[part], color=color, marker=".", label=part)
            axis.fill_between(table["depth"], table[f"{part}_low"], table[f"{part}_high"], color=color, alpha=0.2)
            axis.plot(table["depth"], table[f"{part}_shuffled"], color=color, linestyle=":", linewidth=1)
            ends = (table[f"{part}_shuffled{end}"] for end in ("_low", "_high"))
            axis.fill_between(table["depth"], *ends, color=color, alpha=0.1, linewidth=0)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    axes[0, 0].plot([], [], color="black", linestyle=":", linewidth=1, label="weights shuffled")
    axes[0, 0].legend(fontsize=8)
    for axis in axes.flat[len(tables) :]:
        axis.remove()
    figure.supxlabel("depth (0: first convolution, 1: last)", fontsize=10)
    figure.supylabel("density of activation (1: as anywhere)", fontsize=10)
    return figure


def over_mean_faces(faces, maps: dict, titles, frames=None, one_scale: bool = True) -> plt.Figure:
    """Mean heat maps, a row each, laid over mean faces in grey.

    Args:
        faces: N x H x W x 3, values 0-255.
        maps: {row: N x H x W}; NaN where there were too few pictures: then the face is not shown either.
        titles: {row: N}.
        one_scale: whether the rows share their scale of colours, from 0 on, so that they can be compared; otherwise
            each has its own, from its lowest to its highest.
    """
    count = len(faces)
    figure, axes = plt.subplots(
        len(maps), count, figsize=(1.5 * count + 1.2, 1.85 * len(maps)), squeeze=False, layout="constrained"
    )
    for row, (name, of) in zip(axes, maps.items(), strict=True):
        row[0].set_ylabel(name, fontsize=10)
        lowest, highest = (0, np.nanmax([*maps.values()])) if one_scale else (np.nanmin(of), np.nanmax(of))
        for axis, face, one, title in zip(row, faces, of, titles[name], strict=True):
            grey = np.full(one.shape, TOO_FEW) if np.isnan(one).all() else np.mean(face, axis=-1)
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
            heat = (np.nan_to_num(one) - lowest) / max(highest - lowest, 1e-9)
            veil = 0.75 * np.clip(heat, 0, 1)  # what is cold lets the face through
            axis.imshow(one, cmap="inferno", vmin=lowest, vmax=highest, alpha=veil)
            axis.set_title(title, fontsize=9)
        scale = plt.cm.ScalarMappable(plt.Normalize(lowest, highest), "inferno")
        figure.colorbar(scale, ax=row, label="mean heat", shrink=0.8, pad=0.01)
    for place, axis in enumerate(axes.flat):
        axis.set(xticks=[], yticks=[])
        plt.setp(axis.spines.values(), color="white" if frames is None else frames[place % count], linewidth=3)
    return figure
