"""Calibration: temperature, reliability, coverage, against brute force and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import definitions
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from synthetic_runs import make_predictions

from emotions.evaluation import calibration
from emotions.evaluation.metrics import calibration_error
from emotions.runs import Predictions

aurc = definitions("13")["aurc"]


def drawn(n, temperature=1.0, seed=0):
    """Labels drawn from the probabilities themselves, which makes these calibrated; then distorted by a temperature."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet((1, 1, 1, 1), n)
    labels = (probabilities.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    run = Predictions(tuple("abcd"), np.arange(n).astype(str), labels, probabilities)
    return calibration.temperature_scale(run, temperature)


def test_reliability_agrees_with_scikit_learn():
    run = make_predictions(500)
    right, confidence = calibration_curve(run.predicted == run.labels, run.probabilities.max(axis=1), n_bins=10)
    table = calibration.reliability(run, bins=10)
    assert len(table) == 10
    assert table["n"].sum() == 500
    assert (table["n"] == 0).any()  # three classes leave no confidence below 1/3
    filled = table[table["n"] > 0]
    np.testing.assert_allclose(filled["accuracy"], right)
    np.testing.assert_allclose(filled["confidence"], confidence)
    assert (filled["confidence"] > filled["low"]).all()
    assert (filled["confidence"] <= filled["high"]).all()
    gaps = (filled["n"] * (filled["accuracy"] - filled["confidence"]).abs()).sum() / 500
    assert gaps == pytest.approx(calibration_error(run.labels, run.probabilities, bins=10))


def test_a_confidence_of_one_falls_into_the_last_bin():
    run = Predictions(("a", "b"), np.array(["1", "2"]), np.array([0, 0]), np.array([[1.0, 0], [0, 1.0]]))
    table = calibration.reliability(run)
    assert table["n"].tolist() == [0] * 14 + [2]
    assert table["accuracy"].iloc[-1] == 0.5


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_a_distortion_is_recovered(temperature):
    # Scaling by 1 / T after the distortion by T gives the calibrated probabilities back.
    assert calibration.fit_temperature(drawn(20_000, temperature)) == pytest.approx(1 / temperature, rel=0.04)


def test_the_temperature_is_that_of_least_log_loss():
    run = make_predictions(500, skill=3)
    result = calibration.fit_temperature(run)
    tried = (result, *np.geomspace(0.1, 10, 80))
    losses = {t: log_loss(run.labels, calibration.temperature_scale(run, t).probabilities) for t in tried}
    assert losses[result] <= min(losses.values()) + 1e-9


def test_temperature_scaling_keeps_what_is_predicted_and_ends_where_it_should():
    run = make_predictions()
    for temperature in (0.1, 3):
        changed = calibration.temperature_scale(run, temperature)
        np.testing.assert_array_equal(changed.predicted, run.predicted)
        np.testing.assert_allclose(changed.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(calibration.temperature_scale(run, 1).probabilities, run.probabilities, atol=1e-12)
    np.testing.assert_allclose(calibration.temperature_scale(run, 1e9).probabilities, 1 / 3, atol=1e-6)
    with pytest.raises(ValueError, match="must be positive"):
        calibration.temperature_scale(run, 0)


def test_a_probability_of_zero_is_no_trouble():
    labels = np.array([0, 1, 0] * 20)
    run = Predictions(("a", "b"), np.arange(60).astype(str), labels, np.array([[1.0, 0]] * 60))
    result = calibration.calibrate(run, calibration.fit_temperature(run))
    assert all(np.isfinite(value) for value in result.values())
    assert result["temperature"] > 1


def test_few_images_or_only_correct_ones_tell_no_temperature():
    run = make_predictions()
    wrong, right = run.predicted != run.labels, run.predicted == run.labels
    assert calibration.fit_temperature(run) != 1
    assert calibration.fit_temperature(run.take(np.flatnonzero(right))) == 1
    few = run.take(np.r_[np.flatnonzero(wrong)[:9], np.flatnonzero(right)[:40]])
    assert calibration.fit_temperature(few) == 1


def test_scaling_helps_on_images_it_was_not_fitted_on():
    temperature = calibration.fit_temperature(drawn(5000, 0.4, seed=1))
    result = calibration.calibrate(drawn(5000, 0.4, seed=2), temperature)
    assert result["ece_before"] > 0.1
    assert result["ece_after"] < 0.03
    assert result["log_loss_after"] < result["log_loss_before"] - 0.1


def test_accuracy_against_coverage_by_hand():
    confidence = np.array([0.9, 0.8, 0.8, 0.6])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    run = Predictions(("a", "b"), np.array(list("wxyz")), np.array([0, 1, 0, 1]), probabilities)
    curve = calibration.coverage(run)
    # The two at 0.8 are answered together or not at all.
    assert curve["threshold"].tolist() == [0.9, 0.8, 0.6]
    assert curve["coverage"].tolist() == [0.25, 0.75, 1]
    np.testing.assert_allclose(curve["accuracy"], [1, 2 / 3, 0.5])
    assert aurc(run) == pytest.approx(0.25 * 0 + 0.5 / 3 + 0.25 * 0.5)
    assert calibration.accuracy_at(run, 0.5) == pytest.approx(2 / 3)
    assert calibration.accuracy_at(run, 1) == 0.5
    with pytest.raises(ValueError, match="above 0"):
        calibration.accuracy_at(run, 0)


def test_aurc_agrees_with_its_definition_and_with_its_limits():
    run = make_predictions(400)
    wrong = (run.predicted != run.labels)[np.argsort(-run.probabilities.max(axis=1))]
    assert aurc(run) == pytest.approx(np.mean([wrong[:k].mean() for k in range(1, 401)]))
    constant = replace(run, probabilities=np.tile([0.5, 0.3, 0.2], (400, 1)))
    assert aurc(constant) == pytest.approx((constant.labels != 0).mean())
    assert aurc(run) < wrong.mean()
