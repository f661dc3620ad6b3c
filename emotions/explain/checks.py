"""Are the maps true? Deletion, insertion, shuffled weights, other classes, and masks that hold the truth."""

import math
from contextlib import contextmanager

import cv2
import keras
import numpy as np
import pandas as pd
from keras import layers, ops
from scipy.stats import rankdata

from emotions.explain import BASELINES, methods
from emotions.explain.graph import Graph

RESAMPLES = 2000  # of the bootstrap
SHUFFLES = 5  # of the weights: one net without knowledge may resemble the trained one by chance
STEPS = 10  # readings along a deletion curve
FORGOTTEN = 0.3  # rank correlation, either way, below which a map counts as lost with the weights


def deletion(model, images, maps, classes=None, steps: int = STEPS) -> np.ndarray:
    """Measure the area under the class's probability while an image is blurred, the map's strongest places first: N
    values from 0 to 1, the lower, the better (Petsiuk et al. 2018, "RISE"). The probability is read `steps` times."""
    return _area(model, images, maps, classes, steps, _blurred(images), images)


def insertion(model, images, maps, classes=None, steps: int = STEPS) -> np.ndarray:
    """Measure the area while a blurred image's places are put back, strongest first: the higher, the better."""
    return _area(model, images, maps, classes, steps, images, _blurred(images))


def _area(model, images, maps, classes, steps, after, before):
    graph, (count, *size) = Graph.of(model), maps.shape
    classes = graph.classes(images, classes)
    # Equal values, as Grad-CAM's zeros, in random order: row by row would be an opinion about the image.
    noise = np.random.default_rng(0).random((count, math.prod(size)))
    order = np.lexsort((noise, -np.reshape(maps, (count, -1))))
    share = (np.argsort(order, axis=1).reshape(count, *size, 1) + 0.5) / order.shape[1]
    curves = [graph.probabilities(np.where(share < step / steps, after, before)) for step in range(steps + 1)]
    return np.trapezoid([curve[np.arange(count), classes] for curve in curves], dx=1 / steps, axis=0)


def _blurred(images):
    sigma = max(images.shape[1:3]) / 8
    return np.reshape([cv2.GaussianBlur(image, (0, 0), sigma) for image in np.float32(images)], images.shape)


def energy_inside(maps, mask) -> np.ndarray:
    """Return the share of each map's total inside its mask (Wang et al. 2020, "energy-based pointing game")."""
    total = np.sum(maps, axis=(1, 2))
    return np.sum(maps * mask, axis=(1, 2)) / np.where(total > 0, total, 1)


def pointing_game(maps, mask) -> np.ndarray:
    """Return 1 where a map's strongest place lies inside its mask, otherwise 0 (Zhang et al. 2018, "Excitation
    backprop"); of several equally strong places each counts with its share."""
    strongest = maps == np.max(maps, axis=(1, 2), keepdims=True)
    return np.sum(strongest & mask, axis=(1, 2)) / np.sum(strongest, axis=(1, 2))


