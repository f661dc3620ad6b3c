"""What does a training step cost? Seconds and memory, each measured in a process of its own.

steps("step_cost.json", [{"name": "hf-vit-base", "size": 224, "batch_size": 8}])
"""

from __future__ import annotations

import dataclasses
import json
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from emotions import backend
from emotions.data.datasets import Split
from emotions.models import registry as models
from emotions.notebook import native_messages_off
from emotions.training import fit as training


def steps(file: str | Path, cases: list[dict], again: bool = False) -> pd.DataFrame:
    """What `step` measured in each case: read from a file, or measured now and written there.

    Args:
        file: JSON; see `step` for what is in it.
        cases: arguments of `step`, one set per row.
        again: measure although the file is there.
    """
    file = Path(file)
    if again or not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        training.write(file, json.dumps([step(**case) for case in cases], indent=2) + "\n")
    return pd.DataFrame(json.loads(file.read_text(encoding="utf-8")))


def step(name: str, size: int | None = None, batch_size: int = 8, accumulate: int = 1, classes: int = 7) -> dict:
    """Train a model of the registry, without pretrained weights, for two optimizer steps on noise; time the second.

    Args:
        name: a key of `models.MODELS`.
        size: side of the pictures and of the model's input, in pixels; the architecture's own by default.
        batch_size, accumulate: as in `recipes.Recipe`: an optimizer step sees batch_size x accumulate pictures.

    Returns:
        model, parameters, input_size, batch_size, accumulate; seconds, of one optimizer step; core_seconds, the work of
        all cores on it, which does not depend on what else is running; peak_bytes, of the accelerator or else of the
        process, and bytes_before, the same before the model was built; hardware, backend, precision and date.

    Raises:
        MemoryError: the process was ended from outside, which a lack of memory does.
    """
    # Another process: its peak is that of this model alone, and a crash ends nothing else.
    try:
        # It inherits where messages go, and libraries greet there when they are loaded.
        with native_messages_off(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_step, name, size, batch_size, accumulate, classes).result()
    except BrokenProcessPool as error:
        raise MemoryError(
            f"{name} ended its process at {batch_size} pictures per batch, most likely for want of memory: "
            "lower batch_size and raise accumulate by as much."
        ) from error


def _step(name, size, batch_size, accumulate, classes):
    before = backend.peak_memory()
    architecture = models.find(name)
    size = size or architecture.size
    with backend.mixed_precision():
        return _timed(architecture, name, size, batch_size, accumulate, classes, before)


def _timed(architecture, name, size, batch_size, accumulate, classes, before):
    model = models.build(name, classes, size)
    # Averaged weights cost next to nothing, and JAX can't begin a second fit with them.
    recipe = dataclasses.replace(architecture.recipe, batch_size=batch_size, accumulate=accumulate, ema=0.0)
    random = np.random.default_rng(0)
    count = batch_size * accumulate
    images = random.integers(0, 256, (count, size, size, 3), np.uint8)
    split = Split(images, random.integers(0, classes, count), np.arange(count).astype(str))
    graph = training.training_graph(model, recipe.augmentation, split, seed=0)
    training.compile_for(graph, recipe, recipe.phases[0], accumulate)
    batches = training.Batches(split, classes, batch_size, mixup=recipe.augmentation.mixup)
    graph.fit(batches, verbose=0)  # compiles
    started, worked = time.perf_counter(), time.process_time()
    graph.fit(batches, verbose=0)
    seconds, core_seconds = time.perf_counter() - started, time.process_time() - worked
    return {
        "model": name,
        "parameters": model.count_params(),
        "input_size": size,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "seconds": round(seconds, 2),
        "core_seconds": round(core_seconds, 2),
        "peak_bytes": backend.peak_memory(),
        "bytes_before": before,
        "hardware": backend.hardware(),
        "backend": backend.version(),
        "precision": keras.mixed_precision.global_policy().name,
        "measured": training.now(),
    }
