"""Tracking is asked for, records every epoch of every phase, and leaves the run itself as it is.

The trackers are no need of the tests (`pip install emotions[tracking]` brings them); without them theirs are skipped.
"""

import dataclasses
import importlib.util
import json
import struct

import pytest

from emotions import runs
from emotions.training import tracking
from emotions.training.recipes import Phase, Recipe

TWO = Recipe(phases=(Phase(epochs=2, learning_rate=1e-3), Phase(epochs=1, learning_rate=1e-4)), batch_size=32)


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "emotions" / "runs.py"))
    small = dataclasses.replace(runs.PROFILES["quick"], epochs=2, size=16)
    monkeypatch.setitem(runs.PROFILES, "quick", small)
    return tmp_path / "build" / "quick"


def train(dataset, track):
    runs.run("lenet", dataset, profile="quick", recipe=TWO, track=track, keep_model=False, verbose=0)


def test_tensorboard_finds_every_epoch(home, easy_dataset):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(easy_dataset, "tensorboard")
    events = EventAccumulator(str(home / "logs" / "easy" / "lenet" / "validation"))
    events.Reload()
    assert [event.step for event in events.Tensors("epoch_accuracy")] == [0, 1, 2]
    assert (home / "results" / "easy" / "lenet" / "metrics.json").exists()


def stored(log: bytes):
    """The records in an offline run's file: LevelDB's log format, in blocks of 32 KiB, after a header of 7 bytes."""
    position, record = 7, b""
    while position + 7 <= len(log):
        if (left := -position % 2**15) and left < 7:  # no header fits into the rest of a block
            position += left
            continue
        length, kind = struct.unpack("<HB", log[position + 4 : position + 7])
        record += log[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def test_wandb_records_every_epoch_offline(home, easy_dataset, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed: pip install wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(easy_dataset, "wandb")
    (file,) = home.glob("wandb/offline-run-*/run-*.wandb")
    rows, config = [], {}
    for data in stored(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append({i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item})
        if record.WhichOneof("record_type") == "run":
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            assert record.run.display_name == "easy/lenet" and record.run.project == "emotions"
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    history = runs.Run(home / "results" / "easy" / "lenet", home).history
    assert [row["val_accuracy"] for row in rows] == pytest.approx(history["val_accuracy"].tolist())
    assert config["seed"] == 0 and config["recipe"]["batch_size"] == 32


def test_nothing_is_recorded_unasked(home):
    with tracking.tracking(None, "easy/lenet", {}, home) as callbacks:
        assert callbacks == []
    assert not home.exists()


def test_what_cannot_track_says_why(home, easy_dataset, monkeypatch):
    with pytest.raises(ValueError, match="no tracker named 'mlflow'; there are tensorboard and wandb"):
        train(easy_dataset, "mlflow")
    with pytest.raises(ValueError, match="logistic-regression has no epochs that wandb could track"):
        runs.run(runs.BASELINE, easy_dataset, profile="quick", track="wandb")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("wandb", "tensorboard"):
        with (
            pytest.raises(RuntimeError, match=f"package {name}, which is not installed: pip install {name}"),
            tracking.tracking(name, "a", {}, home),
        ):
            pass
    assert not home.exists()
