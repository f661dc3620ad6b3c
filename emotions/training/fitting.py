"""How is a model trained? By Keras' own `fit`, made resumable: `history.csv` grows with each epoch; once a minute, and
at the end, the state goes to `checkpoint/`, from where the same call goes on after an interruption."""

import dataclasses
import json
import os
import shutil
import time
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import ops

from emotions import backend, files
from emotions.data.images import channels
from emotions.models.layers import input_size
from emotions.runs import Run
from emotions.training import augmentation, tracking
from emotions.training.batches import Batches

SAVE_SECONDS = 60.0  # between two savings of the state: on a fast GPU saving can take longer than an epoch
CHOICES = ("architecture", "weights", "images", "variants", "training_pictures", "seed", "input_size", "precision",
           "teachers")


def fit(model: keras.Model, faces, *, run: Run, epochs: int, batch_size: int = 64, augment=(), mixup: float = 0.0,
        class_weight: dict[int, float] | None = None, callbacks=(), initial_epoch: int = 0,
        devices: int | None = None) -> pd.DataFrame:
    """Train a compiled model on `faces.train`, and keep the epoch with the highest accuracy on `faces.validation`.

    Where `run` is saved already (see `runs.start`), print its log instead. For a second phase, compile and fit again,
    with the number of epochs so far as `initial_epoch`, as in Keras' guide to transfer learning.

    Return the history of all phases so far, one row per epoch, as in `history.csv`. The model ends with its best
    weights. ValueError: the model is not compiled as below, or an interrupted training began with other choices.

    Args:
        model: takes RGB images with values 0-255, returns class probabilities; compiled with
            `metrics=["accuracy"]` and a loss of one-hot labels.
        epochs, initial_epoch: number of the last epoch, and how many earlier phases have trained.
        augment: layers that change training images at random; see `augmentation`.
        mixup: alpha of the Beta distribution by which pairs of images are blended, before they are augmented (Zhang et
            al. 2018); 0 blends none.
        class_weight, callbacks: as in Keras. `SwapEMAWeights` belongs here where the optimizer averages weights.
        devices: number of GPUs (or other devices) of this machine that share each batch. Default: the environment
            variable EMOTIONS_DEVICES, or 1. An epoch, and validation, leave out up to `devices - 1` images."""
    if run.saved:
        return _show_saved(run, initial_epoch)
    if faces.copied.issuperset(faces.test.ids):
        raise ValueError(f"Each of the {len(faces.test):,} test images of {faces.name} has a copy in its training "
                         "folder: put others into test.")
    if epochs < 1:
        raise ValueError(f"A training, and the first of two phases, has one epoch or more, not {epochs}.")
    classes, seed = len(faces.class_names), run.facts["seed"]
    devices = devices or int(os.environ.get("EMOTIONS_DEVICES") or 1)
    training = Batches(faces.train, classes, batch_size, seed=seed, class_weight=class_weight, mixup=mixup,
                       devices=devices)
    # Validation is counted by hard labels, whatever the targets of training are.
    validation = Batches(dataclasses.replace(faces.validation, targets=None), classes, batch_size, devices=devices)
    state = State(run, initial_epoch)
    with backend.parallel(devices):
        graph = _training_graph(model, augment, faces.train, devices)
        state.begin(_describe(model, faces, run, epochs, batch_size, augment, mixup, class_weight, callbacks, devices))
        if not state.ended:
            trained = graph.get_layer(model.name)
            state.restore(trained, graph)
            best = Best(trained, state)
            fresh, keeper = fresh_epochs(graph, training, seed), Keeper(state, best, callbacks)
            callbacks = [fresh, best, *callbacks, keeper, *tracking.trackers(run)]
            # Batches shuffles, in a way that can be repeated.
            graph.fit(training, validation_data=validation, shuffle=False, initial_epoch=state.epoch, epochs=epochs,
                      callbacks=callbacks, verbose=2 if "EMOTIONS_COMMAND" in os.environ else "auto")
            best.save()
    load_best(model, state.best)
    return state.finish()


