"""How are models trained? One `train`: any model, any data set, one or two phases; it resumes.

Training writes `history.csv` to its run folder as it goes, and once a minute its state, which stays there until the run
is complete; then follows `training.json`. Interrupted, the same call goes on from that state.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import ops

from emotions import backend
from emotions.data.datasets import Dataset, Split
from emotions.models import vit
from emotions.models.layers import input_size
from emotions.training.recipes import Augmentation, Phase, Recipe

PLATEAU_FACTOR = 0.3  # what ReduceLROnPlateau multiplies the learning rate with
SAVE_SECONDS = 60.0  # between two savings of a training's state: on a fast GPU a saving can take longer than an epoch
OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}


# ------------------------------------------------------------------------------------------ what is fed


class Batches(keras.utils.PyDataset):
    """A split in batches of `(pictures, one-hot labels, weights)`.

    The order of an epoch, and the pairs that mixup blends, follow from (seed, epoch) alone, so that a
    resumed training sees what an uninterrupted one would have seen. `begin` starts an epoch.

    Args:
        split: the pictures; a grey set (a broadcast view) is fed as one channel.
        classes: number of classes.
        batch_size: pictures per batch; the last batch may be smaller.
        seed: shuffles anew each epoch; None keeps the order.
        class_weights: float, one per class, or None for no weights. A soft label weighs the mean of
            its classes' weights.
        mixup: alpha of the Beta distribution; 0 blends nothing. Otherwise the pictures come with the share
            that `Blend` leaves of each, which is 1 where there is no seed.
    """

    def __init__(self, split: Split, classes: int, batch_size: int, *, seed=None, class_weights=None, mixup=0.0):
        super().__init__()
        self.split, self.batch_size, self.seed, self.mixup = split, batch_size, seed, mixup
        self.targets = np.eye(classes, dtype="float32")[split.labels] if split.targets is None else split.targets
        self.class_weights = class_weights
        self.images = split.images[..., :1] if is_grey(split) else split.images
        self.begin(0)

    def begin(self, epoch: int) -> None:
        self.epoch, self.order = epoch, np.arange(len(self.split))
        if self.seed is not None:
            np.random.default_rng((self.seed, epoch)).shuffle(self.order)

    def __len__(self):
        return math.ceil(len(self.split) / self.batch_size)

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        images, targets = self.images[chosen], self.targets[chosen]
        if self.mixup:
            share = np.ones((len(chosen), 1), "float32")
            if self.seed is not None:
                random = np.random.default_rng((self.seed, self.epoch, index))
                share = random.beta(self.mixup, self.mixup, size=share.shape).astype("float32")
            targets = share * targets + (1 - share) * targets[::-1]
            images = {"picture": images, "share": share}
        if self.class_weights is None:
            return images, targets
        return images, targets, targets @ np.asarray(self.class_weights, "float32")


def is_grey(split: Split) -> bool:
    """Whether the pictures are one channel shown as three."""
    return isinstance(split.images, np.ndarray) and split.images.strides[-1] == 0


def balanced_class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights inversely proportional to class frequency, with mean 1 over the pictures (as scikit-learn's
    "balanced"); a class without pictures weighs 0."""
    counts = np.bincount(labels, minlength=classes)
    return np.where(counts > 0, len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)


# --------------------------------------------------------------------------------------- augmentation


class RandomWarp(keras.layers.Layer):
    """Mirror, turn, shift and zoom in one resampling, instead of one for each; training only.

    Args: as in `recipes.Augmentation`. Pictures: N x H x W x C, float.
    """

    def __init__(self, flip: bool, rotation: float, shift: float, zoom: float, seed: int, **options):
        super().__init__(dtype="float32", **options)
        self.flip, self.rotation, self.shift, self.zoom = flip, math.radians(rotation), shift, zoom
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, images, training=None):
        if not training:
            return images
        shape = ops.shape(images)
        count, height, width = shape[0], ops.cast(shape[1], "float32"), ops.cast(shape[2], "float32")

        def uniform(limit):
            return keras.random.uniform((count,), -limit, limit, seed=self.seeds)

        angle, scale = uniform(self.rotation), 1 + uniform(self.zoom)
        mirror = ops.sign(uniform(1.0)) if self.flip else ops.ones((count,))
        cos, sin = ops.cos(angle) / scale, ops.sin(angle) / scale
        # Where in the input each pixel of the output comes from: about the centre, then shifted.
        x_centre, y_centre = (width - 1) / 2, (height - 1) / 2
        x_shift = x_centre + uniform(self.shift) * width
        y_shift = y_centre + uniform(self.shift) * height
        a, b, c, d = mirror * cos, -mirror * sin, sin, cos
        zero = ops.zeros((count,))
        transform = ops.stack(
            [a, b, x_shift - a * x_centre - b * y_centre, c, d, y_shift - c * x_centre - d * y_centre, zero, zero],
            axis=1,
        )
        return backend.warp(images, transform)


