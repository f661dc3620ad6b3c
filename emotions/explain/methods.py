"""Why did it say that? Heat maps, what attention looks at, and checks whether such maps are true.

    maps = grad_cam(model, images)                                 # N x height x width, 0 to 1
    table = compare(model, images, masks=masks)                    # every method that fits, against chance

They work for every functional or Sequential model with one picture input and one row of class scores per
picture, models nested in models included: `reading` opens them.

Gradients are those of the class scores before the final softmax (or sigmoid): a probability near 1 hardly
changes whatever the evidence, so its gradient vanishes for the surest predictions, and a lower probability
of one class is evidence for another. Where no softmax ends the model, its outputs are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache, partial

import cv2
import keras
import numpy as np
import pandas as pd
from keras import layers, ops
from scipy.stats import rankdata

from emotions import backend
from emotions.explain import graph as reading

RESAMPLES = 2000  # of the bootstrap
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)
POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)


# ------------------------------------------------------------------------------------- Grad-CAM and features


def grad_cam(model, images, classes=None, layer=None) -> np.ndarray:
    """Where a convolutional model found evidence for a class (Selvaraju et al. 2017, section 3).

    The feature maps of one layer are summed, each weighted by the mean gradient of the class's score, and
    only what speaks for the class is kept.

    Args:
        model: functional or Sequential, with a convolution; it takes N x height x width x channels.
        images: pictures as the model takes them (ours: RGB, 0-255).
        classes: the class to explain: one index, one per picture, or None for the class predicted.
        layer: name of a layer with feature maps; None takes `target_layer`. A picture is read at the
            resolution of that layer, so a coarse map may call for an earlier one.

    Returns:
        float32, N x height x width. The strongest place of a picture is 1; a map of zeros says that the
        layer holds nothing in favour of the class.

    Raises:
        ValueError: no convolution, no such layer, a class out of range, or pictures of another shape.
    """
    images, classes = reading.pictures(model, images), _class_indices(model, classes, len(images))
    path = target_layer(model) if layer is None else reading.find(model, layer)
    reading.require_map(model, path)
    return at_picture_size(reading.in_batches(_grad_cam(model, path), images, classes), images)


@lru_cache(maxsize=8)
def _grad_cam(model, path):
    channels = reading.steps(model)[path].outputs.shape[-1]

    def explain(images, classes):
        def score(shift):
            found = []

            def visit(step):
                if step.path == path:
                    found.append(ops.cast(step.outputs, "float32"))
                    # A shift common to all places of a channel: its gradient is the sum over the places.
                    return step.outputs + ops.cast(shift, step.outputs.dtype)
                return step.outputs

            return reading.score(model, images, classes, visit), found[0]

        _, features, weights = backend.gradients(score, ops.zeros((ops.shape(images)[0], 1, 1, channels)))
        return ops.relu(ops.sum(weights * features, axis=-1))

    return backend.compiled(explain, model)


def target_layer(model) -> str:
    """The layer that Grad-CAM reads unless told otherwise.

    It is the last feature map of the last convolution's size, so that activation and normalisation are in
    it, and a pooling behind it is not: block5_conv3 of VGG-16, out_relu of MobileNetV2.

    Raises:
        ValueError: the model has no convolution.
    """
    maps = [
        step for step in reading.steps(model).values() if step.has_map and not isinstance(step.operation, keras.Model)
    ]
    convolutions = [number for number, step in enumerate(maps) if isinstance(step.operation, CONVOLUTIONS)]
    if not convolutions:
        raise ValueError(
            f"The model {model.name!r} has no convolution, so it has no feature maps for Grad-CAM; "
            "for a Vision Transformer use attention_rollout or gradient_rollout."
        )
    last = convolutions[-1]
    size = maps[last].outputs.shape[1:3]
    alike = [
        step for step in maps[last:] if step.outputs.shape[1:3] == size and not isinstance(step.operation, POOLINGS)
    ]
    return alike[-1].path


def finer_layer(model, side: int = 6) -> str | None:
    """The last feature map of at least `side` x `side`, for models whose `target_layer` sees coarser; or None.

    A map whose size depends on the picture counts as fine enough.
    """
    names, target = feature_layers(model), target_layer(model)
    fine = [name for name, shape in names.items() if min(length or side for length in shape[:2]) >= side]
    before = [name for name in fine if list(names).index(name) < list(names).index(target)]
    return None if target in fine or not before else before[-1]


def feature_layers(model) -> dict[str, tuple]:
    """The layers that have feature maps, in the order of the computation: {name: (height, width, channels)}."""
    return {path: tuple(step.outputs.shape[1:]) for path, step in reading.steps(model).items() if step.has_map}


def feature_maps(model, images, names) -> dict[str, np.ndarray]:
    """What some layers put out: {name: float32, N x h x w x channels}.

    Args:
        model, images: see `grad_cam`.
        names: one name or several, of `feature_layers`.

    Raises:
        ValueError: no such layer, or one without feature maps.
    """
    images = reading.pictures(model, images)
    names = [names] if isinstance(names, str) else list(names)
    paths = {name: reading.find(model, name) for name in names}
    for path in paths.values():
        reading.require_map(model, path)
    found = reading.in_batches(_feature_maps(model, tuple(paths.values())), images)
    return {name: found[path] for name, path in paths.items()}


@lru_cache(maxsize=8)
def _feature_maps(model, paths):
    def explain(images):
        found = {}

        def visit(step):
            if step.path in paths:
                found[step.path] = ops.cast(step.outputs, "float32")
            return step.outputs

        reading.run(model, images, visit)
        return found

    return backend.compiled(explain, model)


# --------------------------------------------------------------------------------------------- attention


def attention_maps(model, images) -> dict[str, np.ndarray]:
    """How much each token takes from each other one, in every head of every attention layer.

    Returns:
        {layer: float32, N x heads x tokens x tokens}, in the order of the computation; rows sum to 1.
        In our Vision Transformers token 0 is the class token, the others are the patches, row by row.

    Raises:
        ValueError: the model has no `keras.layers.MultiHeadAttention`.
    """
    images = reading.pictures(model, images)
    _attention_layers(model)
    return reading.in_batches(_attention_maps(model), images)


@lru_cache(maxsize=8)
def _attention_maps(model):
    def explain(images):
        found = {}

        def visit(step):
            if step.is_attention:
                found[step.path] = ops.cast(_attention_of(step), "float32")
            return step.outputs

        reading.run(model, images, visit)
        return found

    return backend.compiled(explain, model)


def attention_rollout(model, images, classes=None) -> np.ndarray:
    """How much of each patch reaches the class token through all layers (Abnar & Zuidema 2020, section 3).

    Heads are averaged, half of every token is taken to come past the attention (the residual path), and the
    layers' matrices are multiplied. It does not depend on the class: `classes` is there for the methods to
    be called alike.

    Returns:
        float32, N x height x width; the strongest patch of a picture is 1.

    Raises:
        ValueError: no attention, or tokens that are not a class token and a square of patches.
    """
    images, _ = reading.pictures(model, images), _class_indices(model, classes, len(images))
    return at_picture_size(reading.in_batches(_attention_rollout(model), images), images)


@lru_cache(maxsize=8)
def _attention_rollout(model):
    tokens = _tokens(model)

    def explain(images):
        rolled = [ops.eye(tokens)]

        def visit(step):
            if step.is_attention:
                attention = ops.mean(ops.cast(_attention_of(step), "float32"), axis=1) + ops.eye(tokens)
                rolled.append(ops.matmul(attention / ops.sum(attention, axis=-1, keepdims=True), rolled[-1]))
            return step.outputs

        reading.run(model, images, visit)
        return _patches(rolled[-1])

    return backend.compiled(explain, model)


def gradient_rollout(model, images, classes=None) -> np.ndarray:
    """Rollout of the attention that speaks for a class (Chefer, Gur & Wolf 2021, ICCV, equations 5 and 6).

    Each head's attention is multiplied by the gradient of the class's score with respect to it; what is
    positive is averaged over the heads and added, layer by layer, to what the tokens hold already.

    Args:
        model, images, classes: see `grad_cam`.

    Returns:
        float32, N x height x width; the strongest patch of a picture is 1.

    Raises:
        ValueError: no attention, or tokens that are not a class token and a square of patches.
    """
    images, classes = reading.pictures(model, images), _class_indices(model, classes, len(images))
    return at_picture_size(reading.in_batches(_gradient_rollout(model), images, classes), images)


@lru_cache(maxsize=8)
def _gradient_rollout(model):
    tokens = _tokens(model)
    heads = {step.path: step.operation.num_heads for step in _attention_layers(model)}

    def explain(images, classes):
        def score(shifts):
            found = {}

            def visit(step):
                if not step.is_attention:
                    return step.outputs
                attention = _attention_of(step)
                found[step.path] = ops.cast(attention, "float32")
                # What the layer does with its map, done again here, so that the map can be differentiated by.
                value = step.operation.value_dense(step.argument(1, "value"))
                shifted = attention + ops.cast(shifts[step.path], attention.dtype)
                outputs = step.operation.output_dense(ops.einsum("nhts,nshd->nthd", shifted, value))
                return (outputs, attention) if isinstance(step.outputs, tuple | list) else outputs

            return reading.score(model, images, classes, visit), found

        batch = ops.shape(images)[0]
        zeros = {path: ops.zeros((batch, number, tokens, tokens)) for path, number in heads.items()}
        _, attention, gradients = backend.gradients(score, zeros)
        relevance = ops.eye(tokens)
        for path in heads:
            positive = ops.mean(ops.relu(attention[path] * gradients[path]), axis=1)
            relevance = relevance + ops.matmul(positive, relevance)
        return _patches(relevance)

    return backend.compiled(explain, model)


def _attention_of(step):
    """The map of an attention layer, whether or not the model asked for it."""
    if isinstance(step.outputs, tuple | list):
        return step.outputs[1]
    return step.operation(*step.args, **{**step.kwargs, "return_attention_scores": True})[1]


def _attention_layers(model):
    found = [step for step in reading.steps(model).values() if step.is_attention]
    if not found:
        raise ValueError(
            f"The model {model.name!r} has no MultiHeadAttention layer, so it has no attention maps; "
            "for a convolutional model use grad_cam."
        )
    return found


def _tokens(model):
    """Number of tokens, the same in all attention layers: a class token and a square of patches."""
    sides = ((0, "query"), (1, "value"))
    counts = {step.argument(*side).shape[1] for step in _attention_layers(model) for side in sides}
    tokens = next(iter(counts))
    if len(counts) > 1 or tokens not in (1 + grid**2 for grid in range(1, tokens or 0)):
        raise ValueError(
            f"The attention layers of {model.name!r} see {', '.join(map(str, counts))} tokens; rollout "
            "needs a class token and a square of patches, the same in all layers."
        )
    return tokens


def _patches(relevance):
    """What the class token takes from the patches, as a square."""
    grid = math.isqrt(relevance.shape[-1] - 1)
    return ops.reshape(relevance[:, 0, 1:], (-1, grid, grid))


# --------------------------------------------------------------------------------------------- baselines


def random_map(model, images, classes=None, seed=0, grid=8) -> np.ndarray:
    """A map that knows nothing: noise on `grid` x `grid` cells, as smooth as real maps are.

    Noise pixel by pixel would not be a fair control: it deletes a picture as a sieve does, which upsets a
    convnet wherever the holes are.
    """
    noise = np.random.default_rng(seed).random((len(images), grid, grid), dtype=np.float32)
    return at_picture_size(noise, images)


def centred_gaussian(model, images, classes=None, sigma=0.25) -> np.ndarray:
    """A map that knows only that faces are centred: a Gaussian, `sigma` in shares of the picture's sides."""
    height, width = np.shape(images)[1:3]
    y, x = (((np.arange(side) + 0.5) / side - 0.5) / sigma for side in (height, width))
    bell = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / 2).astype(np.float32)
    return np.tile(bell / bell.max(), (len(images), 1, 1))


