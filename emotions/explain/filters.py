"""What does a filter look for? The inputs that excite it most, and where in a face its layer is active.

    peaks = strongest(model, images, "block3_conv3", filters=range(6))   # patches of pictures
    made = ascent(model, "block3_conv3", filters=range(6))               # pictures made for the filters
    table = by_part(model, images, masks)                                # mouth, eyes and brows, layer by layer

For any model that `reading` opens, on every backend.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import keras
import numpy as np
import pandas as pd
from keras import layers, ops

from emotions import backend
from emotions.explain import graph as reading
from emotions.explain import methods as explain

RESAMPLES = 1000  # of the bootstrap
SHUFFLES = 5  # of the weights, to compare with
RECTIFIERS = (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Activation)


def activations(model) -> dict[str, tuple]:
    """The feature maps behind an activation function, in the order of the computation: {path: (height, width,
    channels)}. Each stands for one convolution with all that belongs to it.

    Raises:
        ValueError: the model has none.
    """
    found = {
        path: tuple(step.outputs.shape[1:])
        for path, step in reading.steps(model).items()
        if step.has_map and _activates(step.operation)
    }
    if not found:
        raise ValueError(f"The model {model.name!r} has no convolution with an activation, so it has no filters.")
    return found


def _activates(operation):
    function = getattr(operation, "activation", None)
    if isinstance(operation, RECTIFIERS):
        return function is not keras.activations.linear
    return isinstance(operation, explain.CONVOLUTIONS) and function not in (None, keras.activations.linear)


# --------------------------------------------------------------------------------------- strongest inputs


def strongest(model, images, layer, filters, count: int = 6) -> dict[int, list[np.ndarray]]:
    """The patches of pictures that excite a filter most (Zeiler & Fergus 2014, section 4).

    Args:
        model, images: see `explain.grad_cam`.
        layer: a name of `explain.feature_layers`.
        filters: channels of that layer.
        count: patches per filter, each from another picture.

    Returns:
        {filter: patches, strongest first}, each height x width x channels, cut from the picture: what the unit
        sees, which is the whole picture in late layers.

    Raises:
        ValueError: no such layer or filter.
    """
    images, path, filters = _request(model, images, layer, filters)
    peaks = reading.in_batches(_peaks(model, path), images)
    rows = np.argsort(-peaks["value"][:, filters], axis=0, kind="stable")[:count].T  # filters x count
    found = {}
    for channel, chosen in zip(filters, rows, strict=True):
        places = peaks["place"][chosen, channel].astype(np.int32)
        channels = np.full(len(chosen), channel, np.int32)
        seen = reading.in_batches(_sensitivity(model, path), images[chosen].astype(np.float32), places, channels)
        found[channel] = [_cut(image, where) for image, where in zip(images[chosen], seen, strict=True)]
    return found


def telling(model, images, layer, count: int = 6) -> list[int]:
    """The filters that tell pictures apart: those whose peak varies most, relative to its mean."""
    images, path, _ = _request(model, images, layer, [])
    peaks = reading.in_batches(_peaks(model, path), images)["value"]
    mean = peaks.mean(axis=0)
    spread = np.where(mean > 0, peaks.std(axis=0) / np.where(mean > 0, mean, 1), -1)
    awake = (peaks > 0).mean(axis=0) > 0.1  # a filter that wakes for a handful of pictures tells nothing
    return np.argsort(-np.where(awake, spread, -1), kind="stable")[:count].tolist()


def _request(model, images, layer, filters):
    """Pictures, path of the layer and filters, checked."""
    images, path = reading.pictures(model, images), reading.find(model, layer)
    reading.require_map(model, path)
    channels = reading.steps(model)[path].outputs.shape[-1]
    filters = [int(channel) for channel in filters]
    if wrong := [channel for channel in filters if not 0 <= channel < channels]:
        raise ValueError(f"Layer {path!r} of {model.name!r} has no filter {wrong[0]}; it has {channels}, from 0.")
    return images, path, filters


def _output(model, images, path, read=lambda step: step.outputs):
    """What a layer puts out, or what `read` makes of its step; float32."""
    found = []

    def visit(step):
        if step.path == path:
            found.append(ops.cast(read(step), "float32"))
        return step.outputs

    reading.run(model, images, visit)
    return found[0]


@lru_cache(maxsize=8)
def _peaks(model, path):
    """Of each picture and filter the highest value and its place, a position in the flattened map."""

    def peaks(images):
        maps = _output(model, images, path)
        flat = ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], maps.shape[3]))
        return {"value": ops.max(flat, axis=1), "place": ops.argmax(flat, axis=1)}

    return backend.compiled(peaks, model)


@lru_cache(maxsize=8)
def _sensitivity(model, path):
    """How much each pixel moves one unit of each picture: N x height x width."""

    def sensitivity(images, places, channels):
        def units(images):
            maps = _output(model, images, path)
            flat = ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], maps.shape[3]))
            place = ops.expand_dims(ops.one_hot(places, flat.shape[1]), 2)
            return ops.sum(flat * place * ops.expand_dims(ops.one_hot(channels, flat.shape[2]), 1)), ()

        return ops.max(ops.abs(backend.gradients(units, images)[2]), axis=-1)

    return backend.compiled(sensitivity, model)


def _cut(image, sensitivity, least: float = 0.02):
    """The box of the pixels that move a unit, leaving out those that hardly do."""
    moved = sensitivity > least * sensitivity.max()
    if not moved.any():
        return image
    rows, columns = (np.flatnonzero(moved.any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def ascent(model, layer, filters, size: int = 64, steps: int = 60, rate: float = 4.0, seed: int = 0) -> np.ndarray:
    """Pictures made for filters: gradient ascent on the mean of the filter's map (Erhan et al. 2009, "Visualizing
    higher-layer features of a deep network"), steadied as by Olah et al. 2017 ("Feature visualization") by moving
    the picture about and, in the first two thirds of the steps, blurring it a little. The map is taken before its
    activation function: where a filter is silent, the function has no slope to climb.

    Args:
        layer, filters: see `strongest`.
        size: side of the pictures, in pixels.
        steps: of the ascent.
        rate: root mean square of a step, in grey values.
        seed: of the noise it begins with.

    Returns:
        uint8, filters x size x size x 3; grey, as the gradient is averaged over the colours.
    """
    generator = np.random.default_rng(seed)
    noise = generator.normal(127.5, 8, (len(filters), size, size, 1)).astype(np.float32)
    pictures = np.repeat(noise, 3, axis=-1)
    _, path, filters = _request(model, pictures, layer, filters)
    uphill, channels = _uphill(model, path), np.array(filters, np.int32)
    for step in range(steps):
        shift = generator.integers(-2, 3, 2)
        moved = np.roll(pictures, shift, (1, 2))
        slope = ops.convert_to_numpy(uphill(ops.convert_to_tensor(moved), ops.convert_to_tensor(channels)))
        slope = np.roll(slope.mean(axis=-1, keepdims=True), -shift, (1, 2))
        height = np.sqrt(np.mean(slope**2, axis=(1, 2, 3), keepdims=True))
        pictures = pictures + rate * slope / np.where(height > 0, height, 1)
        if step < 2 * steps / 3:
            pictures = np.stack([cv2.GaussianBlur(picture, (3, 3), 0.5) for picture in pictures])
        pictures = pictures.clip(0, 255)
    return np.round(pictures).astype(np.uint8)


@lru_cache(maxsize=8)
def _uphill(model, path):
    """The gradient of each picture's filter, averaged over its map, by the picture."""

    def uphill(images, channels):
        def height(images):
            means = ops.mean(_output(model, images, path, _before_activation), axis=(1, 2))
            return ops.sum(means * ops.one_hot(channels, means.shape[1])), ()

        return backend.gradients(height, images)[2]

    return backend.compiled(uphill, model)


