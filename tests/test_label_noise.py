"""Confident learning detects labels that are known to be wrong."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from synthetic_runs import CLASSES

from emotions.data import synthetic
from emotions.evaluation import label_noise
from emotions.runs import Predictions


def noisy(n=4000, share=0.15, seed=0):
    """Calibrated predictions of true labels, of which a share is then given as "angry" -> "sad"."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet((0.2, 0.2, 0.2), n)
    true = (probabilities.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    given = np.where((true == 0) & (random.random(n) < share), 2, true)
    return Predictions(CLASSES, np.arange(n).astype(str), given, probabilities), true


def test_scores_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
    run = Predictions(CLASSES, np.array(list("xyz")), np.array([0, 1, 0]), probabilities)
    np.testing.assert_allclose(label_noise.scores(run), [0.75, 0.35, 0.35])
    assert label_noise.rank(run).tolist() == [1, 2, 0]


def test_the_confident_joint_by_hand():
    # "w" is confidently b and "z" confidently a, against their labels; "x" reaches neither threshold, which are the
    # mean probabilities of a class where it is the label: 2.35 / 4 and 2 / 3.
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.55, 0.45], [0.2, 0.8], [0.1, 0.9], [0.7, 0.3]])
    run = Predictions(("a", "b"), np.array(list("uvwxstz")), np.array([0, 0, 0, 0, 1, 1, 1]), probabilities)
    # Two of three confident ones labelled a are a, and of those labelled b are b; cleanlab rounds to whole images.
    np.testing.assert_allclose(label_noise.joint(run), np.array([[3, 1], [1, 2]]) / 7)
    table = label_noise.suspicious(run)
    assert table["id"].tolist()[:2] == ["w", "z"]
    assert set(table.loc[table["confident"], "id"]) == {"w", "z"}
    assert table.set_index("id").loc["w", ["label", "suggested"]].tolist() == ["a", "b"]
    assert table.set_index("id").loc["x", ["label", "suggested"]].tolist() == ["a", "b"]


def test_planted_noise_is_detected_and_its_amount_and_kind_estimated():
    run, true = noisy()
    wrong = run.labels != true
    result = label_noise.precision_at(100, label_noise.rank(run), wrong)
    assert result["precision"] > 5 * result["base_rate"]
    joint = label_noise.joint(run)
    assert joint.to_numpy().sum() == pytest.approx(1)
    np.testing.assert_allclose(joint.sum(axis=1), np.bincount(run.labels) / len(run))
    off = joint.to_numpy() * (1 - np.eye(3))
    assert np.unravel_index(off.argmax(), off.shape) == (2, 0)  # given sad, truly angry
    assert off[2, 0] == pytest.approx(wrong.mean(), abs=0.02)


def test_clean_labels_are_estimated_clean():
    run, true = noisy(share=0)
    sure = Predictions(CLASSES, run.ids, true, 0.98 * np.eye(3)[true] + 0.02 / 3)
    joint = label_noise.joint(sure).to_numpy()
    assert (joint * (1 - np.eye(3))).sum() == 0
    assert not label_noise.suspicious(sure)["confident"].any()


def test_precision_at_has_an_exact_interval_and_the_base_rate():
    truth = np.zeros(1000, bool)
    truth[:80] = True
    result = label_noise.precision_at(100, np.arange(20, 1020) % 1000, truth)
    assert (result["wrong"], result["precision"], result["base_rate"]) == (60, 0.6, 0.08)
    np.testing.assert_allclose(result["interval"], [beta.ppf(0.025, 60, 41), beta.ppf(0.975, 61, 40)])
    for k in (0, 1001):
        with pytest.raises(ValueError, match=f"k is {k}"):
            label_noise.precision_at(k, np.arange(1000), truth)


def test_a_random_ranking_finds_the_base_rate():
    run, true = noisy()
    result = label_noise.precision_at(2000, np.random.default_rng(0).permutation(len(run)), run.labels != true)
    assert result["interval"][0] < result["base_rate"] < result["interval"][1]


def test_votes_for_the_given_label():
    run = Predictions(CLASSES, np.array(list("wxyz")), np.array([0, 1, 2, 2]), np.full((4, 3), 1 / 3))
    votes = pd.DataFrame(
        0,
        index=range(4),
        columns=[
            "neutral",
            "happiness",
            "surprise",
            "sadness",
            "anger",
            "disgust",
            "fear",
            "contempt",
            "unknown",
            "NF",
        ],
    )
    votes["anger"], votes["happiness"], votes["sadness"] = [9, 0, 5, 5], [1, 1, 3, 5], [0, 9, 2, 0]
    assert label_noise.few_votes(run, votes).tolist() == [False, True, False, True]
    assert label_noise.few_votes(run, votes, most=2).tolist() == [False, True, True, True]
    named = votes[["anger", "happiness", "sadness"]].set_axis(CLASSES, axis=1)
    assert label_noise.few_votes(run, named).tolist() == [False, True, False, True]
    with pytest.raises(ValueError, match="no column for sad"):
        label_noise.few_votes(run, votes.drop(columns="sadness"))
    with pytest.raises(ValueError, match="votes on 3 images and predictions for 4"):
        label_noise.few_votes(run, votes.iloc[:3])


def test_flipped_labels_of_drawn_faces_are_detected():
    """Cross-validated discriminant analysis of pixels, on faces whose labels were flipped knowingly."""
    split = synthetic.load(1000, 7, 7, size=32, difficulty=0.2, label_noise=0.1).train
    wrong = split.labels != synthetic.drawn_labels(split)
    assert wrong.mean() == pytest.approx(0.1)
    pixels = np.asarray(split.images, "float32").mean(axis=-1).reshape(len(split), -1) / 255
    model = make_pipeline(PCA(30, random_state=0), LinearDiscriminantAnalysis())
    probabilities = cross_val_predict(model, pixels, split.labels, cv=3, method="predict_proba")
    run = Predictions(synthetic.CLASS_NAMES, split.ids, split.labels, probabilities)
    result = label_noise.precision_at(40, label_noise.rank(run), wrong)
    assert result["interval"][0] > 2 * result["base_rate"]
