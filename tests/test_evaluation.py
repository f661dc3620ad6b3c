"""Figures agree with what is counted by hand, predictions with their pictures, and files with both."""

import dataclasses
import itertools
import json
import math

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import blobs
from PIL import Image
from sklearn import metrics as sk
from synthetic_runs import make_predictions

from emotions import backend
from emotions.data import Split
from emotions.data.images import Store, Streamed
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions
from emotions.training import fit as training

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


def counted(predictions):
    """The confusion matrix, one picture at a time."""
    table = np.zeros((len(predictions.class_names),) * 2, int)
    for label, row in zip(predictions.labels, predictions.probabilities, strict=True):
        table[label, max(range(len(row)), key=lambda k: row[k])] += 1
    return table


def test_a_case_small_enough_to_count_by_hand():
    """Five of six right; the one wrong is a sad picture taken for happy, with sad second."""
    rows = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.1, 0.5, 0.4]]
    found = evaluation.measure(made([0, 0, 1, 1, 2, 2], rows))
    assert found["n"] == 6
    assert found["accuracy"] == pytest.approx(5 / 6)
    assert found["top_2"] == 1.0
    assert "top_3" not in found  # of three classes it would always be 1
    assert found["confusion"] == [[2, 0, 0], [0, 2, 0], [0, 1, 1]]
    assert found["log_loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.6, 0.7, 0.7, 0.8, 0.4))) / 6)
    assert found["per_class"]["happy"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "roc_auc": 1.0, "support": 2}
    )
    assert found["per_class"]["sad"] == pytest.approx(
        {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "roc_auc": 1.0, "support": 2}
    )
    assert found["macro_f1"] == pytest.approx((1 + 0.8 + 2 / 3) / 3)
    # Four bins are filled: 0.8 twice, 0.6, 0.7 twice, and 0.5, whose answer is wrong.
    assert found["ece"] == pytest.approx((2 * 0.2 + 0.4 + 2 * 0.3 + 0.5) / 6)


def test_headline_figures_agree_with_independent_counts(four):
    predictions, found = four
    table, rows, labels = counted(predictions), predictions.probabilities, predictions.labels
    n = len(labels)
    assert found["confusion"] == table.tolist()
    assert found["accuracy"] == pytest.approx(np.trace(table) / n)
    for k in (2, 3):
        hits = [(rows[i] > rows[i, label]).sum() < k for i, label in enumerate(labels)]
        assert found[f"top_{k}"] == pytest.approx(np.mean(hits))
    # Matthews' coefficient of several classes is the correlation of what is true and what is said (Gorodkin 2004).
    true, said = (np.eye(4)[codes] - np.eye(4)[codes].mean(axis=0) for codes in (labels, rows.argmax(axis=1)))
    assert found["mcc"] == pytest.approx((true * said).sum() / math.sqrt((true**2).sum() * (said**2).sum()))
    assert found["log_loss"] == pytest.approx(-np.mean([math.log(rows[i, label]) for i, label in enumerate(labels)]))


def test_figures_of_each_class_agree_with_independent_counts(four):
    predictions, found = four
    table = counted(predictions)
    for k, name in enumerate(FOUR):
        own = found["per_class"][name]
        assert own["support"] == table[k].sum()
        assert own["recall"] == pytest.approx(table[k, k] / table[k].sum())
        assert own["precision"] == pytest.approx(table[k, k] / table[:, k].sum())
        assert own["f1"] == pytest.approx(2 * table[k, k] / (table[k].sum() + table[:, k].sum()))
        scores, positive = predictions.probabilities[:, k], predictions.labels == k
        pairs = list(itertools.product(scores[positive], scores[~positive]))
        assert own["roc_auc"] == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a, b in pairs]))
    assert found["macro_f1"] == pytest.approx(np.mean([found["per_class"][name]["f1"] for name in FOUR]))
    assert found["roc_auc"] == pytest.approx(np.mean([found["per_class"][name]["roc_auc"] for name in FOUR]))