def _before_activation(step):
    operation, inputs = step.operation, keras.tree.flatten((step.args, step.kwargs))[0]
    if isinstance(operation, RECTIFIERS):
        return inputs
    if isinstance(operation, layers.Conv2D) and _activates(operation):
        outputs = operation.convolution_op(inputs, operation.kernel)
        return outputs + operation.bias if operation.use_bias else outputs
    return step.outputs


# ------------------------------------------------------------------------------------------ parts of a face


def by_part(model, images, masks, shuffles: int = SHUFFLES, seed: int = 0) -> pd.DataFrame:
    """How much more active is each layer on a part of the face than elsewhere?

    A layer's activation is the mean over its filters, of what is positive. Its *density* on a part is the share
    of it inside the part's mask, averaged over the pictures, by the mask's share of the picture: 1 is as much as
    anywhere, 3 three times as much. Late layers see coarsely: their density stays nearer to 1.

    Args:
        model, images: see `explain.grad_cam`.
        masks: {part: bool, N x height x width}.
        shuffles: how many times the weights are shuffled for the comparison; one may be odd by chance.
        seed: of the bootstrap and of the shuffling.

    Returns:
        one row per layer of `activations`: layer, depth (0 for the first, 1 for the last), height, width, channels;
        for each part its density, `<part>_low` and `<part>_high` (95% bootstrap over pictures), and
        `<part>_shuffled`, the mean density in the same net with shuffled weights: what the drawing does without
        learning. `<part>_shuffled_low` and `_high` are the lowest and the highest of the `shuffles`.
    """
    images, paths = reading.pictures(model, images), activations(model)
    samples = np.random.default_rng(seed).integers(len(images), size=(RESAMPLES, len(images)))
    areas = {part: np.mean(mask, axis=(1, 2)) for part, mask in masks.items()}
    learned = _shares(model, images, masks, tuple(paths))
    unlearned = []
    for number in range(shuffles):
        with explain.shuffled_weights(model, seed=seed + number):
            unlearned.append(_shares(model, images, masks, tuple(paths)))
    rows = []
    for place, (path, shape) in enumerate(paths.items()):
        row = {"layer": path, "depth": place / max(1, len(paths) - 1)}
        row |= dict(zip(("height", "width", "channels"), shape, strict=True))
        for part, area in areas.items():
            shares = learned[path][part]
            low, high = np.quantile(shares[samples].mean(axis=1) / area[samples].mean(axis=1), (0.025, 0.975))
            row |= {part: shares.mean() / area.mean(), f"{part}_low": low, f"{part}_high": high}
            without = [found[path][part].mean() / area.mean() for found in unlearned]
            ends = {"": np.mean(without), "_low": min(without), "_high": max(without)}
            row |= {f"{part}_shuffled{end}": value for end, value in ends.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _shares(model, images, masks, paths):
    """{layer: {part: share of the activation inside, one per picture}}."""
    found = reading.in_batches(_activity(model, paths), images)
    maps = {path: explain.at_picture_size(activity, images) for path, activity in found.items()}
    return {
        path: {part: explain.energy_inside(map_, mask) for part, mask in masks.items()} for path, map_ in maps.items()
    }


@lru_cache(maxsize=8)
def _activity(model, paths):
    def activity(images):
        found = {}

        def visit(step):
            if step.path in paths:
                found[step.path] = ops.mean(ops.relu(ops.cast(step.outputs, "float32")), axis=-1)
            return step.outputs

        reading.run(model, images, visit)
        return found

    return backend.compiled(activity, model)
