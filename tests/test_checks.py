"""The checks that notebook 12 writes out: right on a model that looks where we know; and the tables of saved models."""

import json
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from conftest import definitions
from keras import layers
from synthetic_runs import save_model

from emotions import runs
from emotions.data import synthetic
from emotions.explain import Graph

SIZE = 16


@pytest.fixture
def checks():
    """What the notebook defines, by name; a test may set its parameters."""
    return definitions("12")


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


def test_deleting_and_inserting_what_the_model_looks_at(checks, corner):
    images, mask = corner_images()
    classes = np.ones(len(images), int)
    assert corner.probabilities(images)[:, 1].min() > 0.99
    right, wrong = mask.astype(np.float32), 1 - mask.astype(np.float32)
    assert checks["deletion"](corner, images, right, classes).max() < 0.2
    assert checks["deletion"](corner, images, wrong, classes).min() > 0.9
    assert checks["insertion"](corner, images, right, classes).min() > 0.9
    assert checks["insertion"](corner, images, wrong, classes).max() < 0.2


def test_the_area_of_a_curve_worked_out_by_hand(checks, corner):
    """The corner is one sixteenth of the image; with 16 steps the curve falls in the first one and stays."""
    images, mask = corner_images(2)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), SIZE / 8) for image in images.astype(np.float32)])
    whole, removed = (corner.probabilities(some)[:, 1] for some in (images, blurred))
    checks["STEPS"] = 16
    area = checks["deletion"](corner, images, mask.astype(np.float32), np.ones(2, int))
    np.testing.assert_allclose(area, (whole / 2 + removed * 15 + removed / 2) / 16, atol=0.01)


def test_equal_places_are_removed_in_random_order(checks, corner):
    images, _ = corner_images(4)
    classes = np.ones(4, int)
    flat = checks["deletion"](corner, images, np.zeros(images.shape[:3]), classes)
    # The corner dims with every step; from the first row on it would go at once, from the last it would stay.
    upwards = np.arange(SIZE)[None, :, None] * np.ones(images.shape[:3])
    assert np.all(checks["deletion"](corner, images, -upwards, classes) < 0.2)
    assert np.all(flat > 0.2) and np.all(flat < 0.6)
    assert np.all(checks["deletion"](corner, images, upwards, classes) > 0.7)


def test_energy_and_pointing(checks):
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 0] = [1, 1, 2, 0]
    maps[1, 2, 2] = 1
    mask = np.zeros((3, 4, 4), bool)
    mask[:, 0, 2:] = True
    np.testing.assert_allclose(checks["heat_inside"](maps, mask), [0.5, 0, 0])
    np.testing.assert_allclose(checks["pointing"](maps, mask), [1, 0, 2 / 16])


def test_rank_correlation_is_spearmans(checks):
    """Of values with ties: that of their ranks, equal ones sharing theirs; 0 where a map is constant."""
    maps, others = np.random.default_rng(0).integers(0, 5, (2, 3, 6, 6))
    others[2] = 7
    ranks = [pd.DataFrame({"a": a.ravel(), "b": b.ravel()}).rank() for a, b in zip(maps[:2], others[:2], strict=True)]
    expected = [np.corrcoef(rank["a"], rank["b"])[0, 1] for rank in ranks]
    np.testing.assert_allclose(checks["rank_correlation"](maps, others), [*expected, 0])


def bright_spots():
    """A net of bright-spot detectors: one class adds what they see, so its map is where the light is."""
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.Rescaling(1 / 127.5, -1)(image))
    x = layers.GlobalAveragePooling2D()(x)
    graph = Graph(keras.Model(image, layers.Dense(4, activation="softmax")(x)))
    kernel = np.random.default_rng(0).normal(0, 0.3, (3, 3, 3, 16))
    kernel[..., :8] = np.abs(kernel[..., :8])
    head = np.where(np.arange(16)[:, None] < 8, 1, -1) * np.ones((16, 4))
    graph.model.set_weights([kernel, np.zeros(16), head, np.zeros(4)])
    return graph


