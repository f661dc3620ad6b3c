"""Checks of explanations: right on a model that looks where we know; and the tables of saved models."""

import json

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from synthetic_runs import save_model

from emotions import explain, runs
from emotions.data import synthetic
from emotions.explain import Graph, checks, tables

SIZE = 16


@pytest.fixture(scope="module")
def corner():
    """Looks at one corner by construction: class 1 the more, the brighter the 4 x 4 pixels top left are."""
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(1, 1, use_bias=False, name="grey"),
            layers.AveragePooling2D(4),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ],
        name="corner",
    )
    kernel = np.zeros((16, 2), np.float32)
    kernel[0] = [-0.1, 0.1]
    model.set_weights([np.full((1, 1, 3, 1), 1 / 3, np.float32), kernel, np.array([22, -22], np.float32)])
    return Graph(model)


def corner_images(count=8):
    images = np.random.default_rng(1).integers(0, 30, (count, SIZE, SIZE, 3)).astype(np.uint8)
    images[:, :4, :4] = 255
    mask = np.zeros((count, SIZE, SIZE), bool)
    mask[:, :4, :4] = True
    return images, mask


def test_deleting_and_inserting_what_the_model_looks_at(corner):
    images, mask = corner_images()
    assert corner.probabilities(images)[:, 1].min() > 0.99
    right, wrong = mask.astype(np.float32), 1 - mask.astype(np.float32)
    assert checks.deletion(corner, images, right).max() < 0.2
    assert checks.deletion(corner, images, wrong).min() > 0.9
    assert checks.insertion(corner, images, right).min() > 0.9
    assert checks.insertion(corner, images, wrong).max() < 0.2


def test_the_area_of_a_curve_worked_out_by_hand(corner):
    """The corner is one sixteenth of the image; with 16 steps the curve falls in the first one and stays."""
    images, mask = corner_images(2)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), SIZE / 8) for image in images.astype(np.float32)])
    whole, removed = (corner.probabilities(some)[:, 1] for some in (images, blurred))
    area = checks.deletion(corner, images, mask.astype(np.float32), steps=16)
    np.testing.assert_allclose(area, (whole / 2 + removed * 15 + removed / 2) / 16, atol=0.01)


def test_equal_places_are_removed_in_random_order(corner):
    images, _ = corner_images(4)
    flat = checks.deletion(corner, images, np.zeros(images.shape[:3]))
    # The corner dims with every step; from the last row on it would stay until the end.
    ordered = checks.deletion(corner, images, np.arange(SIZE)[None, :, None] * np.ones(images.shape[:3]))
    assert np.all(flat < 0.6) and np.all(ordered > 0.7)


def test_energy_and_pointing():
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 0] = [1, 1, 2, 0]
    maps[1, 2, 2] = 1
    mask = np.zeros((3, 4, 4), bool)
    mask[:, 0, 2:] = True
    np.testing.assert_allclose(checks.energy_inside(maps, mask), [0.5, 0, 0])
    np.testing.assert_allclose(checks.pointing_game(maps, mask), [1, 0, 2 / 16])


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    maps, others = np.random.default_rng(0).integers(0, 5, (2, 3, 6, 6))
    others[2] = 7
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps[:2], others[:2], strict=True)]
    np.testing.assert_allclose(checks.rank_correlation(maps, others), [*expected, 0])


