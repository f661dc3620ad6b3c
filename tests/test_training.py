"""Training: Keras' fit, resumable; batches, augmentation, schedules."""

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
from conftest import REPOSITORY, blobs, easy_faces, run_under, small_net  # noqa: F401  easy_faces: programs below
from keras import layers

from emotions import evaluation, models, runs, training
from emotions.data.dataset import Split
from emotions.training import fitting
from emotions.training.batches import Batches

FIGURES = ["epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))
    return tmp_path


def every_choice(epochs: int):
    """A compiled model and the arguments of `fit` with everything that a state must hold."""
    model = small_net()
    rate = training.cosine(3e-3, epochs, steps=6)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"])
    augment = [training.RandomAffine(True, 10, 0.05, 0.1), training.RandomErasing(0.5)]
    options = {"augment": augment, "mixup": 0.2, "callbacks": [keras.callbacks.SwapEMAWeights()]}
    return model, options | {"epochs": epochs, "batch_size": 16}


def plain(epochs: int):
    """A compiled model with a plateau and patience, whose counts must survive an interruption."""
    model = small_net()
    model.compile(keras.optimizers.Adam(3e-3), loss="categorical_crossentropy", metrics=["accuracy"])
    watch = {"monitor": "val_accuracy", "mode": "max"}
    stop = keras.callbacks.EarlyStopping(patience=4, **watch)
    lower = keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, **watch)
    return model, {"epochs": epochs, "batch_size": 16, "callbacks": [stop, lower]}


def train(recipe, name, faces, epochs=4, seed=0, callbacks=(), anew=False):
    run = runs.start(name, faces, seed=seed, train=anew)
    model, options = recipe(epochs)
    options["callbacks"] = [*options["callbacks"], *callbacks]
    return model, training.fit(model, faces, run=run, **options)


