"""Which explanations of the saved models hold? The checks of `explain`, run on every model and kept as files.

    run = runs.Run(...)                   # a trained model
    own = on_own_pictures(run)            # deletion, insertion, randomisation, class discrimination
    drawn = on_drawn_faces(run)           # energy inside mouth, eyes and brows
    verdicts(own, drawn)                  # what passes, what fails

Beside a run's `metrics.json` lie `explanations.csv` and `explanations_drawn.csv`, one line per method and picture,
and `activation_by_part.csv`, one line per layer.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from emotions import runs
from emotions.data import datasets, synthetic
from emotions.explain import filters
from emotions.explain import methods as explain

FACES, STEPS = 504, 10  # pictures, readings along a deletion curve
FEWER = 140  # pictures for the many and larger models trained on photographs: deletion is slow
PARTS = ("mouth", "eyes", "brows")
SEED = 1  # of the drawn faces: other persons than those of the data set "synthetic", whose seed is 0
DIFFICULTY = 0.5
FORGOTTEN = 0.3  # rank correlation, either way, under which a map counts as lost with the weights


def drawn_faces(class_names=synthetic.CLASS_NAMES, count: int = FACES, difficulty: float = DIFFICULTY):
    """Faces that no model was trained on, with ground truth, of those of the classes that can be drawn, evenly.

    Returns:
        images, uint8, N x 64 x 64 x 3; labels, int, N, positions in `class_names`, or -1 where none of them can be
        drawn and every expression is instead; and masks of mouth, eyes and brows, bool, N x 64 x 64.
    """
    names = [name for name in class_names if name in synthetic.CLASS_NAMES] or synthetic.CLASS_NAMES
    drawn = np.arange(count) % len(names)
    codes = np.array([synthetic.CLASS_NAMES.index(name) for name in names])
    images, masks = synthetic.render(codes[drawn], seed=SEED, difficulty=difficulty, masks=True)
    labels = pd.Index(class_names).get_indexer(names)[drawn]
    return images, labels, {part: masks[part] for part in PARTS}


def on_own_pictures(run: runs.Run, count: int | None = None, steps: int = STEPS) -> pd.DataFrame:
    """`explain.measure` on test pictures of the data set that the model was trained on, as kept or computed now.

    Args:
        count: pictures; None takes `FACES` drawn ones, or `FEWER` photographs.
        steps: see `explain.deletion`.

    Raises:
        FileNotFoundError: it must be computed, and the data are not there.
    """

    dataset = run.folder.parent.name
    count = count or (FACES if dataset == "synthetic" else FEWER)

    def compute():
        test = datasets.load(dataset).test
        images = np.asarray(runs.part(test, count).images)
        return explain.measure(run.load(), images, steps=steps).reset_index()

    made_of = {"pictures": count, "steps": steps}
    return _indexed(runs.kept(run.folder / "explanations.csv", _of(run, made_of), compute))


def on_drawn_faces(run: runs.Run, count: int = FACES) -> pd.DataFrame:
    """`explain.inside` on drawn faces, as kept or computed now."""

    def compute():
        images, _, masks = drawn_faces(run.metrics["class_names"], count)
        return explain.inside(run.load(), images, masks).reset_index()

    made_of = {"pictures": count, "difficulty": DIFFICULTY, "seed": SEED}
    return _indexed(runs.kept(run.folder / "explanations_drawn.csv", _of(run, made_of), compute))


def activation_by_part(run: runs.Run, count: int = FACES) -> pd.DataFrame:
    """`filters.by_part` on drawn faces, as kept or computed now; grey ones for a net that learned from FER2013."""
    grey = run.folder.parent.name.startswith("fer2013")

    def compute():
        images, _, masks = drawn_faces(run.metrics["class_names"], count)
        if grey:
            images = np.repeat(images.mean(axis=-1, keepdims=True).round().astype("uint8"), 3, axis=-1)
        return filters.by_part(run.load(), images, masks)

    made_of = {"pictures": count, "difficulty": DIFFICULTY, "seed": SEED, "grey": grey, "shuffles": filters.SHUFFLES}
    return runs.kept(run.folder / "activation_by_part.csv", _of(run, made_of), compute)


def _of(run, choices):
    """What a table is made of; None where the model is not there, only what was found of it."""
    return {"weights": run.digest, **choices} if run.file.exists() else None


def _indexed(table):
    return table.set_index(["method", "picture"])


def explained(profile: str = "full", file: str = "explanations.csv") -> list[runs.Run]:
    """The runs whose model, or the table `file` made of it, is there."""
    names = sorted(folder.name for folder in (runs.root(profile) / "results").glob("*/"))
    found = [run for name in names for run in runs.saved(name, profile).values()]
    return [run for run in found if run.file.exists() or (run.folder / file).exists()]


def verdicts(own: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """Which method passes which check?

    Args:
        own, drawn: of `on_own_pictures` and `on_drawn_faces`.

    Returns:
        bool, one row per method, the baselines apart: "deletion", "insertion" and "parts of the face" are passed if
        the 95% interval of the difference to the random map, and to the centred Gaussian too, lies on the good
        side of 0; "forgets" if the mean rank correlation after shuffling the weights lies within ±`FORGOTTEN`,
        interval included; "tells classes apart" if the interval of the class gain lies above 0.
    """
    alone = explain.summary(own)
    methods = [name for name in alone.index if name not in explain.BASELINES]
    found = {
        "deletion": _ahead(own, "deletion", low_is_good=True),
        "insertion": _ahead(own, "insertion"),
        "parts of the face": _ahead(drawn, "energy parts"),
        "forgets": (alone["randomised_low"] > -FORGOTTEN) & (alone["randomised_high"] < FORGOTTEN),
        "tells classes apart": alone["class gain_low"] > 0,
    }
    return pd.DataFrame(found).loc[methods]


def _ahead(measured, column, low_is_good=False):
    """Whether each method is significantly better than every baseline."""
    leads = [explain.summary(explain.minus(measured[[column]], baseline)) for baseline in explain.BASELINES]
    sure = [lead[f"{column}_high"] < 0 if low_is_good else lead[f"{column}_low"] > 0 for lead in leads]
    return pd.concat(sure, axis=1).all(axis=1)


def leads(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """By how much every method of several models is ahead of each baseline, with intervals.

    Args:
        tables: {model: as of `on_own_pictures` or `on_drawn_faces`}.

    Returns:
        {"minus <baseline>": one row per model and method, the columns of `explain.summary`}.
    """
    found = {}
    for baseline in explain.BASELINES:
        summaries = {name: explain.summary(explain.minus(table, baseline)) for name, table in tables.items()}
        joined = pd.concat(summaries).drop(index=list(explain.BASELINES), level="method", errors="ignore")
        joined.index = [f"{name}: {method}" for name, method in joined.index]
        found[f"minus {baseline}"] = joined
    return found
