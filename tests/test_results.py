"""Committed results do not drift: every figure in them follows from the committed predictions."""

import numpy as np
import pytest

from emotions import files, runs
from emotions.data import synthetic
from emotions.evaluation import cards, ensembles, leaderboard
from emotions.evaluation.metrics import measure_folder
from emotions.models.files import read_card

HOME = files.REPOSITORY
RUNS = [run for dataset in leaderboard.datasets(HOME) for run in runs.all_of(dataset, HOME).values()]
MODELS = sorted((HOME / "models").glob("*.keras"))
by_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.dataset}/{run.name}")


def assert_same(computed, saved, where):
    if isinstance(saved, dict):
        assert sorted(computed) == sorted(saved), where
        for key, value in saved.items():
            assert_same(computed[key], value, f"{where}: {key}")
    elif isinstance(saved, list):
        assert len(computed) == len(saved), where
        for k, value in enumerate(saved):
            assert_same(computed[k], value, f"{where}[{k}]")
    elif isinstance(saved, float):
        assert computed == pytest.approx(saved, rel=1e-9, abs=1e-9), where
    else:
        assert computed == saved, where


def test_there_are_results():
    assert len(RUNS) >= 30 and len(MODELS) >= 5


@by_run
def test_metrics_follow_from_the_predictions(run):
    saved = run.metrics
    assert (saved["dataset"], saved["model"]) == (run.dataset, run.name)
    figures = {key: value for key, value in saved.items() if key.split("_")[0] in ("validation", "test")}
    assert_same(measure_folder(run.folder), figures, run.folder)
    assert all(saved["split_sizes"][split] == saved[split]["n"] for split in ("validation", "test"))


@by_run
def test_the_record_of_the_training_is_what_metrics_hold(run):
    """Baselines, ensembles and third-party models have none."""
    recorded, command = run.metrics["training"], run.command
    assert command, "every run has the command that made it"
    if not recorded:
        assert not (run.folder / "training.json").exists() and not (run.folder / "history.csv").exists()
        return
    assert recorded == run.training
    assert run.history["epoch"].tolist() == list(range(1, recorded["epochs_trained"] + 1))
    assert recorded["best_epoch"] == run.history["epoch"][run.history["val_accuracy"].idxmax()]


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_a_committed_model_is_the_one_that_was_measured(file):
    card = read_card(file)
    run = runs.Run(card["dataset"], card["model"], home=HOME)
    assert run.file == file and run.digest == run.metrics["digest"], "its weights are those that were measured"
    assert run.load().count_params() == run.metrics["parameters"]


def test_the_model_of_drawn_faces_gives_the_saved_predictions():
    """Of it alone the images can be made again anywhere."""
    run, count = runs.Run("synthetic", "compact", home=HOME), 24
    saved, sizes = run.predictions.take(slice(0, count)), run.metrics["split_sizes"]
    names = [saved.class_names[label] for label in saved.labels]
    assert saved.ids.tolist() == [f"test_{k:05d}_{name}" for k, name in enumerate(names)]
    labels = [synthetic.CLASS_NAMES.index(name) for name in names]
    images = synthetic.render(labels, numbers=sizes["train"] + sizes["validation"] + np.arange(count))
    np.testing.assert_allclose(run.load().predict(images, verbose=0), saved.probabilities, atol=1e-3)


@pytest.mark.parametrize("dataset", leaderboard.datasets(HOME))
def test_ensembles_were_chosen_from_all_runs(dataset):
    assert not ensembles.build_all(dataset, HOME, check=True), "run python -m emotions leaderboard"


def test_cards_leaderboards_and_readme_follow_from_the_records():
    saved = cards.contents(HOME)
    assert not cards.write_outdated(saved, check=True), "run python -m emotions leaderboard"
    assert not cards.write_outdated(leaderboard.contents(HOME, saved), check=True), "run python -m emotions leaderboard"
