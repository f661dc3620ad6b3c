"""Which labels are wrong? Confident learning (Northcutt, Jiang & Chuang 2021, by cleanlab), checked against votes.

The probabilities must come from a model that did not see the images' labels: of a test split, or from
cross-validation."""

import numpy as np
import pandas as pd
from cleanlab.count import estimate_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.stats import binomtest

from emotions.data.ferplus import FERPLUS_VOTES
from emotions.runs import Predictions


def scores(predictions: Predictions) -> np.ndarray:
    """Return how well each given label fits, float, N, 0-1, by its normalised margin: low is suspicious."""
    return get_label_quality_scores(predictions.labels, predictions.probabilities, method="normalized_margin")


def rank(predictions: Predictions) -> np.ndarray:
    """Return the positions of the images, int, N, the most suspicious label first."""
    return np.argsort(scores(predictions), kind="stable")


def suspicious(predictions: Predictions) -> pd.DataFrame:
    """List the images by how suspicious their label is, the worst first: id, label, suggested (the likeliest other
    class), score (low is suspicious) and confident (bool: off the diagonal of the confident joint)."""
    rows, names = np.arange(len(predictions)), np.array(predictions.class_names)
    others = predictions.probabilities.copy()
    others[rows, predictions.labels] = -1
    given = (predictions.labels, predictions.probabilities)
    confident = find_label_issues(*given, filter_by="confident_learning", n_jobs=1)
    columns = {"id": predictions.ids, "label": names[predictions.labels], "suggested": names[others.argmax(axis=1)],
               "score": scores(predictions), "confident": confident}
    return pd.DataFrame(columns).iloc[rank(predictions)].reset_index(drop=True)


def joint(predictions: Predictions) -> pd.DataFrame:
    """Estimate the joint distribution of given label (rows) and true label (columns) (section 3.1, equation 3); the sum
    off the diagonal estimates the share of wrong labels."""
    estimated = estimate_joint(predictions.labels, predictions.probabilities)
    return pd.DataFrame(estimated, index=predictions.class_names, columns=predictions.class_names)


def few_votes(predictions: Predictions, votes: pd.DataFrame, most: int = 1) -> np.ndarray:
    """Return whether at most `most` voters chose the given label: bool, N. `votes` has one row per image, in order, and
    columns as in FER+ ("anger", …) or named as the classes."""
    if len(votes) != len(predictions):
        raise ValueError(f"There are votes on {len(votes):,} images and predictions for {len(predictions):,}.")
    votes = votes.rename(columns=FERPLUS_VOTES)
    if missing := sorted(set(predictions.class_names) - set(votes.columns)):
        columns = ", ".join(map(str, votes.columns))
        raise ValueError(f"The votes have no column for {', '.join(missing)}; their columns are {columns}.")
    counts = votes[list(predictions.class_names)].to_numpy()
    return counts[np.arange(len(predictions)), predictions.labels] <= most


def precision_at(k: int, ranking: np.ndarray, truth: np.ndarray) -> dict:
    """Count how many of the `k` most suspicious labels are wrong. `ranking`, int, N: see `rank`; `truth`, bool, N:
    whether each image's label is wrong. Returns k, wrong, precision with its exact 95% interval (Clopper & Pearson
    1934), and base_rate, the share of wrong labels in all."""
    truth = np.asarray(truth, bool)
    if len(ranking) != len(truth) or not 0 < k <= len(truth):
        raise ValueError(f"k is {k}, for a ranking of {len(ranking):,} and the truth on {len(truth):,} images.")
    wrong = int(truth[ranking[:k]].sum())
    interval = [float(end) for end in binomtest(wrong, k).proportion_ci(0.95)]
    return {"k": k, "wrong": wrong, "precision": wrong / k, "interval": interval, "base_rate": float(truth.mean())}
