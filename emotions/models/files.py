"""How is a model stored? As a light `.keras` file that stock Keras loads, its class names and card inside. And how does
a new one start from it? With its body, and its head's rows of the classes that both name."""

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import ops

from emotions import files

CARD = "emotions.json"  # the extra member of a .keras file that holds class names and metrics


def light_copy(model: keras.Model, path: str | Path) -> keras.Model:
    """Save a model as a light `.keras` file without a card, and return it as stock Keras reads it back: weights as
    float16, which `load_model` casts back, no optimizer state, layers under float32. Where float16 is too coarse, and
    a probability differs by 0.01 or more, weights stay float32. If that differs, too, `path` is left as it was."""
    path, plain = Path(path), in_float32(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    sides = [side or 48 for side in plain.input_shape[1:3]]
    images = np.random.default_rng(0).integers(0, 256, (4, *sides, 3)).astype("float32")
    with files.written(path, ".keras") as light, tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "full.keras"
        plain.save(full)
        for change in (_halve, lambda name, data: data):
            _copy_members(full, light, change)
            reloaded = keras.models.load_model(light, compile=False)
            before, after = (ops.convert_to_numpy(each(images, training=False)) for each in (plain, reloaded))
            if (difference := np.abs(before - after).max()) < 0.01:  # NaN is not below it
                return reloaded
        raise ValueError(f"{path} was not written: read back, its probabilities differ by up to {difference:.4f}.")


def add_card(path: str | Path, card: dict) -> None:
    """Add a card to a `.keras` file, or replace the one in it; the model in it stays as it is."""
    path = Path(path)
    with files.written(path) as temporary:
        _copy_members(path, temporary, lambda name, data: None if name == CARD else data)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(zipfile.ZipInfo(CARD), json.dumps(card, indent=2), zipfile.ZIP_DEFLATED)


def read_card(path: str | Path) -> dict:
    """Return the card in a `.keras` file: class names, data set, metrics, versions. ValueError: it is not one."""
    if Path(path).is_file() and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a .keras archive, or not all of one.")
    with zipfile.ZipFile(path) as archive:
        if CARD not in archive.namelist():
            raise ValueError(f"{path} holds no {CARD}: not written by this package, its class names are unknown.")
        card = json.loads(archive.read(CARD))
    names = card.get("class_names") if isinstance(card, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"The {CARD} in {path} does not list class names.")
    return card


def in_float32(model: keras.Model) -> keras.Model:
    """Return a copy under float32: a model built under mixed precision would stay in it when loaded."""
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        config = json.loads(re.sub('"mixed_b?float16"', '"float32"', json.dumps(model.get_config())))
        copy = type(model).from_config(config)
        copy.set_weights(model.get_weights())
    finally:
        keras.mixed_precision.set_global_policy(policy)
    return copy


def start_from(model: keras.Model, file: str | Path, class_names: Sequence[str]) -> list[str]:
    """Copy the weights of a saved model with its card into a new one of the same layers, whose last is dense, a unit
    per class, alphabetically; return the classes whose rows of it were copied. The others keep their random ones.

    ValueError: the saved model is another network; names the first layer that differs."""
    saved, old_names = keras.models.load_model(file, compile=False), read_card(file)["class_names"]
    *body, head = model.layers
    *old_body, old_head = saved.layers
    for layer, old in zip(body, old_body, strict=False):
        shapes = [[weight.shape for weight in each.weights] for each in (layer, old)]
        if len(body) != len(old_body) or shapes[0] != shapes[1]:
            raise ValueError(f"{Path(file).name} is another network than {model.name}: they differ at {layer.name}. "
                             "Give this one the same width and depth, or choose another base.")
        layer.set_weights(old.get_weights())
    shared = [name for name in class_names if name in old_names]
    rows, old_rows = ([names.index(name) for name in shared] for names in (list(class_names), old_names))
    weights = head.get_weights()
    for new, old in zip(weights, old_head.get_weights(), strict=True):
        new[..., rows] = old[..., old_rows]
    head.set_weights(weights)
    return shared


def ancestors(file: str | Path | None) -> list[dict]:
    """Return what a saved model was trained on, first its own data set, then those of the models it started from: for
    each training `model`, `dataset`, of a folder the checksum of its `images`, and `with_duplicates`, whether copies of
    test images were trained on. Empty for weights from elsewhere, such as "imagenet" or a file without a card."""
    try:
        card = read_card(file or "")
    except (ValueError, zipfile.BadZipFile, IsADirectoryError, FileNotFoundError):
        return []
    if "dataset" not in card:  # class names alone
        return []
    own = {name: card[name] for name in ("model", "dataset", "images") if name in card}
    return [own | {"with_duplicates": "counts" in card}, *card.get("ancestors", [])]


def _copy_members(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Copy a zip file, compressed; `change(name, data)` returns a member's new data, or None to leave it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if (data := change(name, old.read(name))) is not None:
                new.writestr(name, data)


def _halve(name: str, data: bytes) -> bytes:
    """Return an HDF5 file of weights with float32 arrays as float16, where their values fit; anything else as it is."""
    if not name.endswith(".weights.h5"):
        return data
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(data), "r") as old, h5py.File(buffer, "w") as new:

        def copy(name, item):
            if isinstance(item, h5py.Group):
                new.require_group(name)
            else:
                values = np.asarray(item)
                fits = values.dtype == np.float32 and np.all(np.abs(values) <= np.finfo(np.float16).max)
                new[name] = values.astype(np.float16) if fits else values
            new[name].attrs.update(item.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy)
    return buffer.getvalue()
