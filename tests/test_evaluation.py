"""Figures agree with what is counted by hand, predictions with their images, and files with both."""

import dataclasses
import json
import math

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import blobs, easy_faces
from sklearn import metrics as sk
from synthetic_runs import make_predictions

from emotions import backend, files, runs
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.evaluate import evaluate, predict, report
from emotions.models.files import read_card
from emotions.runs import Predictions

FOUR = ("angry", "fear", "happy", "sad")
HEADLINES = ("accuracy", "macro_f1", "mcc", "log_loss", "ece")


def made(labels, probabilities, class_names=("angry", "happy", "sad")) -> Predictions:
    labels = np.array(labels)
    return Predictions(class_names, np.array([f"p{i}" for i in range(len(labels))]), labels, np.array(probabilities))


# What one file of predictions gives


@pytest.fixture(scope="module")
def four():
    predictions = make_predictions(n=157, class_names=FOUR, skill=1.0)
    return predictions, evaluation.measure(predictions)


def test_a_case_small_enough_to_count_by_hand():
    """Five of six right; the one wrong is a sad image taken for happy, with sad second."""
    rows = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.1, 0.5, 0.4]]
    figures = evaluation.measure(made([0, 0, 1, 1, 2, 2], rows))
    assert figures["n"] == 6
    assert figures["accuracy"] == pytest.approx(5 / 6)
    assert figures["top_2"] == 1.0
    assert "top_3" not in figures  # of three classes it would always be 1
    assert figures["confusion"] == [[2, 0, 0], [0, 2, 0], [0, 1, 1]]
    assert figures["log_loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.6, 0.7, 0.7, 0.8, 0.4))) / 6)
    assert figures["per_class"]["happy"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "roc_auc": 1.0, "support": 2}
    )
    assert figures["per_class"]["sad"] == pytest.approx(
        {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "roc_auc": 1.0, "support": 2}
    )
    assert figures["macro_f1"] == pytest.approx((1 + 0.8 + 2 / 3) / 3)
    # Four bins are filled: 0.8 twice, 0.6, 0.7 twice, and 0.5, whose answer is wrong.
    assert figures["ece"] == pytest.approx((2 * 0.2 + 0.4 + 2 * 0.3 + 0.5) / 6)


def test_top_k_accuracy_and_the_area_under_the_roc_curve(four):
    predictions, figures = four
    own = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
    above = (predictions.probabilities > own[:, None]).sum(axis=1)
    assert [figures[f"top_{k}"] for k in (2, 3)] == pytest.approx([(above < k).mean() for k in (2, 3)])
    auc = sk.roc_auc_score(predictions.labels, predictions.probabilities, multi_class="ovr")
    assert figures["roc_auc"] == pytest.approx(auc)


def test_certainty_is_calibrated_only_as_far_as_it_is_right():
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert evaluation.calibration_error(np.array([0, 1, 2, 0]), sure) == 0
    assert evaluation.calibration_error(np.array([0, 1, 2, 1]), sure) == pytest.approx(0.25)


def test_a_confidence_on_an_edge_falls_into_the_bin_below():
    """So that 0.5, right, and 0.45, wrong, share a bin of two: their gaps offset each other."""
    rows = np.array([[0.5, 0.3, 0.2], [0.45, 0.3, 0.25]])
    assert evaluation.calibration_error(np.array([0, 1]), rows, bins=2) == pytest.approx((0.5 - 0.45) / 2)