def _show_saved(run: Run, initial_epoch: int) -> pd.DataFrame:
    """Print the epochs of one phase as Keras prints them; return the history up to its end."""
    print(f"A saved run, finished on {run.training['finished'][:10]}; TRAIN = True trains it anew.")
    history = run.history
    if len(history) > initial_epoch:
        history = history[history["phase"] <= history["phase"][initial_epoch]]
    for row in history[initial_epoch:].to_dict("records"):
        shown = ("accuracy", "loss", "val_accuracy", "val_loss", "learning_rate")
        figures = " - ".join(f"{name}: {row[name]:.4g}" for name in shown)
        print(f"Epoch {row['epoch']:.0f}/{len(history)}\n{row['seconds']:.0f}s - {figures}")
    return history


def _training_graph(model: keras.Model, augment, split, devices: int) -> keras.Model:
    """Return the model with augmentation in front, for images like those of a split, compiled as the model was: the
    same optimizer, loss and metrics.

    On several devices it is a copy, with an optimizer of its own: variables lie where they are made."""
    config, depth = model.get_compile_config(), channels(split.images).shape[-1]
    if not config:
        raise ValueError(f"{model.name} is not compiled: call model.compile(…) before fit.")
    metrics = [metric if isinstance(metric, str) else metric["config"]["name"] for metric in config["metrics"] or ()]
    if "accuracy" not in metrics or "sparse" in str(config["loss"]).lower():
        raise ValueError(f'Compile {model.name} with metrics=["accuracy"], which chooses the best epoch, and a loss of '
                         'one-hot labels, as "categorical_crossentropy".')
    x = image = keras.Input((*split.images.shape[1:3], depth), name="image")
    for layer in augment:
        x = layer(x)
    if depth == 1:
        x = keras.layers.Concatenate(dtype="float32")([x, x, x])
    graph = keras.Model(image, model(x), name="training")
    optimizer = model.optimizer
    if devices > 1:
        weights = graph.get_weights()
        graph, optimizer = keras.models.clone_model(graph), type(optimizer).from_config(optimizer.get_config())
        graph.set_weights(weights)
    metrics = keras.saving.deserialize_keras_object(config["metrics"])
    graph.compile(optimizer, loss=model.loss, metrics=metrics, jit_compile=backend.jit_compile(),
                  steps_per_execution=backend.steps_per_execution(devices))
    return graph


