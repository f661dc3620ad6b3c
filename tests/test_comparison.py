"""Paired tests: they agree with other people's code, and refuse what is not paired."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, f1_score
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from synthetic_runs import make_predictions

from emotions.evaluation import comparison
from emotions.evaluation.metrics import resampled


def test_mcnemar_agrees_with_statsmodels():
    for seed in range(5):
        first, second = (np.random.default_rng((seed, k)).random(60) < share for k, share in ((0, 0.8), (1, 0.6)))
        only_first, only_second, p = comparison.mcnemar(first, second)
        table = pd.crosstab(first, second).to_numpy()
        assert (only_first, only_second) == (table[1, 0], table[0, 1])
        assert p == pytest.approx(their_mcnemar(table, exact=True).pvalue, abs=1e-12)


def test_models_that_agree_on_every_image_do_not_differ():
    run = make_predictions()
    found = comparison.compare(run, run)
    assert found["accuracy_difference"] == found["accuracy_low"] == found["accuracy_high"] == 0
    assert found["accuracy_p"] == found["macro_f1_p"] == found["p"] == 1


@pytest.mark.parametrize(
    "p_values", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.9, 0.02], [0.2], [0.03, 0.03, 0.5, 0.001, 0.03]]
)
def test_holm_agrees_with_statsmodels(p_values):
    np.testing.assert_allclose(comparison.holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)


def test_resampling_is_paired_and_measures_what_scikit_learn_measures():
    run, other = make_predictions(80), make_predictions(80, seed=1)
    found, again, others = (resampled(p, resamples=20) for p in (run, run, other))
    random = np.random.default_rng(0)
    for k in range(20):
        chosen = random.integers(80, size=80)
        for predictions, samples in ((run, found), (other, others)):
            labels, predicted = predictions.labels[chosen], predictions.predicted[chosen]
            assert samples["accuracy"][k] == pytest.approx(accuracy_score(labels, predicted))
            wanted = f1_score(labels, predicted, labels=range(3), average="macro", zero_division=0)
            assert samples["macro_f1"][k] == pytest.approx(wanted)
    np.testing.assert_array_equal(found["accuracy"], again["accuracy"])


def test_interval_of_a_difference_agrees_with_theory():
    # The variance of a paired difference of accuracies is that of the mean of (first right) - (second right).
    first, second = make_predictions(2000, skill=2), make_predictions(2000, skill=1.7, seed=1)
    found = comparison.compare(first, second)
    difference = (first.predicted == first.labels).astype(float) - (second.predicted == second.labels)
    error = 1.96 * difference.std() / np.sqrt(2000)
    assert found["accuracy_difference"] == pytest.approx(difference.mean())
    assert found["accuracy_low"] == pytest.approx(difference.mean() - error, abs=0.15 * error)
    assert found["accuracy_high"] == pytest.approx(difference.mean() + error, abs=0.15 * error)


def test_p_values_are_uniform_where_there_is_nothing_to_find():
    """Two models of the same skill: 5% of tests may say otherwise, and the sign is even."""
    found = []
    for k in range(40):
        first, second = (make_predictions(200, seed=2 * k + model, pictures=k) for model in (0, 1))
        found.append(comparison.compare(first, second, resamples=100))
    assert sum(row["accuracy_p"] < 0.05 for row in found) <= 7
    assert sum(row["p"] < 0.05 for row in found) <= 7
    assert 9 <= sum(row["accuracy_difference"] > 0 for row in found) <= 31


def test_a_better_model_is_significantly_better():
    found = comparison.compare(make_predictions(800, skill=3), make_predictions(800, skill=1, seed=1))
    assert 0 < found["accuracy_low"] < found["accuracy_difference"] < found["accuracy_high"]
    assert found["p"] < 1e-6
    assert found["accuracy_p"] == found["macro_f1_p"] == pytest.approx(2 / 2001)
    assert found["only_first"] > found["only_second"]


def test_all_pairs_are_compared_and_corrected():
    runs = {
        name: make_predictions(skill=skill, seed=k)
        for k, (name, skill) in enumerate([("a", 3), ("b", 1.5), ("c", 1.4)])
    }
    pairs = comparison.compare_all(runs, resamples=200)
    assert len(pairs) == 3
    np.testing.assert_allclose(pairs["p_holm"], multipletests(pairs["p"], method="holm")[1])
    assert pairs.loc[0, "accuracy_difference"] > 0 and pairs.loc[0, "p_holm"] < 0.01


def test_however_many_pairs_a_large_difference_is_significant(monkeypatch):
    """The bootstrap draws more samples the more pairs there are: Holm's correction multiplies by their number."""
    monkeypatch.setattr(comparison, "RESAMPLES", 20)
    runs = {str(k): make_predictions(skill=4 if k == 0 else 1, seed=k) for k in range(6)}
    pairs = comparison.compare_all(runs, photos=np.arange(len(runs["0"])))
    assert (pairs["p"] == pairs["accuracy_p"]).all()
    assert (pairs["p_holm"][pairs["first"] == "0"] <= 0.01).all()


