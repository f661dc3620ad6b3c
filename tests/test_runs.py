"""A run from start to end at its smallest scale: which files it leaves, that they agree, and how they are read."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import small_net
from sklearn.metrics import accuracy_score

from emotions import evaluation, files, runs, training
from emotions.models import read_card
from emotions.runs import Predictions, Run


def make(faces, name="small", **options):
    """Train and evaluate a small net as a notebook does."""
    run = runs.start(name, faces, title="Small net", **options)
    model = small_net(len(faces.class_names))
    model.compile(keras.optimizers.Adam(3e-3), loss="categorical_crossentropy", metrics=["accuracy"])
    training.fit(model, faces, run=run, epochs=2, batch_size=32)
    return model, run, evaluation.evaluate(model, faces, run)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with one finished run; the model, the run, and the metrics."""
    from conftest import easy_faces

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOTIONS_HOME", str(tmp_path_factory.mktemp("home")))
        yield easy_faces(), *make(easy_faces())


def test_a_run_leaves_its_record_and_no_state(made):
    _, _, run, _ = made
    names = {"history.csv", "training.json", "metrics.json", "predictions.csv", "predictions_tta.csv",
             "predictions_validation.csv", "predictions_validation_tta.csv"}
    assert {path.name for path in run.folder.iterdir()} == names
    assert {path.name for path in (run.home / "models").iterdir()} == {"small-easy.keras", "small-easy.md"}
    assert run.finished and Run("easy", "small").saved and list(runs.all_of("easy")) == ["small"]


def test_what_is_measured_is_the_file_that_users_load(made):
    faces, model, run, metrics = made
    loaded = run.load()
    probabilities = loaded.predict(faces.test.images, verbose=0)
    np.testing.assert_allclose(run.predictions.probabilities, probabilities, atol=1e-4)
    np.testing.assert_allclose(model.predict(faces.test.images, verbose=0), probabilities, atol=0.01)
    assert metrics["digest"] == run.digest and metrics == run.metrics
    assert read_card(run.file)["class_names"] == ["angry", "happy", "sad"]
    assert read_card(run.file)["test"]["accuracy"] == metrics["test"]["accuracy"]


def test_labels_line_up_with_images(made):
    faces, _, run, metrics = made
    assert run.predictions.ids.tolist() == faces.test.ids.tolist()
    np.testing.assert_array_equal(run.predictions.labels, faces.test.labels)
    accuracy = accuracy_score(faces.test.labels, run.load().predict(faces.test.images, verbose=0).argmax(axis=1))
    assert metrics["test"]["accuracy"] == pytest.approx(accuracy)


def test_the_averaged_predictions_are_the_mean_of_image_and_mirror_image(made):
    faces, _, run, _ = made
    both = [run.load().predict(images, verbose=0) for images in (faces.test.images, faces.test.images[:, :, ::-1])]
    np.testing.assert_allclose(run.predictions_of("predictions_tta.csv").probabilities, np.mean(both, 0), atol=1e-4)


def test_images_with_a_copy_in_training_are_left_out_of_the_leak_free_part(made):
    _, _, _, metrics = made
    assert (metrics["test"]["n"], metrics["test_leak_free"]["n"]) == (40, 38)


def test_a_saved_run_is_read_not_measured_again(made):
    faces, _, run, metrics = made
    before = {path: path.stat().st_mtime_ns for path in run.folder.iterdir()}
    opened = runs.start("small", faces)
    assert evaluation.evaluate(small_net(), faces, opened) == metrics
    assert {path: path.stat().st_mtime_ns for path in run.folder.iterdir()} == before


