"""How does a new model start from a saved one? With its body, and its head's rows of the classes that both name."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras

from emotions.models.files import read_card


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


def ancestors(file: str | Path) -> list[dict]:
    """Return what a saved model was trained on, first its own data set, then those of the models it started from: for
    each training `model`, `dataset`, and `with_duplicates`, whether copies of test images were trained on. Empty for a
    file without a card, or a folder: weights from elsewhere."""
    try:
        card = read_card(file)
    except (ValueError, zipfile.BadZipFile, IsADirectoryError):
        return []
    own = {"model": card["model"], "dataset": card["dataset"], "with_duplicates": "counts" in card}
    return [own, *card.get("ancestors", [])]
