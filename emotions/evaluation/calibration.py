"""Can the probabilities be believed? Temperature scaling, reliability, and what abstaining would give.

Fit on validation, report on test:

    temperature = fit_temperature(validation)
    calibrated = temper(test, temperature)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from emotions.evaluation.metrics import BINS, Predictions, bin_of, calibration_error
from emotions.models.layers import soften

TEMPERATURES = (0.05, 20.0)  # the range that is searched


def temper(predictions: Predictions, temperature: float) -> Predictions:
    """Soften (temperature > 1) or sharpen (< 1) probabilities; the predicted classes stay.

    Guo et al. 2017, section 4.2.
    """
    return replace(predictions, probabilities=soften(predictions.probabilities, temperature))


def fit_temperature(validation: Predictions) -> float:
    """The temperature of least log loss on validation (Guo et al. 2017, section 4.2)."""
    found = minimize_scalar(
        lambda x: _loss(temper(validation, np.exp(x))),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def calibrate(validation: Predictions, test: Predictions) -> dict[str, float]:
    """What temperature scaling, fitted on validation, does on test.

    Returns:
        temperature (above 1: the model was overconfident); ece and log_loss on test, each with `_before` and `_after`.
    """
    temperature = fit_temperature(validation)
    found = {"temperature": temperature}
    for when, predictions in (("before", test), ("after", temper(test, temperature))):
        found[f"ece_{when}"] = calibration_error(predictions.labels, predictions.probabilities)
        found[f"log_loss_{when}"] = _loss(predictions)
    return found


def _loss(predictions: Predictions) -> float:
    classes = range(len(predictions.class_names))
    return float(log_loss(predictions.labels, predictions.probabilities, labels=classes))


def reliability(predictions: Predictions, bins: int = BINS) -> pd.DataFrame:
    """The data of a reliability diagram (Guo et al. 2017, figure 1).

    Returns:
        one row per bin of confidence, (low, high]: low, high, n, and of its pictures the mean confidence and
        the accuracy, NaN in an empty bin. The expected calibration error is the mean of |accuracy - confidence|
        weighted by n.
    """
    edges = np.linspace(0, 1, bins + 1)
    confidence = predictions.probabilities.max(axis=1)
    found = pd.DataFrame(
        {
            "bin": bin_of(confidence, bins),
            "confidence": confidence,
            "accuracy": (predictions.predicted == predictions.labels).astype(float),
        }
    ).groupby("bin")
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": found.size()}, index=range(bins))
    return table.fillna({"n": 0}).astype({"n": int}).join(found.mean())


def coverage(predictions: Predictions) -> pd.DataFrame:
    """Accuracy against coverage: answer only where the confidence reaches a threshold (Geifman & El-Yaniv 2017).

    Returns:
        one row per threshold, the strictest first: threshold, coverage (share of the pictures answered) and
        the accuracy on those.
    """
    table = pd.DataFrame(
        {
            "threshold": predictions.probabilities.max(axis=1),
            "right": predictions.predicted == predictions.labels,
        }
    )
    levels = table.groupby("threshold")["right"].agg(["sum", "size"]).sort_index(ascending=False).cumsum()
    curve = pd.DataFrame({"coverage": levels["size"] / len(table), "accuracy": levels["sum"] / levels["size"]})
    return curve.reset_index()


def aurc(predictions: Predictions) -> float:
    """Area under the risk-coverage curve: the error on the pictures answered, averaged over all coverages
    (Geifman, Uziel & El-Yaniv 2019, section 3). Lower is better; random confidence gives the error rate."""
    curve = coverage(predictions)
    return float(((1 - curve["accuracy"]) * np.diff(curve["coverage"], prepend=0)).sum())


def accuracy_at(predictions: Predictions, share: float) -> float:
    """Accuracy on the most confident pictures, of which at least `share` (0 to 1) are answered."""
    if not 0 < share <= 1:
        raise ValueError(f"The share to answer is {share}, and must be above 0 and at most 1.")
    curve = coverage(predictions)
    return float(curve.loc[curve["coverage"] >= share - 1e-12, "accuracy"].iloc[0])
