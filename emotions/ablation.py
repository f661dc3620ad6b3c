"""What does each ingredient of a recipe give? Trainings that leave one out, compared on validation.

    run(load("fer2013"))
    run(load("fer2013"), "champion", epochs=36, changes=["without erasing"])  # does it hold at full length?
    print(table("results/fer2013/ablation"))

The test split is not looked at: ingredients are choices.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from emotions import backend, runs
from emotions.data import variants
from emotions.data.datasets import Dataset
from emotions.evaluation import comparison
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions
from emotions.models import registry as models
from emotions.training import fit as training
from emotions.training.recipes import Recipe

SYSTEM, RECIPE = "compact", "champion"  # a quarter of the parameters, the same recipe
EPOCHS = 12
FULL = "full recipe"


def _augmented(**choices) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, augmentation=replace(recipe.augmentation, **choices))


def _with(**choices) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, **choices)


# What is changed, one at a time: name -> the recipe with that change.
CHANGES: dict[str, Callable[[Recipe], Recipe]] = {
    FULL: _with(),
    "without mirroring": _augmented(flip=False),
    "without turning, shifting and zooming": _augmented(rotation=0.0, shift=0.0, zoom=0.0),
    "without erasing": _augmented(erasing=0.0),
    "with mixup, alpha 0.2": _augmented(mixup=0.2),
    "without label smoothing": _with(label_smoothing=0.0),
    "without averaged weights": _with(ema=0.0),
    "without weight decay": _with(weight_decay=0.0),
    "with class weights": _with(class_weights=True),
    # The weights shrink by as much in a step.
    "SGD instead of AdamW": lambda recipe: replace(
        recipe, optimizer="sgd", weight_decay=4e-3, phases=(replace(recipe.phases[0], learning_rate=0.1),)
    ),
}


def run(
    dataset: Dataset,
    name: str = SYSTEM,
    *,
    profile: str = "full",
    epochs: int = EPOCHS,
    mixed_precision: bool | None = None,
    changes: Sequence[str] | None = None,
    verbose: int | str = "auto",
) -> Path:
    """Train the full recipe and each change that is not there yet, from the same seed and for as many epochs.

    Args:
        name: what is trained, a key of `models.MODELS`; the recipe is the champion's.
        mixed_precision: as in `runs.run`; by default that of the trainings that are there.
        changes: some names of `CHANGES`; by default all.

    Returns:
        the folder, `results/<data set>/ablation` (of another net than the small one, `ablation-<name>`), with "-all"
        and the like for variants of the data: in it, one folder a change with its history and its predictions for the
        validation split.

    Raises:
        ValueError: there is no such change; or what is there was trained on other pictures, by another recipe or in
            another precision.
    """
    if unknown := set(changes or ()) - set(CHANGES):
        raise ValueError(f"There is no change named {min(unknown)!r}; there are: {', '.join(CHANGES)}.")
    word = "ablation" if name == SYSTEM else f"ablation-{name}"
    folder = runs.run_folder(dataset.name, word + variants.suffix(dataset.variants), profile)
    dataset = runs.scaled(dataset, profile)
    recipe = models.find(RECIPE).recipe
    recipe = replace(recipe, phases=(replace(recipe.phases[0], epochs=epochs),))
    for change in CHANGES if changes is None else dict.fromkeys([FULL, *changes]):
        place, changed = _place(folder, change), runs.scaled_recipe(CHANGES[change](recipe), profile)
        if (place / "predictions_validation.csv").exists():
            record = json.loads((place / "training.json").read_text(encoding="utf-8"))
            if mixed_precision is None:  # then as what is there, which the rest is compared with
                mixed_precision = record["precision"] != "float32"
            precision = {"precision": "mixed_bfloat16" if mixed_precision else "float32"}
            if choice := training.differing(record, training.made_of(dataset, changed) | precision):
                raise ValueError(f"{place} holds a training that differs in {choice}: remove {folder} to start anew.")
            continue
        with backend.mixed_precision(mixed_precision) as mixed:
            keras.utils.set_random_seed(0)
            model = models.build(name, len(dataset.class_names), runs.input_size(name, profile))
            training.train(model, dataset, changed, place, verbose=verbose, keep_checkpoint=True)
            if mixed:
                model = models.in_float32(model)
        found = evaluation.predict(model, dataset.validation, dataset.class_names)
        found.save(place / "predictions_validation.csv")
        training.forget(place)
    return folder


def _place(folder: str | Path, change: str) -> Path:
    """The folder of a change."""
    return Path(folder) / change.replace(" ", "-").replace(",", "")


def histories(folder: str | Path) -> dict[str, pd.DataFrame]:
    """`history.csv` of each training in the folder that `run` returns, by the name of its change."""
    found = {name: _place(folder, name) / "history.csv" for name in CHANGES}
    return {name: pd.read_csv(path) for name, path in found.items() if path.exists()}


def table(folder: str | Path) -> pd.DataFrame:
    """Accuracy on validation, and the paired difference to the full recipe, in points with 95% interval.

    Args:
        folder: what `run` returns.

    Returns:
        a row for each change, the full recipe first: accuracy (%), difference, difference_low, difference_high,
        p_holm, McNemar's p after Holm's correction over the changes, and what accuracy hides where classes differ in
        size: macro_f1 (%), with its difference likewise, and rarest_recall (%), that of the rarest class.
    """
    found = {
        name: Predictions.read(path)
        for name in CHANGES
        if (path := _place(folder, name) / "predictions_validation.csv").exists()
    }
    rows = {}
    for name, predictions in found.items():
        right, counts = predictions.predicted == predictions.labels, np.bincount(predictions.labels)
        rarest = np.argmin(np.where(counts, counts, np.inf))
        rows[name] = {figure: 100 * value for figure, value in comparison.figures_of(predictions).items()}
        rows[name]["rarest_recall"] = 100 * right[predictions.labels == rarest].mean()
        if name != FULL:
            compared = comparison.compare(predictions, found[FULL])
            for figure, column in {"accuracy": "difference", "macro_f1": "macro_f1_difference"}.items():
                ends = {column: "difference", f"{column}_low": "low", f"{column}_high": "high"}
                rows[name] |= {end: 100 * compared[f"{figure}_{of}"] for end, of in ends.items()}
            rows[name]["p_holm"] = compared["mcnemar_p"]
    found = pd.DataFrame.from_dict(rows, orient="index")
    if len(found) > 1:
        found.loc[found.index[1:], "p_holm"] = comparison.holm(found["p_holm"].iloc[1:])
    return found
