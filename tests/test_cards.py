"""Model cards follow from the run's files, inside the model and beside it, and say what the model is not for."""

import json
import re

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from synthetic_runs import CLASSES, TRAINING, make_predictions, save_model, write_run

from emotions import notebook, predict
from emotions.data import loading
from emotions.data.dataset import WITH_DUPLICATES
from emotions.evaluation import calibration, cards, leaderboard
from emotions.evaluation.metrics import summary
from emotions.runs import Run


def small_model():
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(layers.Resizing(8, 8)(inputs)))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


@pytest.fixture
def home(tmp_path):
    """A folder with one run on each of two data sets."""
    for dataset, name in (("fer2013-3", "lenet"), ("synthetic", "lenet-all")):
        write_run(tmp_path / "results" / dataset / name, architecture="lenet",
                  variants=[WITH_DUPLICATES] if name == "lenet-all" else [])  # fmt: skip
        card = {"class_names": CLASSES, "dataset": dataset, "model": name}
        save_model(small_model(), tmp_path / "models" / f"{name}-{dataset}.keras", card)
    return tmp_path


@pytest.fixture
def run(home):
    return Run("fer2013-3", "lenet", home=home)


def people(run):
    return cards.for_people(run, cards.for_programs(run, run.metrics))


def test_what_is_written_is_up_to_date_until_the_run_changes(home, run):
    contents = cards.contents(home)
    names = {"lenet-fer2013-3.keras", "lenet-fer2013-3.md", "lenet-all-synthetic.keras", "lenet-all-synthetic.md"}
    assert {path.name for path in contents} == names
    assert cards.write_outdated(contents) == list(contents)
    assert cards.write_outdated(cards.contents(home), check=True) == []
    make_predictions(skill=0.2, prefix="validation").save(run.folder / "predictions_validation.csv")
    stale = cards.write_outdated(cards.contents(home), check=True)
    assert [path.name for path in stale] == ["lenet-fer2013-3.keras", "lenet-fer2013-3.md"]


def test_the_model_in_the_file_stays_as_it_is_and_is_used_with_the_temperature(home, run):
    images = np.random.default_rng(0).integers(2, 256, (3, 8, 8, 3)).astype("uint8")
    before = keras.models.load_model(run.file).predict(images, verbose=0)
    cards.write_outdated(cards.contents(home))
    classifier = predict.load(run.file)
    assert np.array_equal(classifier.model.predict(images, verbose=0), before)
    shown = classifier.predict(images, faces=False)[list(CLASSES)].to_numpy(float)
    scaled = np.exp(np.log(before) / classifier.card["temperature"])
    np.testing.assert_allclose(shown, scaled / scaled.sum(axis=1, keepdims=True), atol=1e-5)
    assert classifier.card["temperature"] != 1


def test_thresholds_are_chosen_on_validation_and_measured_on_test():
    validation, test = make_predictions(prefix="validation"), make_predictions(n=400, seed=3)
    result = cards.reliance(validation, test)
    assert result["temperature"] == pytest.approx(calibration.fit_temperature(validation), abs=1e-4)
    known, new = (calibration.temperature_scale(part, result["temperature"]) for part in (validation, test))
    for row in result["abstention"]:
        answered = (known.probabilities.max(axis=1) >= row["threshold"]).mean()
        assert row["validation_answered"] <= answered < row["validation_answered"] + 0.02
        sure = new.probabilities.max(axis=1) >= row["threshold"]
        assert row["answered"] == pytest.approx(sure.mean(), abs=1e-4)
        assert row["accuracy"] == pytest.approx((new.predicted == new.labels)[sure].mean(), abs=1e-4)
    assert result["abstention"][-1]["accuracy"] > result["abstention"][0]["accuracy"]


