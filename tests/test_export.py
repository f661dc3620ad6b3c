"""Exported files: the same probabilities, what a user needs inside, and none that disagrees."""

import runpy
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from keras import layers
from synthetic_runs import save_model

from emotions import cli
from emotions.data import loading
from emotions.models import compact
from emotions.predict import classifier, export

NAMES = ["angry", "happy", "sad"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("models") / "small.keras"
    card = {"class_names": NAMES, "dataset": "nowhere", "model": "small", "temperature": 1.5, "title": "Small",
            "abstention": [{"validation_answered": 0.9, "threshold": 0.4}], "test": {"accuracy": 0.75}}  # fmt: skip
    save_model(compact(3, 32, (4, 8)), path, card)
    return path


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return {to: export.export(model, to, folder=folder) for to in export.FORMATS}


@pytest.mark.parametrize("to", export.FORMATS)
def test_an_exported_file_agrees_with_the_keras_model_at_any_batch_size(exported, model, to):
    row, loaded = exported[to], classifier.load(model)
    assert row["difference"] <= 1e-4 and row["images"] == "drawn faces" and row["accuracy"] is None
    images = np.random.default_rng(0).integers(0, 256, (5, *loaded.size, 3)).astype("float32")
    run = export.runner(row["file"])
    wanted = loaded.model.predict_on_batch(images)
    for count in (5, 1, 3):
        np.testing.assert_allclose(run(images[:count]), wanted[:count], atol=1e-4)


@pytest.mark.parametrize("to", export.FORMATS)
def test_class_names_size_thresholds_and_accuracy_are_in_the_file(exported, to):
    content = export.read_metadata(exported[to]["file"])
    assert content["class_names"] == NAMES and content["size"] == [32, 32]
    assert content["temperature"] == 1.5 and content["unsure_below"] == 0.4 and content["test_accuracy"] == 0.75


def test_half_precision_is_smaller_and_close(exported, model, tmp_path):
    for to in export.FORMATS:
        half = export.export(model, to, "float16", tmp_path)
        assert half["difference"] <= 1e-2 and half["mb"] < exported[to]["mb"]


def test_a_file_that_disagrees_is_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setitem(export.TOLERANCES, "float32", -1.0)
    with pytest.raises(ValueError, match=r"small\.tflite was not written: its probabilities differ by up to"):
        export.export(model, "litert", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_sequential_model_loses_its_resizing_too(tmp_path):
    image = keras.Input((None, None, 3))
    model = keras.Sequential([image, layers.Resizing(16, 16), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(),
                              layers.Dense(3, activation="softmax")])  # fmt: skip
    save_model(model, tmp_path / "sequential.keras", {"class_names": NAMES, "dataset": "nowhere", "model": "a"})
    assert export.export(tmp_path / "sequential.keras", "litert", folder=tmp_path)["difference"] <= 1e-4


def test_a_grey_model_is_measured_on_grey_images_and_says_so(tmp_path):
    model = keras.Sequential([keras.Input((16, 16, 1)), layers.GlobalAveragePooling2D(),
                              layers.Dense(3, activation="softmax")])  # fmt: skip
    model.save(tmp_path / "grey.keras")
    red = np.broadcast_to(np.array([200, 0, 0], np.uint8), (1, 20, 20, 3))
    assert (export._resized(classifier.load(tmp_path / "grey.keras", NAMES), red) == 60).all()  # its luma
    file = export.export(tmp_path / "grey.keras", "onnx", folder=tmp_path, class_names=NAMES)["file"]
    assert "1, grey" in export.read_metadata(file)["input"]


def test_gelu_can_be_exported(tmp_path):
    """The Vision Transformers need it, and TensorFlow computes it with an operation that tf2onnx does not know."""
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3, activation="gelu"),
                              layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")])  # fmt: skip
    save_model(model, tmp_path / "gelu.keras", {"class_names": NAMES, "dataset": "nowhere", "model": "a"})
    assert export.export(tmp_path / "gelu.keras", "onnx", folder=tmp_path)["difference"] <= 1e-4


def test_a_model_that_cannot_be_converted_is_one_sentence(tmp_path, capfd):
    image = keras.Input((16, 16, 3))
    outside = keras.ops.image.resize(image, (8, 8), antialias=True)  # no built-in operator
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(outside)))
    save_model(model, tmp_path / "resizing.keras", {"class_names": NAMES, "dataset": "nowhere", "model": "a"})
    assert cli.main(["export", str(tmp_path / "resizing.keras"), "--to", "litert", "--folder", str(tmp_path)]) == 2
    assert "resizing.tflite was not written: LiteRT cannot hold this model" in capfd.readouterr().err
    assert not (tmp_path / "resizing.tflite").exists()


@pytest.mark.parametrize("to, precision", [("tflite", "float32"), ("onnx", "fp16")])
def test_an_unknown_format_or_precision_is_an_error(model, to, precision):
    with pytest.raises(ValueError, match=f"There is no {to} with {precision}"):
        export.export(model, to, precision)


def test_a_missing_package_is_not_a_fault_of_the_model(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", str(model), "--to", "onnx", "--folder", str(tmp_path)]) == 2
    assert "the package onnx is missing: pip install -e '.[export]'" in capsys.readouterr().err


@pytest.mark.parametrize("package, extra", [("pyarrow.dataset", "'.[ray]'"), ("ai_edge_litert", "'.[export]'"),
                                            ("xarray", ".")])  # fmt: skip
def test_a_missing_package_names_its_extra(package, extra, capsys, monkeypatch):
    def needs_it(*_):
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr(export, "export", needs_it)
    assert cli.main(["export", "champion-ferplus"]) == 2
    assert f"the package {package} is missing: pip install -e {extra} in the" in capsys.readouterr().err


def test_a_data_set_that_is_not_whole_is_replaced_by_drawn_faces(tmp_path, monkeypatch):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")  # without FER+'s votes
    monkeypatch.setenv("EMOTIONS_DATA", str(tmp_path))
    assert loading.is_local("ferplus")
    assert export.faces_for(classifier.load("champion-ferplus"))[2] == "drawn faces"


def test_the_table_holds_every_form_of_every_model_and_says_what_was_refused(model, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "models" / model.name).write_bytes(model.read_bytes())
    monkeypatch.setitem(export.TOLERANCES, "int8", -1.0)
    exports = runpy.run_path(str(REPOSITORY / "docs" / "exports.py"))
    text = exports["write"](tmp_path, []).read_text()
    rows = pd.read_csv(tmp_path / "results" / "exports.csv")
    assert len(rows) == 7 and text.count("| small |") == 7 and text.count("| refused |") == 2
    assert rows["refused"].notna().tolist() == (rows["precision"] == "int8").tolist()


def test_the_command_says_what_it_wrote(model, tmp_path, capsys):
    assert cli.main(["export", str(model), "--to", "onnx", "--folder", str(tmp_path)]) == 0
    assert "small.onnx: " in capsys.readouterr().out and (tmp_path / "small.onnx").exists()
