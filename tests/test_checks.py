"""The saved models' explanations: checked once, kept, checked again when the model changes; and what passes."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from emotions import runs
from emotions.data import datasets, synthetic
from emotions.explain import checks
from emotions.models import registry as models


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A tiny convnet with a card, as a run on the data set "synthetic"."""
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "emotions" / "runs.py"))
    (tmp_path / "notebooks").mkdir()
    small = synthetic.load(train=14, validation=14, test=28)
    monkeypatch.setattr(datasets, "load", lambda name: small)
    made = runs.Run(runs.run_folder("synthetic", "tiny"), runs.model_file("synthetic", "tiny"))
    made.folder.mkdir(parents=True)
    (made.folder / "metrics.json").write_text(json.dumps({"class_names": small.class_names}))
    keras.utils.set_random_seed(0)
    save(made)
    return made


def save(made):
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(8, 5, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(7, activation="softmax"),
        ]
    )
    models.save(model, made.file, {"class_names": synthetic.CLASS_NAMES})


def test_drawn_faces_are_of_the_models_classes_and_of_other_persons_than_the_data_set():
    images, labels, masks = checks.drawn_faces(("angry", "happy", "sad"), 12)
    assert images.shape == (12, 64, 64, 3) and set(masks) == set(checks.PARTS)
    np.testing.assert_array_equal(np.bincount(labels), [4, 4, 4])
    codes = np.array([synthetic.CLASS_NAMES.index(name) for name in ("angry", "happy", "sad")])
    np.testing.assert_array_equal(images, synthetic.render(codes[labels], seed=1))
    known = synthetic.load(train=12, validation=2, test=2)
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in known.train.images}


def test_labels_of_drawn_faces_are_positions_in_the_models_classes():
    images, labels, _ = checks.drawn_faces(("boredom", "happy", "contempt", "angry"), 6)
    assert labels.tolist() == [1, 3, 1, 3, 1, 3]  # the others cannot be drawn
    codes = [synthetic.CLASS_NAMES.index(name) for name in ("happy", "angry")] * 3
    np.testing.assert_array_equal(images, synthetic.render(np.array(codes), seed=1))
    images, labels, _ = checks.drawn_faces(("contempt", "boredom"), 14)
    assert labels.tolist() == [-1] * 14
    np.testing.assert_array_equal(images, synthetic.render(np.arange(14) % 7, seed=1))


def test_what_was_measured_is_kept_until_the_model_changes(run, monkeypatch):
    own, drawn, parts = (
        checks.on_own_pictures(run, 14, 4),
        checks.on_drawn_faces(run, 14),
        checks.activation_by_part(run, 14),
    )
    assert list(own.index.unique("method")) == list(drawn.index.unique("method"))
    assert list(own.index.unique("method")) == ["grad-cam", "random", "centred gaussian"]
    assert len(own) == len(drawn) == 3 * 14 and len(parts) == 1
    assert {"deletion", "insertion", "randomised", "class gain"} <= set(own)
    assert {"energy mouth", "energy parts", "pointing"} <= set(drawn)
    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "load", lambda run: pytest.fail("computed again"))
        pd.testing.assert_frame_equal(checks.on_own_pictures(run, 14, 4), own)
        pd.testing.assert_frame_equal(checks.on_drawn_faces(run, 14), drawn)
    save(run)
    assert not checks.on_own_pictures(run, 14, 4).loc["grad-cam"].equals(own.loc["grad-cam"])
    assert len(checks.on_own_pictures(run, 7, 4)) == 3 * 7
    run.file.unlink()  # too large to be committed: what was found of it stays
    assert len(checks.on_own_pictures(run)) == 3 * 7
    assert checks.explained() == [run]
    (run.folder / "explanations.csv").unlink()
    assert checks.explained() == []


def measured(**methods) -> pd.DataFrame:
    """Tables of 40 pictures whose columns have the given means and a little noise."""
    noise = np.random.default_rng(0).normal(0, 0.01, 40)
    tables = {name: pd.DataFrame({key: value + noise for key, value in of.items()}) for name, of in methods.items()}
    tables = {
        name: table + np.random.default_rng(len(name)).normal(0, 0.01, table.shape) for name, table in tables.items()
    }
    return pd.concat(tables, names=["method", "picture"])


CHANCE = {"deletion": 0.5, "insertion": 0.5, "randomised": 1.0, "class gain": -0.1}


def test_leads_name_model_and_method():
    own = measured(**{"grad-cam": CHANCE | {"deletion": 0.2}, "random": CHANCE, "centred gaussian": CHANCE})
    found = checks.leads({"LeNet": own, "VGG-16": own})
    assert list(found) == ["minus random", "minus centred gaussian"]
    for table in found.values():
        assert list(table.index) == ["LeNet: grad-cam", "VGG-16: grad-cam"]
        assert table["deletion"].to_numpy() == pytest.approx(-0.3, abs=0.01)


def test_verdicts_follow_the_numbers():
    good = {"deletion": 0.3, "insertion": 0.7, "randomised": 0.1, "class gain": 0.1}
    other = {"deletion": 0.5, "insertion": 0.4, "randomised": -0.6, "class gain": -0.1}
    chance = {"random": CHANCE, "centred gaussian": CHANCE | {"insertion": 0.6}}
    own = measured(**{"grad-cam": good, "attention rollout": other}, **chance)
    energies = {"grad-cam": 0.4, "attention rollout": 0.2, "random": 0.1, "centred gaussian": 0.3}
    drawn = measured(**{name: {"energy parts": value} for name, value in energies.items()})
    found = checks.verdicts(own, drawn)
    assert list(found.index) == ["grad-cam", "attention rollout"]
    assert found.loc["grad-cam"].all()
    assert not found.loc["attention rollout"].any()
    half = checks.verdicts(measured(**{"grad-cam": good | {"insertion": 0.55}}, **chance), drawn)
    assert not half.loc["grad-cam", "insertion"]  # better than one baseline is not enough
    assert half.loc["grad-cam", "deletion"]