@pytest.mark.parametrize("bins", [5, 15])
def test_calibration_error_agrees_with_a_loop_over_bins(four, bins):
    predictions, found = four
    members = {}
    for label, row in zip(predictions.labels, predictions.probabilities, strict=True):
        bin = next(k for k in range(bins) if row.max() <= (k + 1) / bins)
        members.setdefault(bin, []).append((row.max(), row.argmax() == label))
    gaps = [len(bin) * abs(np.mean([hit for _, hit in bin]) - np.mean([sure for sure, _ in bin]))
            for bin in members.values()]
    expected = sum(gaps) / len(predictions)
    assert evaluation.calibration_error(predictions.labels, predictions.probabilities, bins) == pytest.approx(expected)
    if bins == 15:
        assert found["ece"] == pytest.approx(expected)


def test_certainty_is_calibrated_only_as_far_as_it_is_right():
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert evaluation.calibration_error(np.array([0, 1, 2, 0]), sure) == 0
    assert evaluation.calibration_error(np.array([0, 1, 2, 1]), sure) == pytest.approx(0.25)


def test_a_confidence_on_an_edge_falls_into_the_bin_below():
    """So that 0.5, right, and 0.45, wrong, share a bin of two: their gaps offset each other."""
    rows = np.array([[0.5, 0.3, 0.2], [0.45, 0.3, 0.25]])
    assert evaluation.calibration_error(np.array([0, 1]), rows, bins=2) == pytest.approx((0.5 - 0.45) / 2)


