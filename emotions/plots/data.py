"""Classes, rates by class and measures of a data set."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from emotions.colors import colors
from emotions.plots.style import SERIES, grid


def class_distribution(dataset) -> plt.Figure:
    """Plot the share and number of images of each class, split by split."""
    counts = dataset.describe()
    names = list(counts.columns)
    size = (11, 1.3 + 0.38 * len(names))
    figure, axes = grid(1, len(counts), size, f"Classes of {dataset.name}", sharex=True, sharey=True)
    for axis, (split, row) in zip(axes[0], counts.iterrows(), strict=True):
        bars = axis.barh(names, 100 * row / max(row.sum(), 1), color=colors(names))
        axis.bar_label(bars, [f"{count:,}" for count in row], padding=3, fontsize=9)
        axis.set(xlabel="share of the split (%)", title=f"{split}, n = {row.sum():,}")
        axis.margins(x=0.25)
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_ylabel("class")
    return figure


def measure_histograms(images: pd.DataFrame) -> plt.Figure:
    """Plot brightness and sharpness of all images of an audit's table but the constant ones, outliers apart."""
    images = images[~images["constant"]]
    figure, axes = grid(1, 2, (11, 3.9))
    kinds = (("brightness", "mean grey value (0-255)", "linear"),
             ("sharpness", "variance of the Laplacian (grey values²)", "log"))
    for axis, (name, words, scale) in zip(axes[0], kinds, strict=True):
        values, outlier = images[name].clip(lower=1), images[f"outlier in {name}"]
        bins = np.linspace(0, 255, 52) if scale == "linear" else np.geomspace(values.min(), values.max(), 52)
        axis.hist([values[~outlier], values[outlier]], bins, stacked=True, color=SERIES[:2],
                  label=[f"usual: {(~outlier).sum():,}", f"outliers: {outlier.sum():,}"])
        axis.set(xlabel=f"{name}: {words}", ylabel="images (log scale)", yscale="log", xscale=scale)
        axis.legend(fontsize=9)
    return figure
