"""A run from start to end at its smallest scale: which files it leaves, that they agree, and where they lie."""

import dataclasses
import hashlib
import json
import shlex
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, blobs
from sklearn.metrics import accuracy_score

from emotions import backend, cli, runs
from emotions.data import loading as datasets
from emotions.data import Dataset, Split
from emotions.data.variants import VARIANTS
from emotions.evaluation import calibration
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions
from emotions.models import registry as models
from emotions.predict import classifier as inference
from emotions.training.recipes import Phase, Recipe

BRIEF = Recipe(phases=(Phase(epochs=5, learning_rate=1e-3), Phase(epochs=1, learning_rate=1e-4)), batch_size=32)

SHORTEST = dataclasses.replace(BRIEF, phases=BRIEF.phases[1:])


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A repository of its own, with nothing in it yet."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "emotions" / "runs.py"))
    return tmp_path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The quick profile, with figures of these tests' own."""
    small = dataclasses.replace(runs.PROFILES["quick"], train=640, held_out=200, epochs=2, size=64)
    monkeypatch.setitem(runs.PROFILES, "quick", small)


@pytest.fixture
def larger(easy_dataset):
    """More training and test pictures than the quick profile uses, in classes of different size."""
    labels = np.repeat([0, 1, 2], [450, 150, 120])
    train, test = blobs(720, 3, 24, seed=1), blobs(240, 3, 24, seed=3)
    train = train.take(np.argsort(train.labels, kind="stable"))  # 240 of each
    train = train.take(
        np.concatenate([np.resize(np.flatnonzero(train.labels == k), (labels == k).sum()) for k in range(3)])
    )
    train = dataclasses.replace(train, ids=np.array([f"train_{i:04d}" for i in range(720)]))
    return dataclasses.replace(easy_dataset, train=train, test=test)


