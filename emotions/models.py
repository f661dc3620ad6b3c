"""What architectures exist? One registry: name -> builder, input size, recipe.

    model = build("lenet", classes=7)

Every model is a plain `keras.Model` of built-in layers. It takes a batch of RGB pictures of any size with
values 0-255 and returns class probabilities; resizing and scaling are inside. Augmentation is not: it
belongs to training.
"""

from __future__ import annotations

import difflib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers, ops

from emotions.recipes import Phase, Recipe

CARD = "emotions.json"  # the extra member of a .keras file that holds class names and figures


@dataclass(frozen=True)
class Architecture:
    """An entry of the registry.

    Attributes:
        build: `build(classes, size, weights) -> keras.Model`.
        size: side, in pixels, to which the model resizes its input.
        recipe: how it is trained unless told otherwise.
        title: for tables and figures.
        weights: what `weights=None` leaves out: "imagenet", "hugging-face", or None where the
            architecture is always trained from scratch.
        source: the paper.
    """

    build: Callable[..., keras.Model]
    size: int
    recipe: Recipe
    title: str
    weights: str | None = None
    source: str = ""


# ------------------------------------------------------------------------------------------------ parts


def picture_input(size: int):
    """Input of any size and the same pictures resized to `size` x `size`: `(input, resized)`."""
    inputs = keras.Input((None, None, 3), name="picture")
    return inputs, layers.Resizing(size, size, antialias=True, name="resize")(inputs)


def class_probabilities(features, classes: int, **options):
    """The last layer; float32 under mixed precision too, so that probabilities sum to 1."""
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities", **options)(features)


# ------------------------------------------------------------------------------------------------ LeNet


def lenet(classes: int, size: int = 256, weights: None = None) -> keras.Model:
    """LeNet with batch norm and dropout, after LeCun et al. 1998, "Gradient-based learning", section II.

    6,153,119 parameters with 3 classes at 256 px, nearly all of them in the first dense layer.
    """
    l2 = keras.regularizers.L2(1e-3)
    inputs, x = picture_input(size)
    x = layers.Rescaling(1 / 255, name="scale")(x)
    x = layers.Conv2D(6, 3, activation="relu", kernel_regularizer=l2, name="conv_1")(x)
    x = layers.BatchNormalization(name="conv_1_norm")(x)
    x = layers.MaxPooling2D(name="pool_1")(x)
    x = layers.Dropout(0.1, name="pool_1_dropout")(x)
    x = layers.Conv2D(16, 3, activation="relu", kernel_regularizer=l2, name="conv_2")(x)
    x = layers.BatchNormalization(name="conv_2_norm")(x)
    x = layers.MaxPooling2D(name="pool_2")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, (units, dropout) in enumerate([(100, 0.2), (10, 0.1)], start=1):
        x = layers.Dense(units, activation="relu", kernel_regularizer=l2, name=f"dense_{i}")(x)
        x = layers.BatchNormalization(name=f"dense_{i}_norm")(x)
        x = layers.Dropout(dropout, name=f"dense_{i}_dropout")(x)
    return keras.Model(inputs, class_probabilities(x, classes, kernel_regularizer=l2), name="lenet")


# --------------------------------------------------------------------------------------------- registry

MODELS: dict[str, Architecture] = {
    "lenet": Architecture(
        lenet,
        size=256,
        title="LeNet",
        source="LeCun et al. 1998",
        recipe=Recipe(phases=(Phase(epochs=20, learning_rate=1e-3, patience=6),)),
    ),
}
MODELS["lenet-unweighted"] = replace(
    MODELS["lenet"], title="LeNet, no class weights", recipe=replace(MODELS["lenet"].recipe, class_weights=False))


def find(name: str) -> Architecture:
    """The registry's entry of that name, or a ValueError that names the nearest."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"There is no model named {name!r}. {hint}There are: {', '.join(MODELS)}.")
    return MODELS[name]


def build(name: str, classes: int, size: int | None = None, weights: str | Path | None = None) -> keras.Model:
    """Build a model of the registry.

    Args:
        name: a key of `MODELS`.
        classes: number of classes.
        size: side in pixels to which pictures are resized inside; the architecture's own by default.
        weights: None trains from scratch; "imagenet" downloads; a path is a file of pretrained weights.

    Returns:
        a model from RGB pictures of any size, N x H x W x 3, values 0-255, to probabilities, N x classes.
    """
    architecture = find(name)
    if weights is not None and architecture.weights is None:
        raise ValueError(f"{name} has no pretrained weights; it is always trained from scratch (weights=None).")
    return architecture.build(classes, size or architecture.size, weights)


# ----------------------------------------------------------------------------------------- files of models


def save(model: keras.Model, path: str | Path, card: dict) -> None:
    """Save a model as a light `.keras` file that stock Keras loads, and check that it does.

    Weights are stored as float16 (`load_model` casts them back), without the optimizer's state. A model
    trained under mixed precision is rebuilt under float32 first. The file replaces `path` only if the model
    read back from it gives the same probabilities.

    Args:
        card: goes into the file as the member `emotions.json`; must hold `class_names`, alphabetical, as
            many as the model has outputs. `read_card` reads it.

    Raises:
        ValueError: the card does not fit the model, or the reloaded model differs by 0.005 or more.
    """
    path = Path(path)
    names = list(card["class_names"])
    if names != sorted(names) or len(names) != model.output_shape[-1]:
        raise ValueError(f"The model has {model.output_shape[-1]} outputs; its class names must be as many and alphabetical, not {names}.")
    plain = in_float32(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        full, light = Path(folder) / "full.keras", Path(folder) / "light.keras"
        plain.save(full)
        _rewrite(full, light, card)
        pictures = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3)).astype("float32")
        before = ops.convert_to_numpy(plain(pictures, training=False))
        after = ops.convert_to_numpy(keras.models.load_model(light, compile=False)(pictures, training=False))
        if (difference := np.abs(before - after).max()) >= 0.005:
            raise ValueError(f"{path} was not written: read back, its probabilities differ by up to {difference:.4f}.")
        light.replace(path)


def in_float32(model: keras.Model) -> keras.Model:
    """A copy under float32: a model built under mixed precision would stay in it when loaded."""
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        config = json.loads(json.dumps(model.get_config()).replace(f'"{policy.name}"', '"float32"'))
        copy = type(model).from_config(config)
        copy.set_weights(model.get_weights())
    finally:
        keras.mixed_precision.set_global_policy(policy)
    return copy


def _rewrite(source: Path, target: Path, card: dict) -> None:
    """Copy a `.keras` file, its float32 weights as float16 and compressed, with a card added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, _halve(data) if member.endswith(".weights.h5") else data)
        new.writestr(CARD, json.dumps(card, indent=2))


def _halve(weights: bytes) -> bytes:
    """An HDF5 file's float32 arrays as float16; anything else as it is."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as old, h5py.File(buffer, "w") as new:

        def copy(name, item):
            if isinstance(item, h5py.Group):
                group = new.require_group(name)
                group.attrs.update(item.attrs)
            else:
                kind = np.float16 if item.dtype == np.float32 else item.dtype
                new.create_dataset(name, data=np.asarray(item[()], kind))
                new[name].attrs.update(item.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy)
    return buffer.getvalue()


def read_card(path: str | Path) -> dict:
    """What `save` put into a `.keras` file beside the model: class names, data set, figures, versions."""
    with zipfile.ZipFile(path) as file:
        if CARD not in file.namelist():
            raise ValueError(f"{path} holds no {CARD}: it was not written by this package, so its class names are unknown.")
        return json.loads(file.read(CARD))