def test_a_class_without_images_leaves_its_auc_undefined():
    rows = [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1]]
    figures = evaluation.measure(made([0, 1, 1], rows))
    assert figures["per_class"]["sad"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": None, "support": 0}
    defined = [figures["per_class"][name]["roc_auc"] for name in ("angry", "happy")]
    assert figures["roc_auc"] == pytest.approx(np.mean(defined))
    # Nor does it count in the macro mean, here and in every bootstrap sample, unless it is predicted.
    assert figures["macro_f1"] == pytest.approx(sum(own["f1"] for own in figures["per_class"].values()) / 2)
    right = evaluation.measure(made([0, 1], rows[:2]))
    assert right["macro_f1"] == 1 and right["macro_f1_interval"][1] == 1
    wrong = evaluation.measure(made([0, 1], [rows[0], [0.1, 0.1, 0.8]]))
    assert wrong["macro_f1"] == pytest.approx(1 / 3)
    assert evaluation.measure(made([0, 0], rows[:2]))["roc_auc"] is None


def test_the_interval_of_a_small_calibration_error_holds_it():
    """Bootstrap samples have a larger error than the images: their percentiles would begin at 0.016 here."""
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1] * 3, 2000)
    labels = (random.random(2000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    figures = evaluation.measure(made(labels, probabilities))
    low, high = figures["ece_interval"]
    assert low < 0.005 and low <= figures["ece"] <= high


def test_figures_go_into_json_as_they_are(four):
    _, figures = four
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_predictions_of_two_splits_are_joined_in_order():
    first, second = made([0, 2], [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]), make_predictions(3)
    both = first.join(second)
    assert both.ids.tolist() == ["p0", "p1", "test_0", "test_1", "test_2"]
    assert both.labels.tolist() == [0, 2, *second.labels]
    np.testing.assert_array_equal(both.probabilities[2:], second.probabilities)
    with pytest.raises(ValueError, match="on different images"):
        first.join(first)


def test_nothing_cannot_be_measured():
    with pytest.raises(ValueError, match="no predictions"):
        evaluation.measure(made([], np.zeros((0, 3))))


# Intervals


def test_each_bootstrap_sample_is_measured_as_its_images_would_be():
    predictions = make_predictions(n=90, class_names=FOUR, skill=1.0)
    drawn, values = evaluation.draws(90, 25, 7), evaluation.resampled(predictions, 25, 7)
    assert (drawn.sum(axis=1) == 90).all()
    for k, counts in enumerate(drawn.astype(int)):
        sample = predictions.take(np.repeat(np.arange(90), counts))
        expected = {
            "accuracy": sk.accuracy_score(sample.labels, sample.predicted),
            "balanced_accuracy": sk.recall_score(sample.labels, sample.predicted, average="macro", labels=range(4),
                                                 zero_division=0),
            "macro_f1": sk.f1_score(sample.labels, sample.predicted, average="macro", labels=range(4), zero_division=0),
            "mcc": sk.matthews_corrcoef(sample.labels, sample.predicted),
            "log_loss": sk.log_loss(sample.labels, sample.probabilities, labels=range(4)),
            "ece": evaluation.calibration_error(sample.labels, sample.probabilities),
        }
        assert {name: samples[k] for name, samples in values.items()} == pytest.approx(expected)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Samples of a population whose figures are known; 95%, give or take what 100 samples leave open."""
    population = make_predictions(n=20_000)
    truth = {name: evaluation.measure(population, resamples=1)[name] for name in HEADLINES[:4]}
    random = np.random.default_rng(0)
    covered = dict.fromkeys(truth, 0)
    for _ in range(100):
        figures = evaluation.resampled(population.take(random.integers(20_000, size=250)), 300)
        for name, value in truth.items():
            low, high = np.percentile(figures[name], [2.5, 97.5])
            covered[name] += low <= value <= high
    for name, count in covered.items():
        assert 0.88 <= count / 100 <= 1.0, name


def test_an_interval_holds_the_middle_95_percent_of_the_samples(four):
    predictions, figures = four
    samples = evaluation.resampled(predictions)
    del samples["balanced_accuracy"]  # none of the headline figures
    samples["ece"] = 2 * figures["ece"] - samples["ece"]  # reflected
    for name, values in samples.items():
        low, high = figures[f"{name}_interval"]
        assert len(values) == 2000
        assert (values < low).mean() <= 0.025 <= (values <= low).mean() + 1e-9
        assert (values > high).mean() <= 0.025 <= (values >= high).mean() + 1e-9
        assert low < figures[name] < high


def test_four_times_the_images_halve_the_interval():
    predictions = make_predictions(n=2000)
    few, many = (evaluation.measure(predictions.take(slice(n))) for n in (500, 2000))
    for name in HEADLINES:
        (low, high), (lower, higher) = few[f"{name}_interval"], many[f"{name}_interval"]
        assert 1.6 < (high - low) / (higher - lower) < 2.5, name
        assert low < high and lower < higher


def test_few_images_all_correct_prove_little():
    """All samples of such images are correct, so the bootstrap's interval would be 100 to 100 %."""
    predictions = make_predictions(24)
    right = dataclasses.replace(predictions, labels=predictions.predicted)
    low, high = evaluation.measure(right)["accuracy_interval"]
    assert 0.8 < low < 0.9 and high == 1  # Wilson: 24 / (24 + 1.96²)
    assert evaluation.measure(right, photos=np.arange(24) // 4)["accuracy_interval"][0] < 0.65  # six photos


def test_the_seed_decides_the_intervals_and_nothing_else(four):
    predictions, figures = four
    assert evaluation.measure(predictions) == figures
    other = evaluation.measure(predictions, seed=1)
    changed = {name for name in figures if other[name] != figures[name]}
    assert {"log_loss_interval", "ece_interval"} <= changed <= {f"{name}_interval" for name in HEADLINES}


def test_photos_are_resampled_whole():
    """Two images of each photo, the second a copy of the first: the figures of samples are those of photos alone."""
    once = make_predictions(90, class_names=FOUR)
    twice = once.take(np.repeat(np.arange(90), 2))
    photos = np.repeat(np.random.default_rng(0).permutation(90) + 7, 2)
    order = np.argsort(photos[::2])
    pairs = zip(evaluation.resampled(twice, 50, photos=photos).items(),
                evaluation.resampled(once.take(order), 50).items(), strict=True)  # fmt: skip
    for (name, values), (_, expected) in pairs:
        np.testing.assert_allclose(values, expected, err_msg=name)


def test_the_majority_class_baseline():
    figures = evaluation.measure(made([0, 1, 1], [[0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1]]))
    assert evaluation.majority_class(figures) == ("happy", 2 / 3)
    assert not evaluation.beats_majority_class(figures)  # it says the majority class itself
    assert evaluation.beats_majority_class(evaluation.measure(make_predictions(300, skill=3)))
    assert not evaluation.beats_majority_class(evaluation.measure(make_predictions(300, skill=0)))


def test_numbers_are_shown_in_one_format():
    figures = {"accuracy": 0.6876, "accuracy_interval": [0.672, 0.7034], "mcc": 0.6229, "mcc_interval": [0.6, 0.6415]}
    assert evaluation.shown(figures, "accuracy") == "68.8 % [67.2, 70.3]"
    assert evaluation.shown(figures, "mcc") == "0.623 [0.600, 0.641]"
    assert evaluation.percent(None) == "-"


# Predictions as files


@pytest.mark.parametrize("ids", [["007", "1e5", "4", "10"], ['a "quoted", name.png', "happy/ü.jpg", " b", "c"]])
def test_predictions_come_back_from_their_file(tmp_path, ids):
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], size=4)
    saved = Predictions(("angry", "happy", "sad"), np.array(ids), np.array([2, 0, 1, 1]), rows)
    saved.save(tmp_path / "predictions.csv")
    header, first, *_ = (tmp_path / "predictions.csv").read_text().splitlines()
    assert header == "id,label,angry,happy,sad"
    assert ",sad," in first
    read = Predictions.read(tmp_path / "predictions.csv")
    assert read.class_names == saved.class_names
    assert read.ids.tolist() == ids
    assert read.labels.tolist() == saved.labels.tolist()
    np.testing.assert_allclose(read.probabilities, rows, rtol=1e-4)
    np.testing.assert_allclose(read.probabilities.sum(axis=1), 1, rtol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.csv"]


def test_a_label_that_is_no_class_is_named(tmp_path):
    file = tmp_path / "predictions.csv"
    file.write_text("id,label,angry,happy\na,happy,0.5,0.5\nb,joyful,0.5,0.5\n")
    with pytest.raises(ValueError, match=r"predictions\.csv: the label 'joyful' is none of its columns"):
        Predictions.read(file)


# A model's predictions


@pytest.fixture(scope="module")
def model():
    """Untrained, and with different answers for different images, mirrored ones too."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Resizing(24, 24)(inputs)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 100)(x))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x), name="small")


def one_by_one(model, images):
    return np.concatenate([np.array(model(image[None].astype("float32"), training=False)) for image in images])


def test_each_prediction_stands_beside_its_own_image(model):
    split = blobs(70, 3, 24, seed=3).take(np.random.default_rng(0).permutation(70))
    predictions = predict(model, split, ("angry", "happy", "sad"))
    expected = one_by_one(model, np.array(split.images))
    assert len({tuple(row) for row in expected.round(3)}) == 70
    np.testing.assert_allclose(predictions.probabilities, expected, atol=1e-5)
    assert predictions.ids.tolist() == split.ids.tolist()
    assert predictions.labels.tolist() == split.labels.tolist()
    assert predictions.class_names == ("angry", "happy", "sad")
    mirrored = predict(model, split, ("angry", "happy", "sad"), mirrored=True).probabilities
    assert np.abs(mirrored - expected).max() > 0.05
    np.testing.assert_allclose(mirrored, one_by_one(model, np.array(split.images)[:, :, ::-1]), atol=1e-5)


def test_a_model_of_another_number_of_classes_is_refused(model):
    with pytest.raises(ValueError, match=r"small returned \(20, 3\) for 20 images of 2 classes"):
        predict(model, blobs(20, 2, 24, seed=3), ("angry", "happy"))


# A run's record

TRAINING = {
    "recipe": {"phases": [{"learning_rate": 0.001}], "optimizer": "adam", "schedule": "constant", "batch_size": 64,
               "augmentation": {}},
    "seed": 7, "seconds": 12.5, "backend": "jax 0.6", "hardware": "a GPU", "git_commit": "abc", "keras": "3.9",
    "training_pictures": 96, "epochs_trained": 4, "recipe_epochs": 4, "best_epoch": 3, "input_size": 24,
    "finished": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(model, tmp_path_factory):
    """The run of a model that is said to be trained, evaluated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOTIONS_HOME", str(tmp_path_factory.mktemp("home")))
        run = runs.start("small", easy_faces(), title="Small", seed=7)
        run.folder.mkdir(parents=True)
        files.write_json(run.folder / "training.json", TRAINING)
        metrics = evaluate(model, easy_faces(), run)
        assert metrics == evaluate(None, easy_faces(), run), "a saved run is only read"
        return run


def test_evaluation_writes_the_record_the_model_and_its_cards(evaluated):
    names = ["metrics.json", "predictions.csv", "predictions_tta.csv", "predictions_validation.csv",
             "predictions_validation_tta.csv", "training.json"]  # fmt: skip
    assert sorted(path.name for path in evaluated.folder.iterdir()) == names
    assert sorted(path.name for path in evaluated.folder.parent.iterdir()) == ["copied_in_training.csv", "small-s7"]
    copied = pd.read_csv(evaluated.folder.parent / "copied_in_training.csv")["id"].tolist()
    assert copied == ["picture_3_0000", "picture_3_0007"]
    assert sorted(path.name for path in evaluated.file.parent.iterdir()) == ["small-s7-easy.keras", "small-s7-easy.md"]
    card, metrics = read_card(evaluated.file), evaluated.metrics
    assert card["class_names"] == ["angry", "happy", "sad"]
    assert card["test"]["accuracy"] == metrics["test"]["accuracy"]
    assert card["training"] == {"seed": 7, "epochs_trained": 4, "input_size": 24, "finished": TRAINING["finished"]}
    assert evaluated.digest == metrics["digest"]
    assert "# small-s7-easy: Small" in evaluated.file.with_suffix(".md").read_text()


def test_each_file_holds_its_own_split_and_pass(evaluated):
    model, faces = evaluated.load(), easy_faces()
    for split, name in ((faces.test, "predictions"), (faces.validation, "predictions_validation")):
        images = np.array(split.images)
        plain, mirrored = one_by_one(model, images), one_by_one(model, images[:, :, ::-1])
        for end, expected in (("", plain), ("_tta", (plain + mirrored) / 2)):
            saved = evaluated.predictions_of(f"{name}{end}.csv")
            assert saved.ids.tolist() == split.ids.tolist()
            assert saved.labels.tolist() == split.labels.tolist()
            np.testing.assert_allclose(saved.probabilities, expected, atol=1e-4)


def test_metrics_hold_what_was_measured_on_what(evaluated):
    metrics = evaluated.metrics
    assert (metrics["dataset"], metrics["model"], metrics["title"]) == ("easy", "small-s7", "Small")
    assert metrics["split_sizes"] == {"train": 96, "validation": 32, "test": 40}
    assert metrics["class_names"] == ["angry", "happy", "sad"]
    assert metrics["parameters"] == 24 * 24 * 3 * 3 + 3
    assert metrics["seconds_per_picture"] > 0 and metrics["timed_on"] == backend.hardware()
    names = ("seed", "training_seconds", "backend", "hardware", "git_commit")
    assert [metrics[name] for name in names] == [7, 12.5, "jax 0.6", "a GPU", "abc"]
    assert metrics["training"] == TRAINING
    for split, n in {"validation": 32, "test": 40, "test_leak_free": 38}.items():
        for end in ("", "_tta"):
            assert metrics[f"{split}{end}"]["n"] == n


def test_metrics_follow_from_the_files_alone(evaluated):
    again, metrics = evaluation.measure_folder(evaluated.folder), evaluated.metrics
    assert sorted(again) == sorted(name for name in metrics if name.split("_")[0] in ("validation", "test"))
    assert again == {name: metrics[name] for name in again}


def test_the_leak_free_part_leaves_out_the_copies_and_nothing_else(evaluated):
    for end in ("", "_tta"):
        test = evaluated.predictions_of(f"predictions{end}.csv")
        clean = [k for k, name in enumerate(test.ids) if name not in ("picture_3_0000", "picture_3_0007")]
        assert len(clean) == 38
        assert evaluated.metrics[f"test_leak_free{end}"] == evaluation.measure(test.take(clean))
        assert evaluated.metrics[f"test{end}"] == evaluation.measure(test)


def written(tmp_path, monkeypatch, faces):
    """A run with predictions only, in an empty folder."""
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))
    run = runs.start("small", faces)
    run.folder.mkdir(parents=True)
    for split, name in ((faces.validation, "predictions_validation.csv"), (faces.test, "predictions.csv")):
        rows = np.random.default_rng(0).dirichlet([1, 1, 1], size=len(split))
        Predictions(faces.class_names, split.ids, split.labels, rows).save(run.folder / name)
    return run


