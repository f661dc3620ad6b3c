"""Commands do what the functions do, and answer a mistake with one sentence."""

import dataclasses
import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import REPOSITORY, easy_faces
from PIL import Image
from synthetic_runs import write_run
from test_runs import make

import emotions.data
from emotions import DEFAULT_MODEL, cli, evaluation
from emotions.data import synthetic
from emotions.data.dataset import select
from emotions.models.files import add_card, read_card

COMMANDS = ("data", "run", "evaluate", "predict", "leaderboard")


def mistake(arguments, capsys) -> str:
    """The one sentence with which a command refuses."""
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("emotions: ")
    return lines[0].removeprefix("emotions: ")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home with a small trained model; returns its file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOTIONS_HOME", str(tmp_path_factory.mktemp("home")))
        yield make(easy_faces())[1].file


@pytest.fixture
def easy(monkeypatch):
    """Every data set is an easy one; returns the list of what was loaded."""
    asked = []
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: asked.append((name, options)) or easy_faces())
    return asked


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


def test_without_a_command_the_help_is_shown(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main([])
    assert capsys.readouterr().out == shown


def test_the_help_of_predict_names_the_default_model_and_the_exit_status(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["predict", "--help"])
    shown = re.sub(r"-\s+", "-", capsys.readouterr().out)  # argparse breaks lines at hyphens
    assert f"default: {DEFAULT_MODEL}" in shown and "Exit status 1" in " ".join(shown.split())


@pytest.mark.parametrize("arguments", [["rnu"], ["evaluate"]], ids=" ".join)
def test_wrong_usage_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(arguments)
    assert "usage: python -m emotions" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "values", "wanted"), [
    ("--unsure-below", ("2", "-1", "nan", "abc"), "a number from 0 to 1"),
    ("--every", ("0", "-1", "1.5", "abc"), "a whole number from 1 on"),
])
def test_a_number_out_of_range_is_refused_in_one_sentence(option, values, wanted, capsys):
    for value in values:
        with pytest.raises(SystemExit, match=r"^2$"):
            cli.main(["predict", "a.jpg", f"{option}={value}"])
        assert capsys.readouterr().err.endswith(f"error: argument {option}: {value} is not {wanted}\n")


# data, evaluate, leaderboard (run: test_notebooks.py)


def test_data_prints_notes_and_counts_and_audits_on_request(monkeypatch, capsys):
    drawn = synthetic.load(train=140, validation=35, test=70, size=32, duplicates=0.1)
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: drawn)
    assert cli.main(["data"]) == 0
    plain = capsys.readouterr().out
    assert all(note in plain for note in drawn.notes)
    header, *rows = [line.split() for line in plain.splitlines()[-4:]]
    assert header == list(drawn.class_names)
    for (name, *counts), split in zip(rows, drawn.splits().items(), strict=True):
        assert (name, list(map(int, counts))) == (split[0], np.bincount(split[1].labels).tolist())
    assert cli.main(["data", "--audit"]) == 0
    audited = capsys.readouterr().out
    assert audited.startswith(plain) and len(audited) > len(plain) and len(drawn.copied) == 7


def test_an_unknown_data_set_names_the_nearest(capsys):
    assert 'did you mean "fer2013"?' in mistake(["data", "--data", "fer2031"], capsys)


def test_evaluate_measures_a_saved_model(trained, easy, capsys):
    assert cli.main(["evaluate", str(trained)]) == 0
    shown = capsys.readouterr().out
    assert easy == [("easy", {})]
    assert re.search(r"easy, test, n = 40, accuracy \d+\.\d % \[\d+\.\d, \d+\.\d\]", shown)
    assert "macro_f1" in shown and "was trained on" not in shown
    assert cli.main(["evaluate", str(trained), "--data", "other"]) == 0