class Blend(keras.layers.Layer):
    """Mixup of each picture with the one that stands opposite in the batch, by its `share`; training only."""

    def __init__(self):
        super().__init__(dtype="float32")

    def call(self, images, share, training=None):
        if not training:
            return images
        share = ops.reshape(share, (-1, 1, 1, 1))
        return share * images + (1 - share) * ops.flip(images, axis=0)


def augmentation_layers(choice: Augmentation, seed: int) -> list[keras.layers.Layer]:
    """The layers, active in training only, that an `Augmentation` asks for; value range 0-255.

    In float32 also where the model is in mixed precision: TensorFlow has no warp in bfloat16 on GPUs.
    """
    chosen, common = [], {"value_range": (0, 255), "dtype": "float32"}
    if choice.flip or choice.rotation or choice.shift or choice.zoom:
        chosen.append(RandomWarp(choice.flip, choice.rotation, choice.shift, choice.zoom, seed=seed))
    if choice.contrast:
        chosen.append(keras.layers.RandomContrast(choice.contrast, seed=seed + 1, **common))
    if choice.brightness:
        chosen.append(keras.layers.RandomBrightness(choice.brightness, seed=seed + 2, **common))
    if choice.erasing:
        # Both ends of the range: a single number would be the upper end, and half as many would be erased.
        share = (choice.erasing, choice.erasing)
        chosen.append(
            keras.layers.RandomErasing(share, scale=(0.02, 0.25), fill_value=None, seed=seed + 3, **common)
        )
    return chosen


def training_graph(model: keras.Model, choice: Augmentation, pictures: Split, seed: int) -> keras.Model:
    """`model` with augmentation in front, for pictures like those of a split; it shares the weights and is
    never saved.
    """
    height, width = pictures.images.shape[1:3]
    grey = is_grey(pictures)
    inputs = {"picture": keras.Input((height, width, 1 if grey else 3), name="picture")}
    x = inputs["picture"]
    for layer in augmentation_layers(choice, seed):
        x = layer(x)
    if choice.mixup:
        inputs["share"] = keras.Input((1,), name="share")
        x = Blend()(x, inputs["share"])
    if grey:
        x = keras.layers.Concatenate(dtype="float32")([x, x, x])
    return keras.Model(inputs if choice.mixup else inputs["picture"], model(x), name="training")


# ------------------------------------------------------------------------------- callbacks and resuming


class Best(keras.callbacks.Callback):
    """Keeps the weights with the highest validation accuracy so far, in memory until `save`.

    It acts at the end of validation, when `SwapEMAWeights` has the averaged weights in the model.
    """

    def __init__(self, model: keras.Model, folder: Path, history: list[dict]):
        super().__init__()
        self.kept, self.path, self.weights = model, best_file(folder), None
        self.accuracy = max((row["val_accuracy"] for row in history), default=-1.0)

    def on_test_end(self, logs=None):
        if logs["accuracy"] > self.accuracy:
            self.accuracy, self.weights = logs["accuracy"], self.kept.get_weights()

    def save(self):
        """Write what is better than the file; the model ends with the weights it has."""
        if self.weights is not None:
            present = self.kept.get_weights()
            self.kept.set_weights(self.weights)
            save_weights(self.kept, self.path)
            self.kept.set_weights(present)
            self.weights = None