BASELINES: dict[str, Callable] = {"random": random_map, "centred gaussian": centred_gaussian}


def methods(model) -> dict[str, Callable]:
    """The ways of explaining that fit a model, and the baselines: {name: function(model, images, classes)}.

    Where Grad-CAM's layer is coarse it is tried on a finer one too, see `finer_layer`.
    """
    steps = reading.steps(model).values()
    fitting = {}
    if any(isinstance(step.operation, CONVOLUTIONS) for step in steps):
        fitting["grad-cam"] = grad_cam
        if (layer := finer_layer(model)) is not None:
            fitting["grad-cam, finer"] = partial(grad_cam, layer=layer)
    if any(step.is_attention for step in steps):
        fitting |= {"attention rollout": attention_rollout, "gradient rollout": gradient_rollout}
    return fitting | BASELINES


# ------------------------------------------------------------------------------------------ are they true?


def deletion(model, images, maps, classes=None, steps=20, baseline="blur") -> np.ndarray:
    """Area under the class's probability while a picture's places are removed, strongest first.

    The lower, the better: what the map holds to be important was (Petsiuk et al. 2018,
    "RISE: Randomized input sampling for explanation of black-box models").

    Args:
        model, images, classes: see `grad_cam`.
        maps: N x height x width. Places of equal value come in random order.
        steps: how often the probability is read along the way.
        baseline: what removed places show: "blur", the picture without detail (a Gaussian of an eighth of
            its side), which stays nearest to what models know; or "mean", the picture's mean colour.

    Returns:
        N values from 0 to 1.
    """
    images, classes = reading.pictures(model, images), _chosen(model, images, classes)
    curves = _curves(model, images, _removed(images, baseline), maps, classes, steps)
    return np.trapezoid(curves, dx=1 / steps, axis=1)


