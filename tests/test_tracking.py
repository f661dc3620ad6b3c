"""Trackers record every epoch when asked for. Without the package (`.[tracking]`) its test is skipped."""

import importlib.util

import keras
import pytest
from conftest import small_net

from emotions import runs, training
from emotions.training import tracking


@pytest.fixture
def train(tmp_path, monkeypatch, easy_dataset):
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))

    def two_epochs():
        run, model = runs.start("lenet", easy_dataset), small_net()
        model.compile(keras.optimizers.Adam(), loss="categorical_crossentropy", metrics=["accuracy"])
        return training.fit(model, easy_dataset, run=run, epochs=2)

    return two_epochs


def test_tensorboard_finds_every_epoch(train, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("EMOTIONS_TRACK", "tensorboard")
    train()
    events = EventAccumulator(str(tmp_path / "logs" / "easy" / "lenet" / "validation"))
    events.Reload()
    assert [event.step for event in events.Tensors("epoch_accuracy")] == [0, 1]


def test_wandb_gets_every_epoch(train, monkeypatch):
    """By a stand-in with the three functions that are used: what arrives is the history."""
    logged, begun, ended = [], {}, []

    class Wandb:
        Settings = dict

        @staticmethod
        def init(**options):
            begun.update(options)
            return Wandb

        log, finish = logged.append, lambda: ended.append(True)

    monkeypatch.setitem(__import__("sys").modules, "wandb", Wandb)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setenv("EMOTIONS_TRACK", "wandb")
    history = train()
    assert [row["val_accuracy"] for row in logged] == pytest.approx(history["val_accuracy"].tolist())
    assert begun["name"] == "easy/lenet" and begun["config"]["seed"] == 0 and ended == [True]


def test_nothing_is_recorded_unasked_and_what_cannot_track_says_why(easy_dataset, monkeypatch):
    run = runs.Run("easy", "lenet")
    assert tracking.trackers(run) == []
    monkeypatch.setenv("EMOTIONS_TRACK", "mlflow")
    with pytest.raises(ValueError, match="EMOTIONS_TRACK is 'mlflow'; there are tensorboard and wandb"):
        tracking.trackers(run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("EMOTIONS_TRACK", "wandb")
    with pytest.raises(RuntimeError, match="needs the package wandb, which is not installed: pip install wandb"):
        tracking.trackers(run)
