"""Can the probabilities be trusted? Temperature scaling (fit on validation, report on test), reliability, coverage."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from emotions.evaluation.metrics import BINS, bin_of, calibration_error
from emotions.models import layers
from emotions.runs import Predictions

TEMPERATURES = (0.05, 20.0)  # the range that is searched
LEAST = 50  # validation images: fewer do not tell how confident a model may be


def temperature_scale(predictions: Predictions, temperature: float) -> Predictions:
    """Divide the logits by a temperature (Guo et al. 2017, section 4.2); the predicted classes stay."""
    return replace(predictions, probabilities=layers.temperature_scale(predictions.probabilities, temperature))


def fit_temperature(validation: Predictions) -> float:
    """Return the temperature of least log loss on validation (Guo et al. 2017, section 4.2). It is 1 for
    fewer than `LEAST` images, or if all are correct: then the loss falls as long as the temperature does."""
    if len(validation) < LEAST or (validation.predicted == validation.labels).all():
        return 1.0
    least = minimize_scalar(lambda logarithm: loss(temperature_scale(validation, np.exp(logarithm))),
                            bounds=np.log(TEMPERATURES), options={"xatol": 1e-6})
    return float(np.exp(least.x))


def calibrate(test: Predictions, temperature: float) -> dict[str, float]:
    """Measure what scaling by a temperature does on test: temperature (above 1: the model was overconfident); ece and
    log_loss, each with `_before` and `_after`."""
    metrics = {"temperature": temperature}
    for when, predictions in (("before", test), ("after", temperature_scale(test, temperature))):
        metrics[f"ece_{when}"] = calibration_error(predictions.labels, predictions.probabilities)
        metrics[f"log_loss_{when}"] = loss(predictions)
    return metrics


def loss(predictions: Predictions) -> float:
    """Return the log loss in nats."""
    return float(log_loss(predictions.labels, predictions.probabilities, labels=range(len(predictions.class_names))))


def reliability(predictions: Predictions, bins: int = BINS) -> pd.DataFrame:
    """Return the data of a reliability diagram (Guo et al. 2017, figure 1): one row per bin of confidence, (low, high]:
    low, high, n, mean confidence and accuracy, NaN in an empty bin."""
    edges = np.linspace(0, 1, bins + 1)
    confidence = predictions.probabilities.max(axis=1)
    correct = (predictions.predicted == predictions.labels).astype(float)
    groups = pd.DataFrame({"confidence": confidence, "accuracy": correct}).groupby(bin_of(confidence, bins))
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": groups.size()}, index=range(bins))
    return table.fillna({"n": 0}).astype({"n": int}).join(groups.mean())


def coverage(predictions: Predictions) -> pd.DataFrame:
    """Return accuracy against coverage, answering only where the confidence reaches a threshold (Geifman & El-Yaniv
    2017): by threshold, the strictest first, coverage (share of the images answered) and accuracy on those."""
    correct = pd.Series(predictions.predicted == predictions.labels).groupby(predictions.probabilities.max(axis=1))
    levels = correct.agg(["sum", "size"]).sort_index(ascending=False).cumsum().rename_axis("threshold")
    curve = {"coverage": levels["size"] / len(predictions), "accuracy": levels["sum"] / levels["size"]}
    return pd.DataFrame(curve).reset_index()


def accuracy_at(predictions: Predictions, share: float) -> float:
    """Return the accuracy at a coverage: on the most confident images, at least a `share` (0 to 1) of all."""
    if not 0 < share <= 1:
        raise ValueError(f"The coverage is {share}, and must be above 0 and at most 1.")
    curve = coverage(predictions)
    return float(curve.loc[curve["coverage"] >= share - 1e-12, "accuracy"].iloc[0])
