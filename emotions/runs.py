"""Where is a run, and how do I make one? Training, evaluation, saving and figures in one call.

    run("lenet", load("fer2013-3"))     # results/fer2013-3/lenet/ and models/lenet-fer2013-3.keras

Two profiles: "full" is the real experiment; "quick" runs the same steps in a minute or two on a few small
pictures, writes under build/ and never touches full results.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emotions import backend
from emotions.data.datasets import NAMES, Dataset, Split
from emotions.data.variants import VARIANTS, own_word
from emotions.evaluation import cards
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions
from emotions.models import registry as models
from emotions.plots import figures as plots
from emotions.training import fit as training
from emotions.training import tracking
from emotions.training.recipes import Recipe

BASELINE = "logistic-regression"


@dataclass(frozen=True)
class Profile:
    """How large an experiment is.

    Attributes:
        train, held_out: most pictures used for training, and for validation and test each; None is all.
        epochs: most epochs of a phase; None is the recipe's.
        size: largest input size, in pixels; None is the architecture's.
        folder: where results and models go, below the repository.
    """

    train: int | None
    held_out: int | None
    epochs: int | None
    size: int | None
    folder: str


PROFILES = {
    "full": Profile(train=None, held_out=None, epochs=None, size=None, folder="."),
    "quick": Profile(train=420, held_out=210, epochs=2, size=48, folder="build/quick"),
}


def profile_named(name: str) -> Profile:
    if name not in PROFILES:
        raise ValueError(f"There is no profile named {name!r}; there are {', '.join(PROFILES)}.")
    return PROFILES[name]


def root(profile: str = "full") -> Path:
    """The folder that holds `results/` and `models/`: the repository, or below build/ when quick.

    Where only the package is installed, the current directory takes the repository's place.
    """
    repository = Path(__file__).resolve().parents[1]
    home = repository if (repository / "notebooks").is_dir() else Path.cwd()
    return home / profile_named(profile).folder


def run_folder(dataset: str, model: str, profile: str = "full") -> Path:
    return root(profile) / "results" / dataset / model


def model_file(dataset: str, model: str, profile: str = "full") -> Path:
    return root(profile) / "models" / f"{model}-{dataset}.keras"


@dataclass(frozen=True)
class Run:
    """A trained and evaluated model: the files it left.

    Attributes:
        folder: `results/<data set>/<model>`.
        file: the saved model, `models/<model>-<data set>.keras`; not there for the baseline.
    """

    folder: Path
    file: Path

    @property
    def metrics(self) -> dict:
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end and measured."""
        return (self.folder / "metrics.json").exists() and not (self.folder / "checkpoint").exists()

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def predictions(self) -> Predictions:
        """Of the test split."""
        return Predictions.read(self.folder / "predictions.csv")

    @property
    def validation(self) -> Predictions:
        return Predictions.read(self.folder / "predictions_validation.csv")

    @property
    def digest(self) -> int:
        """A checksum of the saved weights: what was computed of this model is out of date once it changes."""
        with zipfile.ZipFile(self.file) as file:
            return file.getinfo("model.weights.h5").CRC

    def load(self) -> keras.Model:
        """The saved model, as stock Keras loads it.

        Raises:
            FileNotFoundError: only what was measured of it is there; says what to type to make it again.
        """
        if not self.file.exists():
            raise FileNotFoundError(
                f"There is no {self.file.name} in models/: of this run, only the results are kept. "
                f"To make it again: {self.command()}"
            )
        return keras.models.load_model(self.file, compile=False)

    def about(self) -> str:
        """On what, when and how long it was trained, in a sentence."""
        found = self.metrics
        training = found["training"]
        if "members" in found:
            shares = (f"{weight:.0%} {name}" for name, weight in found["members"].items())
            return f"{found['title']}: {', '.join(shares)}."
        if "trained_by" in found:
            return f"{found['title']}: trained by {found['trained_by']}."
        if not training:
            return f"{found['title']}, fitted to {found['split_sizes']['train']:,} pictures on {found['hardware']}."
        epochs = evaluation.counted(training["epochs_trained"], "epoch")
        rounded = "" if training["precision"] == "float32" else f" in {training['precision'].replace('_', ' ')}"
        return (
            f"{found['title']}: trained on {training['training_pictures']:,} pictures at {training['input_size']} px "
            f"for {epochs} (the best was epoch {training['best_epoch']}), "
            f"{training['seconds'] / 60:.0f} minutes on {training['hardware']} with {training['backend']}{rounded}, "
            f"seed {training['seed']}, finished {training['finished'][:10]}."
        )

    def command(self) -> str:
        """What to type to make it again, and behind a # what the command line cannot do of it."""
        found = self.metrics
        training, dataset, seed = found["training"], found["dataset"], found["seed"]
        quick = ["--profile quick"] if self.folder == run_folder(dataset, self.folder.name, "quick") else []
        if "members" in found:
            first, *others = (Run(self.folder.parent / name, self.file) for name in found["members"])
            stem = first.folder.name.removesuffix("-s0")
            if [run.folder.name for run in (first, *others)] == [f"{stem}-s{k}" for k in range(1 + len(others))]:
                return first._seeded(1 + len(others))
            return " ".join([f"python -m emotions leaderboard --data {dataset}", *quick])
        if "trained_by" in found:
            return f"python -m emotions peers FOLDER --data {dataset}"
        name, weights = found.get("architecture", found["model"]), found.get("weights")
        options = quick + [VARIANTS[words].option for words in found.get("variants", ())]
        missing = [] if dataset in NAMES else [f"{dataset} is none of the package's data sets: bring its pictures"]
        if word := own_word(found):
            options.append(f"--suffix {word}")
        if seed or found.get("suffix", "").endswith("-s0"):
            options.append(f"--seed {seed}")
        if training:
            options += [f"--size {training['input_size']}", f"--epochs {' '.join(map(str, training['epochs']))}"]
            usual, recipe = models.find(name).recipe_with(weights), training["recipe"]
            if recipe["batch_size"] != usual.batch_size:
                options.append(f"--batch-size {recipe['batch_size']}")
            if (mixed := training["precision"] != "float32") == training["hardware"].startswith("CPU"):
                options.append("--mixed-precision" if mixed else "--no-mixed-precision")
            if _unreachable(recipe) != _unreachable(dataclasses.asdict(usual)):
                missing.append("its recipe was another one: training.json")
        if weights:
            options.append(f"--weights {weights}")
        line = " ".join([f"python -m emotions train {name} --data {dataset}", *options])
        return "  # ".join([line, "; ".join(missing)] if missing else [line])

    def _seeded(self, seeds: int) -> str:
        """The command that trains with several seeds, of which this is the first."""
        line, training = self.command().replace("--seed 0", f"--seeds {seeds}"), self.metrics["training"]
        if not training["minutes"]:
            return line
        # The number of epochs that the budget gave is no choice of its own: what is there would differ in it.
        return line.replace(f"--epochs {' '.join(map(str, training['epochs']))}", f"--minutes {training['minutes']:g}")