def test_the_card_holds_the_figures_the_recipe_and_what_the_model_is_not_for(home, run):
    text, test = people(run), run.metrics["test"]
    assert "Article 5(1)(f)" in text and "skin colour" in text
    assert text.startswith("---\nlibrary_name: keras\n") and f"value: {test['accuracy']}" in text
    assert f"| {100 * test['accuracy']:.1f} % [" in text
    for name, row in test["per_class"].items():
        shares = " | ".join(f"{100 * row[key]:.1f} %" for key in ("precision", "recall", "f1"))
        assert f"| {name} | {shares} | {row['roc_auc']:.3f} | {row['support']} |" in text
    assert "were left out of training" in text and "MIT licence" in text and "owners' terms" in text
    assert "adam, learning rate up to 0.001 (plateau schedule), batch size 64, label smoothing, class weights;" in text
    assert "augmentation: flip." in text and "architecture after LeCun et al. 1998" in text
    drawn = people(Run("synthetic", "lenet-all", home=home))
    assert "drawings only" in drawn and "Article 5(1)(f)" in drawn
    assert "were in the training data" in drawn and "too low" in drawn
    write_run(home / "results" / "ferrets" / "lenet", architecture="lenet", variants=[])
    own = people(Run("ferrets", "lenet", home=home))
    assert "Labels are noisy" in text and "The user's own images." in own and "FER2013" not in own


def test_a_training_that_was_cut_short_is_called_so(run):
    assert "cut short" not in people(run)
    metrics = run.metrics
    metrics["training"] |= {"recipe_epochs": 30}
    (run.folder / "metrics.json").write_text(json.dumps(metrics))
    assert "**The training was cut short**, after 7 of 30 planned epochs." in people(run)
    assert cards.unfinished(TRAINING | {"recipe_epochs": 30})
    assert not cards.unfinished(TRAINING | {"recipe_epochs": 30, "stopped_early": True})


def test_of_a_model_trained_with_duplicates_the_leak_free_part_counts(home, run):
    other = Run("synthetic", "lenet-all", home=home)
    card, clean = cards.for_programs(other, other.metrics), other.metrics["test_leak_free"]
    assert card["counts"] == "test_leak_free" and clean["n"] == 270 < other.metrics["test"]["n"]
    assert card["abstention"][0]["accuracy"] == round(clean["accuracy"], 4)
    assert card["guessing"] == round(max(row["support"] for row in clean["per_class"].values()) / 270, 4)
    text = people(other)
    for name, row in clean["per_class"].items():
        assert f"| {name} | {100 * row['precision']:.1f} % |" in text and f" | {row['support']} |" in text
    assert "counts" not in cards.for_programs(run, run.metrics)


def test_a_model_that_is_not_better_than_the_majority_class_is_not_to_be_used(run):
    assert "do not use it" not in people(run)
    write_run(run.folder, skill=0, architecture="lenet")
    assert "**This model is not significantly better than the majority-class baseline" in people(run)


@pytest.mark.parametrize("with_file", [True, False])
def test_a_run_that_is_being_trained_anew_is_named(home, with_file):
    (home / "results" / "synthetic" / "lenet-all" / "checkpoint").mkdir()
    if not with_file:
        (home / "models" / "lenet-all-synthetic.keras").unlink()
    with pytest.raises(FileNotFoundError, match=r"synthetic.lenet-all is being trained anew"):
        leaderboard.refresh(home)


def test_a_card_tells_what_was_measured_on_photos_unlike_those_it_has_seen(home, run):
    name, results = run.file.stem, home / "results"
    rows = [(name, "fer2013-3", "fer2013", 90, 0.9, 0.1, 0.2),
            (name, "fer2013-3", "human-emotions", 80, 0.61, 0.05, 0.12),
            ("another", "fer2013-3", "human-emotions", 80, 0.2, 0.1, 0.1)]  # fmt: skip
    columns = ["model", "trained_on", "tested_on", "n", "accuracy", "ece", "ece_calibrated"]
    pd.DataFrame(rows, columns=columns).to_csv(results / "across.csv", index=False)
    assert "Photos of" not in people(run), "of an earlier model: its answers are not there"
    for tested in ("fer2013", "human-emotions"):
        (answers := results / tested / "across" / f"{name}.csv").parent.mkdir(parents=True)
        answers.touch()
    text = people(run)
    assert "**Photos of `human-emotions`**, of which it has seen none: 61.0 % of 80 test images are right" in text
    assert "there from 5.0 % to 12.0 %" in text and text.count("**Photos of") == 1
    assert cards.elsewhere(Run("anna's", "lenet", home=home)).empty  # the name of a folder