class Keeper(keras.callbacks.Callback):
    """Writes the history after each epoch and, once a minute and at the end, what to go on from: the whole state of
    the training (weights, optimizer, seeds) and the best weights up to it.

    A file is written under another name and renamed, and a state replaces the one before it only when it is
    complete, so an interruption at any moment loses little more than a minute or the epoch it falls into.
    """

    def __init__(self, folder: Path, history: list[dict], phase: int, best: Best):
        super().__init__()
        self.folder, self.history, self.phase, self.best = folder, history, phase, best
        self.saved = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # ReduceLROnPlateau logs the rate from before it changed it.
        logs = {name: float(value) for name, value in logs.items() if name != "learning_rate"}
        row = {"epoch": epoch + 1, "phase": self.phase, **logs, "learning_rate": learning_rate(self.model)}
        self.history.append({**row, "seconds": round(time.perf_counter() - self.started, 2)})
        write(self.folder / "history.csv", pd.DataFrame(self.history).to_csv(index=False, lineterminator="\n"))
        last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        if last or time.perf_counter() - self.saved >= SAVE_SECONDS:
            self.save(epoch)

    def save(self, epoch):
        self.best.save()
        state = state_file(self.folder, epoch + 1)
        save_weights(self.model, state)
        self.saved = time.perf_counter()
        for old in state.parent.glob("epoch-*.weights.h5"):
            if old != state:
                old.unlink()


class Fresh(keras.callbacks.Callback):
    """Begins each epoch with an order of pictures, and random numbers of dropout and augmentation, that follow
    from (seed, epoch) alone: saved weights hold neither."""

    def __init__(self, batches: Batches, seed: int):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.begin(epoch)
        random = np.random.default_rng((self.seed, epoch))
        for variable in self.model.variables:
            if variable.name == "seed_generator_state":
                variable.assign(random.integers(0, 2**32, size=2, dtype=np.uint32))


class Replay(keras.callbacks.Callback):
    """Tells other callbacks of the epochs before an interruption, so that they count on, not anew.

    It stands after them in the list: `fit` resets them when it begins. Their effect on the learning rate
    is in the restored optimizer already.
    """

    def __init__(self, others: list[keras.callbacks.Callback], history: list[dict]):
        super().__init__()
        self.others, self.rows = others, list(history)

    def on_train_begin(self, logs=None):
        rate = learning_rate(self.model)
        for row in self.rows:
            for other in self.others:
                other.on_epoch_end(row["epoch"] - 1, dict(row))
        if self.rows and any(isinstance(other, keras.callbacks.ReduceLROnPlateau) for other in self.others):
            self.model.optimizer.learning_rate = rate


def learning_rate(model: keras.Model) -> float:
    return float(ops.convert_to_numpy(model.optimizer.learning_rate))


def state_file(folder: Path, epoch: int) -> Path:
    return folder / "checkpoint" / f"epoch-{epoch:04d}.weights.h5"


def best_file(folder: Path) -> Path:
    return folder / "checkpoint" / "best.weights.h5"


def save_weights(model: keras.Model, path: Path) -> None:
    temporary = path.with_name("writing.weights.h5")
    model.save_weights(temporary)
    temporary.replace(path)


def write(path: Path, text: str) -> None:
    """Write a text file whole or not at all, the same on every system: UTF-8, lines ending in a line feed."""
    temporary = path.with_name(path.name + ".writing")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)


def saved_history(folder: Path) -> list[dict]:
    """The epochs of an interrupted training that can be gone on from: those up to its last saved state."""
    states = sorted((folder / "checkpoint").glob("epoch-*.weights.h5"))
    if not states or not (folder / "history.csv").exists():
        return []
    rows = pd.read_csv(folder / "history.csv").to_dict("records")
    last = max(int(state.name[6:10]) for state in states)
    return [row for row in rows if row["epoch"] <= last]


# ---------------------------------------------------------------------------------------------- training