def rank_correlation(maps, others) -> np.ndarray:
    """Return Spearman's rank correlation of two sets of maps, image by image; 0 where a map is constant."""
    ranks = [rankdata(np.reshape(some, (len(some), -1)), axis=1) for some in (maps, others)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt(np.sum(a * a, axis=1) * np.sum(b * b, axis=1))
    return np.sum(a * b, axis=1) / np.where(spread > 0, spread, np.inf)


@contextmanager
def shuffled_weights(model, seed: int = 0):
    """Shuffle the numbers inside each weight tensor, which keeps every layer's scale; restore them afterwards."""
    operations = [step.operation for step in Graph.of(model).steps.values()]
    owners = [owner for owner in operations if isinstance(owner, layers.Layer) and not isinstance(owner, keras.Model)]
    weights = {id(weight): weight for owner in owners for weight in owner.weights}.values()
    weights = [weight for weight in weights if keras.backend.is_float_dtype(weight.dtype)]
    learned = [ops.convert_to_numpy(weight).copy() for weight in weights]
    generator = np.random.default_rng(seed)
    try:
        for weight, values in zip(weights, learned, strict=True):
            weight.assign(generator.permutation(values.ravel()).reshape(values.shape))
        yield
    finally:
        for weight, values in zip(weights, learned, strict=True):
            weight.assign(values)


def randomisation(model, images, method, classes, shuffles: int = SHUFFLES) -> np.ndarray:
    """Return the rank correlations of a method's maps before and after the weights are shuffled; `method` is one of
    `methods(model)`. They must be near 0 (Adebayo et al. 2018, "Sanity checks for saliency maps")."""
    maps, correlations = method(images, classes), []
    for number in range(shuffles):
        with shuffled_weights(model, number):
            correlations.append(rank_correlation(maps, method(images, classes)))
    return np.mean(correlations, axis=0)


def measure(model, images, steps: int = STEPS) -> pd.DataFrame:
    """Run every check of every method that fits the model; one row per method and image, in an index of these two.

    Columns: "deletion" (low is good) and "insertion" (high is good); "randomised": rank correlation with the maps of
    the same net with shuffled weights (0 is good); "other class": rank correlation with the map for the second most
    probable class (low is good); "class gain": by how much deletion is worse in the order of that other map (above 0 is
    good)."""
    graph = Graph.of(model)
    classes, others = np.argsort(-graph.probabilities(images), axis=1, kind="stable")[:, :2].T
    tables = {}
    for name, method in methods(graph).items():
        maps, of_others = method(images, classes), method(images, others)
        alone = deletion(graph, images, maps, classes, steps)
        swapped = alone if np.array_equal(maps, of_others) else deletion(graph, images, of_others, classes, steps)
        tables[name] = pd.DataFrame({
            "deletion": alone,
            "insertion": insertion(graph, images, maps, classes, steps),
            "randomised": randomisation(graph, images, method, classes),
            "other class": rank_correlation(maps, of_others),
            "class gain": swapped - alone})
    return pd.concat(tables, names=["method", "picture"])


def inside(model, images, masks: dict[str, np.ndarray]) -> pd.DataFrame:
    """Measure where every method's maps lie, given the truth as masks, {part: bool, N x height x width}; one row per
    method and image: "energy <part>" for each mask, "energy parts" and "pointing" for all together."""
    graph = Graph.of(model)
    classes, together, tables = graph.classes(images), np.any(list(masks.values()), axis=0), {}
    for name, method in methods(graph).items():
        maps = method(images, classes)
        columns = {f"energy {part}": energy_inside(maps, mask) for part, mask in masks.items()}
        columns |= {"energy parts": energy_inside(maps, together), "pointing": pointing_game(maps, together)}
        tables[name] = pd.DataFrame(columns)
    return pd.concat(tables, names=["method", "picture"])


def minus(measured: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return a table of `measure` or `inside` as each method's difference from a baseline on the same image."""
    rest = measured.drop(index=baseline, level="method")
    return rest.sub(measured.xs(baseline, level="method"), level="picture")


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Return each method's means over the images, with 95% bootstrap intervals in columns `_low` and `_high`."""
    rows = {}
    for name, table in measured.groupby(level="method", sort=False):
        values, count = table.to_numpy(), len(table)
        samples = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
        low, high = np.quantile(values[samples].mean(axis=1), (0.025, 0.975), axis=0)
        ends = {"": values.mean(axis=0), "_low": low, "_high": high}
        rows[name] = {f"{column}{end}": of[k] for k, column in enumerate(table) for end, of in ends.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def verdicts(own: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """Return which method passes which check, bool, given tables of `measure` and `inside`.

    "deletion", "insertion" and "parts of the face" are passed if the 95% intervals of the differences to every
    baseline lie on the good side of 0; "randomisation" if the rank correlation's lies within ±0.3; "class
    discrimination" if the class gain's lies above 0."""
    alone = summary(own).drop(index=list(BASELINES))
    passed = {
        "deletion": _ahead(-own, "deletion"),
        "insertion": _ahead(own, "insertion"),
        "parts of the face": _ahead(drawn, "energy parts"),
        "randomisation": (alone["randomised_low"] > -FORGOTTEN) & (alone["randomised_high"] < FORGOTTEN),
        "class discrimination": alone["class gain_low"] > 0}
    return pd.DataFrame(passed).loc[alone.index]


def _ahead(measured, column):
    leads = [summary(minus(measured[[column]], baseline)) for baseline in BASELINES]
    return pd.concat([lead[f"{column}_low"] > 0 for lead in leads], axis=1).all(axis=1)


def leads(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return summaries of {model: table} minus each baseline: {"minus <baseline>": one row per model and method}."""
    result = {}
    for baseline in BASELINES:
        joined = pd.concat({name: summary(minus(table, baseline)) for name, table in tables.items()})
        joined = joined.drop(index=list(BASELINES), level="method", errors="ignore")
        joined.index = [f"{name}: {method}" for name, method in joined.index]
        result[f"minus {baseline}"] = joined
    return result
