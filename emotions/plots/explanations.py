"""Heat maps, attention, mosaics: what a network looks at."""

import matplotlib.pyplot as plt
import numpy as np

from emotions.plots.style import TOO_FEW, VALIDATION, bare, captioned, grid

PART_COLORS = {"mouth": "#882255", "eyes": "#332288", "brows": "#999933"}  # of Tol's muted palette, no emotion's


def heat_maps(images, maps: dict, titles, masks: dict | None = None, frames=None, caption: str = "",
              one_scale: bool = True) -> plt.Figure:
    """Show images in a row, and below them a row of heat maps for each method, laid over the images in grey.

    Args:
        images: N x H x W x 3, RGB, values 0-255; single images, or mean ones below mean maps. `frames` are N colours.
        maps: by row, N x H x W, from 0; NaN where there are too few images for a mean.
        titles: of the N columns, or by row ("image" is the first), a title for each.
        masks: by part of the face, bool, N x H x W; outlined in the first row.
        one_scale: one colour scale for all rows, from 0, so that they can be compared; otherwise one for each row."""
    titles = titles if isinstance(titles, dict) else {"image": titles}
    figure, axes = grid(1 + len(maps), len(images), (1.55 * len(images) + 1.2, 1.65 * (1 + len(maps)) + 0.5))
    for (row, column), axis in np.ndenumerate(axes):
        bare(axis, frames and frames[column])
        name = ["image", *maps][row]
        axis.set_title(titles[name][column] if name in titles else "", fontsize=10)
        axis.set_ylabel("" if column else name.replace(" ", "\n"), fontsize=10)
        if not row:
            axis.imshow(np.round(images[column]).astype(np.uint8))
            for part, mask in (masks or {}).items():
                axis.contour(mask[column], levels=[0.5], colors=PART_COLORS[part], linewidths=1.2)
    for row, heats in zip(axes[1:], maps.values(), strict=True):
        lowest, highest = (0, np.nanmax([*maps.values()])) if one_scale else (np.nanmin(heats), np.nanmax(heats))
        for axis, image, heat in zip(row, images, heats, strict=True):
            grey = np.full(heat.shape, TOO_FEW) if np.isnan(heat).all() else np.mean(image, axis=-1)
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
            alpha = 0.75 * np.clip((np.nan_to_num(heat) - lowest) / max(highest - lowest, 1e-9), 0, 1)
            axis.imshow(heat, cmap="inferno", vmin=lowest, vmax=highest, alpha=alpha)  # cold lets the face through
        scale = plt.cm.ScalarMappable(plt.Normalize(lowest, highest), "inferno")
        figure.colorbar(scale, ax=row, label="heat", shrink=0.8, pad=0.01)
    return captioned(figure, caption)


def mosaics(sets: dict, columns: int, caption: str = "", limits=(-1, 1), label: str = "") -> plt.Figure:
    """Show sets of small images of equal size, each set as one mosaic under its title. They are N x H x W, drawn in
    colours from `limits[0]` to `limits[1]`, or N x H x W x 3, RGB, of which the limits are black and white; `label` is
    that of the colour bar, with its unit, which RGB images have none of."""
    rows = -(-max(map(len, sets.values())) // columns)
    figure, axes = grid(1, len(sets), (4.6 * len(sets) + 0.8, 4.3 * rows / columns + 0.9))
    for axis, (title, images) in zip(axes[0], sets.items(), strict=True):
        large = _tiled(np.asarray(images, float), columns)
        if large.ndim == 3:
            large = np.nan_to_num(np.clip((large - limits[0]) / (limits[1] - limits[0]), 0, 1), nan=1.0)
        image = axis.imshow(large, cmap="viridis", vmin=limits[0], vmax=limits[1], interpolation="nearest")
        axis.set_title(title)
        bare(axis)
    if large.ndim == 2:
        figure.colorbar(image, ax=axes, label=label, shrink=0.8)
    return captioned(figure, caption)


def _tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Return small images side by side as one large one, with NaN between them and where images are missing."""
    padding = [(0, -len(images) % columns), (0, 1), (0, 1)] + [(0, 0)] * (images.ndim - 3)
    padded = np.pad(images, padding, constant_values=np.nan)
    rows = [np.concatenate(list(row), axis=1) for row in padded.reshape(-1, columns, *padded.shape[1:])]
    return np.concatenate(rows)[:-1, :-1]


def attention_heads(image, maps, title: str = "") -> plt.Figure:
    """Show the class token's attention to each patch of an image; maps: depth x heads x tokens x tokens."""
    depth, heads, tokens, _ = maps.shape
    side = round((tokens - 1) ** 0.5)
    weights = tokens * maps[:, :, 0, 1:].reshape(depth, heads, side, side)
    figure, axes = grid(heads, depth + 1, (depth + 2.2, 0.95 * heads + 0.6), title)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for (head, column), axis in np.ndenumerate(axes):
        bare(axis)
        axis.set_ylabel(f"head {head + 1}" if column == 1 else "", fontsize=10)
        axis.set_title(f"block {column}" if column and not head else "", fontsize=10)
        if column:
            axis.imshow(np.mean(image, axis=-1), cmap="gray", vmin=0, vmax=255)
            shown = axis.imshow(weights[column - 1, head], cmap="inferno", vmin=0, vmax=4, alpha=0.7,
                                extent=(0, image.shape[1], image.shape[0], 0))
    axes[0, 0].imshow(np.asarray(image, np.uint8))
    figure.colorbar(shown, ax=axes, label="attention, relative to uniform", shrink=0.9, extend="max", aspect=30)
    return figure


def attention_distances(distances: dict, uniform: dict, title: str = "") -> plt.Figure:
    """Plot how far attention reaches: depth x heads in shares of the image's side, and the uniform value, by title."""
    figure, axes = grid(1, len(distances), (3.8 * len(distances) + 2, 3.9), title, "both", sharey=True)
    for axis, (name, values) in zip(axes[0], distances.items(), strict=True):
        blocks = np.arange(1, len(values) + 1)
        axis.plot(np.repeat(blocks, values.shape[1]), 100 * values.ravel(), "o", color=VALIDATION, alpha=0.7,
                  label="one head")
        axis.plot(blocks, 100 * values.mean(axis=1), color=VALIDATION, linewidth=1, label="mean of the heads")
        axis.axhline(100 * uniform[name], color="black", linestyle=":", linewidth=1, label="uniform attention")
        axis.set(xlabel="block", title=name, xticks=blocks)
        axis.margins(y=0.2)
    axes[0, 0].set_ylabel("mean attention distance\n(% of the side)")
    axes[0, -1].legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
