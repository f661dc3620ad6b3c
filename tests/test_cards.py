"""Model cards follow from the run's files, inside the model and beside it, and say what the model is not for."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import layers
from synthetic_runs import CLASSES, make_predictions, write_run

from emotions.data.variants import COPIES_KEPT
from emotions.evaluation import calibration, cards
from emotions.models import registry as models
from emotions.predict import classifier as inference
from emotions.training.recipes import Augmentation, Phase, Recipe

RECIPE = Recipe(
    phases=(Phase(epochs=2, learning_rate=1e-3), Phase(epochs=5, learning_rate=2e-4)),
    label_smoothing=0.1,
    augmentation=Augmentation(flip=True),
)
TRAINING = {
    "recipe": dataclasses.asdict(RECIPE),
    "seed": 0,
    "training_pictures": 1000,
    "input_size": 64,
    "epochs_trained": 7,
    "best_epoch": 5,
    "seconds": 90.0,
    "hardware": "CPU, 2 x86_64 cores",
    "backend": "tensorflow 2.21.0",
    "finished": "2026-01-01T00:00:00Z",
}


def small_model():
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(layers.Resizing(8, 8)(inputs)))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


@pytest.fixture
def root(tmp_path):
    """A repository with one run on each of two data sets, and a README that lists its models."""
    for dataset, name in (("fer2013-3", "lenet"), ("synthetic", "lenet-all")):
        folder = tmp_path / "results" / dataset / name
        variants = [COPIES_KEPT] if name == "lenet-all" else []
        found = write_run(folder, variants=variants, architecture="lenet") | {"training": TRAINING}
        (folder / "metrics.json").write_text(json.dumps(found))
        card = {"class_names": CLASSES, "dataset": dataset, "model": name}
        models.save(small_model(), tmp_path / "models" / f"{name}-{dataset}.keras", card)
    (tmp_path / "README.md").write_text("Models:\n<!-- models -->\nnone\n<!-- /models -->\nEnd.\n")
    return tmp_path


def test_what_is_written_is_up_to_date_until_the_run_changes(root):
    files = cards.contents(root)
    assert {path.relative_to(root).as_posix() for path in files} == {
        "README.md", "models/lenet-fer2013-3.keras", "models/lenet-fer2013-3.md",
        "models/lenet-all-synthetic.keras", "models/lenet-all-synthetic.md"}  # fmt: skip
    assert cards.stale(files) == list(files)
    cards.write(files)
    assert cards.stale(cards.contents(root)) == []
    make_predictions(skill=0.2, prefix="validation").save(
        root / "results" / "fer2013-3" / "lenet" / "predictions_validation.csv")
    assert [path.name for path in cards.stale(cards.contents(root))] == [
        "lenet-fer2013-3.md", "lenet-fer2013-3.keras", "README.md"]  # fmt: skip


def test_the_model_in_the_file_stays_as_it_is_and_is_used_with_the_temperature(root):
    file = root / "models" / "lenet-fer2013-3.keras"
    pictures = np.random.default_rng(0).integers(2, 256, (3, 8, 8, 3)).astype("uint8")
    before = keras.models.load_model(file).predict(pictures, verbose=0)
    cards.write(cards.contents(root))
    classifier = inference.load(file)
    assert np.array_equal(classifier.model.predict(pictures, verbose=0), before)
    found = classifier.predict(pictures)[list(CLASSES)].to_numpy(float)
    np.testing.assert_allclose(found, inference.soften(before, classifier.card["temperature"]), atol=1e-5)
    assert classifier.card["temperature"] != 1


def test_thresholds_are_chosen_on_validation_and_measured_on_test():
    validation, test = make_predictions(prefix="validation"), make_predictions(n=400, seed=3)
    found = cards.reliance(validation, test)
    assert found["temperature"] == pytest.approx(calibration.fit_temperature(validation), abs=1e-4)
    for row in found["abstention"]:
        known, new = (calibration.temper(it, found["temperature"]) for it in (validation, test))
        answered = (known.probabilities.max(axis=1) >= row["threshold"]).mean()
        assert row["validation_answered"] <= answered < row["validation_answered"] + 0.02
        sure = new.probabilities.max(axis=1) >= row["threshold"]
        assert row["answered"] == pytest.approx(sure.mean(), abs=1e-4)
        assert row["accuracy"] == pytest.approx((new.predicted == new.labels)[sure].mean(), abs=1e-4)
    accuracies = [row["accuracy"] for row in found["abstention"]]
    assert accuracies[-1] > accuracies[0]


def test_the_card_says_how_good_the_model_is_and_what_it_is_not_for(root):
    folder = root / "results" / "fer2013-3" / "lenet"
    text, found = cards.for_people(folder), json.loads((folder / "metrics.json").read_text())
    assert "Article 5(1)(f)" in text and "skin colour" in text
    assert f"| {found['test']['accuracy']:.3f} [" in text
    for name, figures in found["test"]["per_class"].items():
        shown = " | ".join(f"{figures[key]:.3f}" for key in ("precision", "recall", "f1", "roc_auc"))
        assert f"| {name} | {shown} | {figures['support']} |" in text
    assert "were left out of training" in text and "MIT licence" in text and "owners' terms" in text
    assert "Recipe: adam, learning rate up to 0.001 (plateau schedule), batches of 64; label smoothing, class" in text
    assert "class weights, flip." in text
    drawn = cards.for_people(root / "results" / "synthetic" / "lenet-all")
    assert "were trained on" in drawn and "drawings only" in drawn and "Article 5(1)(f)" in drawn


def test_of_a_model_that_learned_copies_the_leak_free_part_counts(root):
    folder = root / "results" / "synthetic" / "lenet-all"
    found, card = json.loads((folder / "metrics.json").read_text()), cards.for_programs(folder)
    clean = found["test_leak_free"]
    assert card["counts"] == "test_leak_free" and clean["n"] == 270 < found["test"]["n"]
    assert card["abstention"][0]["accuracy"] == round(clean["accuracy"], 4)
    text, readme = cards.for_people(folder), cards.contents(root)[root / "README.md"]
    for name, figures in clean["per_class"].items():
        assert f"| {name} | {figures['precision']:.3f} |" in text and f" | {figures['support']} |" in text
    assert "too low" in text and f"| {clean['accuracy']:.3f} [" in readme and "(leak-free)" in readme
    assert card["guessing"] == round(max(f["support"] for f in clean["per_class"].values()) / 270, 4)
    assert "counts" not in cards.for_programs(root / "results" / "fer2013-3" / "lenet")


def test_what_is_no_better_than_guessing_is_not_to_be_used(root):
    folder = root / "results" / "fer2013-3" / "lenet"
    assert "not to be used" not in cards.for_people(folder)
    assert "not used" not in cards.contents(root)[root / "README.md"]
    found = write_run(folder, skill=0, architecture="lenet") | {"training": TRAINING}
    (folder / "metrics.json").write_text(json.dumps(found))
    assert "better than that: it is here to be looked into, not to be used" in cards.for_people(folder)
    assert "`lenet-fer2013-3`](models/lenet-fer2013-3.md) (to be looked into, not used)" in (
        cards.contents(root)[root / "README.md"]
    )


def test_readme_lists_the_models_with_the_default_first(root, monkeypatch):
    monkeypatch.setattr(inference, "DEFAULT", "lenet-all-synthetic")
    text = cards.contents(root)[root / "README.md"]
    assert text.startswith("Models:\n<!-- models -->\n|") and text.endswith("<!-- /models -->\nEnd.\n")
    assert text.index("models/lenet-all-synthetic.md) (the default)") < text.index("models/lenet-fer2013-3.md)")


def test_a_model_without_a_run_is_named(root):
    (root / "results" / "synthetic" / "lenet-all" / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lenet-all-synthetic\.keras has no run"):
        cards.contents(root)
