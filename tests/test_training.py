import dataclasses
import json
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, blobs, run_under

from emotions.models import registry as models
from emotions.models import vit
from emotions.training import fit as training
from emotions.training.fit import Batches
from emotions.training.recipes import Augmentation, Phase, Recipe

EVERYTHING = Augmentation(
    flip=True, rotation=10, shift=0.1, zoom=0.1, brightness=0.1, contrast=0.1, erasing=0.5, mixup=0.2
)
SHORT = Recipe(phases=(Phase(epochs=3, learning_rate=1e-3, patience=2),), batch_size=16)
THOROUGH = dataclasses.replace(
    SHORT,
    optimizer="adamw",
    weight_decay=0.01,
    schedule="cosine",
    ema=0.9,
    clip=1.0,
    label_smoothing=0.1,
    augmentation=EVERYTHING,
)


def small_model(classes=3, seed=0):
    keras.utils.set_random_seed(seed)
    return models.build("lenet", classes, size=24)


def test_it_learns_what_can_be_learned(easy_dataset, tmp_path):
    recipe = dataclasses.replace(SHORT, phases=(Phase(epochs=12, learning_rate=3e-3),))
    model = small_model()
    history = training.train(model, easy_dataset, recipe, tmp_path / "run", verbose=0)
    assert history["val_accuracy"].max() > 0.9
    found = model.predict(easy_dataset.test.images, verbose=0).argmax(axis=1)
    assert (found == easy_dataset.test.labels).mean() > 0.8


@pytest.mark.parametrize("recipe", [SHORT, THOROUGH], ids=["plain", "thorough"])
def test_the_same_seed_gives_the_same_history(easy_dataset, tmp_path, recipe):
    first = training.train(small_model(), easy_dataset, recipe, tmp_path / "a", seed=3, verbose=0)
    again = training.train(small_model(), easy_dataset, recipe, tmp_path / "b", seed=3, verbose=0)
    other = training.train(small_model(), easy_dataset, recipe, tmp_path / "c", seed=4, verbose=0)
    figures = ["loss", "accuracy", "val_loss", "val_accuracy"]
    np.testing.assert_allclose(first[figures], again[figures], atol=1e-5)
    assert np.abs(first["loss"] - other["loss"]).max() > 1e-3


def test_the_model_ends_with_its_best_weights(easy_dataset, tmp_path):
    model = small_model()
    history = training.train(model, easy_dataset, SHORT, tmp_path / "run", verbose=0)
    found = model.predict(easy_dataset.validation.images, verbose=0).argmax(axis=1)
    accuracy = (found == easy_dataset.validation.labels).mean()
    assert accuracy == pytest.approx(history["val_accuracy"].max(), abs=1e-6)


def test_averaged_weights_are_what_validation_measures_and_the_model_keeps(easy_dataset, tmp_path):
    """With a momentum near 1 the average stays at the weights after the first step, which starts it; a step of
    Adam's is about the learning rate."""
    moved = {}
    for ema in (0.0, 0.9999):
        model = small_model()
        before = model.get_layer("dense_1").get_weights()[0]
        history = training.train(
            model, easy_dataset, dataclasses.replace(SHORT, ema=ema), tmp_path / str(ema), verbose=0
        )
        moved[ema] = np.abs(model.get_layer("dense_1").get_weights()[0] - before).max()
        found = model.predict(easy_dataset.validation.images, verbose=0).argmax(axis=1)
        assert (found == easy_dataset.validation.labels).mean() == pytest.approx(
            history["val_accuracy"].max(), abs=1e-6
        )
    assert moved[0.9999] < 1.2e-3 < 3e-3 < moved[0.0]