class State:
    """The state of an interrupted training: which epoch was saved last, and the history up to it.

    `phase` is the number of the phase, from 1; `epoch` that of epochs trained so far; `ended` tells whether this phase
    is trained to its end; `history` has a dictionary for each epoch."""

    def __init__(self, run: Run, initial_epoch: int):
        self.run, self.folder = run, run.checkpoint
        file = self.folder / "state.json"
        if initial_epoch == 0 and not file.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        saved = files.read_json(file) if file.exists() else {"epoch": 0, "ended": False}
        history = run.history.to_dict("records") if file.exists() else []
        history = [row for row in history if row["epoch"] <= saved["epoch"]]
        self.phase = 1 + len({row["phase"] for row in history if row["epoch"] <= initial_epoch})
        self.later = [row for row in history if row["phase"] > self.phase]
        self.history = [row for row in history if row["phase"] <= self.phase]
        self.done = [row for row in self.history if row["phase"] == self.phase]
        self.epoch = max(initial_epoch, len(self.history))
        self.ended = bool(self.later) or bool(self.done and saved["ended"])

    @property
    def best(self) -> Path:
        """The best weights up to `epoch`: by that of `history`, so that a kill before `save` leaves those before."""
        row = max(self.history + self.later, key=lambda row: row["val_accuracy"])
        return self.folder / f"best-{row['epoch']:04d}.weights.h5"

    def weights(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.weights.h5"

    def begin(self, record: dict) -> None:
        """Compare with what an interrupted training was begun with; otherwise record the choices."""
        file, recipe = self.folder / "training.json", record["recipe"]
        if file.exists():
            saved = files.read_json(file)
            phases = saved["recipe"]["phases"][: self.phase]
            recipe["phases"] = phases[: self.phase - 1] + recipe["phases"]
            differing = [name for name in CHOICES if json.dumps(saved.get(name)) != json.dumps(record.get(name))]
            if self.done:
                last = len(saved["recipe"]["phases"]) == self.phase  # otherwise it holds the choices of a later phase
                both = [each if last else each["phases"][self.phase - 1] for each in (saved["recipe"], recipe)]
                differing += ["recipe"] if json.dumps(both[0]) != json.dumps(both[1]) else []
            if differing:
                raise ValueError(f"{self.folder.parent} holds an interrupted training that differs in {differing[0]}: "
                                 "finish it as it was begun, or remove its checkpoint/ to start anew.")
            record = saved if self.done else record | {"started": saved["started"]}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = record
        files.write_json(file, record)

    def restore(self, model: keras.Model, graph: keras.Model) -> None:
        """Load the weights to go on from: of the epoch saved last, or the best ones of the phase before."""
        if self.done:
            graph.optimizer.build(graph.trainable_variables)
            graph.load_weights(self.weights(self.epoch))
        elif self.phase > 1:
            load_best(model, self.best)

    def save(self, model: keras.Model, ended: bool) -> None:
        """Write weights and optimizer, then name them in `state.json`; only then remove those before."""
        save_weights(model, self.weights(self.epoch))
        files.write_json(self.folder / "state.json", {"epoch": self.epoch, "ended": ended})
        for old in self.folder.glob("*.weights.h5"):
            if old not in (self.weights(self.epoch), self.best):
                old.unlink()

    def add(self, row: dict) -> None:
        """Append an epoch to `history.csv`."""
        self.history.append(row)
        self.epoch = row["epoch"]
        text = pd.DataFrame(self.history).to_csv(index=False, lineterminator="\n")
        files.write(self.run.folder / "history.csv", text)

    def finish(self) -> pd.DataFrame:
        """Write `training.json` with what this phase came to; return the history."""
        history = pd.DataFrame(self.history)
        planned = self.record["recipe"]["phases"][: self.phase][-1]["last_epoch"]
        self.record |= {
            "epochs": history.groupby("phase").size().tolist(), "recipe_epochs": planned,
            "stopped_early": len(history) < planned, "epochs_trained": len(history),
            "best_epoch": int(history["epoch"][history["val_accuracy"].idxmax()]),
            "seconds": round(history["seconds"].sum(), 1), "finished": files.now(),
        }
        files.write_json(self.run.folder / "training.json", self.record)
        return history


def save_weights(model: keras.Model, path: Path) -> None:
    """Save weights, the optimizer's too. They try the room first: on a full disk HDF5 can crash the whole process."""
    variables = model.variables + getattr(getattr(model, "optimizer", None), "variables", [])
    with files.written(path, ".weights.h5") as temporary:
        temporary.write_bytes(bytes(sum(2048 + 4 * int(np.prod(each.shape)) for each in variables)))
        model.save_weights(temporary)


def load_best(model: keras.Model, path: Path) -> None:
    """Load weights without the optimizer saved beside them: a new phase has another, of which Keras would warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.load_weights(path)


class Best(keras.callbacks.Callback):
    """Keep the weights with the highest validation accuracy so far, in memory until `save`: it acts at the end of
    validation, when `SwapEMAWeights` has the averaged weights in the model."""

    def __init__(self, model: keras.Model, state: State):
        super().__init__()
        self.kept, self.state, self.weights = model, state, None
        self.accuracy = max((row["val_accuracy"] for row in state.history), default=-1.0)

    def on_test_begin(self, logs=None):
        # Under TensorFlow each device has its own running statistics, and those of the first are saved: all validate
        # with them.
        self.kept.set_weights(self.kept.get_weights())

    def on_test_end(self, logs=None):
        if logs["accuracy"] > self.accuracy:
            self.accuracy, self.weights = logs["accuracy"], self.kept.get_weights()

    def save(self):
        """Write weights that are better than the file's; the model ends with the weights it has."""
        if self.weights is not None:
            present = self.kept.get_weights()
            self.kept.set_weights(self.weights)
            save_weights(self.kept, self.state.best)
            self.kept.set_weights(present)
            self.weights = None


class Keeper(keras.callbacks.Callback):
    """Write the history after each epoch and, once a minute and at the end, the state to go on from.

    After an interruption it tells the `others` among the callbacks, EarlyStopping and ReduceLROnPlateau, of the epochs
    before, so that they count on; it stands after them, for `fit` resets them when it begins. The restored optimizer
    has their learning rate."""

    def __init__(self, state: State, best: Best, others):
        super().__init__()
        self.state, self.best, self.others, self.saved = state, best, others, time.perf_counter()

    def on_train_begin(self, logs=None):
        plateau, rate = keras.callbacks.ReduceLROnPlateau, learning_rate(self.model)
        others = [other for other in self.others if isinstance(other, (keras.callbacks.EarlyStopping, plateau))]
        for row in self.state.done:
            for other in others:
                other.on_epoch_end(row["epoch"] - 1, dict(row))
        if self.state.done and any(isinstance(other, plateau) for other in others):
            self.model.optimizer.learning_rate = rate

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # ReduceLROnPlateau logs the rate from before it changed it.
        figures = {name: float(value) for name, value in logs.items() if name != "learning_rate"}
        rate, seconds = learning_rate(self.model), round(time.perf_counter() - self.started, 2)
        row = {"epoch": epoch + 1, "phase": self.state.phase, **figures, "learning_rate": rate, "seconds": seconds}
        self.state.add(row)
        ended = epoch + 1 == self.params["epochs"] or bool(self.model.stop_training)
        if ended or time.perf_counter() - self.saved >= SAVE_SECONDS:
            self.best.save()
            self.state.save(self.model, ended)
            self.saved = time.perf_counter()


def fresh_epochs(model: keras.Model, batches: Batches, seed: int) -> keras.callbacks.Callback:
    """Return a callback that begins each epoch with an order of images, and random numbers of dropout and augmentation,
    that follow from (seed, epoch) alone: saved weights hold neither."""

    def begin(epoch, logs):
        batches.begin(epoch)
        random = np.random.default_rng((seed, epoch))
        for variable in model.variables:
            if variable.name == "seed_generator_state":
                variable.assign(random.integers(0, 2**32, size=2, dtype=np.uint32))

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin)


