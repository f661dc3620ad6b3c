"""What is the record of a training? `results/<dataset>/<run>/` and `models/<run>-<dataset>.keras`.

This module alone reads and writes predictions and `metrics.json`."""

import os
import shlex
import shutil
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from emotions import files
from emotions.data.dataset import WITH_DUPLICATES
from emotions.models.files import ancestors


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model on one split: alphabetical class names; ids, str, N; labels, int, N, positions in
    `class_names`; probabilities, float, N x classes, whose rows sum to 1."""

    class_names: tuple[str, ...]
    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    def take(self, indices) -> "Predictions":
        """Return the predictions at `indices` (integers or a mask), in that order."""
        return Predictions(self.class_names, self.ids[indices], self.labels[indices], self.probabilities[indices])

    def join(self, other: "Predictions") -> "Predictions":
        """Return these predictions followed by those on another split."""
        if self.class_names != other.class_names or set(self.ids) & set(other.ids):
            raise ValueError("Predictions of two splits are joined: of the same classes, on different images.")
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("ids", "labels", "probabilities"))
        return Predictions(self.class_names, *map(np.concatenate, pairs))

    def save(self, path: str | Path) -> None:
        """Write `id,label,<class>…`: label is the class name, probabilities have five digits."""
        frame = pd.DataFrame(self.probabilities, columns=list(self.class_names))
        frame.insert(0, "label", np.array(self.class_names)[self.labels])
        frame.insert(0, "id", self.ids)
        files.write(Path(path), frame.to_csv(index=False, float_format="%.5g", lineterminator="\n"))

    @classmethod
    def read(cls, path: str | Path) -> "Predictions":
        """Read what `save` wrote."""
        frame = pd.read_csv(path, dtype={"id": str, "label": str}, keep_default_na=False)
        class_names = tuple(frame.columns[2:])
        probabilities = frame[list(class_names)].to_numpy(float)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        labels = pd.Index(class_names).get_indexer(frame["label"])
        if (labels < 0).any():
            label = frame["label"][labels < 0].iloc[0]
            raise ValueError(f"{path}: the label {label!r} is none of its columns {class_names}.")
        return cls(class_names, frame["id"].to_numpy(str), labels, probabilities)


@dataclass(frozen=True)
class Run:
    """A training and its results."""

    dataset: str
    name: str  # model, variants of the data, seed: "lenet-all-s1"
    facts: dict = field(default_factory=dict)  # about the model, from `start`; empty for a run that is only read
    train: bool = False  # train anew, although a finished record exists
    home: Path = field(default_factory=files.home)  # folder that holds `results/` and `models/`

    @property
    def folder(self) -> Path:
        return self.home / "results" / self.dataset / self.name

    @property
    def file(self) -> Path:
        """The saved model."""
        return self.home / "models" / f"{self.name}-{self.dataset}.keras"

    @property
    def checkpoint(self) -> Path:
        """What an interrupted training goes on from; removed once the run is evaluated."""
        return self.folder / "checkpoint"

    @property
    def finished(self) -> bool:
        """Whether a complete record exists: trained to the end and evaluated."""
        return (self.folder / "metrics.json").exists() and not self.checkpoint.exists()

    @property
    def saved(self) -> bool:
        """Whether to read the record instead of training; one of images that a folder held before does not count."""
        images = self.facts.get("images")
        return self.finished and not self.train and images in (None, self.metrics.get("images", images))

    @property
    def metrics(self) -> dict:
        return files.read_json(self.folder / "metrics.json")

    @property
    def training(self) -> dict:
        return files.read_json(self.folder / "training.json")

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def predictions(self) -> Predictions:
        return self.predictions_of("predictions.csv")

    @property
    def validation(self) -> Predictions:
        return self.predictions_of("predictions_validation.csv")

    def predictions_of(self, file: str) -> Predictions:
        """Read one of the run's files of predictions, such as "predictions_tta.csv"."""
        return Predictions.read(self.folder / file)

    @property
    def digest(self) -> int:
        """The checksum of the saved weights; see `digest_of`."""
        return digest_of(self.file)

    @property
    def command(self) -> str:
        """The command that made this run, as recorded; the first version of this package had other commands."""
        command = self.metrics["training"].get("command") or self.metrics.get("command", "")
        return f"{command} (first version of this package)" if " emotions train " in command else command

    def load(self) -> keras.Model:
        """Load the saved model with stock Keras; where only the results are kept, FileNotFoundError names the command
        that made it."""
        if not self.file.exists():
            raise FileNotFoundError(f"models/ has no {self.file.name}: only the results of this run are kept. "
                                    f"It was made by: {self.command}")
        return keras.models.load_model(self.file, compile=False)

    def record(self, metrics: dict) -> None:
        files.write_json(self.folder / "metrics.json", metrics)

    def close(self) -> None:
        """Remove the checkpoint, renamed before: from half of one, left by a kill, no training could go on."""
        removed = self.folder / "checkpoint.writing"
        shutil.rmtree(removed, ignore_errors=True)
        if self.checkpoint.exists():
            self.checkpoint.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)


