"""What notebooks say in words comes from figures."""

import base64
import io
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from emotions import notebook, runs
from emotions.data import datasets
from emotions.evaluation import published
from emotions.models import registry as models
from emotions.predict import classifier as inference
from emotions.training.recipes import Phase, Recipe


def test_scores_differences_and_recalls_in_words():
    metrics = {
        "accuracy": 0.6256,
        "accuracy_interval": [0.605, 0.6471],
        "n": 1964,
        "per_class": {"angry": {"recall": 0.512}, "happy": {"recall": 0.7}},
    }
    assert notebook.scored(metrics) == "62.6% [60.5, 64.7] of 1,964 pictures"
    assert notebook.recalls(metrics) == "angry 51%, happy 70%"
    compared = {"accuracy_difference": -0.0123, "accuracy_low": -0.03, "accuracy_high": 0.004}
    assert notebook.points(compared) == "-1.2 points [-3.0, +0.4]"


def test_a_recipe_is_a_table_for_people():
    table = notebook.recipe_table(models.find("champion").recipe)["choice"]
    assert table["phase 1: epochs"] == "36" and table["phase 1: learning rate"] == "0.002"
    assert table["optimizer"] == "adamw" and table["class weights"] == "False"
    used = {name for name in table.index if name.startswith("augmentation")}
    assert used == {f"augmentation: {name}" for name in ("flip", "rotation", "shift", "zoom", "erasing")}
    table = notebook.recipe_table(Recipe(phases=(Phase(1, 0.1), Phase(2, 0.2, "head"))))["choice"]
    assert table["phase 2: trainable"] == "head" and not table.index.str.startswith("augmentation").any()


def test_what_others_report_names_its_protocol():
    figure = published.on("fer2013", "resnet50v2")
    sentence = notebook.reported("fer2013", "resnet50v2")
    assert f"{100 * figure.accuracy:.1f}%" in sentence and figure.protocol in sentence and figure.source in sentence
    assert notebook.reported("fer2013", "logistic-regression") == ""


def test_without_a_camera_a_sentence_says_what_to_do(monkeypatch, capsys):
    class NoDevice:
        def read(self):
            return False, None

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", lambda number: NoDevice())
    assert notebook.camera() is None
    assert "name it in PHOTO" in capsys.readouterr().out


def test_the_cameras_picture_is_rgb(monkeypatch):
    class Device:
        def read(self):
            return True, np.full((4, 6, 3), (200, 0, 0), np.uint8)  # blue, in OpenCV's order

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Device())
    picture = notebook.camera()
    assert picture.shape == (4, 6, 3) and (picture == (0, 0, 200)).all()


def test_the_browsers_picture_is_decoded_and_its_refusal_told(monkeypatch, capsys):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (0, 0, 200)).save(buffer, "PNG")
    address = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    output = SimpleNamespace(eval_js=lambda program: address)
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(output=output))
    assert (notebook.camera() == (0, 0, 200)).all()

    def refuse(program):
        raise RuntimeError("NotAllowedError: Permission denied")

    output.eval_js = refuse
    assert notebook.camera() is None
    assert "Permission denied" in capsys.readouterr().out


def test_a_saved_model_is_the_default_one_the_one_named_or_a_small_one(tmp_path, monkeypatch, capsys):
    assert notebook.saved_model("", "full").stem == inference.DEFAULT
    with pytest.raises(FileNotFoundError, match="no model named 'missing'"):
        notebook.saved_model("missing", "full")
    small = SimpleNamespace(file=tmp_path / "lenet-synthetic.keras")
    monkeypatch.setattr(datasets, "load", lambda name: name)
    monkeypatch.setattr(runs, "obtain", lambda name, data, **_: small if (name, data) == ("lenet", "synthetic") else 0)
    assert notebook.saved_model("", "quick") == small.file
    monkeypatch.setattr(inference, "DEFAULT", "not-there")
    assert notebook.saved_model("", "full") == small.file
    assert "no model named 'not-there'" in capsys.readouterr().out