def _unreachable(recipe: dict) -> dict:
    """What of a recipe no option of the command line changes."""
    phases = [{key: value for key, value in phase.items() if key != "epochs"} for phase in recipe["phases"]]
    return recipe | {"phases": phases, "batch_size": None}


def saved(dataset: str, profile: str = "full") -> dict[str, Run]:
    """The evaluated runs of a data set, by name."""
    names = sorted(path.parent.name for path in (root(profile) / "results" / dataset).glob("*/metrics.json"))
    return {name: Run(run_folder(dataset, name, profile), model_file(dataset, name, profile)) for name in names}


def obtain(
    name: str, dataset: Dataset, *, suffix: str = "", profile: str = "full", train: bool = False, **options
) -> Run:
    """The saved run of a model on a data set; trained now if there is none, or not to its end, or if `train` says so.

    Args:
        name, suffix, options: as in `run`.
    """
    made = Run(run_folder(dataset.name, name + suffix, profile), model_file(dataset.name, name + suffix, profile))
    if train or not made.finished:
        run(name, dataset, suffix=suffix, profile=profile, **options)
    return made


def kept(file: Path, of: dict | None, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table that takes long to compute: read back while what it was made of stays the same.

    Args:
        file: where it is kept, a `.csv`; the `.json` beside it holds `of`.
        of: what it was made of; None takes the table that is there.
        compute: makes the table.
    """
    made_of = file.with_suffix(".json")
    there = file.exists() and made_of.exists()
    if not there or of not in (None, json.loads(made_of.read_text(encoding="utf-8"))):
        table = compute()
        file.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(new := file.with_suffix(".new"), index=False, float_format="%.4g", lineterminator="\n")
        new.replace(file)
        made_of.write_text(json.dumps(of, indent=2) + "\n", encoding="utf-8", newline="\n")
    return pd.read_csv(file)


def scaled(dataset: Dataset, profile: str = "full", seed: int = 0) -> Dataset:
    """The data set as a profile uses it: all of it, or a stratified part of each split."""
    chosen = profile_named(profile)
    limits = {"train": chosen.train, "validation": chosen.held_out, "test": chosen.held_out}
    return dataclasses.replace(
        dataset, **{name: part(split, limits[name], seed) for name, split in dataset.splits().items()}
    )


def part(split: Split, most: int | None, seed: int = 0) -> Split:
    """At most `most` pictures of a split, in order, in the proportions of its classes to within one picture."""
    if most is None or len(split) <= most:
        return split
    shuffled = np.random.default_rng(seed).permutation(len(split))
    by_class = shuffled[np.argsort(split.labels[shuffled], kind="stable")]
    # Evenly spaced over all, class after class, each class is hit in proportion; the smallest need not be.
    chosen = by_class[np.arange(most) * len(split) // most]
    return split.take(np.sort(chosen))


def scaled_recipe(recipe: Recipe, profile: str = "full") -> Recipe:
    """The recipe with no phase longer than the profile allows."""
    most = profile_named(profile).epochs
    if most is None:
        return recipe
    return dataclasses.replace(
        recipe, phases=tuple(dataclasses.replace(p, epochs=min(p.epochs, most)) for p in recipe.phases)
    )


def input_size(name: str, profile: str = "full", size: int | None = None) -> int:
    """The side, in pixels, at which a model of the registry looks at pictures in a profile."""
    size = size or models.find(name).size
    return min(size, profile_named(profile).size or size)


def run(
    name: str,
    dataset: Dataset,
    *,
    profile: str = "full",
    suffix: str = "",
    size: int | None = None,
    weights: str | Path | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    minutes: float | None = None,
    mixed_precision: bool | None = None,
    keep_model: bool = True,
    again: bool = True,
    track: str | None = None,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
    verbose: int | str = "auto",
) -> dict:
    """Build, train, evaluate and save a model of the registry, and draw its figures.

    Args:
        name: a key of `models.MODELS`, or "logistic-regression".
        dataset: see `datasets.load`.
        suffix: added to the name of the run, as "-all" or "-s1"; see `variants.suffix`.
        size, weights: as in `models.build`.
        recipe, seed, minutes, callbacks, verbose: as in `training.train`.
        mixed_precision: see `backend.mixed_precision`; the saved model is in float32 either way.
        keep_model: whether to write the `.keras` file, and its model card, too.
        again: whether to train again what has been trained to its end.
        track: "tensorboard" or "wandb" records the training there, too; see `tracking`.

    Returns:
        the content of the run's `metrics.json`.

    Raises:
        ValueError: what is there, to its end if not `again` or interrupted, was trained by other choices.
    """
    dataset = scaled(dataset, profile)
    folder = run_folder(dataset.name, name + suffix, profile)
    if name == BASELINE:
        if track:
            raise ValueError(f"{BASELINE} has no epochs that {track} could track.")
        return run_baseline(dataset, folder, suffix)
    architecture = models.find(name)
    recipe = scaled_recipe(recipe or architecture.recipe_with(weights), profile)
    minutes = None if profile_named(profile).epochs else minutes  # a profile's few epochs are its budget
    with backend.mixed_precision(mixed_precision) as mixed:
        keras.utils.set_random_seed(seed)
        model = models.build(name, len(dataset.class_names), input_size(name, profile, size), weights)
        made_of = {"architecture": name, "suffix": suffix, "weights": weights_named(weights)}
        facts = made_of | {"recipe_epochs": architecture.epochs_with(weights)}
        epochs = [phase.epochs for phase in recipe.phases]
        config = training.describe(model, dataset, recipe, seed, minutes, epochs, facts)
        there = Run(folder, model_file(dataset.name, name + suffix, profile))
        if not again and there.finished:
            if choice := training.differing(there.metrics["training"], config):
                raise ValueError(f"{folder} was trained with another {choice}: ask for the same, or remove it.")
            return there.metrics
        with tracking.tracking(track, f"{dataset.name}/{name}{suffix}", config, root(profile)) as trackers:
            training.train(
                model,
                dataset,
                recipe,
                folder,
                seed=seed,
                minutes=minutes,
                callbacks=(*trackers, *callbacks),
                verbose=verbose,
                keep_checkpoint=True,
                facts=facts,
            )
        if mixed:
            model = models.in_float32(model)
    file = model_file(dataset.name, name + suffix, profile)
    if keep_model:
        # What is measured is what a user will load: the light file, read back.
        models.save(model, file, {"class_names": dataset.class_names})
        model = keras.models.load_model(file, compile=False)
        made_of["digest"] = there.digest
    else:
        for old in (file, file.with_suffix(".md")):  # of an earlier training: it would not fit these results
            old.unlink(missing_ok=True)
    title = ", ".join([architecture.title_with(weights), *dataset.variants])
    found = evaluation.evaluate(model, dataset, folder, title=title, **made_of, variants=list(dataset.variants))
    plots.draw_run(folder)
    if keep_model:
        cards.write(cards.of(file, folder))
    training.forget(folder)
    return found


def time_again(folder: str | Path) -> None:
    """Time one picture through each network of `results/<data set>` again, in a row, so that times can be compared.

    Weights make no difference, so the architectures are built anew. Left out are runs that no recipe made.
    """
    for path in sorted(Path(folder).glob("*/metrics.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if record := found["training"]:
            keras.utils.clear_session()
            name = found.get("architecture", found["model"])
            model = models.build(name, len(found["class_names"]), record["input_size"])
            found["seconds_per_picture"] = evaluation.seconds_per_picture(model, record["picture_size"])
            found["timed_on"] = backend.hardware()
            training.write(path, json.dumps(found, indent=2) + "\n")


def weights_named(weights: str | Path | None) -> str | None:
    """What a run says of its pretrained weights: a file's or folder's own name, or the whole name on a hub."""
    if weights is None:
        return None
    return Path(weights).name if Path(weights).exists() else str(weights)


def run_baseline(dataset: Dataset, folder: str | Path, suffix: str = "", components: int = 150) -> dict:
    """The trivial baseline of every table: logistic regression on the principal components of grey pixels."""

    def pixels(split: Split) -> np.ndarray:
        return np.asarray(split.images, "float32").mean(axis=-1).reshape(len(split), -1) / 255

    train = pixels(dataset.train)
    classifier = make_pipeline(
        PCA(min(components, len(train) - 1), random_state=0),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    classifier.fit(train, dataset.train.labels)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, file in ((dataset.validation, "predictions_validation.csv"), (dataset.test, "predictions.csv")):
        probabilities = np.zeros((len(split), len(dataset.class_names)))
        probabilities[:, classifier.classes_] = classifier.predict_proba(pixels(split))  # those seen in training
        Predictions(dataset.class_names, split.ids, split.labels, probabilities).save(folder / file)
    weights = classifier[-1].coef_.size + classifier[-1].intercept_.size + classifier[0].components_.size
    made_of = {"architecture": BASELINE, "suffix": suffix, "variants": list(dataset.variants)}
    return evaluation.report(folder, dataset, title="Logistic regression", parameters=int(weights), seed=0, **made_of)
