"""Which explanations of the saved models hold? The checks, computed once per run and kept beside its `metrics.json`."""

import numpy as np
import pandas as pd

from emotions import files, runs
from emotions.data import load, synthetic
from emotions.data.dataset import limit
from emotions.explain import checks

FACES = 504  # drawn images
FEWER = 140  # images for the many and larger models trained on photographs: deletion is slow
PARTS = ("mouth", "eyes", "brows")
DRAWN = {"difficulty": 0.5, "seed": 1}  # other persons than those of the data set "synthetic", whose seed is 0


def drawn_faces(class_names=synthetic.CLASS_NAMES, count: int = FACES):
    """Draw faces that no model was trained on, evenly of those of the classes that can be drawn.

    Returns images, uint8, N x 64 x 64 x 3; labels, int, N, positions in `class_names`, or -1 where none of them can be
    drawn and every expression is instead; and masks of mouth, eyes and brows, bool, N x 64 x 64."""
    names = [name for name in class_names if name in synthetic.CLASS_NAMES] or synthetic.CLASS_NAMES
    drawn = np.arange(count) % len(names)
    codes = np.array([synthetic.CLASS_NAMES.index(name) for name in names])
    images, masks = synthetic.render(codes[drawn], masks=True, **DRAWN)
    return images, pd.Index(class_names).get_indexer(names)[drawn], {part: masks[part] for part in PARTS}


def on_own_images(run: runs.Run, count: int | None = None, steps: int = checks.STEPS) -> pd.DataFrame:
    """Return `checks.measure` on test images of the model's data set, by default 504 drawn ones or 140 photographs; the
    data must be there only if it is computed anew."""
    count = count or (FACES if run.dataset == "synthetic" else FEWER)

    def compute():
        images = np.asarray(limit(load(run.dataset).test, count).images)
        return checks.measure(run.load(), images, steps).reset_index()

    return _cached(run, "explanations.csv", {"pictures": count, "steps": steps}, compute)


def on_drawn_faces(run: runs.Run, count: int = FACES) -> pd.DataFrame:
    """Return `checks.inside` on drawn faces."""

    def compute():
        images, _, masks = drawn_faces(run.metrics["class_names"], count)
        return checks.inside(run.load(), images, masks).reset_index()

    return _cached(run, "explanations_drawn.csv", {"pictures": count, **DRAWN}, compute)


def _cached(run, file, key, compute):
    """The table, computed anew when the weights or the key change; as it is where the model is not at hand."""
    table = files.cached(run.folder / file, {"weights": run.digest, **key} if run.file.exists() else None, compute)
    return table.set_index(["method", "picture"]) if "method" in table else table


def explained(file: str = "explanations.csv") -> list[runs.Run]:
    """Return the runs of all data sets whose model, or whose table `file`, exists."""
    datasets = sorted(folder.name for folder in (files.home() / "results").glob("*/"))
    every = [run for dataset in datasets for run in runs.all_of(dataset).values()]
    return [run for run in every if run.file.exists() or (run.folder / file).exists()]
