"""Architecture diagrams: columns of boxes with arrows and shortcuts."""

from itertools import pairwise

import matplotlib.pyplot as plt

TRAINED, FROZEN, PLAIN = "#F6D7A7", "#C9DDEF", "#FFFFFF"  # parts with trained weights, with frozen ones, with none


def chart(size: tuple[float, float], columns: list, shortcuts=(), title: str = "") -> plt.Figure:
    """Draw columns of boxes, each with an arrow to the next, and shortcuts around boxes; `size` is in inches. A column
    is (x, boxes), a box (text, fill), without a fill a heading. A shortcut is (column, first, last, text): an arrow
    from above box `first` to the side of box `last`."""
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.set(xlim=(0, size[0]), ylim=(0, size[1]), title=title)
    axis.set_axis_off()
    line = {"color": "black", "linewidth": 1.3}
    for x, boxes in columns:
        places = [size[1] - 0.4 - 0.85 * k for k in range(len(boxes))]
        for (text, fill), y in zip(boxes, places, strict=True):
            axis.text(x, y, text, ha="center", va="center", fontsize=11)
            if fill:
                axis.add_patch(plt.Rectangle((x - 1.6, y - 0.29), 3.2, 0.58, facecolor=fill, edgecolor="black"))
        for above, below in pairwise(y for (_, fill), y in zip(boxes, places, strict=True) if fill):
            axis.annotate("", (x, below + 0.29), (x, above - 0.29), arrowprops={"arrowstyle": "-|>", **line})
    for column, first, last, text in shortcuts:
        x, start, end = columns[column][0], size[1] + 0.02 - 0.85 * first, size[1] - 0.4 - 0.85 * last
        axis.plot([x, x + 2.1, x + 2.1], [start, start, end], **line)
        axis.annotate("", (x + 1.6, end), (x + 2.12, end), arrowprops={"arrowstyle": "-|>", **line})
        axis.text(x + 2.2, (start + end) / 2, text, va="center", fontsize=11)
    return figure


def two_phases() -> plt.Figure:
    """Draw which parts of a pretrained network are trained in the two phases of transfer learning."""
    columns = [
        (x, [(title, ""), ("image, 0-255", PLAIN), ("pretrained base", fill), ("pooling", PLAIN), ("head", TRAINED)])
        for x, title, fill in ((2, "Phase 1: the new head", FROZEN), (6, "Phase 2: fine-tuning", TRAINED))
    ]
    return chart((8, 4.4), columns, title="Two phases: blue is frozen, orange is trained, white has no weights")