def test_without_training_facts_are_of_now_and_copies_alone_are_no_test(tmp_path, monkeypatch):
    faces = dataclasses.replace(easy_faces(), copied=frozenset())
    run = written(tmp_path, monkeypatch, faces)
    metrics = report(run, faces, trained_by="others")
    assert metrics["trained_by"] == "others" and metrics["training"] == {} and metrics["training_seconds"] is None
    assert metrics["git_commit"] == files.git_commit() and metrics["backend"] == backend.version()
    assert metrics["test_leak_free"] == metrics["test"] and "test_tta" not in metrics
    with pytest.raises(ValueError, match=r"Each of the 40 test images .* has a copy in training"):
        report(run, dataclasses.replace(faces, copied=frozenset(faces.test.ids)))
    (run.folder.parent / "copied_in_training.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"copied_in_training\.csv is missing"):
        evaluation.measure_folder(run.folder)


def test_on_human_emotions_photos_are_kept_and_resampled(tmp_path, monkeypatch):
    faces = easy_faces()
    splits = {name: dataclasses.replace(part, groups=np.arange(len(part)) // 4 + 100 * k)
              for k, (name, part) in enumerate(faces.splits().items())}  # fmt: skip
    faces = dataclasses.replace(faces, name="human-emotions", **splits)
    run = written(tmp_path, monkeypatch, faces)
    metrics = report(run, faces)
    test = run.predictions
    photos = evaluation.photos_of(test, run.folder.parent)
    assert photos.tolist() == faces.test.groups.tolist()
    assert metrics["test"] == evaluation.measure(test, photos=photos)
    assert metrics["test"]["accuracy_interval"] != evaluation.measure(test)["accuracy_interval"]
