"""What does a filter look for? The inputs that excite it most, and where in a face its layer is active."""

import cv2
import keras
import numpy as np
import pandas as pd
from keras import layers, ops

from emotions import backend
from emotions.explain.checks import SHUFFLES, energy_inside, shuffled_weights
from emotions.explain.graph import CONVOLUTIONS, Graph, at_image_size, in_batches

RESAMPLES = 1000  # of the bootstrap
RATE = 4.0  # root mean square of a step of the ascent, in grey values
RECTIFIERS = (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Activation)


def feature_maps(model, images, paths) -> dict[str, np.ndarray]:
    """Return the outputs of some layers: {path: float32, N x h x w x channels}."""
    graph = Graph.of(model)
    return graph.read(images, [graph.feature_layer(path) for path in paths])


def activations(model) -> dict[str, tuple]:
    """Return the feature maps behind activation functions, one per convolution: {path: (height, width, channels)}."""
    graph = Graph.of(model)
    shapes = {path: of for path, of in graph.feature_layers.items() if _activates(graph.steps[path].operation)}
    if not shapes:
        raise ValueError(f"The model {graph.model.name!r} has no convolution with an activation, so it has no filters.")
    return shapes


def _activates(operation):
    function = getattr(operation, "activation", None)
    if isinstance(operation, RECTIFIERS):
        return function is not keras.activations.linear
    return isinstance(operation, CONVOLUTIONS) and function not in (None, keras.activations.linear)


def strongest(model, images, layer: str, filters, count: int = 6) -> dict[int, list[np.ndarray]]:
    """Return the patches of images that excite a filter most (Zeiler & Fergus 2014, section 4): {filter: patches,
    strongest first}, each from another image: what the unit sees, the whole image in late layers."""
    graph = Graph.of(model)
    images, path = graph.images(images), graph.feature_layer(layer)
    peaks = in_batches(graph.compiled(_peaks, path), images)
    patches = {}
    for channel in filters:
        rows = np.argsort(-peaks["value"][:, channel], kind="stable")[:count]
        units = peaks["place"][rows, channel].astype(np.int32) * graph.feature_layers[path][-1] + channel
        moved = in_batches(graph.compiled(_sensitivity, path), images[rows].astype(np.float32), units)
        patches[int(channel)] = [_cut(image, where) for image, where in zip(images[rows], moved, strict=True)]
    return patches


def most_varied(model, images, layer: str, count: int = 6) -> list[int]:
    """Return the filters whose peak varies most from image to image, relative to its mean."""
    graph = Graph.of(model)
    peaks = in_batches(graph.compiled(_peaks, graph.feature_layer(layer)), graph.images(images))["value"]
    mean = peaks.mean(axis=0)
    awake = (mean > 0) & ((peaks > 0).mean(axis=0) > 0.1)  # one that wakes for a handful of images tells nothing
    spread = np.where(awake, peaks.std(axis=0) / np.where(awake, mean, 1), -1)
    return np.argsort(-spread, kind="stable")[:count].tolist()


def _peaks(graph, path, images):
    """Of each image and filter the highest value and its place, a position in the flattened map."""
    maps = graph.outputs(images, (path,))[path]
    flat = ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], maps.shape[3]))
    return {"value": ops.max(flat, axis=1), "place": ops.argmax(flat, axis=1)}


def _sensitivity(graph, path, images, units):
    """How much each pixel moves one unit of each image, a position in the flattened maps."""
    def values(images):
        maps = graph.outputs(images, (path,))[path]
        flat = ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2] * maps.shape[3]))
        return ops.sum(ops.take_along_axis(flat, units[:, None], axis=1)), ()

    return ops.max(ops.abs(backend.gradients(values, images)[2]), axis=-1)


