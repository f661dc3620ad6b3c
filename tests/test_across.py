"""Models on the test parts of other data sets: the shared classes alone, and intervals by photo."""

import numpy as np
import pytest
from conftest import definitions

from emotions.evaluation.metrics import resampled
from emotions.runs import Predictions

across = definitions("16")
restricted, CLASSES = across["restricted"], across["CLASSES"]
NAMES = ("angry", "fear", "happy", "sad")


@pytest.fixture
def predictions():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    probabilities = random.dirichlet(np.ones(4), 400)
    probabilities[np.arange(400), labels] += 0.4
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Predictions(NAMES, np.arange(400).astype(str), labels, probabilities)


def test_only_the_shared_classes_are_left_and_their_probabilities_sum_to_one(predictions):
    own = restricted(predictions)
    kept = predictions.labels != 1
    assert own.class_names == CLASSES and own.ids.tolist() == predictions.ids[kept].tolist()
    assert [NAMES[k] for k in predictions.labels[kept]] == [CLASSES[k] for k in own.labels]
    np.testing.assert_allclose(own.probabilities.sum(axis=1), 1)
    ratio = own.probabilities[:, 0] / own.probabilities[:, 2]
    np.testing.assert_allclose(ratio, predictions.probabilities[kept, 0] / predictions.probabilities[kept, 3])


def test_the_interval_holds_the_mean_recall_and_is_wider_by_photo(predictions):
    own = restricted(predictions)
    recalls = [(own.predicted == k)[own.labels == k].mean() for k in range(3)]
    single = resampled(own)["balanced_accuracy"]
    assert abs(single.mean() - np.mean(recalls)) < 0.01
    twice = own.take(np.repeat(np.arange(len(own)), 2))
    by_photo = resampled(twice, photos=np.repeat(np.arange(len(own)), 2))["balanced_accuracy"]
    np.testing.assert_allclose(by_photo, single)
    assert resampled(twice)["balanced_accuracy"].std() < single.std()
