"""Third-party models are measured on the same images, through an interface like our models'."""

import keras
import numpy as np
import pytest
from conftest import blobs, definitions
from PIL import Image

from emotions import runs
from emotions.data.dataset import Dataset
from emotions.evaluation import leaderboard

notebook = definitions("16")
adapt, OUTPUTS, OTHERS = notebook["adapt"], notebook["OUTPUTS"], notebook["OTHERS"]
ALPHABETICAL = tuple(sorted(OUTPUTS))


def network() -> keras.Model:
    """Of the authors' form: 64 x 64 grey in, seven classes in FER2013's order out."""
    model = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.AveragePooling2D(16), keras.layers.Flatten(),
                              keras.layers.Dense(7, activation="softmax")])  # fmt: skip
    model.set_weights([keras.random.normal(w.shape, seed=k) for k, w in enumerate(model.weights)])
    return model


@pytest.fixture
def folder(tmp_path):
    for _, file in OTHERS.values():
        network().save(tmp_path / file)
    return tmp_path


@pytest.fixture
def seven():
    splits = {name: blobs(28, 7, 48, seed) for seed, name in enumerate(("train", "validation", "test"))}
    copied = frozenset(splits["test"].ids[:3])
    return Dataset("seven", ALPHABETICAL, **splits, copied=copied, variants=("with duplicates",))


def test_it_gets_images_as_its_authors_prepared_them_and_answers_in_alphabetical_order():
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (5, 48, 48), dtype=np.uint8)
    # The authors' way: enlarge, then (x / 255 - 0.5) * 2.
    enlarged = np.stack([np.asarray(Image.fromarray(g.astype("float32")).resize((64, 64), Image.BILINEAR))
                         for g in grey])  # fmt: skip
    theirs = network().predict(((enlarged / 255 - 0.5) * 2)[..., None], verbose=0)
    ours = adapt(network()).predict(np.repeat(grey[..., None], 3, axis=-1), verbose=0)
    for k, name in enumerate(OUTPUTS):
        np.testing.assert_allclose(ours[:, ALPHABETICAL.index(name)], theirs[:, k], atol=2e-3)
    assert len(np.unique(theirs.mean(axis=0).round(3))) == 7  # or the order would not show


def test_they_stand_apart_in_the_leaderboard(folder, seven, tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("EMOTIONS_HOME", str(home))
    for name in OTHERS:
        notebook["measure_other"](folder, name, seven)
    measured = [runs.Run("seven", name) for name in OTHERS]  # whatever our own were trained on
    assert all(run.finished for run in measured)
    assert measured[0].metrics["test_leak_free"]["n"] == 25
    assert not list(home.rglob("*.hdf5")) and not list(home.rglob("*.keras"))
    text = leaderboard.contents(home, {})[home / "results/seven/leaderboard.md"]
    assert text.count("trained by others (Arriaga et al. 2017), on unknown images") == 2
    assert "There is no finished run yet." in text and "**Third-party models** may have been trained on" in text


def test_a_missing_file_is_named(folder):
    (folder / OTHERS["big-xception"][1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"big_XCEPTION.* is missing: get it from https://github\.com"):
        notebook["load_other"](folder, "big-xception")
