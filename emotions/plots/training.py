"""Training curves and learning rates."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from emotions.plots.style import TRAIN, VALIDATION, grid


def training_curves(history: pd.DataFrame, title: str = "", axes=None) -> plt.Figure:
    """Plot accuracy and loss by epoch, with the kept epoch and the beginning of fine-tuning marked.

    The loss is what training minimises: with label smoothing, weight penalties and class weights where a recipe has
    them. `history` is as in `history.csv`: epoch, accuracy, loss, val_accuracy, val_loss and, in two-phase runs, phase.
    `axes` are two to draw on; a new figure by default."""
    if axes is None:
        axes = grid(1, 2, (11, 4.2))[1][0]
        axes[0].figure.suptitle(title)
    best = history["epoch"][history["val_accuracy"].idxmax()]
    starts = history.groupby("phase")["epoch"].min().iloc[1:] if "phase" in history else []
    for axis, name, label, scale in zip(axes, ("accuracy", "loss"), ("accuracy (%)", "loss (nats)"), (100, 1),
                                        strict=True):
        axis.plot(history["epoch"], scale * history[name], color=TRAIN, marker=".", label="training (augmented)")
        axis.plot(history["epoch"], scale * history[f"val_{name}"], color=VALIDATION, marker=".", label="validation")
        axis.axvline(best, color="black", linewidth=0.9, linestyle=":", label=f"kept: epoch {best}")
        for start in starts:
            axis.axvline(start - 0.5, color="black", linewidth=0.9, label="fine-tuning begins")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=9)
    return axes[0].figure


def learning_rates(rates: dict[str, np.ndarray], title: str = "") -> plt.Figure:
    """Plot learning rates, one per step, over the course of a training."""
    figure, ((axis,),) = grid(1, 1, (8, 3.8))
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(rates)))
    for shade, (name, values) in zip(shades, rates.items(), strict=True):
        axis.plot(np.linspace(0, 100, len(values)), values, color=shade, linewidth=2, label=name)
    axis.set(xlabel="share of the training (%)", ylabel="learning rate (log scale)", yscale="log", title=title)
    axis.set_ylim(bottom=max(values.max() for values in rates.values()) / 1e4)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, loc="lower left", bbox_to_anchor=(1, 0))
    return figure
