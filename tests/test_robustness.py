"""Corruptions: stronger is further from the image; a table is computed once for each model."""

import numpy as np
import pytest
from conftest import definitions
from synthetic_runs import save_model

from emotions import runs
from emotions.data import load
from emotions.models import compact

notebook = definitions("16")
corrupt = notebook["corrupt"]


@pytest.fixture(scope="module")
def faces():
    return load("synthetic-quick")


@pytest.mark.parametrize("name", notebook["CORRUPTIONS"])
def test_stronger_corruptions_are_further_from_the_image(faces, name):
    images = np.array(faces.test.images[:8])
    distances = []
    for strength in range(1, 6):
        changed = corrupt(images, name, strength)
        assert changed.shape == images.shape and changed.dtype == np.uint8
        distances.append(np.abs(changed.astype(int) - images).mean())
    assert distances[0] > 0 and (np.diff(distances) > 0).all()
    np.testing.assert_array_equal(corrupt(images, name, 3), corrupt(images, name, 3))


def test_the_table_is_kept_until_the_model_or_the_number_of_images_changes(faces, tmp_path, monkeypatch):
    monkeypatch.setitem(notebook, "COUNT", 20)
    run = runs.Run(faces.name, "small", home=tmp_path)
    run.folder.mkdir(parents=True)
    card = {"class_names": list(faces.class_names), "temperature": 1.0, "abstention": [{"threshold": 0.15}]}
    save_model(compact(7, 32, (4, 8)), run.file, card)
    board = notebook["robustness"](run)
    assert len(board) == 46 and set(board["n"]) == {20} and board["accuracy"].between(0, 1).all()
    assert board["confidence"].between(1 / 7, 1).all()
    assert (board["correct_answers"] <= board["answered"] * 20).all() and board["answered"].between(0, 1).all()
    before = (run.folder / "robustness.csv").stat().st_mtime_ns
    notebook["robustness"](run)
    assert (run.folder / "robustness.csv").stat().st_mtime_ns == before
    save_model(compact(7, 32, (4, 8)), run.file, card)
    notebook["robustness"](run)
    assert (run.folder / "robustness.csv").stat().st_mtime_ns > before
    monkeypatch.setitem(notebook, "COUNT", 10)
    assert set(notebook["robustness"](run)["n"]) == {10}