def start(name: str, faces, *, title: str | None = None, weights: str | Path | None = None, seed: int = 0,
          train: bool = False) -> Run:
    """Begin a run of a model such as "lenet", or open the one that exists under this name; with `train`, train anew.

    The data set's variants and a seed above 0 are added to the name: "lenet-all-s1". `title` is for tables and figures.
    `weights` are the pretrained ones that the model starts from; their name is recorded, without a path. `seed` is set
    here, for initial weights, the order of images, and augmentation: call this before you build the model."""
    keras.utils.set_random_seed(seed)
    suffix = variant_suffix(faces.variants) + (f"-s{seed}" if seed else "")
    recorded = Path(weights).name if weights and Path(weights).exists() else weights and str(weights)
    facts = {"title": ", ".join([title or name, *faces.variants]), "architecture": name, "suffix": suffix,
             "variants": list(faces.variants), "weights": recorded, "seed": seed, "command": command()}
    known = {"ancestors": ancestors(weights) or None, "images": faces.digest}
    facts |= {name: value for name, value in known.items() if value is not None}
    run = Run(faces.name, name + suffix, facts, bool(train))
    if run.finished and not run.saved and not train:
        print(f"{run.folder} holds a run on other images of that name: this one will replace it, and its model.")
    return run


def variant_suffix(variants) -> str:
    """Return what variants of the training images add to a run's name: "-all" with duplicates, otherwise nothing."""
    return "-all" if WITH_DUPLICATES in variants else ""


def trained_with_duplicates(record: dict) -> bool:
    """Tell from a `metrics.json` whether copies of test images were trained on: only leak-free metrics count."""
    kept = WITH_DUPLICATES in record.get("variants", ())
    own = "images" in record  # a folder of one's own, whatever its name
    return kept or (not own and record["dataset"].endswith(("-as-distributed", "-with-copies")))


def command() -> str:
    """Return the command line of this process, or of the one that executes this notebook."""
    usual = "a notebook, by hand" if "ipykernel" in sys.modules else shlex.join(["python", *sys.argv])
    return os.environ.get("EMOTIONS_COMMAND") or usual


def digest_of(file: Path) -> int:
    """Return a checksum of the weights in a `.keras` file: whatever was computed from the model depends on it."""
    with zipfile.ZipFile(file) as archive:
        return archive.getinfo("model.weights.h5").CRC


def all_of(dataset: str, home: Path | None = None) -> dict[str, Run]:
    """Return the finished runs on a data set, by name."""
    home = home or files.home()
    names = sorted(path.parent.name for path in (home / "results" / dataset).glob("*/metrics.json"))
    return {name: run for name in names if (run := Run(dataset, name, home=home)).finished}
