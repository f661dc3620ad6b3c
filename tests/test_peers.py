"""Ready-made classifiers are measured on the same pictures, through an interface like our models'."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from conftest import blobs
from PIL import Image

from emotions import cli, runs
from emotions.data import Dataset
from emotions.data.fer2013 import FER2013_CLASSES
from emotions.evaluation import leaderboard
from emotions.evaluation import third_party as peers

ALPHABETICAL = tuple(sorted(FER2013_CLASSES))


def network(weights=None) -> keras.Model:
    """Of the authors' form: 64 x 64 grey in, seven classes in FER2013's order out."""
    model = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.AveragePooling2D(16), keras.layers.Flatten(),
                              keras.layers.Dense(7, activation="softmax")])
    model.set_weights(weights or [keras.random.normal(w.shape, seed=k) for k, w in enumerate(model.weights)])
    return model


@pytest.fixture
def files(tmp_path):
    for peer in peers.PEERS:
        network().save(tmp_path / peer.file)
    return tmp_path


@pytest.fixture
def seven():
    splits = {name: blobs(28, 7, 48, seed) for seed, name in enumerate(("train", "validation", "test"))}
    return Dataset("seven", ALPHABETICAL, **splits, copied=frozenset(splits["test"].ids[:3]))


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home" / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "home" / "emotions" / "runs.py"))
    return tmp_path / "home"


def test_it_sees_what_its_authors_showed_it_and_answers_in_alphabetical_order():
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (5, 48, 48), dtype=np.uint8)
    # The authors' way: enlarge, then (x / 255 - 0.5) * 2.
    enlarged = np.stack([np.asarray(Image.fromarray(g.astype("float32")).resize((64, 64), Image.BILINEAR))
                         for g in grey])
    theirs = network().predict(((enlarged / 255 - 0.5) * 2)[..., None], verbose=0)
    ours = peers.adapt(network()).predict(np.repeat(grey[..., None], 3, axis=-1), verbose=0)
    for k, name in enumerate(FER2013_CLASSES):
        np.testing.assert_allclose(ours[:, ALPHABETICAL.index(name)], theirs[:, k], atol=2e-3)
    assert len(np.unique(theirs.mean(axis=0).round(3))) == 7  # or the order would not show


def test_they_stand_in_the_leaderboard_as_trained_by_others(files, seven, home, monkeypatch, capsys):
    monkeypatch.setattr("emotions.data.load", lambda *arguments, **options: seven)
    assert cli.main(["peers", str(files)]) == 0
    assert "mini-Xception on seven: test accuracy 0." in capsys.readouterr().out
    assert sorted(path.name for path in (home / "results/seven").iterdir()) == [
        "big-xception", "copied_in_training.csv", "mini-xception"]
    folder = home / "results/seven/mini-xception"
    assert sorted(path.name for path in folder.iterdir()) == [
        "confusion_matrix.png", "metrics.json", "predictions.csv", "predictions_tta.csv", "predictions_validation.csv",
        "predictions_validation_tta.csv"]
    assert json.loads((folder / "metrics.json").read_text())["test_leak_free"]["n"] == 25
    assert not list(home.rglob("*.hdf5")) and not list(home.rglob("*.keras"))
    text = leaderboard.contents(home)[home / "results/seven/leaderboard.md"]
    assert text.count("trained by others (Arriaga et al. 2017), on unknown pictures") == 2
    assert "flatter" in text
    about = runs.Run(folder, folder / "none").about()
    assert about == "mini-Xception: trained by others (Arriaga et al. 2017), on unknown pictures."


def test_what_is_missing_or_does_not_fit_is_named(files, seven):
    three = dataclasses.replace(seven, class_names=("angry", "happy", "sad"))
    with pytest.raises(ValueError, match=r"know angry, disgust.*surprise; seven has angry, happy, sad"):
        peers.evaluate(files, three)
    (files / peers.PEERS[1].file).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no fer2013_big_XCEPTION.*: get it from https://github\.com"):
        peers.evaluate(files, seven)