def train(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    folder: str | Path,
    *,
    seed: int = 0,
    minutes: float | None = None,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
    verbose: int | str = "auto",
    keep_checkpoint: bool = False,
    facts: dict | None = None,
) -> pd.DataFrame:
    """Train a model on `dataset.train`, choosing the epoch on `dataset.validation`.

    The model ends with the weights of the epoch of highest validation accuracy. `folder` receives
    `history.csv` (one line per epoch), `training.json` (recipe, seed, scale, hardware, seconds) and, until
    the training is complete, `checkpoint/`. Called again on the folder of an interrupted training, it goes
    on from the last saved state, see `Keeper`; on that of a complete one, it starts anew.

    Args:
        model: from `models.build`; takes pictures with values 0-255, returns class probabilities.
        dataset: see `datasets.Dataset`.
        recipe: see `recipes.Recipe`.
        folder: the run folder, as `results/<dataset>/<model>`.
        seed: of the order of pictures, of augmentation and of mixup. (The model's initial weights were
            drawn when it was built: seed that too, with `keras.utils.set_random_seed`.)
        minutes: a time budget. The first steps are timed; where not all of the recipe's epochs fit, each phase
            gets its share of those that do, and the learning-rate schedule follows.
        callbacks: further Keras callbacks, as for tracking.
        verbose: as in `keras.Model.fit`.
        keep_checkpoint: leave `checkpoint/` there, for a caller who removes it, by `forget`, once the model is saved:
            if that fails, the same call trains no more and returns.
        facts: what the model does not tell of itself, for `training.json`; see `describe`.

    Returns:
        the history, as in `history.csv`.

    Raises:
        ValueError: the folder holds an interrupted training with other choices.
    """
    folder = Path(folder)
    history = saved_history(folder)
    record_file = folder / "checkpoint" / "training.json"
    if history:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        wanted = describe(model, dataset, recipe, seed, minutes, record["epochs"], facts)
        if choice := differing(record, wanted):
            raise ValueError(
                f"{folder} holds an interrupted training that differs in {choice}: "
                "finish it as it was begun, or remove the folder's checkpoint/ to start anew."
            )
        record = wanted | record
    else:
        forget(folder)
        record_file.parent.mkdir(parents=True)
        epochs = [phase.epochs for phase in recipe.phases]
        if minutes:
            epochs = epochs_within(minutes, model, dataset, recipe)
        record = describe(model, dataset, recipe, seed, minutes, epochs, facts)
        write(record_file, json.dumps(record, indent=2))

    keras.utils.set_random_seed(seed)
    end = 0
    for number, phase in enumerate(recipe.phases, start=1):
        begin, end = end, end + record["epochs"][number - 1]
        done = [row for row in history if row["phase"] == number]
        if any(row["phase"] > number for row in history) or (done and len(done) == end - begin):
            end = done[-1]["epoch"]
            continue
        phase = dataclasses.replace(phase, epochs=end - begin)
        if number > 1 and not done and best_file(folder).exists():
            model.load_weights(best_file(folder))
        fit_phase(model, dataset, recipe, phase, number, begin, history, folder, seed, callbacks, verbose)
        end = history[-1]["epoch"]

    model.load_weights(best_file(folder))
    best = max(history, key=lambda row: row["val_accuracy"])
    seconds = round(sum(row["seconds"] for row in history), 1)
    record |= {"epochs_trained": len(history), "best_epoch": int(best["epoch"]), "seconds": seconds, "finished": now()}
    write(folder / "training.json", json.dumps(record, indent=2) + "\n")
    if not keep_checkpoint:
        forget(folder)
    return pd.DataFrame(history)


def forget(folder: str | Path) -> None:
    """Remove the state that a training would go on from."""
    shutil.rmtree(Path(folder) / "checkpoint", ignore_errors=True)