def test_evaluate_resamples_the_photos_of_human_emotions(trained, easy, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(evaluation, "measure", lambda predictions, photos: given.append(photos) or 1 / 0)
    faces = emotions.data.load("easy")
    groups = np.arange(len(faces.test)) // 2
    photos = dataclasses.replace(faces, name="human-emotions", test=dataclasses.replace(faces.test, groups=groups),
                                 copied=frozenset(faces.test.ids[:10]))  # fmt: skip
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: photos)
    leaky = tmp_path / "leaky.keras"
    leaky.write_bytes(trained.read_bytes())
    add_card(leaky, read_card(leaky) | {"counts": "test_leak_free"})
    for file, expected in ((trained, groups), (leaky, groups[10:])):
        with pytest.raises(ZeroDivisionError):
            cli.main(["evaluate", str(file), "--data", "human-emotions"])
        assert given.pop().tolist() == expected.tolist()


def test_evaluate_counts_no_copies_of_what_the_model_was_trained_on(trained, easy, monkeypatch, capsys, tmp_path):
    faces = emotions.data.load("easy")
    copied = dataclasses.replace(faces, copied=frozenset(faces.test.ids[:10]))
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: copied)
    leaky = tmp_path / "leaky.keras"
    leaky.write_bytes(trained.read_bytes())
    add_card(leaky, read_card(leaky) | {"counts": "test_leak_free"})
    for file, words in ((trained, "test, n = 40"), (leaky, "test, leak-free, n = 30")):
        assert cli.main(["evaluate", str(file)]) == 0
        assert f"easy, {words}, accuracy" in capsys.readouterr().out


def test_evaluate_takes_the_class_names_of_a_file_that_holds_none(trained, easy, tmp_path, monkeypatch, capsys):
    bare = tmp_path / "bare.keras"
    keras.models.load_model(trained).save(bare)
    assert "or --classes" in mistake(["evaluate", str(bare), "--data", "easy"], capsys)
    assert cli.main(["evaluate", str(bare), "--data", "easy", "--classes", "angry, happy, sad"]) == 0
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: dataclasses.replace(easy_faces(), digest=1))
    assert cli.main(["evaluate", str(bare), "--data", "photos/mine", "--classes", "angry,happy,sad"]) == 0
    assert "all images, n = 168" in capsys.readouterr().out


def test_evaluate_counts_all_images_of_a_folder_that_the_model_was_not_trained_on(trained, monkeypatch, capsys):
    faces = dataclasses.replace(easy_faces(), name="mine", digest=1)
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: faces)
    assert cli.main(["evaluate", str(trained), "--data", "photos/mine"]) == 0
    assert "mine, all images, n = 168, accuracy" in capsys.readouterr().out


def test_evaluate_counts_all_images_of_a_folder_for_a_model_trained_with_copies(trained, monkeypatch, capsys, tmp_path):
    faces = dataclasses.replace(easy_faces(), name="mine", digest=1)
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: faces)
    leaky = tmp_path / "leaky.keras"
    leaky.write_bytes(trained.read_bytes())
    add_card(leaky, read_card(leaky) | {"counts": "test_leak_free"})
    assert cli.main(["evaluate", str(leaky), "--data", "photos/mine"]) == 0
    assert "mine, all images, n = 168, accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(20, 24, 1), (20, 24, 3)])
def test_evaluate_takes_a_file_from_elsewhere_of_another_size(easy, tmp_path, capsys, shape):
    layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    keras.Sequential(layers).save(tmp_path / "theirs.keras")
    answers = [str(tmp_path / "theirs.keras"), "--data", "easy", "--classes", "angry,happy,sad"]
    assert cli.main(["evaluate", *answers]) == 0
    assert "easy, test, n = 40" in capsys.readouterr().out


def test_evaluate_warns_where_a_folder_of_the_same_name_holds_other_images(trained, monkeypatch, capsys, tmp_path):
    file = tmp_path / "a.keras"
    file.write_bytes(trained.read_bytes())
    add_card(file, read_card(file) | {"images": 1})
    for digest in (1, 2):
        faces = dataclasses.replace(easy_faces(), digest=digest)
        monkeypatch.setattr(emotions.data, "load", lambda name, faces=faces, **options: faces)
        assert cli.main(["evaluate", str(file)]) == 0
        shown = capsys.readouterr().out
        assert "easy, test, n = 40" in shown and ("not on this split of easy" in shown) == (digest == 2)