def _cut(image, sensitivity):
    """The box of the pixels that move a unit, leaving out those that hardly do."""
    moved = sensitivity > 0.02 * sensitivity.max()
    if not moved.any():
        return image
    rows, columns = (np.flatnonzero(moved.any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def ascent(model, layer: str, filters, size: int = 64, steps: int = 60) -> np.ndarray:
    """Make a grey image for each filter, uint8, filters x size x size x 3, by gradient ascent on the mean of its map
    (Erhan et al. 2009), shifted at each step and at first blurred a little (Olah et al. 2017, "Feature
    visualization")."""
    graph, generator = Graph.of(model), np.random.default_rng(0)
    images = np.repeat(generator.normal(127.5, 8, (len(filters), size, size, 1)).astype(np.float32), 3, axis=-1)
    uphill, channels = graph.compiled(_uphill, graph.feature_layer(layer)), np.array(filters, np.int32)
    for step in range(steps):
        shift = generator.integers(-2, 3, 2)
        slope = in_batches(uphill, np.roll(images, shift, (1, 2)), channels)
        slope = np.roll(slope.mean(axis=-1, keepdims=True), -shift, (1, 2))
        height = np.sqrt(np.mean(slope**2, axis=(1, 2, 3), keepdims=True))
        images = images + RATE * slope / np.where(height > 0, height, 1)
        if step < 2 * steps / 3:
            images = np.stack([cv2.GaussianBlur(image, (3, 3), 0.5) for image in images])
        images = images.clip(0, 255)
    return np.round(images).astype(np.uint8)


def _uphill(graph, path, images, channels):
    # The map before its activation function: where a filter is silent, the function has no slope to climb.
    def height(images):
        means = ops.mean(graph.outputs(images, (path,), _before_activation)[path], axis=(1, 2))
        return ops.sum(ops.take_along_axis(means, channels[:, None], axis=1)), ()

    return backend.gradients(height, images)[2]


def _before_activation(step):
    operation = step.operation
    if isinstance(operation, RECTIFIERS):
        return step.input
    if isinstance(operation, layers.Conv2D) and _activates(operation):
        outputs = operation.convolution_op(step.input, operation.kernel)
        return outputs + operation.bias if operation.use_bias else outputs
    return step.outputs


def by_part(model, images, masks: dict[str, np.ndarray]) -> pd.DataFrame:
    """Measure how much more active each layer is on a part of the face than elsewhere.

    A layer's activation is the mean over its filters, of what is positive. Its density on a part is the share of it
    inside the part's mask, {part: bool, N x height x width}, by the mask's share of the image: 1 means no preference.

    One row per layer of `activations`: layer, depth (0 for the first, 1 for the last), height, width, channels; for
    each part its density, `<part>_low` and `<part>_high` (95% bootstrap over images), and `<part>_shuffled`, the mean
    density with shuffled weights, with the lowest and highest of the shuffles as `_low` and `_high`."""
    graph = Graph.of(model)
    images, shapes = graph.images(images), activations(graph)
    samples = np.random.default_rng(0).integers(len(images), size=(RESAMPLES, len(images)))
    learned, shuffled = _shares(graph, images, masks), []
    for number in range(SHUFFLES):
        with shuffled_weights(graph, number):
            shuffled.append(_shares(graph, images, masks))
    rows = []
    for depth, (path, shape) in zip(np.linspace(0, 1, len(shapes)), shapes.items(), strict=True):
        row = {"layer": path, "depth": depth, "height": shape[0], "width": shape[1], "channels": shape[2]}
        for part, mask in masks.items():
            area, shares = np.mean(mask, axis=(1, 2)), learned[path, part]
            low, high = np.quantile(shares[samples].mean(axis=1) / area[samples].mean(axis=1), (0.025, 0.975))
            without = [of[path, part].mean() / area.mean() for of in shuffled]
            row |= {part: shares.mean() / area.mean(), f"{part}_low": low, f"{part}_high": high,
                    f"{part}_shuffled": np.mean(without), f"{part}_shuffled_low": min(without),
                    f"{part}_shuffled_high": max(without)}
        rows.append(row)
    return pd.DataFrame(rows)


def _shares(graph, images, masks):
    """{(layer, part): share of the activation inside, one per image}."""
    activity = graph.read(images, activations(graph), _mean_of_positive)
    maps = {path: at_image_size(map_, images) for path, map_ in activity.items()}
    return {(path, part): energy_inside(maps[path], mask) for path in maps for part, mask in masks.items()}


def _mean_of_positive(step):
    return ops.mean(ops.relu(ops.cast(step.outputs, "float32")), axis=-1)
