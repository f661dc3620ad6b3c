"""What all figures share: series colours, bare image axes, captions."""

import textwrap

import matplotlib.pyplot as plt

TRAIN, VALIDATION = "#999999", "#0072B2"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")  # Okabe and Ito's palette
TOO_FEW = 230  # grey value of a panel without an image


def grid(rows: int, columns: int, size: tuple[float, float], title: str | None = None, lines="", **options):
    """Return a figure of `size` inches and its axes, rows x columns, with light lines across "x", "y" or "both"."""
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
    if title is not None:
        figure.suptitle(title)
    for axis in axes.flat if lines else ():
        axis.grid(axis=lines, alpha=0.3)
    return figure, axes


def bare(axis, frame: str | None = None) -> None:
    """Remove the ticks of an image's axis, and its frame or give it a coloured one."""
    axis.set(xticks=[], yticks=[])
    plt.setp(axis.spines.values(), visible=frame is not None, color=frame, linewidth=3)


def captioned(figure: plt.Figure, caption: str) -> plt.Figure:
    """Return the figure with a caption below, in as many lines as its width needs."""
    figure.supxlabel(textwrap.fill(caption, int(13 * figure.get_figwidth())), fontsize=10)
    return figure