def learning_rate(model: keras.Model) -> float:
    return float(ops.convert_to_numpy(model.optimizer.learning_rate))


def _describe(model, faces, run, epochs, batch_size, augment, mixup, class_weight, callbacks, devices) -> dict:
    """Return what `training.json` says of a training before it begins."""
    optimizer = model.optimizer.get_config()
    patience = [callback.patience for callback in callbacks if isinstance(callback, keras.callbacks.EarlyStopping)]
    plateau = any(isinstance(callback, keras.callbacks.ReduceLROnPlateau) for callback in callbacks)
    rate, schedule = optimizer["learning_rate"], "plateau" if plateau else "constant"
    if isinstance(rate, dict):  # one of keras.optimizers.schedules; the record holds its highest rate
        schedule, config = rate["class_name"], rate["config"]
        rate = config.get("warmup_target") or config.get("initial_learning_rate") or max(config["values"])
        schedule = "cosine" if schedule == "CosineDecay" else schedule
    trained = int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
    phase = {"last_epoch": epochs, "learning_rate": float(rate), "trainable_parameters": trained,
             "patience": patience[0] if patience else None}
    recipe = {
        "phases": [phase], "batch_size": batch_size,
        "optimizer": type(model.optimizer).__name__.lower(), "schedule": schedule,
        "weight_decay": optimizer.get("weight_decay") or 0.0, "clip": optimizer.get("global_clipnorm") or 0.0,
        "label_smoothing": getattr(model.loss, "label_smoothing", 0.0), "class_weights": class_weight is not None,
        "ema": optimizer["ema_momentum"] if optimizer.get("use_ema") else 0.0,
        "layer_decay": getattr(model.optimizer, "layer_decay", 1.0),
        "augmentation": augmentation.describe(augment, mixup),
    }
    return {
        "model": model.name,
        **{name: value for name, value in run.facts.items() if name not in ("title", "ancestors")},
        "dataset": faces.name, "training_pictures": len(faces.train), "recipe": recipe,
        "picture_size": list(faces.train.images.shape[1:3]), "input_size": input_size(model) or model.input_shape[1],
        "precision": keras.mixed_precision.global_policy().name,
        "backend": backend.version(), "keras": keras.__version__,
        "hardware": f"{devices} x {backend.hardware()}" if devices > 1 else backend.hardware(),
        "git_commit": files.git_commit(), "started": files.now(),
    }