def fit_phase(model, dataset, recipe, phase, number, begin, history, folder, seed, callbacks, verbose):
    """One call of `fit`, from epoch `begin` or from where `history` ends; appends to `history`."""
    set_trainable(model, phase.trainable)
    done = [row for row in history if row["phase"] == number]
    classes = len(dataset.class_names)
    weights = balanced_class_weights(dataset.train.labels, classes) if recipe.class_weights else None
    initial = begin + len(done)
    training = Batches(
        dataset.train,
        classes,
        recipe.batch_size,
        seed=seed,
        class_weights=weights,
        mixup=recipe.augmentation.mixup,
    )
    # By hard labels, as the figures are counted, whatever the training pictures' targets are.
    held_out = dataclasses.replace(dataset.validation, targets=None)
    validation = Batches(held_out, classes, recipe.batch_size, mixup=recipe.augmentation.mixup)
    graph = training_graph(model, recipe.augmentation, dataset.train, seed)
    compile_for(graph, recipe, phase, len(training))
    if done:
        graph.optimizer.build(graph.trainable_variables)
        graph.load_weights(state_file(folder, initial))

    watchers = []
    patience = phase.patience or phase.epochs
    if stalled(done, patience):
        return
    if phase.patience:
        watchers.append(keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=patience))
    if recipe.schedule == "plateau":
        watchers.append(
            keras.callbacks.ReduceLROnPlateau(
                "val_accuracy", mode="max", factor=PLATEAU_FACTOR, patience=max(1, patience // 2), verbose=0
            )
        )
    best = Best(model, folder, history)
    averaging = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    graph.fit(
        training,
        validation_data=validation,
        shuffle=False,  # Batches does, in a way that can be repeated
        initial_epoch=initial,
        epochs=begin + phase.epochs,
        callbacks=[
            Fresh(training, seed),
            best,
            *averaging,
            *watchers,
            Replay(watchers, done),
            Keeper(folder, history, number, best),
            *callbacks,
        ],
        verbose=verbose,
    )
    best.save()  # a callback of the caller's may have stopped the training after the last saving


def stalled(rows: list[dict], patience: int) -> bool:
    """Whether a phase has ended: as many epochs as `patience` have passed since its best one."""
    accuracies = [row["val_accuracy"] for row in rows]
    return bool(rows) and len(rows) - 1 - int(np.argmax(accuracies)) >= patience


def set_trainable(model: keras.Model, trainable: str) -> None:
    """Freeze and thaw a model's layers.

    Args:
        model: a pretrained base in it is a nested model named "base".
        trainable: as in `recipes.Phase`. Whatever else of a pretrained base learns, its batch norms stay
            frozen, by `trainable=False` on each: in Keras 3 `fit` overrides a base called with
            `training=False`.
    """
    base = next((layer for layer in model.layers if layer.name == "base"), None)
    # One by one: setting the model's own `trainable` does not reach the layers of a nested one.
    for layer in [*model.layers, *(base.layers if base else [])]:
        layer.trainable = True
    if trainable == "everything":
        return
    if base is None:
        raise ValueError(f'{model.name} has no pretrained base, but its recipe trains {trainable!r}; say "everything".')
    names = [layer.name for layer in base.layers]
    if trainable == "head":
        first = len(names)
    elif trainable == "base":
        first = 0
    else:
        first = next((i for i, name in enumerate(names) if name.startswith(trainable)), None)
        if first is None:
            raise ValueError(
                f"{model.name}'s base has no layer named {trainable}…; its last ones are {', '.join(names[-3:])}."
            )
    for i, layer in enumerate(base.layers):
        layer.trainable = i >= first and not isinstance(layer, keras.layers.BatchNormalization)


def compile_for(graph: keras.Model, recipe: Recipe, phase: Phase, steps: int) -> None:
    """Compile with the recipe's optimizer and schedule, for a phase of `phase.epochs` x `steps` steps."""
    options = {
        "learning_rate": scheduled_rate(recipe, phase, steps),
        "weight_decay": recipe.weight_decay,
        "global_clipnorm": recipe.clip or None,
        "use_ema": bool(recipe.ema),
        "ema_momentum": recipe.ema or 0.99,
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
    }
    if recipe.optimizer == "sgd":
        options |= {"momentum": 0.9, "nesterov": True}
    kind = OPTIMIZERS[recipe.optimizer]
    if recipe.layer_decay != 1:
        model = next(layer for layer in graph.layers if isinstance(layer, keras.Model))
        kind = with_layer_decay(kind, vit.layer_numbers(model), recipe.layer_decay)
    optimizer = kind(**options)
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(
            var_list=[v for v in graph.trainable_variables if not v.path.endswith("kernel")]
        )
    graph.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=backend.steps_per_execution(),
        jit_compile=backend.jit_compile(),
    )


def scheduled_rate(recipe: Recipe, phase: Phase, steps: int):
    """The learning rate of a phase of `phase.epochs` x `steps` batches: a number, or for a cosine a function of the
    batch (the optimizer counts batches, also where it gathers several for one step)."""
    rate = phase.learning_rate
    if recipe.schedule != "cosine":
        return rate
    total = max(1, phase.epochs * steps)
    warmup = int(recipe.warmup * total)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate, total - warmup, warmup_target=rate if warmup else None, warmup_steps=warmup
    )