def insertion(model, images, maps, classes=None, steps=20, baseline="blur") -> np.ndarray:
    """Area under the class's probability while a picture's places are put back, strongest first.

    The higher, the better; the counterpart of `deletion`, with the same arguments.
    """
    images, classes = reading.pictures(model, images), _chosen(model, images, classes)
    curves = _curves(model, _removed(images, baseline), images, maps, classes, steps)
    return np.trapezoid(curves, dx=1 / steps, axis=1)


def _curves(model, before, after, maps, classes, steps):
    """The classes' probabilities on the way from `before` to `after`, in the order of the maps: N x (steps + 1)."""
    count, *size = np.shape(maps)
    # Equal values, as Grad-CAM's zeros, in random order: row by row would be an opinion about the picture.
    noise = np.random.default_rng(0).random((count, math.prod(size)))
    order = np.lexsort((noise, -np.reshape(maps, (count, -1))))
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(order.shape[1])[None], axis=1)
    share = (place.reshape(count, *size, 1) + 0.5) / order.shape[1]
    curves = [_probabilities(model, np.where(share < step / steps, after, before)) for step in range(steps + 1)]
    return np.stack([curve[np.arange(count), classes] for curve in curves], axis=1)


def _removed(images, baseline):
    """The pictures with everything removed."""
    if baseline == "mean":
        return np.broadcast_to(images.mean(axis=(1, 2), keepdims=True, dtype=np.float32), images.shape)
    if baseline != "blur":
        raise ValueError(f"Unknown baseline {baseline!r}: places are removed by 'blur' or by 'mean'.")
    sigma = max(images.shape[1:3]) / 8
    blurred = [cv2.GaussianBlur(image, (0, 0), sigma) for image in images.astype(np.float32)]
    return np.reshape(blurred, images.shape)