def test_a_map_that_ignores_the_model_survives_shuffling_and_grad_cam_does_not(checks):
    graph = bright_spots()
    images = np.random.default_rng(2).integers(0, 256, (8, 4, 4, 3)).astype(np.float32)
    images = np.stack([cv2.resize(one, (SIZE, SIZE)) for one in images])
    methods = checks["methods"](graph)
    np.testing.assert_allclose(checks["randomisation"](graph, images, methods["centred gaussian"], 0), 1)
    checks["SHUFFLES"] = 12
    assert abs(checks["randomisation"](graph, images, methods["grad-cam"], 0).mean()) < 0.4


def test_every_shuffle_is_another_one_and_the_weights_come_back(checks):
    graph = bright_spots()
    trained, seen = graph.model.get_weights(), []

    def note(graph, images, classes):
        seen.append(graph.model.get_weights())
        return np.random.default_rng(len(seen)).random((2, SIZE, SIZE))

    checks["randomisation"](graph, np.zeros((2, SIZE, SIZE, 3)), note, 0)
    assert len(seen) == 1 + checks["SHUFFLES"] and len({weights[0].tobytes() for weights in seen}) == len(seen)
    for weights in seen[1:]:
        for old, new in zip(trained, weights, strict=True):
            np.testing.assert_array_equal(np.sort(old, axis=None), np.sort(new, axis=None))
    for old, new in zip(trained, graph.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_methods_fit_the_model_and_come_before_the_baselines(checks, corner):
    assert list(checks["methods"](corner)) == ["grad-cam", "random", "centred gaussian"]
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.MaxPooling2D(8)(layers.Conv2D(8, 3, padding="same", activation="relu", name="fine")(image))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    coarse = Graph(keras.Model(image, layers.Dense(2, activation="softmax")(x)))
    methods, images = checks["methods"](coarse), corner_images(2)[0]
    assert list(methods)[:2] == ["grad-cam", "grad-cam, finer"]
    finer = checks["explain"].grad_cam(coarse, images, 1, layer="fine")
    np.testing.assert_array_equal(methods["grad-cam, finer"](coarse, images, 1), finer)


def test_methods_of_a_transformer_are_the_rollouts(checks):
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.ZeroPadding1D((1, 0))(layers.Reshape((16, 48))(keras.ops.image.extract_patches(image, 4)))
    x = layers.MultiHeadAttention(2, 8)(x, x)[:, 0]
    graph = Graph(keras.Model(image, layers.Dense(2, activation="softmax")(x)))
    assert list(checks["methods"](graph))[:2] == ["attention rollout", "gradient rollout"]


def test_baselines_know_nothing_of_the_model(checks):
    images = corner_images(4)[0]
    random, gaussian = (method(None, images) for method in checks["BASELINES"].values())
    assert gaussian.shape == images.shape[:3] and gaussian.max() == 1
    np.testing.assert_allclose(gaussian, gaussian[:, ::-1, ::-1])
    assert gaussian[0, 8, 8] > gaussian[0, 8, 4] > gaussian[0, 0, 0]
    np.testing.assert_array_equal(random, checks["random_map"](None, images))
    assert np.abs(random[0] - random[1]).max() > 0.3


def test_an_explanation_that_is_true_is_measured_above_the_baselines(checks, corner, monkeypatch):
    images, mask = corner_images(24)
    easy = SimpleNamespace(test=SimpleNamespace(images=images))
    checks |= {"STEPS": 8, "load": lambda name: easy, "limit": lambda split, count: split}
    monkeypatch.setattr(synthetic, "drawn_faces", lambda names, count: (images, None, {"corner": mask}))
    run = SimpleNamespace(dataset="corner", metrics={"class_names": ("dark", "bright")}, load=lambda: corner.model)
    own, drawn = checks["check_on_own_images"](run, 24), checks["check_on_drawn_faces"](run)
    assert list(own.index.unique("method")) == ["grad-cam", "random", "centred gaussian"] and len(own) == 3 * 24
    ends = {name: {column: checks["interval"](own[column][name]) for column in own} for name in own.index.unique(0)}
    for mean, low, high in (of for columns in ends.values() for of in columns.values()):
        assert low <= mean + 1e-9 and mean <= high + 1e-9
    for baseline in checks["BASELINES"]:
        assert ends["grad-cam"]["deletion"][2] < ends[baseline]["deletion"][1]
        assert ends["grad-cam"]["insertion"][1] > ends[baseline]["insertion"][2]
        unmoved = [ends[baseline][column][0] for column in ("randomised", "other class", "class gain")]
        assert unmoved == pytest.approx([1, 1, 0])
    assert ends["grad-cam"]["class gain"][1] > 0, "its map of the other class is a worse order of deletion"
    inside = drawn.groupby("method").mean()
    assert inside.loc["grad-cam", "pointing"] == 1
    assert inside.loc["grad-cam", "energy corner"] > 3 * inside.loc["random", "energy corner"]
    assert inside["energy parts"].equals(inside["energy corner"].rename("energy parts"))
    difference, _, high = checks["lead"](own, "deletion", "grad-cam", "random")
    assert difference == pytest.approx(ends["grad-cam"]["deletion"][0] - ends["random"]["deletion"][0])
    assert high < 0
    passed = checks["verdict"](own, drawn, "grad-cam")
    assert {passed[check] for check in ("deletion", "insertion", "parts", "class")} == {"pass"}


def test_an_interval_is_as_wide_as_the_means_error_says(checks):
    values = np.random.default_rng(0).normal(5, 2, 400)
    mean, low, high = checks["interval"](values)
    assert mean == values.mean()
    assert [mean - low, high - mean] == pytest.approx([1.96 * 2 / 20] * 2, rel=0.15)


def noisy(**means) -> pd.DataFrame:
    """Tables of 40 images whose columns have the given means and a little noise."""
    generator = np.random.default_rng(0)
    frames = {
        name: pd.DataFrame({key: value + generator.normal(0, 0.01, 40) for key, value in of.items()})
        for name, of in means.items()
    }
    return pd.concat(frames, names=["method", "picture"])


CHANCE = {"deletion": 0.5, "insertion": 0.5, "randomised": 1.0, "class gain": -0.1}


def test_leads_name_model_and_method(checks):
    own = noisy(**{"grad-cam": CHANCE | {"deletion": 0.2}, "random": CHANCE, "centred gaussian": CHANCE})
    leads = checks["leads"]({"LeNet": own, "VGG-16": own}, "deletion")
    assert list(leads) == ["minus random", "minus centred gaussian"]
    for table in leads.values():
        assert list(table.index) == ["LeNet:\ngrad-cam", "VGG-16:\ngrad-cam"]
        assert table["deletion"].to_numpy() == pytest.approx(-0.3, abs=0.01)
        assert (table["low"] < table["deletion"]).all() and (table["deletion"] < table["high"]).all()


def test_verdicts_follow_the_numbers(checks):
    good = {"deletion": 0.3, "insertion": 0.7, "randomised": 0.1, "class gain": 0.1}
    other = {"deletion": 0.5, "insertion": 0.4, "randomised": -0.6, "class gain": -0.1}
    chance = {"random": CHANCE, "centred gaussian": CHANCE | {"insertion": 0.6}}
    energies = {"grad-cam": 0.4, "attention rollout": 0.2, "gradient rollout": 0.2, "random": 0.1}
    drawn = noisy(**{name: {"energy parts": value} for name, value in (energies | {"centred gaussian": 0.3}).items()})
    own = noisy(**{"grad-cam": good, "attention rollout": other, "gradient rollout": other}, **chance)
    assert checks["explanations"](own) == ["grad-cam", "attention rollout", "gradient rollout"]
    assert set(checks["verdict"](own, drawn, "grad-cam").values()) == {"pass"}
    assert set(checks["verdict"](own, drawn, "gradient rollout").values()) == {"fail"}
    assert checks["verdict"](own, drawn, "attention rollout")["class"] == "-"  # its map is of no class
    half = checks["verdict"](noisy(**{"grad-cam": good | {"insertion": 0.55}}, **chance), drawn, "grad-cam")
    assert half["insertion"] == "fail"  # better than one baseline is not enough
    assert half["deletion"] == "pass"
    chance["centred gaussian"] = chance["centred gaussian"] | {"deletion": 0.2}
    beaten = drawn.rename(index={"gradient rollout": "grad-cam", "grad-cam": "gradient rollout"})
    half = checks["verdict"](noisy(**{"grad-cam": good}, **chance), beaten, "grad-cam")
    assert half == {"deletion": "fail", "insertion": "pass", "parts": "fail", "randomised": "pass", "class": "pass"}
    kept = checks["verdict"](noisy(**{"grad-cam": good | {"randomised": 0.6}}, **chance), drawn, "grad-cam")
    assert kept["randomised"] == "fail" and kept["class"] == "pass"


def test_drawn_faces_are_of_the_models_classes_and_of_other_persons_than_the_data_set():
    images, labels, masks = synthetic.drawn_faces(("boredom", "happy", "contempt", "angry"), 6)
    assert images.shape == (6, 64, 64, 3) and set(masks) == {"mouth", "eyes", "brows"}
    assert labels.tolist() == [1, 3, 1, 3, 1, 3]  # the others cannot be drawn
    codes = [synthetic.CLASS_NAMES.index(name) for name in ("happy", "angry")] * 3
    np.testing.assert_array_equal(images, synthetic.render(np.array(codes), seed=1))
    known = synthetic.load(train=12, validation=2, test=2)
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in known.train.images}
    images, labels, _ = synthetic.drawn_faces(("contempt", "boredom"), 14)
    assert labels.tolist() == [-1] * 14
    np.testing.assert_array_equal(images, synthetic.render(np.arange(14) % 7, seed=1))