def with_layer_decay(kind: type, numbers: dict[str, int], decay: float) -> type:
    """An optimizer whose rate for a weight is `decay ** (highest - number)` times the usual one.

    Layer-wise learning-rate decay, after Clark et al. 2020, "ELECTRA", section 3.2. Scaling gradients instead would do
    nothing under Adam, which divides the scale out again.

    Args:
        kind: a class of `keras.optimizers`.
        numbers: how deep each weight lies, by `variable.path`; see `vit.layer_numbers`.
    """
    highest = max(numbers.values())

    class LayerDecay(kind):
        def _factor(self, variable):
            # TensorFlow hands its own variable over, so ours is found by its place.
            ours = self._trainable_variables[self._get_variable_index(variable)]
            return decay ** (highest - numbers[ours.path])

        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate * self._factor(variable))

        def _apply_weight_decay(self, variables):
            usual = self.weight_decay
            if not usual:
                return
            for variable in filter(self._use_weight_decay, variables):
                self.weight_decay = usual * self._factor(variable)
                super()._apply_weight_decay([variable])
            self.weight_decay = usual

    return LayerDecay


class Timer(keras.callbacks.Callback):
    """Times the epochs of one `fit` but the first, which compiles, and ends it after some seconds of them.

    One `fit`, because JAX can't begin a second one of a graph whose weights were averaged, and because beginning
    one takes longer than many steps of a fast GPU.
    """

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        if epoch == 0:
            self.started = now
        elif now - self.started >= self.seconds:
            self.per_epoch = (now - self.started) / epoch
            self.model.stop_training = True


def epochs_within(minutes: float, model: keras.Model, dataset: Dataset, recipe: Recipe, steps: int = 20) -> list[int]:
    """Epochs of each phase, at most the recipe's, that fit into a time budget; times some steps and puts the weights
    back."""
    before = model.get_weights()
    classes = len(dataset.class_names)
    count = min(len(dataset.train), steps * recipe.batch_size)
    sample = Batches(
        dataset.train.take(np.arange(count)), classes, recipe.batch_size, seed=0, mixup=recipe.augmentation.mixup
    )
    seconds = []
    for phase in recipe.phases:
        set_trainable(model, phase.trainable)
        graph = training_graph(model, recipe.augmentation, dataset.train, seed=0)
        compile_for(graph, recipe, phase, len(sample))
        timer = Timer(seconds=2.0)
        graph.fit(sample, epochs=10**6, callbacks=[timer], verbose=0)
        per_picture = timer.per_epoch / count
        # Validation is a forward pass, about a third of a training step.
        seconds.append(per_picture * (len(dataset.train) + len(dataset.validation) / 3))
    model.set_weights(before)
    wanted = sum(phase.epochs * cost for phase, cost in zip(recipe.phases, seconds, strict=True))
    share = min(1.0, 60 * minutes / wanted)
    return [max(1, int(share * phase.epochs)) for phase in recipe.phases]


# --------------------------------------------------------------------------------------------- the record


CHOICES = ("architecture", "weights", "dataset", "variants", "training_pictures", "recipe", "seed", "minutes",
           "input_size", "precision")  # fmt: skip


def differing(record: dict, wanted: dict) -> str | None:
    """The first of `CHOICES` in which two records of trainings differ, in words; what one of them lacks is passed over.

    Args:
        record, wanted: as `describe` returns them, or parts of it.
    """
    for choice in CHOICES:
        if choice in record and choice in wanted and json.dumps(record[choice]) != json.dumps(wanted[choice]):
            return choice.replace("_", " ")
    return None


def made_of(dataset: Dataset, recipe: Recipe) -> dict:
    """What `training.json` says of the pictures and the recipe."""
    return {
        "dataset": dataset.name,
        "variants": list(dataset.variants),
        "training_pictures": len(dataset.train),
        "recipe": dataclasses.asdict(recipe),
    }


def describe(model, dataset, recipe, seed, minutes, epochs, facts: dict | None = None) -> dict:
    """What `training.json` says of a training before it begins.

    Args:
        facts: more of it. `runs.run` tells the `architecture` by its name in the registry, the `suffix` of the run's
            name, the pretrained `weights`, and `recipe_epochs`, how many the registry's own recipe has for these.
    """
    return {
        "model": model.name,
        **(facts or {}),
        **made_of(dataset, recipe),
        "epochs": epochs,
        "minutes": minutes,
        "seed": seed,
        "picture_size": list(dataset.train.images.shape[1:3]),
        "input_size": input_size(model),
        "precision": keras.mixed_precision.global_policy().name,
        "backend": backend.version(),
        "keras": version("keras"),
        "hardware": backend.hardware(),
        "git_commit": git_commit(),
        "started": now(),
    }


def git_commit() -> str | None:
    """The commit the package is at, with "+" if its files were changed since; None outside a repository."""
    here = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--match="],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