def test_images_in_another_order_are_the_same_images():
    first, second = make_predictions(seed=1), make_predictions(seed=2)
    shuffled = second.take(np.random.default_rng(0).permutation(len(second)))
    assert comparison.compare(first, shuffled) == comparison.compare(first, second)


def broken(change):
    run = make_predictions(seed=1)
    return {
        "fewer": run.take(np.arange(200)),
        "others": replace(run, ids=np.char.add("x", run.ids)),
        "twice": replace(run, ids=np.where(run.ids == "test_1", "test_0", run.ids)),
        "labels": replace(run, labels=np.where(run.ids == "test_7", (run.labels + 1) % 3, run.labels)),
        "classes": replace(run, class_names=("angry", "happy", "neutral")),
    }[change]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fewer", "one and two predict different images, 300 and 200"),
        ("others", "different images, 300 and 300"),
        ("twice", "or one twice"),
        ("labels", "one and two differ in 1 labels"),
        ("classes", "different classes"),
    ],
)
def test_what_is_not_paired_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        comparison.compare_all({"one": make_predictions(), "two": broken(change)})


def test_one_run_is_no_comparison():
    with pytest.raises(ValueError, match="needs two runs"):
        comparison.compare_all({"one": make_predictions()})


def test_mean_and_deviation_over_seeds():
    table = pd.DataFrame({"accuracy": {"a": 0.5, "a-s1": 0.6, "a-s2": 0.7, "b-all": 0.3, "b-all-s1": 0.5, "b": 0.9}})
    table["precision"] = ["float32", "mixed_bfloat16", "float32", "float32", "float32", None]
    result = comparison.over_seeds(table, ["accuracy"])
    assert list(result.index) == ["a", "b-all"]  # one run has no spread
    assert list(result["seeds"]) == [3, 2]
    assert list(result["precision"]) == ["float32 and mixed_bfloat16", "float32"]
    assert result.loc["a", "accuracy_mean"] == pytest.approx(0.6)
    assert result.loc["a", "accuracy_sd"] == pytest.approx(0.1)
    assert result.loc["b-all", "accuracy_mean"] == pytest.approx(0.4)
    assert comparison.over_seeds(table.loc[["b"]], ["accuracy"]).empty


def test_wilson_agrees_with_statsmodels():
    hits, n = np.array([0, 1, 7, 9]), np.array([5, 7, 9, 9])
    np.testing.assert_allclose(comparison.wilson(hits, n), proportion_confint(hits, n, method="wilson"), atol=1e-12)
    assert comparison.wilson(29 / 1400 * 1400, 29 / 1400 * 1400) == comparison.wilson(29, 29)  # a product of 28.999…
    for n in range(1, 200):  # the share lies inside, in spite of rounding
        for hits in (0, n):
            low, high = comparison.wilson(hits, n)
            assert 0 <= low <= hits / n <= high <= 1