def test_a_class_without_pictures_leaves_its_auc_undefined():
    rows = [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1]]
    found = evaluation.measure(made([0, 1, 1], rows))
    assert found["per_class"]["sad"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": None, "support": 0}
    assert found["roc_auc"] == pytest.approx(np.mean([found["per_class"][k]["roc_auc"] for k in ("angry", "happy")]))
    # It still counts in the macro mean, as it does in every bootstrap sample.
    assert found["macro_f1"] == pytest.approx(sum(own["f1"] for own in found["per_class"].values()) / 3)
    assert evaluation.measure(made([0, 0], rows[:2]))["roc_auc"] is None


def test_figures_go_into_json_as_they_are(four):
    _, found = four
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_predictions_of_two_splits_are_joined_in_order():
    first, second = made([0, 2], [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]), make_predictions(3)
    both = first.join(second)
    assert both.ids.tolist() == ["p0", "p1", "test_0", "test_1", "test_2"]
    assert both.labels.tolist() == [0, 2, *second.labels]
    np.testing.assert_array_equal(both.probabilities[2:], second.probabilities)
    with pytest.raises(ValueError, match="on different pictures"):
        first.join(first)


def test_nothing_cannot_be_measured():
    with pytest.raises(ValueError, match="no predictions"):
        evaluation.measure(made([], np.zeros((0, 3))))


# Intervals


def test_each_bootstrap_sample_is_measured_as_its_pictures_would_be():
    predictions = make_predictions(n=90, class_names=FOUR, skill=1.0)
    drawn, figures = evaluation.draws(90, 25, 7), evaluation.resampled(predictions, 25, 7)
    assert (drawn.sum(axis=1) == 90).all()
    for k, counts in enumerate(drawn.astype(int)):
        sample = predictions.take(np.repeat(np.arange(90), counts))
        expected = {
            "accuracy": sk.accuracy_score(sample.labels, sample.predicted),
            "macro_f1": sk.f1_score(sample.labels, sample.predicted, average="macro", labels=range(4), zero_division=0),
            "mcc": sk.matthews_corrcoef(sample.labels, sample.predicted),
            "log_loss": sk.log_loss(sample.labels, sample.probabilities, labels=range(4)),
            "ece": evaluation.calibration_error(sample.labels, sample.probabilities),
        }
        assert {name: values[k] for name, values in figures.items()} == pytest.approx(expected)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Samples of a population whose figures are known; 95%, give or take what 200 samples leave open."""
    population = make_predictions(n=50_000)
    truth = {name: evaluation.measure(population, resamples=1)[name] for name in HEADLINES[:4]}
    random = np.random.default_rng(0)
    covered = dict.fromkeys(truth, 0)
    for _ in range(200):
        figures = evaluation.resampled(population.take(random.integers(50_000, size=250)), 500)
        for name, value in truth.items():
            low, high = np.percentile(figures[name], [2.5, 97.5])
            covered[name] += low <= value <= high
    for name, count in covered.items():
        assert 0.90 <= count / 200 <= 0.99, name


def test_an_interval_holds_the_middle_95_percent_of_the_samples(four):
    predictions, found = four
    for name, values in evaluation.resampled(predictions).items():
        low, high = found[f"{name}_interval"]
        assert len(values) == 2000
        assert (values < low).mean() <= 0.025 <= (values <= low).mean() + 1e-9
        assert (values > high).mean() <= 0.025 <= (values >= high).mean() + 1e-9
        assert low < found[name] < high


def test_four_times_the_pictures_halve_the_interval():
    predictions = make_predictions(n=2000)
    few, many = (evaluation.measure(predictions.take(slice(n))) for n in (500, 2000))
    for name in HEADLINES:
        (low, high), (lower, higher) = few[f"{name}_interval"], many[f"{name}_interval"]
        assert 1.6 < (high - low) / (higher - lower) < 2.5, name
        assert low < high and lower < higher


def test_the_seed_decides_the_intervals_and_nothing_else(four):
    predictions, found = four
    assert evaluation.measure(predictions) == found
    other = evaluation.measure(predictions, seed=1)
    changed = {name for name in found if other[name] != found[name]}
    assert {"log_loss_interval", "ece_interval"} <= changed <= {f"{name}_interval" for name in HEADLINES}


# Predictions as files


@pytest.mark.parametrize("ids", [["007", "1e5", "4", "10"], ['a "quoted", name.png', "happy/ü.jpg", " b", "c"]])
def test_predictions_come_back_from_their_file(tmp_path, ids):
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], size=4)
    saved = Predictions(("angry", "happy", "sad"), np.array(ids), np.array([2, 0, 1, 1]), rows)
    saved.save(tmp_path / "predictions.csv")
    header, first, *_ = (tmp_path / "predictions.csv").read_text().splitlines()
    assert header == "id,label,angry,happy,sad"
    assert ",sad," in first
    found = Predictions.read(tmp_path / "predictions.csv")
    assert found.class_names == saved.class_names
    assert found.ids.tolist() == ids
    assert found.labels.tolist() == saved.labels.tolist()
    np.testing.assert_allclose(found.probabilities, rows, rtol=1e-4)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.csv"]


def test_a_label_that_is_no_class_is_named(tmp_path):
    file = tmp_path / "predictions.csv"
    file.write_text("id,label,angry,happy\na,happy,0.5,0.5\nb,joyful,0.5,0.5\n")
    with pytest.raises(ValueError, match=r"predictions\.csv: the label 'joyful' is none of its columns"):
        Predictions.read(file)


# A model's predictions


@pytest.fixture(scope="module")
def model():
    """Untrained, and with different answers for different pictures, mirrored ones too."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((24, 24, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 100)(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x), name="small")


def one_by_one(model, images):
    return np.concatenate([np.array(model(image[None].astype("float32"), training=False)) for image in images])


def test_each_prediction_stands_beside_its_own_picture(model):
    split = blobs(40, 3, 24, seed=3).take(np.random.default_rng(0).permutation(40))
    found = evaluation.predict(model, split, ("angry", "happy", "sad"), batch_size=16)
    expected = one_by_one(model, np.array(split.images))
    assert len({tuple(row) for row in expected.round(3)}) == 40
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert found.ids.tolist() == split.ids.tolist()
    assert found.labels.tolist() == split.labels.tolist()
    assert found.class_names == ("angry", "happy", "sad")


def test_flipping_averages_a_picture_and_its_mirror_image(model):
    split = blobs(20, 3, 24, seed=3)
    found = evaluation.predict(model, split, ("angry", "happy", "sad"), flip=True, batch_size=16)
    images = np.array(split.images)
    plain, mirrored = one_by_one(model, images), one_by_one(model, images[:, :, ::-1])
    assert np.abs(plain - mirrored).max() > 0.05
    np.testing.assert_allclose(found.probabilities, (plain + mirrored) / 2, atol=1e-5)


def test_streamed_pictures_are_predicted_like_those_in_memory(model, tmp_path):
    split = blobs(21, 3, 24, seed=3)
    files = [f"{name}.png" for name in split.ids]
    for file, image in zip(files, split.images, strict=True):
        Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / file)
    streamed = Split(Streamed(Store(tmp_path), files, (24, 24)), split.labels, split.ids)
    for flip in (False, True):
        found, expected = (
            evaluation.predict(model, each, ("angry", "happy", "sad"), flip=flip, batch_size=8).probabilities
            for each in (streamed, split)
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_model_of_another_number_of_classes_is_refused(model):
    with pytest.raises(ValueError, match=r"small returned \(20, 3\) for 20 pictures of 2 classes"):
        evaluation.predict(model, blobs(20, 2, 24, seed=3), ("angry", "happy"))


# Run folders


@pytest.fixture
def evaluated(model, easy_dataset, tmp_path):
    folder = tmp_path / "easy" / "small"
    return folder, evaluation.evaluate(model, easy_dataset, folder, title="Small")


def test_evaluation_writes_predictions_and_metrics_and_nothing_else(evaluated, easy_dataset):
    folder, found = evaluated
    names = ["metrics.json", "predictions.csv", "predictions_tta.csv", "predictions_validation.csv",
             "predictions_validation_tta.csv"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert sorted(path.name for path in folder.parent.iterdir()) == ["copied_in_training.csv", "small"]
    assert pd.read_csv(folder.parent / "copied_in_training.csv")["id"].tolist() == sorted(easy_dataset.copied)
    assert json.loads((folder / "metrics.json").read_text()) == found


def test_each_file_holds_its_own_split_and_pass(evaluated, model, easy_dataset):
    folder, _ = evaluated
    for split, name in ((easy_dataset.test, "predictions"), (easy_dataset.validation, "predictions_validation")):
        for flip, end in ((False, ""), (True, "_tta")):
            found = Predictions.read(folder / f"{name}{end}.csv")
            expected = evaluation.predict(model, split, easy_dataset.class_names, flip=flip)
            assert found.ids.tolist() == split.ids.tolist()
            assert found.labels.tolist() == split.labels.tolist()
            np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)


def test_each_picture_is_predicted_once_as_it_is_and_once_mirrored(model, easy_dataset, tmp_path, monkeypatch):
    """The averaged files take the plain pass from the plain ones: it takes minutes on a large test split."""
    passes = []

    class Spied(evaluation.Pictures):
        def __init__(self, images, batch_size, flip=False):
            super().__init__(images, batch_size, flip)
            passes.append((len(images), flip))

    monkeypatch.setattr(evaluation, "Pictures", Spied)
    evaluation.evaluate(model, easy_dataset, tmp_path / "easy" / "small")
    sizes = [len(easy_dataset.validation), len(easy_dataset.test)]
    assert sorted(passes) == sorted((size, flip) for size in sizes for flip in (False, True))


def test_metrics_tell_what_was_measured_on_what(evaluated, model):
    _, found = evaluated
    assert (found["dataset"], found["model"], found["title"]) == ("easy", "small", "Small")
    assert found["split_sizes"] == {"train": 96, "validation": 32, "test": 40}
    assert found["class_names"] == ["angry", "happy", "sad"]
    assert found["parameters"] == model.count_params() == 24 * 24 * 3 * 3 + 3
    assert found["seconds_per_picture"] > 0
    assert found["backend"] == backend.version()
    assert found["hardware"] == found["timed_on"] == backend.hardware()
    assert found["git_commit"] == training.git_commit()
    assert found["seed"] is None and found["training_seconds"] is None  # nobody trained it
    for split, n in {"validation": 32, "test": 40, "test_leak_free": 38}.items():
        for end in ("", "_tta"):
            assert found[f"{split}{end}"]["n"] == n
            assert 0 <= found[f"{split}{end}"]["accuracy"] <= 1


def test_metrics_follow_from_the_files_alone(evaluated):
    folder, found = evaluated
    again = evaluation.measure_folder(folder)
    assert sorted(again) == sorted(name for name in found if name.split("_")[0] in ("validation", "test"))
    assert again == {name: found[name] for name in again}


def test_the_leak_free_part_leaves_out_the_copies_and_nothing_else(evaluated, easy_dataset):
    folder, found = evaluated
    for end in ("", "_tta"):
        test = Predictions.read(folder / f"predictions{end}.csv")
        kept = [k for k, name in enumerate(test.ids) if name not in ("picture_3_0000", "picture_3_0007")]
        assert len(kept) == 38
        assert found[f"test_leak_free{end}"] == evaluation.measure(test.take(kept))
        assert found[f"test{end}"] == evaluation.measure(test)
        assert found[f"test{end}"]["confusion"] != found[f"test_leak_free{end}"]["confusion"]


def test_without_copies_the_leak_free_part_is_the_whole(model, easy_dataset, tmp_path):
    dataset = dataclasses.replace(easy_dataset, copied=frozenset())
    found = evaluation.evaluate(model, dataset, tmp_path / "easy" / "small")
    assert found["test_leak_free"] == found["test"]


def test_copies_alone_are_no_test(model, easy_dataset, tmp_path):
    dataset = dataclasses.replace(easy_dataset, copied=frozenset(easy_dataset.test.ids))
    with pytest.raises(ValueError, match=r"Each of the 40 test pictures .* has a copy in training"):
        evaluation.evaluate(model, dataset, tmp_path / "easy" / "small", flip=False)


def test_one_pass_only_on_request(model, easy_dataset, tmp_path):
    found = evaluation.evaluate(model, easy_dataset, tmp_path / "easy" / "small", flip=False)
    assert not list(tmp_path.rglob("*_tta.csv"))
    assert not [name for name in found if name.endswith("_tta")]
    assert found["title"] == "small"


def test_facts_of_the_training_go_into_the_metrics_and_into_the_card(evaluated, easy_dataset):
    folder, _ = evaluated
    record = {"seed": 7, "seconds": 12.5, "backend": "jax 0.6", "hardware": "a GPU", "git_commit": "abc",
              "keras": "3.9", "epochs_trained": 4, "input_size": [64, 64], "finished": "2026-01-01T00:00:00Z"}
    (folder / "training.json").write_text(json.dumps(record))
    found = evaluation.report(folder, easy_dataset, title="Small", parameters=5187)
    names = ("seed", "training_seconds", "backend", "hardware", "git_commit")
    assert [found[name] for name in names] == [7, 12.5, "jax 0.6", "a GPU", "abc"]
    assert found["training"] == record
    card = evaluation.card(found, temperature=1.5)
    assert card["temperature"] == 1.5
    assert card["class_names"] == ["angry", "happy", "sad"]
    assert (card["model"], card["dataset"], card["split_sizes"]["train"]) == ("small", "easy", 96)
    assert card["test"]["accuracy"] == found["test"]["accuracy"]
    assert card["validation"]["n"] == 32 and card["test_leak_free"]["n"] == 38
    assert card["training"] == {"seed": 7, "epochs_trained": 4, "input_size": [64, 64], "finished": record["finished"]}
    assert card["versions"] == {"backend": "jax 0.6", "keras": "3.9"}
    assert json.loads(json.dumps(card)) == card


def test_what_else_is_known_of_a_model_goes_into_the_metrics(model, easy_dataset, tmp_path):
    found = evaluation.evaluate(model, easy_dataset, tmp_path / "easy" / "small", flip=False, trained_by="others")
    assert found["trained_by"] == "others"


def test_what_is_leak_free_must_be_known(evaluated):
    folder, _ = evaluated
    (folder.parent / "copied_in_training.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"copied_in_training\.csv is missing"):
        evaluation.measure_folder(folder)
