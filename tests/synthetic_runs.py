"""Predictions and run folders made of random numbers, for tests of what is computed from them."""

import json

import numpy as np
import pandas as pd

from emotions.evaluation.metrics import measure_folder
from emotions.models.files import add_card, light_copy
from emotions.runs import Predictions

CLASSES = ("angry", "happy", "sad")
RECIPE = {
    "phases": [{"last_epoch": 2, "learning_rate": 1e-3}, {"last_epoch": 7, "learning_rate": 2e-4}],
    "batch_size": 64,
    "optimizer": "adam",
    "schedule": "plateau",
    "weight_decay": 0.0,
    "label_smoothing": 0.1,
    "class_weights": True,
    "ema": 0.0,
    "augmentation": {"flip": True, "rotation": 0},
}
TRAINING = {
    "recipe": RECIPE,
    "seed": 0,
    "training_pictures": 1000,
    "input_size": 64,
    "recipe_epochs": 7,
    "epochs_trained": 7,
    "best_epoch": 5,
    "seconds": 90.0,
    "hardware": "CPU, 2 x86_64 cores",
    "backend": "tensorflow 2.21.0",
    "finished": "2026-01-01T00:00:00Z",
}


def make_predictions(n=300, skill=1.5, seed=0, pictures=0, prefix="test", class_names=CLASSES) -> Predictions:
    """A model's predictions for a split: `pictures` seeds the split's labels and their difficulty, `seed` the model."""
    split = np.random.default_rng((pictures, n, len(prefix)))
    labels = split.integers(len(class_names), size=n)
    hardness = split.normal(size=(n, len(class_names)))
    noise = np.random.default_rng((seed, n)).normal(size=(n, len(class_names)))
    logits = skill * np.eye(len(class_names))[labels] + hardness + noise
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(tuple(class_names), np.array([f"{prefix}_{i}" for i in range(n)]), labels, probabilities)


def write_run(folder, skill=1.5, seed=0, flip=True, n=300, training=TRAINING, **facts) -> dict:
    """An evaluated run folder; every tenth test image counts as a copy. Returns its `metrics.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    copied = [f"test_{i}" for i in range(0, n, 10)]
    pd.DataFrame({"id": copied}).to_csv(folder.parent / "copied_in_training.csv", index=False)
    for end, better in (("", 0), ("_tta", 0.3)) if flip else (("", 0),):
        make_predictions(n, skill + better, seed).save(folder / f"predictions{end}.csv")
        validation = make_predictions(n, skill + better, seed, prefix="validation")
        validation.save(folder / f"predictions_validation{end}.csv")
    metrics = {
        "dataset": folder.parent.name,
        "model": folder.name,
        "class_names": list(CLASSES),
        "split_sizes": {"train": 1000, "validation": n, "test": n},
        "seed": seed,
        "backend": "tensorflow 2.21.0",
        "hardware": "CPU, 2 x86_64 cores",
        "training_seconds": 90.0,
        "git_commit": None,
        "evaluated": "2026-01-01T00:00:00Z",
        "title": folder.name.capitalize(),
        "parameters": 1_234_567,
        "seconds_per_picture": 0.0123,
        **facts,
        **measure_folder(folder),
        "training": training,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def save_model(model, path, card: dict):
    """Save a model with its card, as `evaluate` does; return it as read back."""
    reloaded = light_copy(model, path)
    add_card(path, card)
    return reloaded
