"""How fast is training, and what slows it down? Pictures per second, with and without feeding and augmentation.

    print(measure("champion", load("fer2013")))

`python -m emotions speed champion --data fer2013` also writes `results/<data set>/speed.csv`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from emotions import backend, runs
from emotions.data.datasets import Dataset
from emotions.models import registry as models
from emotions.training import fit as training
from emotions.training.recipes import Augmentation

ROUNDS = 3  # each is timed so often, in turns, and the fastest counts: other programs can only slow it down
KEYS = ["model", "input_size", "hardware", "backend", "precision", "augmentation"]


class Held(keras.utils.PyDataset):
    """One batch that is in memory already, again and again: nothing to gather, nothing to wait for."""

    def __init__(self, batch: tuple, steps: int):
        super().__init__()
        self.batch, self.steps = batch, steps

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return self.batch


class LastEpoch(keras.callbacks.Callback):
    """Notes the seconds of the last epoch of a `fit`: the first one compiles, and pays for the beginning."""

    def __init__(self, seconds: list[float]):
        super().__init__()
        self.seconds = seconds

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.params["epochs"]:
            self.seconds.append(time.perf_counter() - self.started)


def measure(name: str, dataset: Dataset, *, size: int | None = None, steps: int | None = None) -> pd.DataFrame:
    """Pictures per second through `training.Batches`, as `train` feeds them, and from one batch held in memory.

    Args:
        name: a key of `models.MODELS`.
        dataset: its training pictures are fed.
        size: input size in pixels; the architecture's own by default.
        steps: of a timed round; by default as many as take some seconds.

    Returns:
        two rows, without and with the recipe's augmentation: `held` and `trained` in pictures per second, `share`
        the second over the first, and what it was measured on.
    """
    architecture = models.find(name)
    steps = steps or (320 if backend.accelerator() else 10)
    rows = []
    for augmentation in (Augmentation(), architecture.recipe.augmentation):
        # Averaged weights cost next to nothing, and JAX can't begin a second fit with them.
        recipe = replace(architecture.recipe, augmentation=augmentation, ema=0.0)
        model = models.build(name, len(dataset.class_names), size)
        chosen = np.resize(np.arange(len(dataset.train)), steps * recipe.batch_size)
        batches = training.Batches(
            dataset.train.take(chosen), len(dataset.class_names), recipe.batch_size, seed=0, mixup=augmentation.mixup
        )
        graph = training.training_graph(model, augmentation, dataset.train, seed=0)
        # At rate 0: a net that overfits the one batch was seen to compute more slowly on a CPU than one in training.
        training.compile_for(graph, recipe, replace(recipe.phases[-1], learning_rate=0.0), steps)
        held = Held(batches[0], steps)
        seconds = {"held": [], "trained": []}
        for _ in range(ROUNDS):
            for fed, timed in ((held, seconds["held"]), (batches, seconds["trained"])):
                graph.fit(fed, epochs=2, callbacks=[LastEpoch(timed)], verbose=0)
        rates = {kind: len(chosen) / min(timed) for kind, timed in seconds.items()}
        rows.append(
            {
                "model": name,
                "input_size": size or architecture.size,
                "hardware": backend.hardware(),
                "backend": backend.version(),
                "precision": keras.mixed_precision.global_policy().name,
                "augmentation": augmentation != Augmentation(),
                **rates,
                "share": rates["trained"] / rates["held"],
            }
        )
    return pd.DataFrame(rows)


def keep(found: pd.DataFrame, dataset: str, profile: str = "full") -> Path:
    """Write what was measured into the data set's `speed.csv`, in place of older rows of the same kind."""
    path = runs.root(profile) / "results" / dataset / "speed.csv"
    if path.exists():
        found = pd.concat([pd.read_csv(path), found]).drop_duplicates(KEYS, keep="last")
    path.parent.mkdir(parents=True, exist_ok=True)
    training.write(path, found.to_csv(index=False, float_format="%.4g", lineterminator="\n"))
    return path
