"""Starting from a saved model: its weights, its ancestors, and the guard against its photos in the new test part."""

import dataclasses
import zipfile

import keras
import numpy as np
import pytest
from synthetic_runs import save_model

from emotions import models, runs, training
from emotions.data import load
from emotions.training import bases
from emotions.training.bases import shared_photos

NAMES = ["angry", "happy", "sad"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "base.keras"
    card = {"class_names": NAMES, "model": "compact", "dataset": "synthetic-quick"}
    save_model(models.compact(3, 32, (4, 8)), path, card)
    return path


@pytest.fixture(scope="module")
def faces():
    return load("synthetic-quick")


def test_body_and_shared_rows_of_the_head_are_copied(base):
    model = models.compact(4, 32, (4, 8))
    fresh = model.layers[-1].get_weights()
    shared = models.start_from(model, base, ["fear", "happy", "neutral", "sad"])
    saved = keras.models.load_model(base)
    assert shared == ["happy", "sad"]
    for new, old in zip(model.layers[:-1], saved.layers[:-1], strict=True):
        for ours, theirs in zip(new.get_weights(), old.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    kernel, old_kernel = model.layers[-1].get_weights()[0], saved.layers[-1].get_weights()[0]
    np.testing.assert_array_equal(kernel[:, [1, 3]], old_kernel[:, [1, 2]])
    np.testing.assert_array_equal(kernel[:, [0, 2]], fresh[0][:, [0, 2]])


def test_another_network_is_refused(base):
    with pytest.raises(ValueError, match="another network"):
        models.start_from(models.compact(3, 32, (4, 16)), base, NAMES)


def test_a_run_records_its_ancestors(base, faces):
    run = runs.start("compact-from", faces, weights=base)
    assert run.facts["ancestors"] == [{"model": "compact", "dataset": "synthetic-quick", "with_duplicates": False}]
    assert run.facts["weights"] == "base.keras"
    assert "ancestors" not in runs.start("compact", faces).facts


def test_weights_from_elsewhere_have_no_ancestors(faces, tmp_path):
    (tmp_path / "vit-tiny").mkdir()  # a checkpoint of Hugging Face is a folder
    run = runs.start("compact", faces, weights=tmp_path / "vit-tiny")
    assert run.facts["weights"] == "vit-tiny" and "ancestors" not in run.facts
    assert models.ancestors("imagenet") == models.ancestors(None) == []
    with zipfile.ZipFile(tmp_path / "names.keras", "w") as archive:  # a card of class names alone
        archive.writestr("emotions.json", '{"class_names": ["a", "b"]}')
    assert models.ancestors(tmp_path / "names.keras") == []


def test_mirrored_and_resized_copies_are_found(faces):
    test, train = faces.test.images[:20], np.array(faces.train.images[:50])
    train[7], train[9] = test[3], test[5][:, ::-1]
    large = train.repeat(2, axis=1).repeat(2, axis=2)
    marked = shared_photos(test, large)
    assert marked[3] and marked[5]
    assert marked.sum() == 2 + shared_photos(test, faces.train.images[:50]).sum()


def test_a_constant_image_is_like_no_other_and_gives_no_warning(faces, recwarn):
    grey = np.full((2, 48, 48, 3), 90, "uint8")
    assert not shared_photos(grey, [*grey, *faces.train.images[:5]]).any()
    assert not len(recwarn)


def test_a_base_that_saw_test_images_is_refused(base, faces):
    seen = dataclasses.replace(faces, test=faces.train.take(slice(0, 30)), name="mine")
    with pytest.raises(ValueError, match=r"holds 30 of the 30 test images of mine: choose another base"):
        training.check_base(base, seen)


def test_a_base_whose_epoch_was_chosen_on_test_images_is_refused(base, faces):
    seen = dataclasses.replace(faces, test=faces.validation.take(slice(0, 20)), name="mine")
    with pytest.raises(ValueError, match=r"holds 20 of the 20 test images of mine"):
        training.check_base(base, seen)


def test_a_base_whose_data_is_not_at_hand_is_named(base, faces, capsys, monkeypatch):
    def missing(name, **options):
        raise FileNotFoundError(name)

    monkeypatch.setattr(bases, "load", missing)
    training.check_base(base, faces)
    assert "synthetic-quick, on which base.keras was trained, is not at hand" in capsys.readouterr().out


def test_a_data_set_that_is_not_here_is_not_downloaded_for_the_comparison(base, faces, capsys, monkeypatch):
    monkeypatch.setattr(bases, "ancestors", lambda file: [{"dataset": "fer2013", "with_duplicates": False}])
    monkeypatch.setattr(bases, "is_local", lambda name: False)
    monkeypatch.setattr(bases, "load", lambda *args, **options: pytest.fail("load looks on Kaggle, too"))
    training.check_base(base, faces)
    assert "(it is in none of the folders that are searched)" in capsys.readouterr().out


def test_another_folder_of_the_same_name_is_not_taken_for_what_the_base_saw(base, faces, capsys, monkeypatch):
    ancestor = {"dataset": "mine", "with_duplicates": False, "images": 1}
    monkeypatch.setattr(bases, "ancestors", lambda file: [ancestor])
    for digest, words in ((2, "is not at hand (mine holds other images now)"), (1, "None of the")):
        monkeypatch.setattr(bases, "load", lambda name, digest=digest, **options: other(faces, digest))
        training.check_base(base, faces)
        assert words in capsys.readouterr().out


def other(faces, digest):
    return dataclasses.replace(faces, train=faces.train.take([0]), validation=faces.train.take([1]), digest=digest)


def test_a_base_trained_on_a_folder_of_ones_own_is_named(base, faces, capsys, monkeypatch):
    monkeypatch.setattr(bases, "ancestors", lambda file: [{"dataset": "my-photos", "with_duplicates": False}])
    training.check_base(base, faces)
    assert "my-photos, on which base.keras was trained, is not at hand" in capsys.readouterr().out