def test_the_limits_in_the_file_are_those_of_its_images(home, run):
    limits = {name: cards.for_programs(Run(name, model, home=home), Run(name, model, home=home).metrics)["limits"]
              for name, model in (("fer2013-3", "lenet"), ("synthetic", "lenet-all"))}  # fmt: skip
    assert "web-scraped" in limits["fer2013-3"] and "web-scraped" not in limits["synthetic"]
    assert "web-scraped" not in cards.for_programs(run, run.metrics | {"images": 1})["limits"]


def test_every_data_set_has_its_words_on_a_card():
    words = (cards.TEMPLATES / "card_template.md").read_text().partition("set data = {")[2].partition("}")[0]
    assert set(re.findall(r'^  "([\w-]+)": ', words, re.M)) | {"synthetic-quick"} == {*loading.NAMES}


def test_a_model_without_a_run_is_named(home):
    (home / "results" / "synthetic" / "lenet-all" / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lenet-all-synthetic\.keras has no run"):
        cards.contents(home)


@pytest.mark.parametrize("copies", [True, False])
def test_leak_free_has_a_column_only_where_test_images_have_copies_in_training(tmp_path, copies):
    folder = tmp_path / "results" / "fer2013-3" / "lenet"
    metrics = write_run(folder)
    if not copies:
        metrics["test_leak_free"] = metrics["test"]
        (folder / "metrics.json").write_text(json.dumps(metrics))
    assert ("test, leak-free, n = 270" in summary(metrics)) == copies
    assert len(summary(metrics).columns) == 2 + copies
    assert ("leak-free" in notebook.results(Run("fer2013-3", "lenet", home=tmp_path))) == copies


def test_a_model_of_ferplus_is_measured_by_fer2013s_labels_too(tmp_path):
    write_run(tmp_path / "results" / "fer2013" / "lenet")
    write_run(tmp_path / "results" / "ferplus" / "lenet", architecture="lenet", variants=[])
    run = Run("ferplus", "lenet", home=tmp_path)
    file = tmp_path / "results" / "fer2013" / "lenet" / "predictions.csv"
    header, *rows = file.read_text().splitlines()
    rows = [row.replace(",happy,", ",sad,") for row in rows]  # whom FER+'s voters call happy, FER2013 calls sad
    file.write_text("\n".join([header, *rows]) + "\n")
    relabelled = cards.by_fer2013_labels(run)
    happy = run.predictions.labels == CLASSES.index("happy")
    assert (relabelled.labels[happy] == CLASSES.index("sad")).all()
    assert (relabelled.labels[~happy] == run.predictions.labels[~happy]).all()
    assert cards.by_fer2013_labels(Run("fer2013", "lenet", home=tmp_path)) is None
    assert "By FER2013's own labels of 300 of these test images" in people(run)


def test_fer2013_as_folders_has_no_labels_for_ferplus(tmp_path):
    for dataset in ("fer2013", "ferplus"):
        write_run(tmp_path / "results" / dataset / "lenet", architecture="lenet")
    own = Run("ferplus", "lenet", home=tmp_path)
    assert cards.by_fer2013_labels(own) is not None
    file = tmp_path / "results" / "fer2013" / "lenet" / "predictions.csv"
    file.write_text(file.read_text().replace("test_", "PrivateTest_1000"))
    assert cards.by_fer2013_labels(own) is None