def test_a_map_that_ignores_the_model_survives_shuffling_and_grad_cam_does_not():
    """A net of bright-spot detectors: one class adds what they see, so its map is where the light is."""
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.Rescaling(1 / 127.5, -1)(image))
    x = layers.GlobalAveragePooling2D()(x)
    graph = Graph(keras.Model(image, layers.Dense(4, activation="softmax")(x)))
    kernel = np.random.default_rng(0).normal(0, 0.3, (3, 3, 3, 16))
    kernel[..., :8] = np.abs(kernel[..., :8])
    head = np.where(np.arange(16)[:, None] < 8, 1, -1) * np.ones((16, 4))
    graph.model.set_weights([kernel, np.zeros(16), head, np.zeros(4)])
    images = np.random.default_rng(2).integers(0, 256, (8, 4, 4, 3)).astype(np.float32)
    images = np.stack([cv2.resize(one, (SIZE, SIZE)) for one in images])
    methods = explain.methods(graph)
    np.testing.assert_allclose(checks.randomisation(graph, images, methods["centred gaussian"], 0), 1)
    assert abs(checks.randomisation(graph, images, methods["grad-cam"], 0, shuffles=12).mean()) < 0.4


def test_shuffled_weights_come_back_even_after_an_error(corner):
    images, _ = corner_images(2)
    weights, outputs = corner.model.get_weights(), corner.probabilities(images)
    with pytest.raises(RuntimeError), checks.shuffled_weights(corner):
        assert np.abs(corner.probabilities(images) - outputs).max() > 1e-3
        raise RuntimeError
    for old, new in zip(weights, corner.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_explanation_that_is_true_is_measured_above_the_baselines(corner):
    images, mask = corner_images(24)
    measured = checks.measure(corner, images, steps=8)
    measured = measured.join(checks.inside(corner, images, {"corner": mask}))
    table = checks.summary(measured)
    assert list(table.index) == ["grad-cam", "random", "centred gaussian"] and len(measured) == 3 * 24
    for column in measured:
        assert np.all(table[f"{column}_low"] <= table[column] + 1e-9)
        assert np.all(table[column] <= table[f"{column}_high"] + 1e-9)
    best, random = table.loc["grad-cam"], table.loc["random"]
    assert best["deletion_high"] < table.drop(index="grad-cam")["deletion_low"].min()
    assert best["insertion_low"] > table.drop(index="grad-cam")["insertion_high"].max()
    assert best["pointing"] == 1 and best["energy corner"] > 3 * random["energy corner"]
    assert best["energy parts"] == best["energy corner"]
    assert best["class gain_low"] > 0, "its map of the other class is a worse order of deletion"
    assert random[["randomised", "other class", "class gain"]].tolist() == pytest.approx([1, 1, 0])
    paired = checks.summary(checks.minus(measured, "random"))
    assert list(paired.index) == ["grad-cam", "centred gaussian"]
    assert paired.loc["grad-cam", "deletion"] == pytest.approx(best["deletion"] - random["deletion"])
    assert paired.loc["grad-cam", "deletion_high"] < 0


def noisy(**means) -> pd.DataFrame:
    """Tables of 40 images whose columns have the given means and a little noise."""
    generator = np.random.default_rng(0)
    frames = {
        name: pd.DataFrame({key: value + generator.normal(0, 0.01, 40) for key, value in of.items()})
        for name, of in means.items()
    }
    return pd.concat(frames, names=["method", "picture"])


CHANCE = {"deletion": 0.5, "insertion": 0.5, "randomised": 1.0, "class gain": -0.1}


def test_leads_name_model_and_method():
    own = noisy(**{"grad-cam": CHANCE | {"deletion": 0.2}, "random": CHANCE, "centred gaussian": CHANCE})
    leads = checks.leads({"LeNet": own, "VGG-16": own})
    assert list(leads) == ["minus random", "minus centred gaussian"]
    for table in leads.values():
        assert list(table.index) == ["LeNet: grad-cam", "VGG-16: grad-cam"]
        assert table["deletion"].to_numpy() == pytest.approx(-0.3, abs=0.01)


def test_verdicts_follow_the_numbers():
    good = {"deletion": 0.3, "insertion": 0.7, "randomised": 0.1, "class gain": 0.1}
    other = {"deletion": 0.5, "insertion": 0.4, "randomised": -0.6, "class gain": -0.1}
    chance = {"random": CHANCE, "centred gaussian": CHANCE | {"insertion": 0.6}}
    energies = {"grad-cam": 0.4, "attention rollout": 0.2, "random": 0.1, "centred gaussian": 0.3}
    drawn = noisy(**{name: {"energy parts": value} for name, value in energies.items()})
    verdicts = checks.verdicts(noisy(**{"grad-cam": good, "attention rollout": other}, **chance), drawn)
    assert list(verdicts.index) == ["grad-cam", "attention rollout"]
    assert verdicts.loc["grad-cam"].all()
    assert not verdicts.loc["attention rollout"].any()
    half = checks.verdicts(noisy(**{"grad-cam": good | {"insertion": 0.55}}, **chance), drawn)
    assert not half.loc["grad-cam", "insertion"]  # better than one baseline is not enough
    assert half.loc["grad-cam", "deletion"]


def test_drawn_faces_are_of_the_models_classes_and_of_other_persons_than_the_data_set():
    images, labels, masks = tables.drawn_faces(("boredom", "happy", "contempt", "angry"), 6)
    assert images.shape == (6, 64, 64, 3) and set(masks) == set(tables.PARTS)
    assert labels.tolist() == [1, 3, 1, 3, 1, 3]  # the others cannot be drawn
    codes = [synthetic.CLASS_NAMES.index(name) for name in ("happy", "angry")] * 3
    np.testing.assert_array_equal(images, synthetic.render(np.array(codes), seed=1))
    known = synthetic.load(train=12, validation=2, test=2)
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in known.train.images}
    images, labels, _ = tables.drawn_faces(("contempt", "boredom"), 14)
    assert labels.tolist() == [-1] * 14
    np.testing.assert_array_equal(images, synthetic.render(np.arange(14) % 7, seed=1))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A tiny convnet as a run on the data set "synthetic"."""
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))
    small = synthetic.load(train=14, validation=14, test=28)
    monkeypatch.setattr(tables, "load", lambda name: small)
    run = runs.Run("synthetic", "tiny")
    run.folder.mkdir(parents=True)
    (run.folder / "metrics.json").write_text(json.dumps({"class_names": small.class_names}))
    save(run)
    return run


def save(run):
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(8, 5, strides=4, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(7, activation="softmax"),
        ]
    )
    save_model(model, run.file, {"class_names": synthetic.CLASS_NAMES})


def test_tables_are_cached_until_the_model_changes(run, monkeypatch):
    own, drawn = tables.on_own_images(run, 14, 4), tables.on_drawn_faces(run, 14)
    for table in (own, drawn):
        assert list(table.index.unique("method")) == ["grad-cam", "random", "centred gaussian"] and len(table) == 3 * 14
    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "load", lambda run: pytest.fail("computed again"))
        pd.testing.assert_frame_equal(tables.on_own_images(run, 14, 4), own)
        pd.testing.assert_frame_equal(tables.on_drawn_faces(run, 14), drawn)
    save(run)
    assert not tables.on_own_images(run, 14, 4).loc["grad-cam"].equals(own.loc["grad-cam"])
    run.file.unlink()  # too large to be committed: its tables remain
    assert len(tables.on_own_images(run)) == 3 * 14
    assert tables.explained() == [run]
    (run.folder / "explanations.csv").unlink()
    assert tables.explained() == []


@pytest.mark.parametrize("file", ["explanations.csv", "explanations_drawn.csv"])
def test_the_committed_tables_are_read_and_not_computed_again(file, monkeypatch):
    monkeypatch.delenv("EMOTIONS_HOME", raising=False)
    monkeypatch.setattr(runs.Run, "load", lambda run: pytest.fail(f"{run.folder / file} would be computed again"))
    read = {"explanations.csv": tables.on_own_images, "explanations_drawn.csv": tables.on_drawn_faces}[file]
    measured = [run for run in tables.explained(file) if (run.folder / file).exists()]
    assert measured
    for run in measured:
        assert len(read(run))
