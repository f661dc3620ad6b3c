"""Measure a trained model once, and keep everything that was measured."""

import time
from dataclasses import replace

import keras
import numpy as np
import pandas as pd

from emotions import backend, files
from emotions.data.dataset import Dataset, Split
from emotions.evaluation import cards
from emotions.evaluation.metrics import COPIED, PHOTOS, measure_folder
from emotions.models.files import add_card, light_copy
from emotions.runs import Predictions, Run, digest_of


def evaluate(model: keras.Model, faces: Dataset, run: Run) -> dict:
    """Save a trained model, reload the file, predict validation and test, and write the run's record.

    What is measured is the file that a user loads. Of a saved run (see `runs.start`) the record is read.

    Writes `models/<run>-<dataset>.keras` with class names and card inside, the card for people beside it,
    `predictions.csv` and `predictions_validation.csv` (one pass), the same with `_tta` (mean over each image and its
    mirror image), and `metrics.json`.

    Returns:
        the content of `metrics.json`; see `metrics.measure` for the figures of each split.
    """
    if run.saved:
        return run.metrics
    light = run.checkpoint / "light.keras"
    light_copy(model, light)
    model = keras.models.load_model(light, compile=False)
    facts = predict_splits(model, faces, run)
    metrics = report(run, faces, **facts, digest=digest_of(light))
    add_card(light, cards.for_programs(run, metrics))
    run.file.parent.mkdir(parents=True, exist_ok=True)
    light.replace(run.file)
    run.finish(metrics)
    cards.write(run)
    return metrics


def predict_splits(model: keras.Model, faces: Dataset, run: Run) -> dict:
    """Write the four files of predictions; return the facts on the model that `report` records."""
    run.folder.mkdir(parents=True, exist_ok=True)
    for split, name in ((faces.validation, "predictions_validation"), (faces.test, "predictions")):
        plain, mirrored = predict(model, split, faces.class_names), predict(model, split, faces.class_names, True)
        plain.save(run.folder / f"{name}.csv")
        mean = (plain.probabilities + mirrored.probabilities) / 2
        replace(plain, probabilities=mean).save(run.folder / f"{name}_tta.csv")
    return {
        "parameters": model.count_params(),
        "seconds_per_picture": seconds_per_image(model, faces.test.images.shape[1:3]),
        "timed_on": backend.hardware(),
    }


class Images(keras.utils.PyDataset):
    """The images of a split in batches and in order, mirrored on request."""

    def __init__(self, images, mirrored: bool, batch_size: int = 64):
        super().__init__()
        self.images, self.batch_size, self.mirrored = images, batch_size, mirrored

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        last = min((index + 1) * self.batch_size, len(self.images))
        batch = self.images[np.arange(index * self.batch_size, last)]
        return (batch[:, :, ::-1] if self.mirrored else batch,)


def predict(model: keras.Model, split: Split, class_names: tuple[str, ...], mirrored: bool = False) -> Predictions:
    """Predict a split in order, so that labels and probabilities line up.

    Args:
        mirrored: predict the mirror image of each image instead.
    """
    probabilities = model.predict(Images(split.images, mirrored), verbose=0)
    if probabilities.shape != (len(split), len(class_names)):
        raise ValueError(
            f"{model.name} returned {probabilities.shape} for {len(split)} images of {len(class_names)} classes."
        )
    return Predictions(tuple(class_names), split.ids, split.labels, probabilities)


def seconds_per_image(model: keras.Model, size: tuple[int, int], repeats: int = 30) -> float:
    """Return the time to predict one image alone, compiled: the fastest of several, for other work can only add."""
    image = np.zeros((1, *size, 3), "float32")
    times = []
    for _ in range(repeats + 3):  # the first ones compile
        started = time.perf_counter()
        model.predict_on_batch(image)
        times.append(time.perf_counter() - started)
    return min(times[3:])


def report(run: Run, faces: Dataset, **facts) -> dict:
    """Return the content of `metrics.json`, computed from the predictions in the run's folder.

    The ids of test images that have a copy in training are kept beside the run folders, in
    `copied_in_training.csv`, so that the leak-free part can be measured without the data set; in `photos.csv` so is
    from which photo each image was made, where there are several of one, which intervals need.

    Args:
        facts: on the model, beside what `runs.start` was told.
    """
    copied = pd.DataFrame({"id": sorted(faces.copied)})
    files.write(run.folder.parent / COPIED, copied.to_csv(index=False, lineterminator="\n"))
    if faces.name.startswith("human-emotions"):  # several images of each photo
        splits = [pd.DataFrame({"id": split.ids, "photo": split.groups}) for split in (faces.validation, faces.test)]
        files.write(run.folder.parent / PHOTOS, pd.concat(splits).to_csv(index=False, lineterminator="\n"))
    training = run.training if (run.folder / "training.json").exists() else {}
    told = {name: value for name, value in run.facts.items() if name not in ("seed", "command")}
    return {
        "dataset": faces.name,
        "model": run.name,
        "class_names": list(faces.class_names),
        "split_sizes": {name: len(split) for name, split in faces.splits().items()},
        "seed": run.facts.get("seed"),
        "backend": training.get("backend", backend.version()),
        "hardware": training.get("hardware", backend.hardware()),
        "training_seconds": training.get("seconds"),
        "git_commit": training.get("git_commit", files.git_commit()),
        "evaluated": files.now(),
        **told,
        **facts,
        **({} if training else {"command": run.facts.get("command")}),
        **measure_folder(run.folder),
        "training": training,
    }
