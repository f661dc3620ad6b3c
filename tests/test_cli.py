"""Commands do what the functions do, say so on standard output, and answer a mistake with one sentence."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, blobs
from PIL import Image
from synthetic_runs import write_run

from emotions import cli, runs
from emotions.data import loading as datasets
from emotions.data import synthetic
from emotions.data import Dataset
from emotions.data.variants import VARIANTS
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions
from emotions.models import registry as models
from emotions.training import fit as training

COMMANDS = ("data", "train", "ablate", "speed", "evaluate", "peers", "predict", "leaderboard", "cards", "notebooks")


def easy(class_names=("angry", "happy", "sad")) -> Dataset:
    train, validation, test = (blobs(n, 3, 24, seed) for seed, n in enumerate((96, 32, 40), start=1))
    return Dataset("easy", class_names, train, validation, test, notes=("A note.",))


def settle(patch, home) -> list:
    """Make `home` the repository and every data set an easy one; returns the list of what will be loaded."""
    asked = []

    def load(name, path=None, **options):
        asked.append((name, path, options))
        took_effect = tuple(words for words, variant in VARIANTS.items() if options.get(variant.argument))
        return replace(easy(), variants=took_effect)

    patch.setattr(runs, "__file__", str(home / "emotions" / "runs.py"))
    patch.setattr(datasets, "load", load)
    return asked


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A repository with a small LeNet and the baseline, trained by two commands, and which data they loaded."""
    home = tmp_path_factory.mktemp("repository")
    (home / "notebooks").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        asked = settle(patch, home)
        lenet = ["train", "lenet", "--profile", "quick", "--size", "24", "--epochs", "1", "--batch-size", "32", "--log"]
        assert cli.main([*lenet, "--data", "easy", "--path", "somewhere", "--seed", "4"]) == 0
        variants = ["--keep-copies", "--clean", "--soft-labels", "--suffix", "x"]
        assert cli.main(["train", "logistic-regression", "--profile", "quick", *variants]) == 0
    return home, asked


@pytest.fixture
def home(trained, tmp_path, monkeypatch):
    """A copy of that repository."""
    home = shutil.copytree(trained[0], tmp_path / "repository")
    settle(monkeypatch, home)
    return home


@pytest.fixture
def results(home):
    return home / "build/quick/results/easy"


@pytest.fixture
def file(home):
    return home / "build/quick/models/lenet-s4-easy.keras"


def mistake(arguments, capsys) -> str:
    """The one sentence with which a command refuses."""
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("emotions: ")
    return lines[0].removeprefix("emotions: ")


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(f"usage: python -m emotions {command} ")
    assert " ".join(getattr(cli, command).__doc__.split()[:8]) in shown


