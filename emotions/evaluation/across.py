"""What is a model worth on other people's photos? Saved models on the test parts of all data sets.

Compared are the classes that all data sets name. A model's answers on its own data set are those of its run; on the
others they are predicted once and kept in `results/<data set>/across/<model>.csv`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import recall_score

from emotions import files
from emotions.data import load
from emotions.evaluation import cards
from emotions.evaluation.calibration import accuracy_at, temperature_scale
from emotions.evaluation.evaluate import predict
from emotions.evaluation.metrics import calibration_error, draws, photos_of
from emotions.models.files import read_card
from emotions.runs import Predictions, Run

CLASSES = ("angry", "happy", "sad")
DATASETS = ("fer2013", "ferplus", "human-emotions")


def table(home: Path | None = None) -> pd.DataFrame:
    """Measure every finished model in `models/` on every data set; predict what is not predicted yet.

    Returns one row per model and data set: `model`, `trained_on` (with ancestors), `tested_on`, `n`,
    `balanced_accuracy` (mean recall) with the ends of its 95% interval, `ece` as it is and `ece_calibrated` with the
    temperature of its own validation, `accuracy` and `accuracy_at_50`, at 50% coverage. Shares are 0-1.
    FileNotFoundError: predictions are missing, and so is the data set."""
    saved = saved_runs(home or files.home())
    return pd.DataFrame([_row(run, read_card(run.file), dataset) for run in saved for dataset in DATASETS])


def saved_runs(home: Path) -> list[Run]:
    """Return the finished runs on photographs whose models are in `models/` and name all of `CLASSES`."""
    saved = [read_card(file) for file in sorted((home / "models").glob("*.keras"))]
    runs = [Run(card["dataset"], card["model"], home=home) for card in saved
            if set(CLASSES) <= set(card["class_names"]) and "synthetic" not in card["dataset"]]
    return [run for run in runs if not cards.unfinished(run.training)]


def _row(run: Run, card: dict, dataset: str) -> dict:
    folder = run.home / "results" / dataset
    own = restricted(run.predictions if dataset == run.dataset else _elsewhere(run, card, folder))
    photos = photos_of(own, folder)
    low, high = np.percentile(_balanced(own, photos), [2.5, 97.5])
    scaled = temperature_scale(own, card["temperature"])
    recalls = recall_score(own.labels, own.predicted, average=None)
    return {
        "model": run.file.stem,
        "trained_on": ", ".join([run.dataset, *(each["dataset"] for each in card.get("ancestors", ()))]),
        "tested_on": dataset, "n": len(own),
        "balanced_accuracy": recalls.mean(), "balanced_accuracy_low": low, "balanced_accuracy_high": high,
        "ece": calibration_error(own.labels, own.probabilities),
        "ece_calibrated": calibration_error(scaled.labels, scaled.probabilities),
        "accuracy": (own.predicted == own.labels).mean(), "accuracy_at_50": accuracy_at(scaled, 0.5),
        **dict(zip((f"recall_{name}" for name in CLASSES), recalls, strict=True)),
    }


def _elsewhere(run: Run, card: dict, folder: Path) -> Predictions:
    """Read or make the predictions on the test part of another data set."""
    file = folder / "across" / f"{run.file.stem}.csv"
    if not file.exists():
        faces = load(folder.name)
        named = np.array(faces.class_names)[faces.test.labels]
        test = faces.test.take(np.isin(named, CLASSES))
        answers = predict(run.load(), test, tuple(card["class_names"]))
        labels = np.array([card["class_names"].index(name) for name in named[np.isin(named, CLASSES)]])
        file.parent.mkdir(parents=True, exist_ok=True)
        restricted(replace(answers, labels=labels)).save(file)
    return Predictions.read(file)


def restricted(predictions: Predictions) -> Predictions:
    """Return the images of the shared classes, their probabilities summing to 1 over these."""
    columns = [predictions.class_names.index(name) for name in CLASSES]
    own = predictions.take(np.isin(predictions.labels, columns))
    probabilities = own.probabilities[:, columns]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Predictions(CLASSES, own.ids, np.searchsorted(columns, own.labels), probabilities)


def _balanced(predictions: Predictions, photos: np.ndarray | None) -> np.ndarray:
    """Return the balanced accuracy of bootstrap samples of the photos."""
    photos = np.arange(len(predictions)) if photos is None else np.unique(photos, return_inverse=True)[1]
    counts = np.zeros((photos.max() + 1, 2 * len(CLASSES)))
    np.add.at(counts, (photos, predictions.labels), 1)
    correct = predictions.predicted == predictions.labels
    np.add.at(counts, (photos[correct], len(CLASSES) + predictions.labels[correct]), 1)
    sums = draws(len(counts)) @ counts
    return (sums[:, len(CLASSES) :] / sums[:, : len(CLASSES)]).mean(axis=1)