def energy_inside(maps, mask) -> np.ndarray:
    """Share of each map's total that lies inside its mask (Wang et al. 2020, Score-CAM, "energy-based
    pointing game").

    A map without structure has the mask's share of the picture; a map of zeros has 0.

    Args:
        maps: N x height x width, not negative.
        mask: bool, the same shape.

    Returns:
        N values from 0 to 1.
    """
    total = np.sum(maps, axis=(1, 2))
    return np.sum(maps * mask, axis=(1, 2)) / np.where(total > 0, total, 1)


def pointing_game(maps, mask) -> np.ndarray:
    """1 where a map's strongest place lies inside its mask, otherwise 0 (pointing game, Zhang
    et al. 2018, "Top-down neural attention by excitation backprop").

    Arguments as of `energy_inside`. Of several equally strong places each counts with its share.
    """
    strongest = maps == np.max(maps, axis=(1, 2), keepdims=True)
    return np.sum(strongest & mask, axis=(1, 2)) / np.sum(strongest, axis=(1, 2))


def rank_correlation(maps, others) -> np.ndarray:
    """Spearman's rank correlation of two sets of maps, picture by picture; 0 where a map is constant."""
    places = math.prod(np.shape(maps)[1:])
    ranks = [rankdata(np.reshape(some, (-1, places)), axis=1) for some in (maps, others)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt(np.sum(a * a, axis=1) * np.sum(b * b, axis=1))
    return np.sum(a * b, axis=1) / np.where(spread > 0, spread, np.inf)


@contextmanager
def shuffled_weights(model, share=1.0, seed=0):
    """Inside this context the model has forgotten what it learned; afterwards it has its weights back.

    The numbers inside each weight tensor change places, which leaves every layer the scale that the next one
    is used to, so that a deep net does not fall silent.

    Args:
        model: functional or Sequential.
        share: of the layers with weights, counted from the output: 1 shuffles all, less shows the cascade of
            Adebayo et al. (2018, "Sanity checks for saliency maps").
        seed: of the shuffling.
    """
    operations = {
        id(step.operation): step.operation
        for step in reading.steps(model).values()
        if isinstance(step.operation, layers.Layer)
        and not isinstance(step.operation, keras.Model)
        and step.operation.weights
    }
    chosen = list(operations.values())[len(operations) - math.ceil(share * len(operations)) :]
    variables = {
        id(variable): variable
        for layer in chosen
        for variable in layer.weights
        if keras.backend.is_float_dtype(variable.dtype)
    }.values()
    learned = [ops.convert_to_numpy(variable).copy() for variable in variables]
    generator = np.random.default_rng(seed)
    try:
        for variable, values in zip(variables, learned, strict=True):
            variable.assign(generator.permutation(values.ravel()).reshape(values.shape))
        yield
    finally:
        for variable, values in zip(variables, learned, strict=True):
            variable.assign(values)


def randomisation(model, images, method, classes=None, share=1.0, shuffles=5, seed=0) -> np.ndarray:
    """Rank correlation of a method's maps before and after the model's weights are shuffled (Adebayo et al. 2018).

    It must fall towards 0: a map that stays shows the picture, not what the model learned of it.

    Args:
        model, images, classes: see `grad_cam`; the class predicted is that of the model before shuffling.
        method: function(model, images, classes), as in `methods`.
        share: see `shuffled_weights`.
        shuffles: how many are averaged; one net without knowledge may resemble the trained one by chance.
        seed: of the first shuffling.

    Returns:
        N values from -1 to 1.
    """
    classes = _chosen(model, images, classes)
    maps = method(model, images, classes)
    correlations = []
    for number in range(shuffles):
        with shuffled_weights(model, share, seed + number):
            correlations.append(rank_correlation(maps, method(model, images, classes)))
    return np.mean(correlations, axis=0)


def runner_up(model, images, classes=None) -> np.ndarray:
    """The most probable class of each picture but for `classes` (None: the class predicted)."""
    probabilities = _probabilities(model, reading.pictures(model, images)).copy()
    if probabilities.shape[1] < 2:
        raise ValueError(f"The model {model.name!r} has one class only; there is no second one to compare with.")
    probabilities[np.arange(len(images)), _chosen(model, images, classes)] = -np.inf
    return probabilities.argmax(axis=1)


# ------------------------------------------------------------------------------------------------- tables


def measure(model, images, masks=None, classes=None, chosen=None, steps=20, baseline="blur", seed=0) -> pd.DataFrame:
    """Every check of every method, picture by picture.

    Args:
        model, images, classes: see `grad_cam`.
        masks: ground truth, {part: bool, N x height x width}, as `synthetic.render` draws it; or None.
        chosen: {name: function(model, images, classes)}; None takes all of `methods(model)`.
        steps, baseline: see `deletion`.
        seed: of the first shuffling of the weights; see `randomisation`.

    Returns:
        One row per method and picture, in an index of these two; columns:
        "deletion" (low is good) and "insertion" (high is good);
        "energy <part>" for each mask, "energy parts" and "pointing" for all of them together (high is good;
        compare with the random map);
        "randomised": rank correlation with the maps of the same net with shuffled weights (0 is good);
        "other class": rank correlation with the map for the runner-up class (low is good);
        "class gain": by how much deletion is worse in the order of the runner-up's map (above 0 is good: the
        map tells these classes apart).
    """
    images = reading.pictures(model, images)
    classes = _chosen(model, images, classes)
    others = runner_up(model, images, classes)
    masks = {part: np.asarray(mask, dtype=bool) for part, mask in (masks or {}).items()}
    tables = {}
    for name, method in (methods(model) if chosen is None else chosen).items():
        maps, of_others = method(model, images, classes), method(model, images, others)
        columns = {
            "deletion": deletion(model, images, maps, classes, steps, baseline),
            "insertion": insertion(model, images, maps, classes, steps, baseline),
        }
        columns |= _inside(maps, masks) if masks else {}
        columns["randomised"] = randomisation(model, images, method, classes, seed=seed)
        columns["other class"] = rank_correlation(maps, of_others)
        # A method that does not know classes has nothing to gain; its curves need not be drawn again.
        swapped = (
            columns["deletion"]
            if np.array_equal(maps, of_others)
            else deletion(model, images, of_others, classes, steps, baseline)
        )
        columns["class gain"] = swapped - columns["deletion"]
        tables[name] = pd.DataFrame(columns)
    return pd.concat(tables, names=["method", "picture"])


def inside(model, images, masks, classes=None, chosen=None) -> pd.DataFrame:
    """Where every method's maps lie: the columns of `measure` that come from the masks, alone and quick."""
    images = reading.pictures(model, images)
    classes = _chosen(model, images, classes)
    masks = {part: np.asarray(mask, dtype=bool) for part, mask in masks.items()}
    tables = {
        name: pd.DataFrame(_inside(method(model, images, classes), masks))
        for name, method in (methods(model) if chosen is None else chosen).items()
    }
    return pd.concat(tables, names=["method", "picture"])


def _inside(maps, masks):
    together = np.any(list(masks.values()), axis=0)
    energies = {f"energy {part}": energy_inside(maps, mask) for part, mask in masks.items()}
    return energies | {"energy parts": energy_inside(maps, together), "pointing": pointing_game(maps, together)}


def minus(measured, baseline) -> pd.DataFrame:
    """What `measure` returned, as each method's difference from one of them on the same picture."""
    rest = measured.drop(index=baseline, level="method")
    return rest.sub(measured.xs(baseline, level="method"), level="picture")


def summary(measured, seed=0) -> pd.DataFrame:
    """Means over the pictures with 95% bootstrap intervals.

    Args:
        measured: as of `measure` or `minus`.
        seed: of the resampling.

    Returns:
        One row per method; for each column of `measured` three: its name, "<name>_low" and "<name>_high".
    """
    rows = {}
    for name, table in measured.groupby(level="method", sort=False):
        generator = np.random.default_rng(seed)
        values = table.to_numpy()
        means = np.stack(
            [values[generator.integers(len(values), size=len(values))].mean(axis=0) for _ in range(RESAMPLES)]
        )
        low, high = np.quantile(means, (0.025, 0.975), axis=0)
        ends = {"": values.mean(axis=0), "_low": low, "_high": high}
        rows[name] = {
            f"{column}{end}": numbers[place] for place, column in enumerate(table) for end, numbers in ends.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def compare(model, images, masks=None, **options) -> pd.DataFrame:
    """A table of all methods that fit a model, checked: `summary(measure(...))`, arguments as of `measure`."""
    return summary(measure(model, images, masks, **options))


# ------------------------------------------------------------------------------------- classes and sizes


def _class_indices(model, classes, count):
    """One class index per picture; -1, the class predicted, for None."""
    if classes is None:
        return np.full(count, -1, dtype=np.int32)
    number = model.outputs[0].shape[-1]
    indices = np.asarray(classes)
    if not np.issubdtype(indices.dtype, np.integer) or indices.shape not in ((), (count,)):
        raise ValueError(f"Classes are given as one index, or one for each of the {count} pictures; found {classes!r}.")
    if np.min(indices) < 0 or np.max(indices) >= number:
        wrong = np.ravel(indices)[np.ravel((indices < 0) | (indices >= number))][0]
        raise ValueError(
            f"Class index {wrong} is out of range: the model {model.name!r} has {number} classes, 0 to {number - 1}."
        )
    return np.broadcast_to(indices, (count,)).astype(np.int32)


def _chosen(model, images, classes):
    """One class index per picture; the class predicted for None."""
    images = reading.pictures(model, images)
    if classes is None:
        return _probabilities(model, images).argmax(axis=1)
    return _class_indices(model, classes, len(images))


def _probabilities(model, images):
    return reading.in_batches(lambda batch: model.predict_on_batch(batch), images, size=4 * reading.BATCH)


def at_picture_size(maps, images):
    """Maps stretched to the pictures' size, the strongest place of each 1."""
    height, width = np.shape(images)[1:3]
    smaller = maps.shape[1] > height or maps.shape[2] > width
    resize = partial(cv2.resize, dsize=(width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    maps = np.stack([resize(np.ascontiguousarray(one, dtype=np.float32)) for one in maps])
    highest = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(highest > 0, highest, 1)
