"""Confident learning detects labels that are known to be wrong."""

import numpy as np
import pandas as pd
import pytest
from conftest import definitions
from scipy.stats import beta
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from synthetic_runs import CLASSES

from emotions.data import synthetic
from emotions.runs import Predictions

notebook = definitions("13")
rank, precision_at, few_votes = (notebook[name] for name in ("rank", "precision_at", "few_votes"))


def noisy(n=4000, share=0.15, seed=0):
    """Calibrated predictions of true labels, of which a share is then given as "angry" -> "sad"."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet((0.2, 0.2, 0.2), n)
    true = (probabilities.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    given = np.where((true == 0) & (random.random(n) < share), 2, true)
    return Predictions(CLASSES, np.arange(n).astype(str), given, probabilities), true


def test_the_normalised_margin_ranks_labels():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
    run = Predictions(CLASSES, np.array(list("xyz")), np.array([0, 1, 0]), probabilities)
    assert rank(run).tolist() == [1, 2, 0]


def test_planted_noise_is_detected():
    run, true = noisy()
    wrong = run.labels != true
    result = precision_at(100, rank(run), wrong)
    assert result["precision"] > 5 * result["base_rate"]



def test_precision_at_has_an_exact_interval_and_the_base_rate():
    truth = np.zeros(1000, bool)
    truth[:80] = True
    result = precision_at(100, np.arange(20, 1020) % 1000, truth)
    assert (result["precision"], result["base_rate"]) == (0.6, 0.08)
    np.testing.assert_allclose(result["interval"], [beta.ppf(0.025, 60, 41), beta.ppf(0.975, 61, 40)])


def test_a_random_ranking_finds_the_base_rate():
    run, true = noisy()
    result = precision_at(2000, np.random.default_rng(0).permutation(len(run)), run.labels != true)
    assert result["interval"][0] < result["base_rate"] < result["interval"][1]


def test_votes_for_the_given_label():
    run = Predictions(CLASSES, np.array(list("wxyz")), np.array([0, 1, 2, 2]), np.full((4, 3), 1 / 3))
    votes = pd.DataFrame({"angry": [9, 0, 5, 5], "happy": [1, 1, 3, 5], "sad": [0, 9, 2, 0], "NF": 1})
    assert few_votes(run, votes).tolist() == [False, True, False, True]
    assert few_votes(run, votes, most=2).tolist() == [False, True, True, True]


def test_flipped_labels_of_drawn_faces_are_detected():
    """Cross-validated discriminant analysis of pixels, on faces whose labels were flipped knowingly."""
    split = synthetic.load(1000, 7, 7, size=32, difficulty=0.2, label_noise=0.1).train
    true = [synthetic.CLASS_NAMES.index(name.rsplit("_", 1)[1]) for name in split.ids]
    wrong = split.labels != np.array(true)
    assert wrong.mean() == pytest.approx(0.1)
    pixels = np.asarray(split.images, "float32").mean(axis=-1).reshape(len(split), -1) / 255
    model = make_pipeline(PCA(30, random_state=0), LinearDiscriminantAnalysis())
    probabilities = cross_val_predict(model, pixels, split.labels, cv=3, method="predict_proba")
    run = Predictions(synthetic.CLASS_NAMES, split.ids, split.labels, probabilities)
    result = precision_at(40, rank(run), wrong)
    assert result["interval"][0] > 2 * result["base_rate"]
