"""Which labels are wrong? Confident learning from out-of-sample probabilities (Northcutt, Jiang & Chuang 2021).

    table = suspicious(predictions)         # the most suspicious label first
    precision_at(200, rank(predictions), few_votes(predictions, votes))

The probabilities must come from a model that did not see the pictures' labels: of a test split, or from
cross-validation.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from emotions.data.datasets import FERPLUS_VOTES
from emotions.evaluation.metrics import Predictions


def self_confidence(predictions: Predictions) -> np.ndarray:
    """float, N, 0-1: the probability of the given label. Low is suspicious."""
    return predictions.probabilities[np.arange(len(predictions)), predictions.labels]


def normalized_margin(predictions: Predictions) -> np.ndarray:
    """float, N, 0-1: the probability of the given label minus that of the likeliest other one, moved from
    -1…1 into 0…1. Low is suspicious."""
    others = predictions.probabilities.copy()
    others[np.arange(len(predictions)), predictions.labels] = -1
    return (self_confidence(predictions) - others.max(axis=1) + 1) / 2


SCORES = {"normalized_margin": normalized_margin, "self_confidence": self_confidence}


def rank(predictions: Predictions, score: str = "normalized_margin") -> np.ndarray:
    """int, N: positions of the pictures, the most suspicious label first.

    Args:
        score: "normalized_margin" or "self_confidence".
    """
    if score not in SCORES:
        raise ValueError(f"There is no score named {score!r}; there are {', '.join(SCORES)}.")
    return np.argsort(SCORES[score](predictions), kind="stable")


def suspicious(predictions: Predictions, score: str = "normalized_margin") -> pd.DataFrame:
    """The pictures by how suspicious their label is, the worst first.

    Returns:
        id, label, suggested (the class that the picture confidently belongs to, or else the predicted
        one), score (low is suspicious) and confident (bool: off the diagonal of the confident joint).
    """
    order, names = rank(predictions, score), np.array(predictions.class_names)
    likely = _confident_class(predictions)
    suggested = np.where(likely >= 0, likely, predictions.predicted)
    table = pd.DataFrame(
        {
            "id": predictions.ids,
            "label": names[predictions.labels],
            "suggested": names[suggested],
            "score": SCORES[score](predictions),
            "confident": (likely >= 0) & (likely != predictions.labels),
        }
    )
    return table.iloc[order].reset_index(drop=True)


def thresholds(predictions: Predictions) -> np.ndarray:
    """float, classes: how probable a class is, on average, where it is the label (section 3.1, equation 2).
    A class that labels no picture gets infinity."""
    confidence = self_confidence(predictions)
    return np.array(
        [
            confidence[predictions.labels == k].mean() if (predictions.labels == k).any() else np.inf
            for k in range(len(predictions.class_names))
        ]
    )


def _confident_class(predictions: Predictions) -> np.ndarray:
    """int, N: the likeliest of the classes that reach their threshold, -1 where none does."""
    reached = np.where(predictions.probabilities >= thresholds(predictions), predictions.probabilities, -1)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def joint(predictions: Predictions) -> pd.DataFrame:
    """The estimated joint distribution of given label (rows) and true label (columns) (section 3.1, equation 3).

    The sum off the diagonal estimates the share of wrong labels.
    """
    likely = _confident_class(predictions)
    classes = len(predictions.class_names)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (predictions.labels[likely >= 0], likely[likely >= 0]), 1)
    counts += np.diag(counts.sum(axis=1) == 0)  # a class that no picture reaches confidently counts as clean
    shares = np.bincount(predictions.labels, minlength=classes) / len(predictions)
    estimated = counts / counts.sum(axis=1, keepdims=True) * shares[:, None]
    return pd.DataFrame(estimated, index=predictions.class_names, columns=predictions.class_names)


def few_votes(predictions: Predictions, votes: pd.DataFrame, most: int = 1) -> np.ndarray:
    """bool, N: did at most `most` voters choose the given label?

    Args:
        votes: one row per picture, in the order of the predictions; columns as in FER+ ("anger", …) or
            named as the classes.
    """
    if len(votes) != len(predictions):
        raise ValueError(
            f"There are votes on {len(votes):,} pictures and predictions for {len(predictions):,}: align them by id."
        )
    known = votes.rename(columns=FERPLUS_VOTES)
    if missing := set(predictions.class_names) - set(known.columns):
        columns = ", ".join(map(str, votes.columns))
        raise ValueError(f"The votes have no column for {', '.join(sorted(missing))}; their columns are {columns}.")
    counts = known[list(predictions.class_names)].to_numpy()
    return counts[np.arange(len(predictions)), predictions.labels] <= most


def precision_at(k: int, ranking: np.ndarray, truth: np.ndarray) -> dict:
    """How many of the `k` most suspicious labels are wrong?

    Args:
        ranking: int, N: see `rank`.
        truth: bool, N: whether each picture's label is wrong, in the order of the predictions.

    Returns:
        k, found, precision with its exact 95% interval (Clopper & Pearson 1934), and chance: the share of
        wrong labels in all, which is what a random ranking gives.
    """
    truth = np.asarray(truth, bool)
    if len(ranking) != len(truth) or not 0 < k <= len(truth):
        raise ValueError(f"k is {k}, for a ranking of {len(ranking):,} and the truth on {len(truth):,} pictures.")
    found = int(truth[ranking[:k]].sum())
    interval = binomtest(found, k).proportion_ci(0.95)
    return {
        "k": k,
        "found": found,
        "precision": found / k,
        "interval": [float(interval.low), float(interval.high)],
        "chance": float(truth.mean()),
    }