KILLED = """
import dataclasses, keras, sys
sys.path.insert(0, "tests")
from conftest import blobs
from test_training import *
from emotions.data.datasets import Dataset

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(float(sys.argv[3]))

training.SAVE_SECONDS = 0.0
names = ("angry", "happy", "sad")
data = Dataset("easy", names, blobs(96, 3, 24, 1), blobs(32, 3, 24, 2), blobs(40, 3, 24, 3))
recipe = dataclasses.replace(globals()[sys.argv[2]], phases=(Phase(epochs=6, learning_rate=1e-3, patience=4),))
model = small_model()
training.train(model, data, recipe, sys.argv[1], seed=5, callbacks=(Slow(),), verbose=2)
np.save(sys.argv[1] + "/probabilities.npy", model.predict(data.test.images, verbose=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["SHORT", "THOROUGH"])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path, recipe):
    """Killed within an epoch by a signal that no program can catch, then called again."""

    def start(folder, pause):
        command = [sys.executable, "-c", KILLED, str(tmp_path / folder), recipe, str(pause)]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    broken = start("broken", 0.3)
    deadline = time.time() + 120
    while len(list((tmp_path / "broken").glob("checkpoint/epoch-0002*"))) == 0 and time.time() < deadline:
        time.sleep(0.1)
    time.sleep(0.7)  # into the third epoch
    broken.send_signal(signal.SIGKILL)
    broken.wait()
    assert len(pd.read_csv(tmp_path / "broken" / "history.csv")) in (2, 3)
    for folder in ("broken", "whole"):
        _, errors = (process := start(folder, 0)).communicate()
        assert process.returncode == 0, errors[-2000:]
    broken, whole = (pd.read_csv(tmp_path / folder / "history.csv") for folder in ("broken", "whole"))
    figures = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    assert len(whole) >= 4
    np.testing.assert_allclose(broken[figures], whole[figures], atol=1e-5)
    broken, whole = (np.load(tmp_path / folder / "probabilities.npy") for folder in ("broken", "whole"))
    np.testing.assert_allclose(broken, whole, atol=1e-3)


class Interrupt(keras.callbacks.Callback):
    """Ends a training from without, as a runtime that is switched off does, at the start of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("seconds, kept", [(0.0, 2), (3600.0, 0)], ids=["each epoch", "within a minute"])
