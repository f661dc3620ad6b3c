"""Measure a trained model once, and keep everything that was measured."""

import shutil
import timeit
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

    The file that users load is measured, not the model in memory. Writes `models/<run>-<dataset>.keras`, with class
    names and card inside, the card for people beside it, the files of `predict_splits`, and `metrics.json`. Returns the
    content of the latter, see `metrics.measure`; of a saved run, only reads it. ValueError: training has not ended."""
    if run.saved:
        run.close()  # what a kill during its end may have left
        return run.metrics
    begun, ended = (files.read_json(file) if (file := folder / "training.json").exists() else {}
                    for folder in (run.checkpoint, run.folder))
    if not begun.items() <= ended.items():  # as `fit` leaves them
        raise ValueError(f"The training of {run.name} was interrupted: run its fit again, which goes on from there.")
    light = run.checkpoint / "light.keras"
    facts = predict_splits(light_copy(model, light), faces, run)
    metrics = report(run, faces, **facts, digest=digest_of(light))
    card = cards.for_programs(run, metrics)
    add_card(light, card)
    run.file.parent.mkdir(parents=True, exist_ok=True)
    with files.written(run.file) as copy:  # models/ may be another file system
        shutil.copyfile(light, copy)
    answers = (run.home / "results").glob(f"*/across/{run.file.stem}.csv")
    for old in (*answers, *run.folder.glob("*.png")):  # of the model before
        old.unlink()
    run.record(metrics)
    files.write(run.file.with_suffix(".md"), cards.for_people(run, card))
    run.close()
    return metrics


def predict_splits(model: keras.Model, faces: Dataset, run: Run) -> dict:
    """Write `predictions.csv` and `predictions_validation.csv` (one pass), and the same with `_tta` (mean over each
    image and its mirror image); return the facts on the model that `report` records. The time for one image alone is
    the fastest of 30, for other work can only add."""
    run.folder.mkdir(parents=True, exist_ok=True)
    for split, name in ((faces.validation, "predictions_validation"), (faces.test, "predictions")):
        plain, mirrored = predict(model, split, faces.class_names), predict(model, split, faces.class_names, True)
        plain.save(run.folder / f"{name}.csv")
        mean = (plain.probabilities + mirrored.probabilities) / 2
        replace(plain, probabilities=mean).save(run.folder / f"{name}_tta.csv")
    image = np.zeros((1, *faces.test.images.shape[1:3], 3), "float32")
    times = timeit.repeat(lambda: model.predict_on_batch(image), number=1, repeat=33)[3:]  # the first ones compile
    return {"parameters": model.count_params(), "seconds_per_picture": min(times), "timed_on": backend.hardware()}


def predict(model: keras.Model, split: Split, class_names: tuple[str, ...], mirrored: bool = False) -> Predictions:
    """Predict a split in order, or the mirror image of each of its images."""
    images = split.images[:, :, ::-1] if mirrored else split.images
    probabilities = model.predict(images, batch_size=64, verbose=0)
    if probabilities.shape != (len(split), len(class_names)):
        given = f"{len(split)} images of {len(class_names)} classes"
        raise ValueError(f"{model.name} returned {probabilities.shape} for {given}.")
    return Predictions(tuple(class_names), split.ids, split.labels, probabilities)


def report(run: Run, faces: Dataset, **facts) -> dict:
    """Return the content of `metrics.json`, from the predictions in the run's folder and `facts` on the model.

    Beside the run folders it keeps what figures need without the data set: the ids of test images that have a copy in
    training, and from which photo each image was made, where there are several of one."""
    copied = pd.DataFrame({"id": sorted(faces.copied)})
    files.write(run.folder.parent / COPIED, copied.to_csv(index=False, lineterminator="\n"))
    if faces.by_photo:
        splits = [pd.DataFrame({"id": split.ids, "photo": split.groups}) for split in (faces.validation, faces.test)]
        files.write(run.folder.parent / PHOTOS, pd.concat(splits).to_csv(index=False, lineterminator="\n"))
    training = run.training if (run.folder / "training.json").exists() else {}
    recorded = {name: value for name, value in run.facts.items() if name not in ("seed", "command")}
    return {
        "dataset": faces.name, "model": run.name, "class_names": list(faces.class_names),
        "split_sizes": {name: len(split) for name, split in faces.splits().items()},
        "seed": run.facts.get("seed"),
        "backend": training.get("backend", backend.version()),
        "hardware": training.get("hardware", backend.hardware()), "training_seconds": training.get("seconds"),
        "git_commit": training.get("git_commit", files.git_commit()), "evaluated": files.now(),
        **recorded, **facts, **({} if training else {"command": run.facts.get("command")}),
        **measure_folder(run.folder),
        "training": training,
    }