@pytest.fixture
def run(checks, tmp_path, monkeypatch):
    """A tiny convnet as a run on the data set "synthetic"."""
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))
    small = synthetic.load(train=14, validation=14, test=28)
    checks |= {"load": lambda name: small, "FACES": 14, "STEPS": 4}
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


def test_tables_are_cached_until_the_model_changes(checks, run, monkeypatch):
    own, drawn = checks["checked"](run)
    for table in (own, drawn):
        assert list(table.index.unique("method")) == ["grad-cam", "random", "centred gaussian"] and len(table) == 3 * 14
    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "load", lambda run: pytest.fail("computed again"))
        for table, again in zip((own, drawn), checks["checked"](run), strict=True):
            pd.testing.assert_frame_equal(again, table)
    save(run)
    assert not checks["checked"](run)[0].loc["grad-cam"].equals(own.loc["grad-cam"])
    run.file.unlink()  # too large to be committed: its tables remain
    checks["FACES"] = 28
    assert len(checks["checked"](run)[0]) == 3 * 14
    assert checks["saved"]("synthetic") == [run]
    (run.folder / "explanations.csv").unlink()
    assert checks["saved"]("synthetic") == []


def test_the_committed_tables_are_read_and_not_computed_again(checks, monkeypatch):
    monkeypatch.delenv("EMOTIONS_HOME", raising=False)
    monkeypatch.setattr(runs.Run, "load", lambda run: pytest.fail(f"{run.folder} would be computed again"))
    measured = [run for dataset in checks["CHECKED"] for run in checks["saved"](dataset)]
    assert len(measured) > 5
    for run in measured:
        assert all(len(table) for table in checks["checked"](run))
