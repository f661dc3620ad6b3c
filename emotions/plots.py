"""Show me. Every figure of the repository, drawn from saved results.

Functions return a Matplotlib figure; `draw_run` writes those of a run folder beside its numbers.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

# One colour per emotion, the same in every figure: Okabe & Ito's palette, told apart with any colour vision.
EMOTION_COLORS = {
    "angry": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happy": "#E69F00",
    "neutral": "#7F7F7F",
    "sad": "#0072B2",
    "surprise": "#56B4E9",
}
TRAIN, VALIDATION, TEST = "#999999", "#0072B2", "#D55E00"


def training_curves(history: pd.DataFrame, title: str = "") -> plt.Figure:
    """Accuracy and loss by epoch, in training and validation, with the chosen epoch marked.

    Args:
        history: as `training.train` returns and `history.csv` holds.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    best = history["epoch"][history["val_accuracy"].idxmax()]
    for axis, name, label in zip(axes, ("accuracy", "loss"), ("accuracy", "loss (nats)"), strict=True):
        axis.plot(history["epoch"], history[name], color=TRAIN, marker=".", label="training (augmented, with dropout)")
        axis.plot(history["epoch"], history[f"val_{name}"], color=VALIDATION, marker=".", label="validation")
        axis.axvline(best, color="black", linewidth=0.8, linestyle=":", label=f"kept: epoch {best}")
        for start in history.groupby("phase")["epoch"].min().iloc[1:]:
            axis.axvline(start - 0.5, color="black", linewidth=0.8, label="fine-tuning begins")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=9)
    figure.suptitle(title)
    return figure


def confusion_matrix(metrics: dict, title: str = "") -> plt.Figure:
    """Recall-normalised confusion matrix with counts, from one split of a `metrics.json`."""
    names = list(metrics["per_class"])
    counts = np.array(metrics["confusion"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.75 * len(names)
    figure, axis = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    notes = np.array([f"{share:.0%}\n{count}" for share, count in zip(shares.ravel(), counts.ravel(), strict=True)])
    sns.heatmap(
        shares,
        annot=notes.reshape(counts.shape),
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=1,
        square=True,
        xticklabels=names,
        yticklabels=names,
        annot_kws={"fontsize": 9},
        cbar_kws={"label": "share of the true class", "shrink": 0.8},
        ax=axis,
    )
    axis.set(xlabel="predicted", ylabel="true", title=title)
    axis.tick_params(axis="y", rotation=0)
    return figure


def draw_run(folder: str | Path) -> None:
    """Draw `training_accuracy_loss.png` and `confusion_matrix.png` of a run folder."""
    folder = Path(folder)
    found = json.loads((folder / "metrics.json").read_text())
    about = f"{found['title']} on {found['dataset']}"
    figures = {"confusion_matrix.png": confusion_matrix(found["test"], f"{about}, test, n = {found['test']['n']:,}")}
    if (folder / "history.csv").exists():
        figures["training_accuracy_loss.png"] = training_curves(pd.read_csv(folder / "history.csv"), about)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=120)
        plt.close(figure)
