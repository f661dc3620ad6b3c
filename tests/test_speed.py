"""Speed is measured with and without augmentation, and kept with what it was measured on."""

import pandas as pd
import pytest
from conftest import run_under

from emotions import cli, runs, speed
from emotions.data import datasets


@pytest.fixture
def measured(easy_dataset, monkeypatch):
    monkeypatch.setattr(speed, "ROUNDS", 1)
    return speed.measure("compact", easy_dataset, size=16, steps=2)


def test_speed_is_measured_on_jax_too():
    """With a recipe that averages weights, of whose graph JAX can't begin a second fit."""
    program = """
import sys
from dataclasses import replace
sys.path.insert(0, "tests")
from conftest import blobs
from emotions.models import registry as models
from emotions import speed
from emotions.data.datasets import Dataset
names = ("angry", "happy", "sad")
data = Dataset("easy", names, blobs(96, 3, 24, 1), blobs(32, 3, 24, 2), blobs(40, 3, 24, 3))
small = models.MODELS["compact"]
models.MODELS["compact"] = replace(small, recipe=replace(small.recipe, ema=0.9))
assert (speed.measure("compact", data, size=16, steps=2)["share"] > 0).all()
"""
    run_under("jax", program)


def test_the_one_batch_is_not_learned(easy_dataset, monkeypatch):
    """Or its steps would be other ones than those of a training."""
    built = []
    build = speed.models.build
    monkeypatch.setattr(speed.models, "build", lambda *given: built.append(build(*given)) or built[-1])
    monkeypatch.setattr(speed.keras.Model, "fit", lambda graph, *_, **options: options["callbacks"][0].seconds.append(
        float(graph.optimizer.learning_rate) + 1.0))
    found = speed.measure("compact", easy_dataset, size=16, steps=2)
    assert len(built) == 2 and (found["held"] == found["trained"]).all(), "each at a learning rate of 0"
    assert (found["held"] == 2 * speed.models.find("compact").recipe.batch_size).all()


def test_both_ways_of_feeding_are_measured_with_and_without_augmentation(measured):
    assert list(measured["augmentation"]) == [False, True]
    assert (measured[["held", "trained"]] > 0).all(axis=None)
    assert measured["share"].tolist() == (measured["trained"] / measured["held"]).tolist()


def test_a_new_measurement_takes_the_place_of_the_old_one(measured, tmp_path, monkeypatch, easy_dataset, capsys):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "emotions" / "runs.py"))
    path = speed.keep(measured.assign(trained=1.0), "easy")
    monkeypatch.setattr(speed, "measure", lambda name, dataset, size: measured.assign(input_size=[16, 24]))
    monkeypatch.setattr(datasets, "load", lambda *given, **options: easy_dataset)
    assert cli.main(["speed", "compact", "--data", "easy"]) == 0
    assert str(path) in capsys.readouterr().out
    kept = pd.read_csv(path)
    assert len(kept) == 3
    assert (kept["trained"] == 1.0).tolist() == [True, False, False], "of the same kind but another size: kept"