def test_an_evaluation_killed_at_its_end_goes_on_and_leaves_no_file_out(made, tmp_path, monkeypatch):
    """Killed before the card is written, then while the checkpoint is removed."""
    faces = made[0]
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("emotions.evaluation.cards.for_people", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make(faces, "killed")
    run = Run(faces.name, "killed")
    assert not run.finished
    remove = shutil.rmtree

    def killed(path, *arguments, **options):
        if Path(path).name.startswith("checkpoint") and Path(path).exists():
            raise KeyboardInterrupt
        remove(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            make(faces, "killed")
    assert run.finished and "Small net" in run.file.with_suffix(".md").read_text()
    make(faces, "killed")
    assert not list(run.folder.glob("checkpoint*"))


def test_names_tell_the_seed_and_the_variants_of_the_data(made):
    import dataclasses

    faces, *_ = made
    from emotions.data.dataset import WITH_DUPLICATES

    varied = dataclasses.replace(faces, variants=(WITH_DUPLICATES,))
    run = runs.start("lenet", varied, seed=3, weights="somewhere/else/imagenet.h5")
    assert run.name == "lenet-all-s3" and run.facts["suffix"] == "-all-s3"
    assert run.facts["weights"] == "somewhere/else/imagenet.h5", "a name that is no file stays as it is"


def test_a_run_on_other_images_of_that_name_is_announced_before_it_is_replaced(made, capsys):
    import dataclasses

    own, other = (dataclasses.replace(made[0], digest=number) for number in (1, 2))
    make(own, "own")
    capsys.readouterr()
    assert not runs.start("own", other).saved
    assert "holds a run on other images of that name: this one will replace it" in capsys.readouterr().out
    assert runs.start("own", own).saved and not capsys.readouterr().out


def test_copies_are_told_by_the_name_of_a_known_data_set_only():
    known = {"dataset": "human-emotions-as-distributed", "variants": []}
    assert runs.trained_with_duplicates(known)
    assert not runs.trained_with_duplicates({"dataset": "mine-as-distributed", "images": 1})


def test_weights_from_a_file_are_recorded_without_their_path(made, tmp_path):
    (tmp_path / "base.keras").write_text("")
    assert runs.start("lenet", made[0], weights=tmp_path / "base.keras").facts["weights"] == "base.keras"


def test_a_run_whose_model_is_not_kept_names_the_command_that_makes_it(made, tmp_path):
    run = Run("easy", "small", home=tmp_path)
    run.folder.mkdir(parents=True)
    run.record({"training": {"command": "python -m emotions run 02 --set TRAIN=True"}})
    with pytest.raises(FileNotFoundError, match=r"no small-easy.keras.*python -m emotions run 02 --set TRAIN=True"):
        run.load()
    run.record({"training": {"command": "python -m emotions train small --data easy"}})
    assert run.command.endswith("(first version of this package)")


def test_the_baseline_is_fitted_once(made):
    faces, *_ = made
    run = evaluation.logistic_regression(faces)
    assert run.metrics["test"]["accuracy"] > 0.6 and run.metrics["training"] == {}
    before = (run.folder / "predictions.csv").stat().st_mtime_ns
    assert evaluation.logistic_regression(faces).metrics == run.metrics
    assert (run.folder / "predictions.csv").stat().st_mtime_ns == before


def test_predictions_survive_the_file(tmp_path):
    probabilities = np.random.default_rng(0).dirichlet([1, 1], 5)
    saved = Predictions(("null", "sad"), np.array(["1", "01", "NA", "ü", "x,y"]), np.arange(5) % 2, probabilities)
    saved.save(tmp_path / "predictions.csv")
    read = Predictions.read(tmp_path / "predictions.csv")
    assert (read.class_names, read.ids.tolist()) == (saved.class_names, saved.ids.tolist())
    np.testing.assert_array_equal(read.labels, saved.labels)
    np.testing.assert_allclose(read.probabilities, probabilities, atol=1e-4)
    (tmp_path / "wrong.csv").write_text("id,label,happy,sad\n1,angry,0.5,0.5\n")
    with pytest.raises(ValueError, match="the label 'angry' is none of its columns"):
        Predictions.read(tmp_path / "wrong.csv")


def test_a_table_is_computed_again_only_when_its_key_changes(tmp_path):
    import pandas as pd

    calls = []

    def compute():
        calls.append(1)
        return pd.DataFrame({"a": [len(calls)]})

    for key, expected in (({"n": 1}, 1), ({"n": 1}, 1), (None, 1), ({"n": 2}, 2)):
        assert files.cached(tmp_path / "t.csv", key, compute)["a"][0] == expected
    assert json.loads((tmp_path / "t.json").read_text()) == {"n": 2}


def test_a_text_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    files.write(tmp_path / "a.txt", "ä\n")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        files.write(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_bytes() == "ä\n".encode()
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"], "what was half written is removed"