def files(folder: Path) -> dict[str, str]:
    """Digest by file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# Whole runs


def test_a_quick_run_leaves_everything_in_its_own_place(home, easy_dataset):
    found = runs.run("lenet", easy_dataset, profile="quick", suffix="-s3", seed=3, verbose=0)
    made_of = {"architecture": "lenet", "suffix": "-s3", "weights": None, "variants": []}
    assert found.items() >= made_of.items()
    assert found["training"].items() >= (made_of | {"recipe_epochs": 10, "epochs_trained": 2}).items()
    folder = "build/quick/results/easy"
    names = [
        "confusion_matrix.png",
        "history.csv",
        "metrics.json",
        "predictions.csv",
        "predictions_tta.csv",
        "predictions_validation.csv",
        "predictions_validation_tta.csv",
        "training.json",
        "training_accuracy_loss.png",
    ]
    expected = [f"{folder}/lenet-s3/{name}" for name in names]
    assert sorted(files(home)) == sorted(
        [
            *expected,
            f"{folder}/copied_in_training.csv",
            *(f"build/quick/models/lenet-s3-easy.{end}" for end in ("keras", "md")),
        ]
    )
    assert json.loads((home / folder / "lenet-s3" / "metrics.json").read_text()) == found
    assert (found["dataset"], found["model"], found["title"], found["seed"]) == ("easy", "lenet-s3", "LeNet", 3)
    assert found["split_sizes"] == {"train": 96, "validation": 32, "test": 40}
    assert found["training_seconds"] > 0
    assert found["backend"] == backend.version() and found["hardware"] == backend.hardware()
    assert found["training"]["input_size"] == 64
    assert found["parameters"] == models.build("lenet", 3, size=64).count_params()
    assert found["test_leak_free"]["n"] == 38
    history = pd.read_csv(home / folder / "lenet-s3" / "history.csv")
    assert history["epoch"].tolist() == [1, 2]

    # What was measured is what a user loads: with stock Keras, from the light file.
    file = home / "build/quick/models/lenet-s3-easy.keras"
    model = keras.models.load_model(file)
    measured = {"predictions.csv": easy_dataset.test, "predictions_validation.csv": easy_dataset.validation}
    for name, split in measured.items():
        saved = Predictions.read(home / folder / "lenet-s3" / name)
        assert saved.ids.tolist() == split.ids.tolist() and saved.labels.tolist() == split.labels.tolist()
        np.testing.assert_allclose(model.predict(split.images, verbose=0), saved.probabilities, atol=2e-5)
    # And it is the best of the trained ones, not the last nor a fresh one.
    assert found["validation"]["accuracy"] == pytest.approx(history["val_accuracy"].max(), abs=0.04)
    card = models.read_card(file)
    relied = {"abstention": card["abstention"]}
    assert card == json.loads(json.dumps(evaluation.card(found, card["temperature"]) | relied))
    assert card["test"]["accuracy"] == found["test"]["accuracy"]

    # Who uses it gets calibrated probabilities; the files hold the model's own.
    validation = Predictions.read(home / folder / "lenet-s3" / "predictions_validation.csv")
    test = Predictions.read(home / folder / "lenet-s3" / "predictions.csv")
    assert card["temperature"] == pytest.approx(calibration.fit_temperature(validation), abs=1e-4)
    calibrated = inference.load(file).probabilities(list(easy_dataset.test.images))
    np.testing.assert_allclose(calibrated, calibration.temper(test, card["temperature"]).probabilities, atol=1e-3)
    assert np.abs(calibrated - test.probabilities).max() > 1e-3


def test_quick_never_touches_full_results(home, easy_dataset):
    full = runs.run("lenet", easy_dataset, size=16, recipe=SHORTEST, verbose=0)
    before = files(home)
    assert {"results/easy/lenet/metrics.json", "models/lenet-easy.keras"} <= set(before)
    assert not any(name.startswith("build") for name in before)
    assert full["training"]["input_size"] == 16
    runs.run("lenet", easy_dataset, profile="quick", size=24, recipe=SHORTEST, seed=1, verbose=0)
    after = files(home)
    assert {name: digest for name, digest in after.items() if not name.startswith("build/quick/")} == before
    assert {name.removeprefix("build/quick/") for name in after if name.startswith("build")} == set(before)


def test_the_file_of_a_model_may_be_left_out(home, easy_dataset):
    runs.run("lenet", easy_dataset, profile="quick", size=16, recipe=SHORTEST, keep_model=False, verbose=0)
    assert "build/quick/results/easy/lenet/metrics.json" in files(home)
    assert not list(home.rglob("*.keras"))


def test_the_baseline_learns_what_is_easy_and_is_measured_like_a_model(home, easy_dataset):
    found = runs.run(runs.BASELINE, easy_dataset, profile="quick")
    folder = home / "build/quick/results/easy"
    assert sorted(path.name for path in (folder / runs.BASELINE).iterdir()) == [
        "metrics.json",
        "predictions.csv",
        "predictions_validation.csv",
    ]
    assert found["test"]["accuracy"] > 0.9
    assert json.loads((folder / runs.BASELINE / "metrics.json").read_text()) == found
    assert (found["model"], found["title"], found["seed"]) == ("logistic-regression", "Logistic regression", 0)
    assert found["parameters"] == 3 * 95 + 3 + 95 * 24 * 24  # weights and biases of 95 components, each of all pixels
    assert found["test_leak_free"]["n"] == 38
    saved = Predictions.read(folder / runs.BASELINE / "predictions.csv")
    assert saved.ids.tolist() == easy_dataset.test.ids.tolist()
    assert accuracy_score(easy_dataset.test.labels, saved.predicted) == found["test"]["accuracy"]


def test_the_baseline_gives_a_class_that_it_never_saw_no_chance(home, easy_dataset):
    without = easy_dataset.train.take(easy_dataset.train.labels != 1)
    runs.run(runs.BASELINE, dataclasses.replace(easy_dataset, train=without), profile="quick")
    saved = Predictions.read(home / "build/quick/results/easy" / runs.BASELINE / "predictions.csv")
    assert (saved.probabilities[:, 1] == 0).all()
    others = saved.labels != 1
    assert (saved.predicted == saved.labels)[others].mean() > 0.9


def test_a_saved_run_is_obtained_without_training_again(home, easy_dataset):
    made = runs.obtain(runs.BASELINE, easy_dataset, profile="quick")
    before = files(home)
    again = runs.obtain(runs.BASELINE, easy_dataset, profile="quick")
    assert files(home) == before
    assert again == made and made.folder == home / "build/quick/results/easy" / runs.BASELINE
    assert made.metrics["test"]["accuracy"] == (made.predictions.predicted == made.predictions.labels).mean()
    assert len(made.predictions) == 40 and len(made.validation) == 32
    assert "96 pictures" in made.about()
    (made.folder / "predictions.csv").unlink()
    runs.obtain(runs.BASELINE, easy_dataset, profile="quick", train=True)
    assert len(made.predictions) == 40


# What a profile changes


def test_quick_uses_part_of_each_split_and_full_all_of_it(home, larger):
    quick = runs.scaled(larger, "quick")
    sizes = {"train": 640, "validation": 32, "test": 200}
    assert {name: len(split) for name, split in quick.splits().items()} == sizes
    assert runs.run(runs.BASELINE, larger, profile="quick")["split_sizes"] == sizes
    assert (quick.name, quick.class_names, quick.copied) == (larger.name, larger.class_names, larger.copied)
    for name, split in runs.scaled(larger, "full").splits().items():
        assert split is larger.splits()[name]


@pytest.mark.parametrize("most", [640, 100, 7, 719])
def test_a_part_keeps_order_pairs_and_the_proportions_of_the_classes(larger, most):
    whole = larger.train.take(np.random.default_rng(0).permutation(720))
    targets = np.random.default_rng(1).dirichlet([1, 1, 1], size=720).astype("float32")
    whole = dataclasses.replace(whole, targets=targets)
    found = runs.part(whole, most)
    assert len(found) == most
    position = {name: k for k, name in enumerate(whole.ids)}
    rows = np.array([position[name] for name in found.ids])
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(found.images, whole.images[rows])
    np.testing.assert_array_equal(found.labels, whole.labels[rows])
    np.testing.assert_array_equal(found.targets, targets[rows])
    assert np.abs(np.bincount(found.labels, minlength=3) - most * np.array([450, 150, 120]) / 720).max() < 1
    assert runs.part(whole, most).ids.tolist() == found.ids.tolist()
    if most < 700:
        assert runs.part(whole, most, seed=1).ids.tolist() != found.ids.tolist()


def test_a_split_that_is_small_enough_stays_as_it_is(easy_dataset):
    assert runs.part(easy_dataset.test, 40) is easy_dataset.test
    assert runs.part(easy_dataset.test, None) is easy_dataset.test


def test_a_class_of_one_picture_does_not_stop_the_quick_profile():
    split = Split(np.zeros((203, 8, 8, 3), np.uint8), np.array([0] * 202 + [1]), np.arange(203).astype(str))
    assert len(runs.part(split, 200)) == 200


def test_quick_shortens_long_phases_only():
    quick = runs.scaled_recipe(BRIEF, "quick")
    assert [phase.epochs for phase in quick.phases] == [2, 1]
    assert [phase.learning_rate for phase in quick.phases] == [1e-3, 1e-4]
    assert quick.batch_size == 32
    assert runs.scaled_recipe(BRIEF, "full") == BRIEF


# Where things are


def test_names_become_places(home):
    assert runs.run_folder("fer2013", "lenet-s1").resolve() == home / "results/fer2013/lenet-s1"
    assert runs.model_file("fer2013", "lenet-s1").resolve() == home / "models/lenet-s1-fer2013.keras"
    assert runs.run_folder("fer2013", "lenet", "quick") == home / "build/quick/results/fer2013/lenet"
    assert runs.model_file("fer2013", "lenet", "quick") == home / "build/quick/models/lenet-fer2013.keras"


def test_without_a_repository_the_current_directory_takes_its_place(home, tmp_path, monkeypatch):
    (home / "notebooks").rmdir()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    assert runs.root("quick") == elsewhere / "build/quick"


def test_unknown_names_are_named_with_what_there_is(home, easy_dataset):
    with pytest.raises(ValueError, match="no profile named 'fast'; there are full, quick"):
        runs.run("lenet", easy_dataset, profile="fast")
    with pytest.raises(ValueError, match=r"no model named 'lenett'\. Did you mean 'lenet'"):
        runs.run("lenett", easy_dataset, profile="quick")
    assert files(home) == {}


def test_mixed_precision_ends_with_the_training(home, easy_dataset):
    found = runs.run("lenet", easy_dataset, profile="quick", recipe=SHORTEST, mixed_precision=True, verbose=0)
    assert found["training"]["precision"] == "mixed_bfloat16"
    assert keras.mixed_precision.global_policy().name == "float32"
    model = keras.models.load_model(runs.model_file(easy_dataset.name, "lenet", "quick"))
    assert model.get_layer("conv_1").dtype_policy.name == "float32"


def recorded(folder, architecture="lenet", dataset="fer2013", weights=None, recipe=None, **choices) -> runs.Run:
    """A run folder with what a training records of its choices, and nothing else."""
    recipe = recipe or models.find(architecture).recipe_with(weights)
    choices = {"suffix": "", "variants": [], "seed": 0} | choices
    usual = {"input_size": 96, "minutes": None, "epochs": [phase.epochs for phase in recipe.phases],
             "precision": "float32", "hardware": "CPU, 2 cores", "recipe": dataclasses.asdict(recipe)}  # fmt: skip
    record = {key: choices.pop(key, value) for key, value in usual.items()}
    found = {"dataset": dataset, "architecture": architecture, "model": architecture + choices["suffix"],
             "weights": weights, "training": record, **choices}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(found))
    return runs.Run(folder, folder / "none.keras")


def trained_by(command: str, monkeypatch) -> dict:
    """What the command line would train: the arguments of `runs.run`, the variants among them."""
    asked = {}

    def load(name, path, **options):
        variants = tuple(words for words, variant in VARIANTS.items() if options[variant.argument])
        return Dataset(name, (), None, None, None, variants=variants)

    def run(architecture, dataset, **options):
        asked.update(options, architecture=architecture, dataset=dataset.name, variants=list(dataset.variants))
        return {"title": "", "dataset": "", "test": {"accuracy": 0, "accuracy_interval": (0, 0), "n": 0}}

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(runs, "run", run)
    words = shlex.split(command, comments=True)
    assert words[:4] == ["python", "-m", "emotions", "train"]
    assert cli.main(words[3:]) == 0
    return asked


def assert_made_again(run: runs.Run, monkeypatch):
    found = run.metrics
    training, asked = found["training"], trained_by(run.command(), monkeypatch)
    for choice in ("architecture", "dataset", "suffix", "variants", "seed", "weights"):
        assert asked[choice] == found.get(choice), choice
    if training and "its recipe was another one" not in run.command():
        recipe = json.loads(json.dumps(dataclasses.asdict(asked["recipe"])))
        for phase, epochs in zip(training["recipe"]["phases"], training["epochs"], strict=True):
            phase["epochs"] = epochs  # where a budget of minutes shortened them
        assert recipe == training["recipe"] and asked["minutes"] is None
        assert asked["size"] == training["input_size"]


SAVED = sorted((REPOSITORY / "results").glob("*/*/training.json"))


@pytest.mark.parametrize("file", SAVED, ids=lambda file: "/".join(file.parts[-3:-1]))
def test_committed_runs_name_the_command_that_makes_them_again(file, monkeypatch):
    assert_made_again(runs.Run(file.parent, file), monkeypatch)


@pytest.mark.parametrize(
    "choices",
    [
        {"suffix": "-wide"},
        {"suffix": "-all-clean-wide-s3", "variants": ["copies kept", "cleaned"], "seed": 3},
        {"suffix": "-s0"},
        {"suffix": "-all"},  # a word of the user's own: no copies were kept
        {"architecture": "mobilenetv2", "weights": "imagenet", "minutes": 30.0, "epochs": [1, 4]},
        {"recipe": dataclasses.replace(models.find("lenet").recipe, batch_size=7)},
    ],
    ids=str,
)
def test_a_run_names_the_command_that_makes_it_again(tmp_path, monkeypatch, choices):
    assert_made_again(recorded(tmp_path, **choices), monkeypatch)


def test_a_precision_other_than_the_machine_would_choose_is_asked_for(tmp_path):
    gpu = {"hardware": "NVIDIA H200"}
    assert recorded(tmp_path, precision="mixed_bfloat16").command().endswith(" --mixed-precision")
    assert recorded(tmp_path, **gpu).command().endswith(" --no-mixed-precision")
    assert "mixed" not in recorded(tmp_path).command()
    assert "mixed" not in recorded(tmp_path, precision="mixed_bfloat16", **gpu).command()


def test_a_command_says_what_it_cannot_do(tmp_path):
    assert "#" not in recorded(tmp_path).command()
    assert "# noisy is none of the package's data sets" in recorded(tmp_path, dataset="noisy").command()
    other = dataclasses.replace(models.find("lenet").recipe, clip=1.0)
    assert "# its recipe was another one" in recorded(tmp_path, recipe=other).command()


def test_what_was_not_trained_names_what_makes_it(tmp_path):
    assert recorded(tmp_path, members={"a": 1}).command() == "python -m emotions leaderboard --data fer2013"
    assert recorded(tmp_path, trained_by="others").command() == "python -m emotions peers FOLDER --data fer2013"
    for seed in (0, 1):
        (member := tmp_path / f"lenet-all-s{seed}").mkdir()
        recorded(member, suffix=f"-all-s{seed}", seed=seed, variants=["copies kept"])
    (ensemble := tmp_path / "ensemble-lenet-all").mkdir()
    seeds = recorded(ensemble, members={"lenet-all-s0": 0.5, "lenet-all-s1": 0.5})
    again = runs.Run(tmp_path / "lenet-all-s0", tmp_path).command().replace("--seed 0", "--seeds 2")
    assert seeds.command() == again and "--keep-copies --seeds 2" in again
    mixed = recorded(ensemble, members={"lenet-all-s0": 0.5, "resnet34": 0.5})
    assert mixed.command() == "python -m emotions leaderboard --data fer2013"


def test_seeds_with_a_time_budget_are_made_again_with_it(tmp_path):
    """The epochs that it gave are no choice: where the first seed is, its own command would ask for other ones."""
    for seed in (0, 1):
        (member := tmp_path / f"lenet-s{seed}").mkdir()
        recorded(member, suffix=f"-s{seed}", seed=seed, minutes=30.0 if seed == 0 else None, epochs=[7])
    (ensemble := tmp_path / "ensemble-lenet").mkdir()
    command = recorded(ensemble, members={"lenet-s0": 0.5, "lenet-s1": 0.5}).command()
    assert "--seeds 2" in command and "--minutes 30" in command and "--epochs" not in command


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_a_run_is_made_again_in_its_own_profile(home, monkeypatch, profile):
    folder = runs.run_folder("fer2013", "lenet", profile)
    folder.mkdir(parents=True)
    assert trained_by(recorded(folder).command(), monkeypatch)["profile"] == profile


def test_a_run_without_its_model_says_how_to_make_it(tmp_path):
    run = recorded(tmp_path, "resnet34", input_size=64, epochs=[4])
    with pytest.raises(FileNotFoundError, match="emotions train resnet34 --data fer2013 --size 64 --epochs 4"):
        run.load()


def test_weights_are_named_without_the_place_of_a_file_and_with_the_owner_on_a_hub(tmp_path):
    (file := tmp_path / "base.weights.h5").touch()
    assert runs.weights_named(file) == "base.weights.h5"
    assert runs.weights_named("owner/model") == "owner/model"
    assert runs.weights_named(None) is None


def test_a_training_is_not_lost_when_what_comes_after_it_fails(home, easy_dataset, monkeypatch):
    def go(counted=()):
        return runs.run("lenet", easy_dataset, profile="quick", recipe=SHORTEST, callbacks=counted, verbose=0)

    with monkeypatch.context() as patch:
        patch.setattr(models, "save", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        with pytest.raises(OSError, match="disk is full"):
            go()
    folder = runs.run_folder("easy", "lenet", "quick")
    trained = (folder / "history.csv").read_text()
    epochs = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    found = go((count,))
    assert not epochs and (folder / "history.csv").read_text() == trained
    assert found["test"]["n"] == len(runs.scaled(easy_dataset, "quick").test)
    assert not (folder / "checkpoint").exists()


def test_a_quick_run_stays_quick_whatever_the_budget(home, easy_dataset):
    runs.run("lenet", easy_dataset, profile="quick", recipe=SHORTEST, minutes=600, keep_model=False, verbose=0)
    assert len(runs.Run(runs.run_folder("easy", "lenet", "quick"), home).history) <= runs.PROFILES["quick"].epochs


def test_networks_are_timed_again_in_a_row_and_nothing_else_of_a_run_changes(tmp_path):
    record = {"input_size": 48, "picture_size": [48, 48]}
    facts = {"class_names": ["happy", "sad"], "seconds_per_picture": 9.0, "timed_on": "an old machine", "n": 7,
             "architecture": "lenet"}  # fmt: skip
    for name, trained in {"lenet-all-s1": record, "logistic-regression": {}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps({"model": name, "training": trained, **facts}))
    runs.time_again(tmp_path)
    files = (tmp_path / name / "metrics.json" for name in ("lenet-all-s1", "logistic-regression"))
    timed, left = (json.loads(file.read_text()) for file in files)
    assert 0 < timed.pop("seconds_per_picture") < 9 and timed.pop("timed_on") == backend.hardware()
    changing = ("seconds_per_picture", "timed_on")
    same = {name: fact for name, fact in facts.items() if name not in changing}
    assert timed == {"model": "lenet-all-s1", "training": record, **same}
    assert left == {"model": "logistic-regression", "training": {}, **facts}