def test_evaluate_takes_some_of_the_models_classes(trained, monkeypatch, capsys):
    two = select(easy_faces(), ("angry", "sad"))
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: two)
    assert cli.main(["evaluate", str(trained)]) == 0
    shown = capsys.readouterr().out
    assert "those of angry, sad count" in shown and f"easy, test, n = {len(two.test)}, accuracy" in shown


def test_an_interrupted_command_says_so_without_a_traceback(monkeypatch, capsys):
    def stop(name, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(emotions.data, "load", stop)
    assert cli.main(["data"]) == 130 and capsys.readouterr().err == "emotions: interrupted.\n"


def test_evaluate_refuses_other_classes(trained, monkeypatch, capsys):
    drawn = synthetic.load(train=14, validation=7, test=7, size=32)
    monkeypatch.setattr(emotions.data, "load", lambda name, **options: drawn)
    assert "has the classes angry, happy, sad; synthetic has" in mistake(["evaluate", str(trained)], capsys)


def test_leaderboard_writes_what_is_out_of_date_and_check_only_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))
    assert "has no run yet" in mistake(["leaderboard"], capsys)
    write_run(tmp_path / "results/fer2013-3/lenet")
    write_run(tmp_path / "results/fer2013-3/logistic-regression", skill=0.5)
    assert cli.main(["leaderboard", "--check"]) == 1
    assert "out of date" in capsys.readouterr().out
    assert not (tmp_path / "results/fer2013-3/leaderboard.csv").exists()
    assert cli.main(["leaderboard"]) == 0
    assert "Lenet" in (tmp_path / "results/fer2013-3/leaderboard.md").read_text()
    assert cli.main(["leaderboard", "--check"]) == 0


# predict


@pytest.fixture
def photos(tmp_path):
    face = synthetic.render([synthetic.CLASS_NAMES.index("happy")], size=64, difficulty=0)[0]
    Image.fromarray(face).save(tmp_path / "face.png")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    return tmp_path


def test_predict_prints_a_table_and_status_1_where_an_image_failed(trained, photos, capsys):
    assert cli.main(["predict", str(photos / "face.png"), "--model", str(trained)]) == 0
    assert "face.png" in capsys.readouterr().out
    assert cli.main(["predict", str(photos), "--model", str(trained)]) == 1
    shown = capsys.readouterr()
    assert "face.png" in shown.out and "broken.jpg" in shown.err and "Traceback" not in shown.err


def test_predict_prints_json(trained, photos, capsys):
    assert cli.main(["predict", str(photos), "--model", str(trained), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    probabilities = [sum(row[name] for name in ("angry", "happy", "sad")) for row in rows if not row["error"]]
    assert len(rows) == 2 and probabilities == [pytest.approx(1, abs=1e-3)]


def test_predict_writes_annotated_copies(trained, photos, capsys):
    options, face, copies = ["--model", str(trained), "--annotate"], photos / "face.png", photos / "copies"
    assert cli.main(["predict", str(face), *options, str(copies)]) == 0
    assert capsys.readouterr().out == f"A copy of 1 image is in {copies}.\n"
    assert len(list(copies.rglob("face.png*"))) == 1
    Image.open(face).save(photos / "second.png")
    assert cli.main(["predict", str(photos / "second.png"), str(face), *options, str(copies)]) == 0
    assert capsys.readouterr().out == f"Copies of 2 images are in {copies}.\n"


def test_predict_says_nothing_of_copies_where_none_was_written(trained, photos, capsys):
    nowhere = photos / "nowhere"
    assert cli.main(["predict", str(photos / "broken.jpg"), "--model", str(trained), "--annotate", str(nowhere)]) == 1
    assert capsys.readouterr().out == "" and not nowhere.exists()


def test_predict_explains_mistakes(trained, photos, capsys):
    assert "did you mean" in mistake(["predict", str(photos), "--model", "champion-fer2031"], capsys)
    assert cli.main(["predict", str(photos / "nowhere.jpg"), "--model", str(trained)]) == 1
    assert "There is no file" in capsys.readouterr().err