def test_the_difference_of_two_means_agrees_with_scipy():
    random = np.random.default_rng(0)
    first, second = random.normal(0.6, 0.1, 50), random.normal(0.5, 0.2, 400)
    found = comparison.mean_difference(first, second)
    assert found["mean_difference"] == pytest.approx(first.mean() - second.mean())

    def difference(one, other, axis):
        return one.mean(axis) - other.mean(axis)

    theirs = bootstrap((first, second), difference, method="percentile", random_state=1)
    interval = theirs.confidence_interval
    assert (found["mean_low"], found["mean_high"]) == pytest.approx((interval.low, interval.high), abs=0.004)
    assert found["mean_p"] < 0.05 < comparison.mean_difference(first, first)["mean_p"]


def test_accuracy_in_groups_agrees_with_statsmodels():
    run = make_predictions(200)
    groups = np.where(np.arange(200) < 40, 0.4, np.where(np.arange(200) < 190, 1.0, np.nan))
    table = comparison.accuracy_by(run, groups)
    assert set(table.dtypes.drop("n")) == {np.dtype(float)}, "or rounding would pass over them"
    assert list(table.index) == [0.4, 1.0] and list(table["n"]) == [40, 150]
    for group, row in table.iterrows():
        right = (run.predicted == run.labels)[groups == group]
        low, high = proportion_confint(right.sum(), len(right), method="wilson")
        assert (row["accuracy"], row["low"], row["high"]) == pytest.approx((right.mean(), low, high))


def test_accuracy_in_groups_resamples_photos():
    """Each image four times: by photo, the interval is that of the images taken once; without, half as wide."""
    once = make_predictions(100)
    fourfold = once.take(np.repeat(np.arange(100), 4))
    groups = np.zeros(400)
    by_image, by_photo = (comparison.accuracy_by(fourfold, groups, photos).loc[0] for photos in (None, fourfold.ids))
    samples = resampled(once)["accuracy"]
    assert (by_photo["low"], by_photo["high"]) == pytest.approx(np.percentile(samples, [2.5, 97.5]), abs=0.03)
    assert by_photo["high"] - by_photo["low"] > 1.8 * (by_image["high"] - by_image["low"])


def test_accuracy_in_groups_without_a_mistake_has_wilsons_interval_over_photos():
    run = make_predictions(100)
    right = run.take(run.predicted == run.labels)
    photos = np.arange(len(right)) // 2
    row = comparison.accuracy_by(right, np.zeros(len(right)), photos).loc[0]
    count = len(np.unique(photos))
    assert (row["low"], row["high"]) == pytest.approx(proportion_confint(count, count, method="wilson"))


def test_a_difference_is_called_significant_below_5_percent():
    assert comparison.verdict(0.0321) == "significant (p = 0.032)"
    assert comparison.verdict(0.051) == "not statistically significant (p = 0.051)"
    assert comparison.verdict(1e-9) == "significant (p < 0.001)"


def test_images_of_one_photo_are_one_observation():
    """Each image four times: without photos the interval is half as wide as it should be, and p too small."""
    once = [make_predictions(250, skill, seed) for seed, skill in enumerate((1.7, 1.5))]
    four = [run.take(np.repeat(np.arange(250), 4)) for run in once]
    four = [replace(run, ids=np.arange(1000).astype(str)) for run in four]
    honest, expected = comparison.compare(*four, photos=np.repeat(np.arange(250), 4)), comparison.compare(*once)
    naive = comparison.compare(*four)

    def width(result):
        return result["accuracy_high"] - result["accuracy_low"]

    assert width(honest) == pytest.approx(width(expected)) == pytest.approx(2 * width(naive), rel=0.15)
    assert honest["p"] == honest["accuracy_p"] == pytest.approx(expected["accuracy_p"])
    assert naive["p"] < honest["p"]