class Interrupt(keras.callbacks.Callback):
    """End a training from outside, as a runtime that is switched off does, at the start of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def accuracy(model, split):
    return (model.predict(split.images, verbose=0).argmax(axis=1) == split.labels).mean()


# fit


@pytest.mark.parametrize(("recipe", "least"), [(plain, 0.8), (every_choice, 0.4)])
def test_it_learns_and_the_model_ends_with_its_best_weights(home, easy_dataset, recipe, least):
    model, history = train(recipe, "a", easy_dataset, epochs=10)
    assert history["val_accuracy"].max() > least
    assert accuracy(model, easy_dataset.validation) == pytest.approx(history["val_accuracy"].max(), abs=1e-6)


def test_the_same_seed_gives_the_same_history(home, easy_dataset):
    first, again, other = (
        train(every_choice, name, easy_dataset, 2, seed)[1] for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    np.testing.assert_allclose(first[FIGURES], again[FIGURES], atol=1e-5)
    assert np.abs(first["loss"] - other["loss"]).max() > 1e-3


@pytest.mark.parametrize("recipe", [plain, every_choice])
def test_an_interrupted_training_ends_as_a_whole_one(home, easy_dataset, monkeypatch, recipe):
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    whole, history = train(recipe, "whole", easy_dataset, epochs=5)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, "broken", easy_dataset, epochs=5, callbacks=[Interrupt(2)])
    broken, resumed = train(recipe, "broken", easy_dataset, epochs=5)
    np.testing.assert_allclose(resumed[FIGURES], history[FIGURES], atol=1e-5)
    for one, other in zip(broken.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_interrupted_training_is_not_evaluated(home, easy_dataset, monkeypatch, epoch):
    """Nor taken for the training before it, whose record is there until then, and whose figures go with it."""
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    model, _ = train(plain, "a", easy_dataset, epochs=1)
    run = runs.start("a", easy_dataset, train=True)
    evaluation.evaluate(model, easy_dataset, run)
    (figure := run.folder / "confusion_matrix.png").write_bytes(b"of the first training")
    with pytest.raises(KeyboardInterrupt):
        train(plain, "a", easy_dataset, epochs=3, callbacks=[Interrupt(epoch)], anew=True)
    before = run.file.read_bytes()
    with pytest.raises(ValueError, match=r"The training of a was interrupted: run its fit again"):
        evaluation.evaluate(model, easy_dataset, run)
    assert run.file.read_bytes() == before and figure.exists()
    model, _ = train(plain, "a", easy_dataset, epochs=3, anew=True)
    assert evaluation.evaluate(model, easy_dataset, run)["training"]["epochs_trained"] == 3
    assert not figure.exists()


def test_nothing_saved_yet_means_from_the_start(home, easy_dataset):
    with pytest.raises(KeyboardInterrupt):
        train(plain, "broken", easy_dataset, epochs=3, callbacks=[Interrupt(2)])  # saves once a minute only
    _, resumed = train(plain, "broken", easy_dataset, epochs=3)
    _, whole = train(plain, "whole", easy_dataset, epochs=3)
    np.testing.assert_allclose(resumed[FIGURES], whole[FIGURES], atol=1e-5)


def test_an_interrupted_training_does_not_go_on_with_other_choices(home, easy_dataset, monkeypatch):
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(plain, "a", easy_dataset, callbacks=[Interrupt(1)])
    with pytest.raises(ValueError, match=r"differs in recipe: .* remove its checkpoint/"):
        train(plain, "a", easy_dataset, epochs=9)
    fewer = dataclasses.replace(easy_dataset, train=easy_dataset.train.take(np.arange(80)))
    with pytest.raises(ValueError, match="differs in training_pictures"):
        train(plain, "a", fewer)
    with pytest.raises(ValueError, match="differs in images"):
        train(plain, "a", dataclasses.replace(easy_dataset, digest=1))
    (run := runs.start("a", easy_dataset)).facts["teachers"] = ["b"]
    with pytest.raises(ValueError, match="differs in teachers"):
        training.fit(plain(4)[0], easy_dataset, run=run, epochs=4, batch_size=16)


def test_a_record_of_other_images_is_not_taken_for_one_of_these(home, easy_dataset):
    """Two folders of one name, or one that photos were added to."""
    before, now = (dataclasses.replace(easy_dataset, digest=digest) for digest in (1, 2))
    model, _ = train(plain, "a", before, epochs=1)
    run = runs.start("a", before)
    evaluation.evaluate(model, before, run)
    assert runs.start("a", before).saved and models.read_card(run.file)["images"] == 1
    assert not runs.start("a", now).saved
    train(plain, "a", now, epochs=2)
    assert runs.Run("easy", "a").training["images"] == 2
    for faces in (before, now):  # seconds, so it is fitted anew
        assert evaluation.logistic_regression(faces).metrics["images"] == faces.digest


def two_phases(name, faces, interrupt=None, last=4, first=2):
    """A frozen base, then all of it: two compile and fit pairs, as in Keras' guide to transfer learning."""
    run = runs.start(name, faces)
    base = keras.Sequential([keras.Input((24, 24, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()], name="base")
    inputs = keras.Input((24, 24, 3))
    x = layers.GlobalMaxPooling2D()(base(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    callbacks = [interrupt] if interrupt else []
    base.trainable = False
    model.compile(keras.optimizers.Adam(1e-2), loss="categorical_crossentropy", metrics=["accuracy"])
    before = base.get_weights()
    head = training.fit(model, faces, run=run, epochs=first, callbacks=callbacks)
    frozen = all(np.array_equal(one, other) for one, other in zip(before, base.get_weights(), strict=True))
    base.trainable = True
    model.compile(keras.optimizers.Adam(1e-3), loss="categorical_crossentropy", metrics=["accuracy"])
    return frozen, training.fit(model, faces, run=run, epochs=last, initial_epoch=len(head), callbacks=callbacks)


def test_two_phases_go_on_where_they_stopped(home, easy_dataset, monkeypatch):
    """Interrupted in the second phase: the first one is not repeated, and the history is that of a whole training."""
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    frozen, whole = two_phases("whole", easy_dataset)
    assert frozen
    for epoch in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            two_phases("broken", easy_dataset, Interrupt(epoch))
    _, broken = two_phases("broken", easy_dataset)
    assert list(broken["phase"]) == [1, 1, 2, 2]
    np.testing.assert_allclose(broken[FIGURES], whole[FIGURES], atol=1e-4)
    record = runs.Run("easy", "broken").training
    assert record["epochs"] == [2, 2] and len(record["recipe"]["phases"]) == 2
    few, many = (phase["trainable_parameters"] for phase in record["recipe"]["phases"])
    assert few == 15 and many == 15 + 4 * 27 + 4 + 8


def test_a_first_phase_of_no_epochs_is_one_sentence(home, easy_dataset):
    with pytest.raises(ValueError, match="has one epoch or more, not 0"):
        two_phases("whole", easy_dataset, first=0, last=2)
    assert not runs.Run("easy", "whole").folder.exists()


def test_the_record_is_of_the_phase_that_was_trained(home, easy_dataset, monkeypatch):
    """Killed before the second phase had saved anything, and then run with another one."""
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        two_phases("a", easy_dataset, Interrupt(2))
    two_phases("a", easy_dataset, last=3)
    record = runs.Run("easy", "a").training
    assert (record["recipe_epochs"], record["epochs_trained"], record["stopped_early"]) == (3, 3, False)


def test_the_best_weights_are_those_of_the_epochs_that_the_state_names(home, easy_dataset):
    """Killed between writing best weights in epoch 3 and the state: the second phase begins with those of epoch 1"""
    run = runs.start("a", easy_dataset)
    run.checkpoint.mkdir(parents=True)
    rows = [{"epoch": 1, "phase": 1, "val_accuracy": 0.5}, {"epoch": 2, "phase": 1, "val_accuracy": 0.4},
            {"epoch": 3, "phase": 2, "val_accuracy": 0.9}]  # fmt: skip
    pd.DataFrame(rows).to_csv(run.folder / "history.csv", index=False)
    for epoch, phase_begins, best in ((2, 0, 1), (2, 2, 1), (3, 2, 3), (3, 0, 3)):
        (run.checkpoint / "state.json").write_text(json.dumps({"epoch": epoch, "ended": True}))
        assert fitting.State(run, phase_begins).best.name == f"best-000{best}.weights.h5"


def test_the_record_says_how_it_was_trained(home, easy_dataset, monkeypatch):
    monkeypatch.setenv("EMOTIONS_COMMAND", "python -m emotions run 02 --set TRAIN=True")
    train(every_choice, "lenet", easy_dataset, epochs=2, seed=7)
    folder = home / "results/easy/lenet-s7"
    record = json.loads((folder / "training.json").read_text())
    expected = {"architecture": "lenet", "suffix": "-s7", "seed": 7, "training_pictures": 96, "epochs_trained": 2,
                "command": "python -m emotions run 02 --set TRAIN=True", "precision": "float32", "input_size": 24}
    assert {name: record[name] for name in expected} == expected
    recipe = {"optimizer": "adamw", "schedule": "cosine", "weight_decay": 0.01, "label_smoothing": 0.1, "ema": 0.9}
    assert {name: record["recipe"][name] for name in recipe} == recipe
    assert record["recipe"]["augmentation"] == {
        "flip": True, "rotation": 10, "shift": 0.05, "zoom": 0.1, "erasing": 0.5, "mixup": 0.2}
    assert record["recipe"]["phases"][0]["learning_rate"] == pytest.approx(3e-3)


def test_early_stopping_ends_the_training_and_is_recorded(home, easy_dataset):
    run, model = runs.start("a", easy_dataset), small_net()
    model.compile(keras.optimizers.SGD(0.0), loss="categorical_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping("val_accuracy", baseline=1.0, patience=3)
    assert len(training.fit(model, easy_dataset, run=run, epochs=9, callbacks=[stop])) == 4
    assert run.training["stopped_early"] and run.training["recipe_epochs"] == 9
    model.compile(keras.optimizers.SGD(0.0), loss="categorical_crossentropy", metrics=["accuracy"])
    assert len(training.fit(model, easy_dataset, run=run, epochs=9, callbacks=[stop])) == 4, "it has ended"


def test_a_saved_run_shows_its_log_and_trains_nothing(home, easy_dataset, capsys):
    _, history = train(plain, "a", easy_dataset, epochs=2)
    run = runs.Run("easy", "a")
    run.record({"title": "A"})
    run.close()
    capsys.readouterr()
    before = (run.folder / "history.csv").read_bytes()
    opened = runs.start("a", easy_dataset)
    shown = training.fit(small_net(), easy_dataset, run=opened, epochs=99)
    np.testing.assert_allclose(shown[FIGURES], history[FIGURES])
    assert "Epoch 2/2" in capsys.readouterr().out and (run.folder / "history.csv").read_bytes() == before
    assert not runs.start("a", easy_dataset, train=True).saved


def test_a_model_that_is_not_compiled_or_not_for_fit_is_refused(home, easy_dataset):
    model, run = small_net(), runs.start("a", easy_dataset)
    with pytest.raises(ValueError, match=r"call model.compile\(…\) before fit"):
        training.fit(model, easy_dataset, run=run, epochs=1)
    for loss, metrics in (("categorical_crossentropy", []), ("sparse_categorical_crossentropy", ["accuracy"])):
        model.compile("adam", loss=loss, metrics=metrics)
        with pytest.raises(ValueError, match=r'Compile small with metrics=\["accuracy"\], .* a loss of one-hot labels'):
            training.fit(model, easy_dataset, run=run, epochs=1)


@pytest.mark.parametrize("schedule", [
    keras.optimizers.schedules.ExponentialDecay(3e-3, 100, 0.9),
    keras.optimizers.schedules.PiecewiseConstantDecay([10], [3e-3, 1e-3]),
], ids=lambda schedule: type(schedule).__name__)
def test_any_schedule_of_keras_is_recorded(home, easy_dataset, schedule):
    model, run = small_net(), runs.start("a", easy_dataset)
    model.compile(keras.optimizers.Adam(schedule), loss="categorical_crossentropy", metrics=["accuracy"])
    training.fit(model, easy_dataset, run=run, epochs=1)
    assert run.training["recipe"]["schedule"] == type(schedule).__name__
    assert run.training["recipe"]["phases"][0]["learning_rate"] == 3e-3


# Killed, and on other backends

KILLED = """
import sys
sys.path.insert(0, "tests")
from test_training import *

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(float(sys.argv[2]))

fitting.SAVE_SECONDS = 0.0
model, _ = train(globals()[sys.argv[1]], sys.argv[3], easy_faces(), epochs=6, callbacks=[Slow()])
np.save(runs.files.home() / f"{sys.argv[3]}.npy", model.predict(easy_faces().test.images, verbose=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["plain", "every_choice"])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(home, recipe):
    """Killed within an epoch by a signal that no program can catch, then called again."""

    def start(name, pause):
        command = [sys.executable, "-c", KILLED, recipe, str(pause), name]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    broken = start("broken", 0.3)
    deadline = time.time() + 200
    while not list(home.glob("results/easy/broken/checkpoint/epoch-0002*")) and time.time() < deadline:
        time.sleep(0.1)
    time.sleep(0.7)  # into the third epoch
    broken.send_signal(signal.SIGKILL)
    broken.wait()
    assert len(pd.read_csv(home / "results/easy/broken/history.csv")) in (2, 3)
    for name in ("broken", "whole"):
        _, errors = (process := start(name, 0)).communicate()
        assert process.returncode == 0, errors[-2000:]
    broken, whole = (runs.Run("easy", name).history for name in ("broken", "whole"))
    np.testing.assert_allclose(broken[FIGURES], whole[FIGURES], atol=1e-5)
    np.testing.assert_allclose(np.load(home / "broken.npy"), np.load(home / "whole.npy"), atol=1e-3)


ELSEWHERE = """
import sys
sys.path.insert(0, "tests")
from test_training import *
from emotions import backend

fitting.SAVE_SECONDS = 0.0
backend.steps_per_execution = lambda devices: 2 if backend.NAME != "torch" else 1  # as on an accelerator
faces = easy_faces()
model, history = train(every_choice, "a", faces, epochs=10)
assert history["val_accuracy"].max() > 0.4, history
assert abs(accuracy(model, faces.validation) - history["val_accuracy"].max()) < 1e-6
whole = train(every_choice, "whole", faces, epochs=3)[1]
try:
    train(every_choice, "broken", faces, epochs=3, callbacks=[Interrupt(1)])
except KeyboardInterrupt:
    pass
np.testing.assert_allclose(train(every_choice, "broken", faces, epochs=3)[1][FIGURES], whole[FIGURES], atol=1e-4)
frozen, history = two_phases("phases", faces)
assert frozen and list(history["phase"]) == [1, 1, 2, 2]
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_training_and_resuming_work_on_other_backends(home, backend):
    run_under(backend, ELSEWHERE)


MIXED = """
import sys
sys.path.insert(0, "tests")
from test_training import *

keras.mixed_precision.set_global_policy("mixed_bfloat16")
model, history = train(every_choice, "a", easy_faces(), epochs=3)
assert runs.Run("easy", "a").training["precision"] == "mixed_bfloat16"
assert training.RandomAffine(rotation=10).compute_dtype == "float32"  # TensorFlow has no other warp on GPUs
"""


@pytest.mark.slow
def test_training_in_mixed_precision(home):
    run_under("tensorflow", MIXED)


# Batches


def test_batches_pair_each_image_with_its_label_in_another_order_each_epoch():
    split = blobs(50, 3, 12, seed=1)
    batches = Batches(split, 3, 16, seed=1)

    def epoch():
        images, targets = zip(*[batches[i] for i in range(len(batches))], strict=True)
        return np.concatenate(images), np.concatenate(targets)

    images, targets = epoch()
    label = {image.tobytes(): label for image, label in zip(split.images[..., :1], split.labels, strict=True)}
    assert [label[image.tobytes()] for image in images] == targets.argmax(axis=1).tolist()
    assert len(images) == 50
    batches.begin(1)
    assert not np.array_equal(epoch()[1], targets)
    batches.begin(0)
    np.testing.assert_array_equal(epoch()[1], targets)


def test_class_weights_balance_the_classes():
    weights = training.class_weights(np.array([0] * 90 + [2] * 10))
    assert list(weights) == [0, 2] and weights[0] * 90 == pytest.approx(weights[2] * 10)
    assert (weights[0] * 90 + weights[2] * 10) / 100 == pytest.approx(1)


def test_soft_labels_and_class_weights_reach_the_batches():
    split, soft = blobs(50, 3, 12, seed=1), np.random.default_rng(0).dirichlet([1, 1, 1], 50).astype("float32")
    _, targets, weights = Batches(dataclasses.replace(split, targets=soft), 3, 50, class_weight={0: 1, 1: 2, 2: 3})[0]
    np.testing.assert_array_equal(targets, soft)
    np.testing.assert_allclose(weights, soft @ [1, 2, 3], rtol=1e-6)


def test_validation_is_counted_by_hard_labels(home, easy_dataset):
    wrong = np.eye(3, dtype="float32")[(easy_dataset.validation.labels + 1) % 3]
    faces = dataclasses.replace(easy_dataset, validation=dataclasses.replace(easy_dataset.validation, targets=wrong))
    model, history = train(plain, "a", faces, epochs=2)
    assert accuracy(model, easy_dataset.validation) == pytest.approx(history["val_accuracy"].max(), abs=1e-6)


# Augmentation


def test_mixup_blends_labels_like_images():
    """Half of the images are black, of class 0, the others white: what is left of white is the share of class 1."""
    images = np.zeros((32, 12, 12, 3), np.uint8)
    images[16:] = 255
    split = Split(images, np.arange(32) // 16, np.arange(32).astype(str))
    blended, targets = Batches(split, 2, 32, seed=1, mixup=0.4)[0]
    np.testing.assert_allclose(blended.mean(axis=(1, 2, 3)), 255 * targets[:, 1], atol=1e-3)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert ((targets > 0.01) & (targets < 0.99)).any()


def test_the_affine_layer_mirrors_shifts_and_is_off_outside_training():
    images = np.random.default_rng(0).uniform(0, 255, (64, 20, 20, 1)).astype("float32")
    mirror = training.RandomAffine(flip=True, seed=1)
    changed = np.array(mirror(images, training=True))
    same = np.abs(changed - images).max(axis=(1, 2, 3)) < 1e-2
    mirrored = np.abs(changed - images[:, :, ::-1]).max(axis=(1, 2, 3)) < 1e-2
    assert (same | mirrored).all() and 15 < mirrored.sum() < 49
    np.testing.assert_array_equal(np.array(mirror(images, training=False)), images)
    dot = np.zeros((200, 41, 41, 1), "float32")
    dot[:, 20, 20] = 255
    moved = np.array(training.RandomAffine(shift=0.1, seed=1)(dot, training=True))
    rows, columns = np.nonzero(moved.sum(axis=(0, 3)) > 1)
    assert np.abs(rows - 20).max() in (4, 5) and np.abs(columns - 20).max() in (4, 5)


@pytest.mark.parametrize(
    ("choice", "rows", "columns"),
    [({"rotation": 10}, (17.4, 22.6), (35, 35)), ({"zoom": 0.2}, (20, 20), (32.5, 38.75))],
    ids=["10 degrees", "a fifth larger or smaller"],
)
def test_the_affine_layer_rotates_and_zooms_as_much_as_asked(choice, rows, columns):
    """A dot 15 pixels right of the centre: sin 10 degrees of it is 2.6; 15 / 1.2 = 12.5 and 15 / 0.8 = 18.75."""
    image = np.zeros((400, 41, 41, 1), "float32")
    image[:, 20, 35] = 255
    moved = np.array(training.RandomAffine(**choice, seed=1)(image, training=True))[..., 0]
    places = np.array([np.unravel_index(one.argmax(), one.shape) for one in moved])
    for axis, ends in zip(places.T, (rows, columns), strict=True):
        assert (axis.min(), axis.max()) == pytest.approx(ends, abs=0.8)


def test_erasing_erases_the_share_that_was_asked_for():
    images = np.full((2000, 8, 8, 1), 100.0, "float32")
    changed = (np.array(training.RandomErasing(0.5)(images, training=True)) != 100).any(axis=(1, 2, 3))
    assert 0.45 < changed.mean() < 0.55


# Schedules


def test_the_rate_warms_up_and_falls_along_a_cosine():
    schedule = training.cosine(0.5, epochs=4, steps=100, warmup=0.1)
    rate = np.array([float(schedule(step)) for step in range(401)])
    np.testing.assert_allclose(rate[:41], np.linspace(0, 0.5, 41), atol=1e-6)
    np.testing.assert_allclose(rate[40:], 0.25 * (1 + np.cos(np.pi * np.arange(361) / 360)), atol=1e-6)
    assert float(training.cosine(0.5, 4, 100, warmup=0)(0)) == 0.5


def test_another_batch_size_is_another_recipe(home, easy_dataset, monkeypatch):
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(plain, "smaller", easy_dataset, callbacks=[Interrupt(1)])

    def smaller(epochs):
        model, options = plain(epochs)
        return model, options | {"batch_size": 8}

    with pytest.raises(ValueError, match="differs in recipe"):
        train(smaller, "smaller", easy_dataset)


def test_a_test_of_copies_alone_is_refused_before_the_training(home, easy_dataset):
    copies = dataclasses.replace(easy_dataset, copied=frozenset(easy_dataset.test.ids))
    with pytest.raises(ValueError, match="put others into test"):
        train(plain, "copies", copies)
    assert not runs.Run("easy", "copies").folder.exists()


@pytest.mark.parametrize("devices", [0, -1])
def test_a_number_of_devices_below_one_is_refused(easy_dataset, devices):
    with pytest.raises(ValueError, match="cannot be divided among"):
        Batches(easy_dataset.train, 3, 16, devices=devices)
