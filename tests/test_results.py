"""Committed results do not drift: every figure in them follows from the committed predictions."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest

from emotions import runs
from emotions.data import synthetic
from emotions.evaluation import cards, ensembles, leaderboard
from emotions.models import registry as models

RUNS = sorted(path.parent for path in (runs.root() / "results").glob("*/*/predictions.csv"))
if not RUNS:
    pytest.skip("results/ holds no evaluated run yet, so nothing can have drifted", allow_module_level=True)


@cache
def measured(folder, read=leaderboard.read):  # as it was before a test put this in its place
    return {run["model"]: run for run in read(folder)}


def assert_same(found, saved, where):
    if isinstance(saved, dict):
        assert sorted(found) == sorted(saved), where
        for key, value in saved.items():
            assert_same(found[key], value, f"{where}: {key}")
    elif isinstance(saved, list):
        assert len(found) == len(saved), where
        for k, value in enumerate(saved):
            assert_same(found[k], value, f"{where}[{k}]")
    elif isinstance(saved, float):
        assert found == pytest.approx(saved, rel=1e-9, abs=1e-9), where
    else:
        assert found == saved, where


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_metrics_follow_from_the_predictions(folder):
    saved = json.loads((folder / "metrics.json").read_text())
    assert (saved["dataset"], saved["model"]) == (folder.parent.name, folder.name)
    assert_same(measured(folder.parent)[folder.name], saved, f"{folder / 'metrics.json'}")
    assert all(saved["split_sizes"][split] == saved[split]["n"] for split in ("validation", "test"))


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_what_is_told_of_the_training_is_what_was_recorded(folder):
    """Baselines, ensembles and the models of others have no record, and so tell nothing."""
    files = [folder / name for name in ("training.json", "history.csv")]
    told = json.loads((folder / "metrics.json").read_text())["training"]
    if not any(file.exists() for file in files):
        assert told == {}
        return
    assert told == json.loads(files[0].read_text())
    history = pd.read_csv(files[1])
    assert history["epoch"].tolist() == list(range(1, told["epochs_trained"] + 1))
    assert told["best_epoch"] == history["epoch"][history["val_accuracy"].idxmax()]


@pytest.mark.parametrize("file", sorted((runs.root() / "models").glob("*.keras")), ids=lambda file: file.stem)
def test_a_committed_model_is_the_one_that_was_measured(file):
    card = models.read_card(file)
    run = runs.saved(card["dataset"])[card["model"]]
    assert run.file == file and run.digest == run.metrics["digest"], "its weights are those that were measured"
    assert run.load().count_params() == run.metrics["parameters"]


def test_the_model_of_drawn_faces_gives_the_predictions_that_are_kept():
    """Of it alone the pictures can be made again anywhere."""
    run, count = runs.saved("synthetic")["compact"], 24
    kept = run.predictions.take(slice(0, count))
    test = synthetic.load().test
    assert test.ids[:count].tolist() == kept.ids.tolist()
    np.testing.assert_allclose(run.load().predict(test.images[:count], verbose=0), kept.probabilities, atol=1e-3)


@pytest.mark.parametrize("folder", sorted({run.parent for run in RUNS}), ids=lambda folder: folder.name)
def test_ensembles_were_chosen_from_all_runs(folder):
    assert not ensembles.outdated(folder), "a run has come since: run python -m emotions leaderboard"


def test_model_cards_follow_from_the_runs():
    outdated = cards.stale(cards.contents(runs.root()))
    assert not outdated, f"out of date, run python -m emotions cards: {', '.join(map(str, outdated))}"


def test_leaderboards_and_readme_follow_from_the_predictions(monkeypatch):
    monkeypatch.setattr(leaderboard, "read", lambda folder: list(measured(folder).values()))
    outdated = leaderboard.stale(leaderboard.contents(runs.root()))
    assert not outdated, f"out of date, run python -m emotions leaderboard: {', '.join(map(str, outdated))}"