def test_an_interrupted_training_ends_as_a_whole_one(easy_dataset, tmp_path, monkeypatch, seconds, kept):
    """From the last saved state on; the best weights kept with it are no later than the state."""
    monkeypatch.setattr(training, "SAVE_SECONDS", seconds)
    whole = small_model()
    history = training.train(whole, easy_dataset, THOROUGH, tmp_path / "whole", verbose=0)
    with pytest.raises(KeyboardInterrupt):
        stop = (Interrupt(2),)
        training.train(small_model(), easy_dataset, THOROUGH, tmp_path / "broken", callbacks=stop, verbose=0)
    assert len(training.saved_history(tmp_path / "broken")) == kept
    assert training.best_file(tmp_path / "broken").exists() == bool(kept)
    broken = small_model()
    again = training.train(broken, easy_dataset, THOROUGH, tmp_path / "broken", verbose=0)
    np.testing.assert_allclose(again["val_loss"], history["val_loss"], atol=1e-5)
    for one, other in zip(broken.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_best_weights_survive_a_callback_that_ends_the_training(easy_dataset, tmp_path):
    class Enough(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    model = small_model()
    history = training.train(model, easy_dataset, SHORT, tmp_path, callbacks=(Enough(),), verbose=0)
    found = model.predict(easy_dataset.validation.images, verbose=0).argmax(axis=1)
    assert len(history) == 1
    assert (found == easy_dataset.validation.labels).mean() == pytest.approx(history["val_accuracy"].max())


def test_an_interrupted_training_does_not_go_on_with_other_choices(easy_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    facts, stop = {"architecture": "lenet", "weights": "one.h5"}, (Interrupt(1),)
    with pytest.raises(KeyboardInterrupt):
        training.train(small_model(), easy_dataset, SHORT, tmp_path, callbacks=stop, facts=facts, verbose=0)
    other = dataclasses.replace(SHORT, batch_size=8)
    with pytest.raises(ValueError, match=r"that differs in recipe: .* remove the folder's checkpoint/"):
        training.train(small_model(), easy_dataset, other, tmp_path, verbose=0)
    with pytest.raises(ValueError, match="differs in seed"):
        training.train(small_model(), easy_dataset, SHORT, tmp_path, seed=1, verbose=0)
    with pytest.raises(ValueError, match="differs in variants"):
        cleaned = dataclasses.replace(easy_dataset, variants=("cleaned",))
        training.train(small_model(), cleaned, SHORT, tmp_path, verbose=0)
    with pytest.raises(ValueError, match="differs in weights"):
        training.train(small_model(), easy_dataset, SHORT, tmp_path, facts={"weights": "other.h5"}, verbose=0)
    with pytest.raises(ValueError, match="differs in architecture"):
        training.train(small_model(), easy_dataset, SHORT, tmp_path, facts=facts | {"architecture": "b"}, verbose=0)
    file = tmp_path / "checkpoint" / "training.json"  # as earlier versions wrote it, without some choices
    record = {key: value for key, value in json.loads(file.read_text()).items() if key not in (*facts, "variants")}
    file.write_text(json.dumps(record))
    assert len(training.train(small_model(), easy_dataset, SHORT, tmp_path, facts=facts, verbose=0)) == 3
    assert json.loads((tmp_path / "training.json").read_text()).items() >= facts.items()


def test_two_phases_go_on_where_they_stopped(easy_dataset, tmp_path, monkeypatch):
    """Interrupted in the second phase: the first one is not repeated, and the history is as if whole."""
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    phases = (
        Phase(epochs=2, learning_rate=1e-3, trainable="head"),
        Phase(epochs=2, learning_rate=1e-4, trainable="base"),
    )
    recipe = dataclasses.replace(SHORT, phases=phases)

    def model():
        keras.utils.set_random_seed(0)
        return models.build("mobilenetv2", 3, size=32)

    whole = training.train(model(), easy_dataset, recipe, tmp_path / "whole", verbose=0)
    with pytest.raises(KeyboardInterrupt):
        training.train(model(), easy_dataset, recipe, tmp_path / "broken", callbacks=(Interrupt(3),), verbose=0)
    broken = training.train(model(), easy_dataset, recipe, tmp_path / "broken", verbose=0)
    assert list(whole["phase"]) == list(broken["phase"]) == [1, 1, 2, 2]
    figures = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    np.testing.assert_allclose(broken[figures], whole[figures], atol=1e-4)


def test_a_training_that_had_stopped_early_is_not_gone_on_with():
    rows = [{"val_accuracy": accuracy} for accuracy in (0.5, 0.6, 0.6, 0.4)]
    assert training.stalled(rows, patience=2)
    assert not training.stalled(rows, patience=3)
    assert not training.stalled([], patience=1)


def test_a_run_folder_keeps_history_and_record_but_no_state(easy_dataset, tmp_path):
    training.train(small_model(), easy_dataset, SHORT, tmp_path, seed=7, verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "training.json"]
    record = pd.read_json(tmp_path / "training.json", typ="series")
    assert record["seed"] == 7 and record["training_pictures"] == 96 and record["seconds"] > 0


def test_stopping_and_lowering_the_rate_follow_validation_accuracy(easy_dataset, tmp_path):
    """A rate of zero never improves: the rate is lowered after half the patience, and training stops after it."""
    recipe = dataclasses.replace(SHORT, phases=(Phase(epochs=20, learning_rate=1e-12, patience=4),))
    history = training.train(small_model(), easy_dataset, recipe, tmp_path, verbose=0)
    assert len(history) < 20
    assert history["learning_rate"].iloc[-1] == pytest.approx(1e-12 * training.PLATEAU_FACTOR, rel=0.1)


def test_batches_pair_each_picture_with_its_label_in_another_order_each_epoch():
    split = blobs(50, 3, 12, seed=1)
    batches = Batches(split, 3, 16, seed=1)

    def epoch():
        pictures, targets = zip(*[batches[i] for i in range(len(batches))], strict=True)
        return np.concatenate(pictures), np.concatenate(targets)

    pictures, targets = epoch()
    where = {image.tobytes(): label for image, label in zip(split.images[..., :1], split.labels, strict=True)}
    assert [where[picture.tobytes()] for picture in pictures] == targets.argmax(axis=1).tolist()
    assert len(pictures) == 50
    batches.begin(1)
    assert not np.array_equal(epoch()[1], targets)
    batches.begin(0)
    np.testing.assert_array_equal(epoch()[1], targets)


def test_class_weights_balance_the_classes():
    labels = np.array([0] * 90 + [1] * 10)
    weights = training.balanced_class_weights(labels, 3)
    assert weights[0] * 90 == pytest.approx(weights[1] * 10)
    assert weights[2] == 0
    assert weights[labels].mean() == pytest.approx(1)


def test_soft_labels_and_class_weights_reach_the_batches():
    split, soft = blobs(50, 3, 12, seed=1), np.random.default_rng(0).dirichlet([1, 1, 1], 50).astype("float32")
    _, targets, weights = Batches(dataclasses.replace(split, targets=soft), 3, 50, class_weights=[1, 2, 3])[0]
    np.testing.assert_array_equal(targets, soft)
    np.testing.assert_allclose(weights, soft @ [1, 2, 3], rtol=1e-6)


@pytest.mark.parametrize("weighted", [True, False])
def test_training_weighs_classes_as_the_recipe_says_and_validates_by_hard_labels(
    easy_dataset, tmp_path, monkeypatch, weighted
):
    fed = []

    def batches(split, *args, **options):
        fed.append((split, options.get("class_weights")))
        return Batches(split, *args, **options)

    monkeypatch.setattr(training, "Batches", batches)
    splits = {name: dataclasses.replace(split, targets=np.eye(3, dtype="float32")[split.labels] * 0.8 + 0.2 / 3)
              for name, split in easy_dataset.splits().items()}  # fmt: skip
    dataset = dataclasses.replace(easy_dataset, **splits)
    recipe = dataclasses.replace(SHORT, phases=(Phase(epochs=1, learning_rate=1e-3),), class_weights=weighted)
    training.train(small_model(), dataset, recipe, tmp_path / "run", verbose=0)
    (trained, weights), (validated, none) = fed
    assert (weights is not None) == weighted and none is None
    assert trained.targets is not None and validated.targets is None


def test_mixup_blends_labels_like_pictures():
    split = blobs(32, 3, 12, seed=1)
    pictures, targets = Batches(split, 3, 32, seed=1, mixup=0.4)[0]
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    blended = training.Blend()(pictures["picture"].astype("float32"), pictures["share"], training=True)
    own = pictures["share"][:, :, None, None] * pictures["picture"]
    np.testing.assert_allclose(
        np.array(blended), own + (1 - pictures["share"][:, :, None, None]) * pictures["picture"][::-1], atol=1e-3
    )
    assert ((targets > 0.01) & (targets < 0.99)).any()
    plain = training.Blend()(pictures["picture"], pictures["share"], training=False)
    np.testing.assert_array_equal(np.array(plain), pictures["picture"])


def test_one_warp_mirrors_shifts_and_keeps_what_it_should():
    images = np.random.default_rng(0).uniform(0, 255, (64, 20, 20, 1)).astype("float32")
    mirror = training.RandomWarp(flip=True, rotation=0, shift=0, zoom=0, seed=1)
    found = np.array(mirror(images, training=True))
    same = np.abs(found - images).max(axis=(1, 2, 3)) < 1e-2
    mirrored = np.abs(found - images[:, :, ::-1]).max(axis=(1, 2, 3)) < 1e-2
    assert (same | mirrored).all() and 15 < mirrored.sum() < 49
    np.testing.assert_array_equal(np.array(mirror(images, training=False)), images)
    smooth = np.zeros((200, 41, 41, 1), "float32")
    smooth[:, 20, 20] = 255
    moved = np.array(training.RandomWarp(flip=False, rotation=0, shift=0.1, zoom=0, seed=1)(smooth, training=True))
    rows, columns = np.nonzero(moved.sum(axis=(0, 3)) > 1)
    assert np.abs(rows - 20).max() in (4, 5) and np.abs(columns - 20).max() in (4, 5)


@pytest.mark.parametrize(
    ("choice", "rows", "columns"),
    [({"rotation": 10}, (17.4, 22.6), (35, 35)), ({"zoom": 0.2}, (20, 20), (32.5, 38.75))],
    ids=["10 degrees", "a fifth larger or smaller"],
)
def test_a_warp_turns_and_zooms_by_as_much_as_was_asked_for(choice, rows, columns):
    """A dot 15 pixels right of the centre: sin 10 degrees of it is 2.6; 15 / 1.2 = 12.5 and 15 / 0.8 = 18.75."""
    picture = np.zeros((400, 41, 41, 1), "float32")
    picture[:, 20, 35] = 255
    warp = training.RandomWarp(**{"flip": False, "rotation": 0, "shift": 0, "zoom": 0} | choice, seed=1)
    moved = np.array(warp(picture, training=True))[..., 0]
    places = np.array([np.unravel_index(found.argmax(), found.shape) for found in moved])
    for found, ends in zip(places.T, (rows, columns), strict=True):
        assert (found.min(), found.max()) == pytest.approx(ends, abs=0.8)


def test_weight_decay_shrinks_kernels_alone():
    graph = small_model()
    recipe = dataclasses.replace(SHORT, optimizer="sgd", weight_decay=0.1)
    training.compile_for(graph, recipe, recipe.phases[0], steps=10)
    for variable in graph.trainable_variables:
        variable.assign(np.ones(variable.shape))
    graph.optimizer.build(graph.trainable_variables)
    graph.optimizer.apply([np.zeros(variable.shape, "float32") for variable in graph.trainable_variables])
    for variable in graph.trainable_variables:
        shrunk = keras.ops.convert_to_numpy(variable).max() < 1
        assert shrunk == variable.path.endswith("kernel"), variable.path


def test_erasing_erases_the_share_that_was_asked_for():
    images = np.full((2000, 8, 8, 1), 100.0, "float32")
    (layer,) = training.augmentation_layers(Augmentation(erasing=0.5), seed=0)
    changed = (np.array(layer(images, training=True)) != 100).any(axis=(1, 2, 3))
    assert 0.45 < changed.mean() < 0.55


def test_a_time_budget_sets_the_epochs(easy_dataset, tmp_path):
    recipe = dataclasses.replace(THOROUGH, phases=(Phase(epochs=1000, learning_rate=1e-3),))
    model = small_model()
    before = model.get_weights()
    (epochs,) = training.epochs_within(0.05, model, easy_dataset, recipe)
    assert 1 <= epochs < 1000
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    (more,) = training.epochs_within(0.3, model, easy_dataset, recipe)
    assert more > epochs
    assert training.epochs_within(1000, model, easy_dataset, recipe) == [1000]  # no more than the recipe's


FROZEN = """
import keras, numpy as np
from emotions.models import registry as models
from emotions.training import fit as training
from emotions.models import vit
from emotions.training.recipes import Phase, Recipe
import sys
sys.path.insert(0, "tests")
from conftest import blobs

keras.utils.set_random_seed(0)
model = models.build("mobilenetv2", 3, size=32)
base = model.get_layer("base")
split = blobs(32, 3, 32, seed=1)

def changed(trainable):
    before = {v.path: np.array(v) for v in model.variables}
    training.set_trainable(model, trainable)
    graph = training.training_graph(model, Recipe(phases=()).augmentation, split, 0)
    training.compile_for(graph, Recipe(phases=()), Phase(1, 1e-3), 2)
    graph.fit(training.Batches(split, 3, 16, seed=0), verbose=0)
    return {v.path for v in model.variables if np.abs(np.array(v) - before[v.path]).max() > 0}

inside = {v.path for v in base.variables}
norms = {v.path for l in base.layers if isinstance(l, keras.layers.BatchNormalization) for v in l.variables}
head = {v.path for v in model.get_layer("probabilities").variables}

found = changed("head")
assert not found & inside, sorted(found & inside)[:3]
assert head <= found
found = changed("block_16")
first = [l.name.startswith("block_16") for l in base.layers].index(True)
late = {v.path for l in base.layers[first:] for v in l.variables}
assert found & inside == late - norms, sorted((found & inside) ^ (late - norms))[:3]
found = changed("base")
assert found & inside <= inside - norms and len(found & inside) > 0.5 * len(inside - norms)
found = changed("everything")
assert len(norms & found) > 0.9 * len(norms)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_frozen_weights_and_statistics_do_not_move_and_thawed_weights_do(backend):
    run_under(backend, FROZEN)


def test_the_rate_warms_up_and_falls_along_a_cosine():
    recipe = Recipe(phases=(), schedule="cosine", warmup=0.1, accumulate=2)
    rate = training.scheduled_rate(recipe, Phase(epochs=4, learning_rate=0.5), steps=100)
    found = np.array([float(rate(step)) for step in range(401)])  # batches, also where two make a step
    np.testing.assert_allclose(found[:41], np.linspace(0, 0.5, 41), atol=1e-6)
    falling = 0.25 * (1 + np.cos(np.pi * np.arange(361) / 360))
    np.testing.assert_allclose(found[40:], falling, atol=1e-6)
    plateau = Recipe(phases=(), schedule="plateau")
    assert training.scheduled_rate(plateau, Phase(epochs=4, learning_rate=0.5), steps=100) == 0.5


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_layer_decay_scales_the_rate_of_each_layer(optimizer):
    """One step moves a weight a share of what it usually would, weight decay included."""
    model = models.build("hf-vit-tiny", 3, size=32)  # no dropout: both trainings see the same
    numbers = vit.layer_numbers(model)
    start = model.get_weights()
    split = blobs(16, 3, 32, seed=1)
    moved = {}
    for decay in (1.0, 0.8):
        model.set_weights(start)
        recipe = Recipe(phases=(), optimizer=optimizer, weight_decay=0.1, layer_decay=decay)
        graph = training.training_graph(model, Augmentation(), split, seed=0)
        training.compile_for(graph, recipe, Phase(1, 1e-2), 1)
        keras.utils.set_random_seed(0)
        graph.fit(Batches(split, 3, 16), epochs=1, verbose=0)
        moved[decay] = {v.path: np.asarray(v) - old for v, old in zip(model.weights, start, strict=True)}
    for path in ("patch_embedding/kernel", "block_06_mlp_in/kernel", "block_11_mlp_out/bias", "probabilities/kernel"):
        factor = 0.8 ** (max(numbers.values()) - numbers[path])
        usual = moved[1.0][path] * factor
        assert np.abs(usual).max() > 0
        np.testing.assert_allclose(moved[0.8][path], usual, atol=0.05 * np.abs(usual).max())


def test_freezing_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no pretrained base"):
        training.set_trainable(small_model(), "head")
    with pytest.raises(ValueError, match="no layer named conv9"):
        training.set_trainable(models.build("mobilenetv2", 3, size=32), "conv9")


SAME_ON_JAX = """
import sys
sys.path.insert(0, "tests")
from test_training import *
from emotions.data.datasets import Dataset
from emotions import backend

assert backend.name() == "jax"
names = ("angry", "happy", "sad")
data = Dataset("easy", names, blobs(96, 3, 24, 1), blobs(32, 3, 24, 2), blobs(40, 3, 24, 3))
light = Augmentation(shift=0.02, erasing=0.2, mixup=0.1)
recipe = dataclasses.replace(THOROUGH, phases=(Phase(epochs=12, learning_rate=5e-3),), augmentation=light)
model = small_model()
history = training.train(model, data, recipe, sys.argv[1], minutes=10, verbose=0)
assert len(history) == 12 and history["val_accuracy"].max() > 0.8, history
found = model.predict(data.validation.images, verbose=0).argmax(axis=1)
assert abs((found == data.validation.labels).mean() - history["val_accuracy"].max()) < 1e-6
"""


@pytest.mark.slow
def test_training_works_on_jax_too(tmp_path):
    run_under("jax", SAME_ON_JAX, tmp_path / "run")


MIXED = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_training import *
from emotions.data.datasets import Dataset
from emotions import backend

backend.steps_per_execution = lambda: 4  # as on an accelerator
training.SAVE_SECONDS = 0.0
names = ("angry", "happy", "sad")
data = Dataset("easy", names, blobs(96, 3, 24, 1), blobs(32, 3, 24, 2), blobs(40, 3, 24, 3))
figures = ["loss", "val_loss", "val_accuracy"]
with backend.mixed_precision(True):
    whole = training.train(small_model(), data, THOROUGH, sys.argv[1] + "/whole", verbose=0)
    try:
        training.train(small_model(), data, THOROUGH, sys.argv[1] + "/broken", callbacks=(Interrupt(2),), verbose=0)
    except KeyboardInterrupt:
        pass
    assert len(training.saved_history(Path(sys.argv[1] + "/broken"))) == 2
    broken = training.train(small_model(), data, THOROUGH, sys.argv[1] + "/broken", verbose=0)
    np.testing.assert_allclose(broken[figures], whole[figures], atol=1e-2)
    layers = training.augmentation_layers(EVERYTHING, seed=0)
    assert {layer.compute_dtype for layer in layers} == {"float32"}  # TensorFlow has no other warp on GPUs
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_training_as_on_an_accelerator_goes_on_where_it_stopped(tmp_path, backend):
    """Mixed precision, several steps at a time, and every ingredient of a recipe."""
    run_under(backend, MIXED, tmp_path)