def test_the_program_starts_quickly_and_lists_its_commands():
    """Help needs no Keras: nobody waits for it."""
    command = [sys.executable, "-X", "importtime", "-m", "emotions", "--help"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0
    assert "emotions.cli" in run.stderr and "keras" not in run.stderr
    for command in COMMANDS:
        assert re.search(rf"^    {command}\b", run.stdout, re.MULTILINE)


@pytest.mark.parametrize("arguments", [[], ["trian"], ["train"], ["train", "lenet", "--profile", "fast"],
                                       ["train", "lenet", "--seed", "one"]], ids=" ".join)
def test_wrong_usage_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(arguments)
    assert "usage: python -m emotions" in capsys.readouterr().err


def test_the_status_reaches_the_shell():
    run = subprocess.run([sys.executable, "-m", "emotions", "data", "--data", "fer2031"], cwd=REPOSITORY,
                         capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stdout == ""
    assert 'Unknown data set "fer2031"; did you mean "fer2013"?' in run.stderr and "Traceback" not in run.stderr


# data


def test_data_prints_notes_and_counts_and_audits_on_request(monkeypatch, capsys):
    made = synthetic.load(train=140, validation=35, test=70, size=32, duplicates=0.1)
    monkeypatch.setattr(synthetic, "load", lambda seed: made)
    assert cli.main(["data"]) == 0
    plain = capsys.readouterr().out
    assert all(note in plain for note in made.notes)
    header, *rows = [line.split() for line in plain.splitlines()[-4:]]
    assert header == list(made.class_names)
    for (name, *counts), split in zip(rows, made.splits().items(), strict=True):
        assert (name, list(map(int, counts))) == (split[0], np.bincount(split[1].labels).tolist())
    assert cli.main(["data", "--audit"]) == 0
    audited = capsys.readouterr().out
    assert audited.startswith(plain)
    assert len(made.copied) == 7 and "test pictures also in training" in audited


def test_data_reads_a_folder_and_names_what_is_wrong_with_one(tmp_path, capsys):
    for name in ("angry", "happy"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number in range(30):
            grey = np.random.default_rng(number + 100 * (name == "happy")).integers(0, 255, (16, 16), np.uint8)
            Image.fromarray(grey).save(tmp_path / "faces" / name / f"{number}.png")
    assert cli.main(["data", "--data", f"folder:{tmp_path / 'faces'}"]) == 0
    counts = [line.split() for line in capsys.readouterr().out.splitlines()[-3:]]
    assert sum(int(count) for line in counts for count in line[1:]) == 60
    assert "no" in mistake(["data", "--data", f"folder:{tmp_path / 'elsewhere'}"], capsys)
    assert str(tmp_path / "faces" / "happy") in mistake(
        ["data", "--data", f"folder:{tmp_path / 'faces' / 'happy'}"], capsys)


# train


def test_train_takes_its_options_and_names_the_run_after_them(trained, results, file):
    _, asked = trained
    off = {"keep_copies": False, "clean": False, "soft_labels": False}
    assert asked[0] == ("easy", "somewhere", off)
    assert asked[1] == ("synthetic", None, dict.fromkeys(off, True))
    assert {path.name for path in results.iterdir()} == {
        "copied_in_training.csv", "lenet-s4", "logistic-regression-all-clean-ferplus-x"}
    record = json.loads((results / "lenet-s4" / "training.json").read_text())
    assert (record["seed"], record["input_size"], record["recipe"]["batch_size"]) == (4, 24, 32)
    assert len(pd.read_csv(results / "lenet-s4" / "history.csv")) == 1
    assert models.read_card(file)["class_names"] == ["angry", "happy", "sad"]


def test_train_says_what_it_found_and_logs_line_by_line(home, results, capsys):
    arguments = ["train", "lenet", "--profile", "quick", "--size", "16", "--epochs", "1", "--log", "--suffix=-said"]
    assert cli.main(arguments) == 0
    found = json.loads((results / "lenet-said" / "metrics.json").read_text())["test"]
    shown = capsys.readouterr().out
    low, high = found["accuracy_interval"]
    assert shown.startswith("A note.\n")
    assert shown.splitlines()[-1] == (f"LeNet on easy: test accuracy {found['accuracy']:.3f} "
                                      f"(95% interval {low:.3f} to {high:.3f}, n = 40)")
    assert "- accuracy: " in shown and "\r" not in shown and "\b" not in shown


@pytest.mark.parametrize(
    ("option", "asked"), [([], None), (["--mixed-precision"], True), (["--no-mixed-precision"], False)], ids=str
)
def test_precision_is_the_machines_choice_unless_told(home, results, monkeypatch, option, asked):
    """Or a training begun in float32 could not go on where the machine would choose bfloat16."""
    given = {}
    monkeypatch.setattr(runs, "run", lambda *_, **options: given.update(options) or {})
    monkeypatch.setattr(cli, "say", lambda found: None)
    assert cli.main(["train", "lenet", *option]) == 0
    assert given["mixed_precision"] is asked


def test_what_learned_copies_is_said_on_the_leak_free_part_too(capsys):
    figures = {"accuracy": 0.75, "accuracy_interval": [0.7, 0.8], "n": 400}
    splits = {"test": figures, "test_leak_free": figures | {"accuracy": 0.5, "n": 300}}
    cli.say({"title": "LeNet", "dataset": "fer2013", "variants": [], **splits})
    assert "leak-free" not in capsys.readouterr().out
    cli.say({"title": "LeNet, copies kept", "dataset": "fer2013", "variants": ["copies kept"], **splits})
    assert "leak-free accuracy 0.500 (95% interval 0.700 to 0.800, n = 300)" in capsys.readouterr().out


def test_train_with_seeds_trains_those_that_are_missing_and_averages_them(home, results, capsys):
    arguments = ["train", "lenet", "--profile", "quick", "--size", "16", "--epochs", "1", "--seeds", "2", "--log"]
    assert cli.main(arguments) == 0
    assert "there already" not in capsys.readouterr().out
    (results / "lenet-s1" / "metrics.json").unlink()
    assert "lenet-s0 was trained with another recipe" in mistake([*arguments, "--batch-size", "8"], capsys)
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "lenet-s0 is there already." in shown and "lenet-s1 is" not in shown
    records = [json.loads((results / f"lenet-s{seed}" / "training.json").read_text()) for seed in (0, 1)]
    assert [record["seed"] for record in records] == [0, 1]
    found = json.loads((results / "ensemble-lenet" / "metrics.json").read_text())
    assert found["members"] == {"lenet-s0": 0.5, "lenet-s1": 0.5}
    assert shown.splitlines()[-1].startswith(f"{found['title']} on easy: test accuracy {found['test']['accuracy']:.3f}")


def test_seeds_get_the_epochs_that_the_first_one_had_time_for(home, results, capsys, monkeypatch):
    found = iter([[3], [5]])
    monkeypatch.setattr(training, "epochs_within", lambda *_: next(found))
    monkeypatch.setitem(runs.PROFILES, "full", replace(runs.PROFILES["quick"], epochs=None))
    arguments = ["train", "lenet", "--size", "16", "--minutes", "1", "--seeds", "2", "--log"]
    assert cli.main(arguments) == 0
    records = [json.loads((results / f"lenet-s{seed}" / "training.json").read_text()) for seed in (0, 1)]
    assert [record["epochs"] for record in records] == [[3], [3]]
    assert cli.main(arguments) == 0  # again: both are there already, though the second had no budget of its own
    assert "lenet-s1 is there already." in capsys.readouterr().out


def test_ablate_compares_the_changes_asked_for_on_validation(home, results, capsys):
    arguments = ["ablate", "champion", "--profile", "quick", "--epochs", "1", "--log", "--changes"]
    assert cli.main([*arguments, "without erasing"]) == 0
    made = results / "ablation-champion"
    assert {path.name for path in made.iterdir()} == {"full-recipe", "without-erasing"}
    assert len(pd.read_csv(made / "without-erasing" / "history.csv")) == 1
    header, full, changed = capsys.readouterr().out.splitlines()[-3:]
    ends = ["difference", "difference_low", "difference_high"]
    f1_ends = [f"macro_f1_{end}" for end in ends]
    assert header.split() == ["accuracy", "macro_f1", "rarest_recall", *ends, *f1_ends, "p_holm"]
    assert full.startswith("full recipe") and changed.startswith("without erasing")
    assert "no change named 'without sleep'" in mistake([*arguments, "without sleep"], capsys)


def test_train_refuses_what_it_does_not_know(home, capsys):
    assert "nothing random" in mistake(["train", "logistic-regression", "--profile", "quick", "--seeds", "2"], capsys)
    assert "no model named 'lenett'. Did you mean 'lenet'?" in mistake(["train", "lenett"], capsys)
    assert "lenet has no pretrained weights" in mistake(
        ["train", "lenet", "--profile", "quick", "--weights", "imagenet"], capsys)
    assert "no file of pretrained weights at nowhere.h5" in mistake(
        ["train", "mobilenetv2", "--profile", "quick", "--weights", "nowhere.h5"], capsys)


def test_a_hub_out_of_reach_is_one_sentence(home, monkeypatch, capsys):
    def download(name, allow_patterns):
        raise ConnectionError("no route to host")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=download))
    said = mistake(["train", "hf-vit-tiny", "--profile", "quick", "--weights", "someone/some-vit"], capsys)
    assert "'someone/some-vit' is no local folder" in said and "no route to host" in said


# evaluate


def expected_lines(figures):
    for name in ("accuracy", "macro_f1", "mcc", "log_loss", "ece"):
        low, high = figures[f"{name}_interval"]
        yield f"{name:9} {figures[name]:.3f} (95% interval {low:.3f} to {high:.3f})"


def test_evaluate_measures_a_saved_model_and_writes_only_where_told(home, results, file, tmp_path, monkeypatch, capsys):
    figures = evaluation.measure(Predictions.read(results / "lenet-s4" / "predictions.csv"))
    before = sorted(home.rglob("*"))
    assert cli.main(["evaluate", str(file)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["A note.", "easy, test, n = 40"]
    assert shown[2:] == list(expected_lines(figures))
    assert sorted(home.rglob("*")) == before

    monkeypatch.chdir(home / "build/quick")  # where models/ is, so that the name is enough
    assert cli.main(["evaluate", "lenet-s4-easy", "--out", str(tmp_path / "out" / "again")]) == 0
    assert capsys.readouterr().out.splitlines() == shown
    again = Predictions.read(tmp_path / "out" / "again" / "predictions.csv")
    np.testing.assert_allclose(again.probabilities, Predictions.read(results / "lenet-s4" / "predictions.csv")
                               .probabilities, atol=1e-4)
    assert json.loads((tmp_path / "out" / "again" / "metrics.json").read_text())["test"]["n"] == 40
    assert (tmp_path / "out" / "again" / "confusion_matrix.png").stat().st_size > 1000
    assert sorted(home.rglob("*")) == before


def test_evaluate_takes_the_data_that_the_model_learned_from(file, monkeypatch):
    asked = []

    def load(name, *_, **__):
        asked.append(name)
        return easy()

    monkeypatch.setattr(datasets, "load", load)
    for arguments in ([], ["--data", "other"]):
        assert cli.main(["evaluate", str(file), *arguments]) == 0
    assert asked == ["easy", "other"]


def test_a_package_that_is_missing_is_one_sentence(monkeypatch, capsys):
    def predict(options):
        raise ModuleNotFoundError("No module named 'cv2'", name="cv2")

    monkeypatch.setattr(cli, "predict", predict)
    assert mistake(["predict", "x"], capsys) == "the package cv2 is missing: pip install -e . in the clone."


def test_there_is_something_to_run_in_notebooks(home, capsys):
    assert "no notebooks in" in mistake(["notebooks"], capsys)


@pytest.mark.parametrize("arguments", [["predict", "x", "--unsure-below", "50"], ["train", "lenet", "--seeds", "0"],
                                       ["train", "lenet", "--epochs", "0"], ["train", "lenet", "--minutes", "0"],
                                       ["train", "lenet", "--size", "0"], ["speed", "lenet", "--size", "0"],
                                       ["train", "lenet", "--seeds", "2", "--seed", "1"]], ids=" ".join)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert arguments[2] in capsys.readouterr().err


def test_evaluate_refuses_a_missing_model_and_other_classes(home, file, monkeypatch, capsys):
    assert "no-such-model" in mistake(["evaluate", "no-such-model"], capsys)
    assert "There is no file" in mistake(["evaluate", "models/missing.keras"], capsys)
    (wrong := home / "model.txt").write_text("no model")
    assert "names end in .keras, .h5 or .hdf5" in mistake(["evaluate", str(wrong)], capsys)
    assert f"Not a directory: '{file / 'out'}'" in mistake(["evaluate", str(file), "--out", str(file / "out")], capsys)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: easy(class_names=("calm", "cross", "glad")))
    assert mistake(["evaluate", str(file)], capsys) == (
        f"{file} knows angry, happy, sad; easy has calm, cross, glad.")


# leaderboard


def test_leaderboard_builds_ensembles_and_builds_them_again_where_a_run_has_come_since(home, capsys):
    folder = home / "results" / "easy"
    for name, skill in (("one", 1.0), ("two", 2.0)):
        write_run(folder / name, skill=skill)
    assert cli.main(["leaderboard"]) == 0
    metrics = folder / "ensemble-plain" / "metrics.json"
    before = json.loads(metrics.read_text())
    assert set(before["members"]) == {"one", "two"} and (folder / "leaderboard.png").exists()
    write_run(folder / "one", skill=3.0, evaluated="2999-01-01T00:00:00Z")
    assert cli.main(["leaderboard"]) == 0
    assert json.loads(metrics.read_text())["test"]["accuracy"] > before["test"]["accuracy"]


def test_leaderboard_of_quick_runs_lists_both(home, results, capsys):
    arguments = ["leaderboard", "--profile", "quick"]
    assert cli.main([*arguments, "--check"]) == 1
    assert not (results / "leaderboard.csv").exists()
    capsys.readouterr()
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "`lenet-s4`" in shown and "`logistic-regression-all-clean-ferplus-x`" in shown
    board = pd.read_csv(results / "leaderboard.csv", index_col="model")
    saved = json.loads((results / "lenet-s4" / "metrics.json").read_text())
    assert board.loc["lenet-s4", "accuracy"] == pytest.approx(saved["test"]["accuracy"], rel=1e-5)
    assert cli.main([*arguments, "--check"]) == 0
    assert "has no run yet: train a model first" in mistake(["leaderboard"], capsys)
    assert "has no run on fer2013; there are runs on easy" in mistake([*arguments, "--data", "fer2013"], capsys)


# cards


def test_cards_of_quick_runs_are_checked_and_written(home, file, capsys):
    arguments = ["cards", "--profile", "quick"]
    assert cli.main([*arguments, "--check"]) == 0  # training wrote it
    file.with_suffix(".md").unlink()
    assert cli.main([*arguments, "--check"]) == 1
    assert "lenet-s4-easy.md is out of date: run python -m emotions cards" in capsys.readouterr().err
    assert cli.main(arguments) == 0
    assert "Article 5(1)(f)" in file.with_suffix(".md").read_text()
    assert "has no model yet" in mistake(["cards"], capsys)


# notebooks


def test_notebooks_in_place_keep_their_own_parameters(home, capsys):
    assert "--in-place runs every notebook with its own" in mistake(
        ["notebooks", "--in-place", "--profile", "quick"], capsys)
