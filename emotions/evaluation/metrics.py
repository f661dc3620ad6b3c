"""How good is a model? Every figure is computed from files of predictions."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn import metrics as sk

from emotions.runs import Predictions

RESAMPLES = 2000  # of the bootstrap
BINS = 15  # of the calibration error (Guo et al. 2017, section 2)
COPIED, PHOTOS = "copied_in_training.csv", "photos.csv"  # beside the run folders of a data set


def measure(predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0, photos=None) -> dict:
    """Compute every figure that one file of predictions gives, headline figures with bootstrap 95% intervals; where all
    images are correct, or none, that of the accuracy is `wilson`'s.

    `photos`, int, N: the source photo of each image; then photos are resampled, not images. See `photos_of`. Returns
    what goes into JSON: n, accuracy, top_2 and top_3 (where there are more classes), macro_f1, mcc, log_loss (nats),
    roc_auc (macro, one-vs-rest), ece (15 bins); `<figure>_interval` for accuracy, macro_f1, mcc, log_loss and ece;
    `per_class` with precision, recall, f1, roc_auc and support; `confusion`, rows true and columns predicted. A figure
    that the labels do not define (ROC-AUC of an absent class) is None."""
    if not len(predictions):
        raise ValueError("There are no predictions to measure.")
    labels, predicted, probabilities = predictions.labels, predictions.predicted, predictions.probabilities
    names, classes = predictions.class_names, range(len(predictions.class_names))
    rates = sk.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    precision, recall, f1, support = (rate.tolist() for rate in rates)
    auc = [float(sk.roc_auc_score(labels == k, probabilities[:, k])) if 0 < (labels == k).sum() < len(labels) else None
           for k in classes]
    defined = [value for value in auc if value is not None]
    tops = [k for k in (2, 3) if k < len(names)]
    figures = {
        "n": len(predictions),
        "accuracy": float(sk.accuracy_score(labels, predicted)),
        **{f"top_{k}": float(sk.top_k_accuracy_score(labels, probabilities, k=k, labels=classes)) for k in tops},
        "macro_f1": float(np.mean(np.array(f1)[np.isin(classes, [labels, predicted])])),
        "mcc": float(sk.matthews_corrcoef(labels, predicted)),
        "log_loss": float(sk.log_loss(labels, probabilities, labels=classes)),
        "roc_auc": float(np.mean(defined)) if defined else None,
        "ece": calibration_error(labels, probabilities),
    }
    for name, values in resampled(predictions, resamples, seed, photos).items():
        if name in figures:  # the balanced accuracy is not
            figures[f"{name}_interval"] = np.percentile(values, [2.5, 97.5]).tolist()
    if figures["accuracy"] in (0, 1):  # then all samples are alike: Wilson's interval, a photo as one observation
        observations = len(labels) if photos is None else len(np.unique(photos))
        figures["accuracy_interval"] = [float(end) for end in wilson(figures["accuracy"] * observations, observations)]
    low, high = figures["ece_interval"]  # samples have a larger calibration error than the images: reflected
    figures["ece_interval"] = [max(0.0, 2 * figures["ece"] - end) for end in (high, low)]
    columns = {"precision": precision, "recall": recall, "f1": f1, "roc_auc": auc, "support": support}
    figures["per_class"] = {name: {rate: columns[rate][k] for rate in columns} for k, name in enumerate(names)}
    figures["confusion"] = sk.confusion_matrix(labels, predicted, labels=classes).tolist()
    return figures


def wilson(hits, n) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95% interval of a share, `hits` of `n` (Wilson 1927); numbers or arrays. A share times its
    n is rounded to the whole number it was."""
    one = np.vectorize(lambda hits, n: tuple(binomtest(round(hits), round(n)).proportion_ci(0.95, "wilson")), "dd")
    return tuple(end[()] for end in one(hits, n))  # of numbers, numbers


def majority_class(figures: dict) -> tuple[str, float]:
    """Return the most frequent class of a split by what `measure` gave, and the accuracy, 0-1, of predicting it."""
    name, rates = max(figures["per_class"].items(), key=lambda item: item[1]["support"])
    return name, rates["support"] / figures["n"]


def beats_majority_class(figures: dict) -> bool:
    """Tell whether an accuracy is significantly above the majority-class baseline, by its 95% interval."""
    return figures["accuracy_interval"][0] > majority_class(figures)[1]


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error, 0-1: the mean gap between confidence and accuracy over equal-width bins
    of confidence, weighted by the images in each (Guo et al. 2017, equation 3)."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    gaps = np.bincount(bin_of(confidence, bins), weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the equal-width bin of each confidence, 0 to `bins` - 1; on an edge, the one below."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


@lru_cache(maxsize=3)  # validation, test and its leak-free part: the same for every run of a data set
def draws(n: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return how often each of `n` images (or photos) is in each bootstrap sample: float, resamples x n."""
    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, n))
    for sample in drawn:
        sample[:] = np.bincount(random.integers(n, size=n), minlength=n)
    return drawn


def resampled(predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0, photos=None) -> dict:
    """Compute figures on bootstrap samples of the images, or of photos (Efron & Tibshirani 1993, chapter 13).

    For runs on the same images the same seed draws the same samples, so that differences between them are paired.
    Returns accuracy, balanced_accuracy (the mean recall), macro_f1, mcc, log_loss and ece: float, `resamples`."""
    n, classes = len(predictions), len(predictions.class_names)
    confidence = predictions.probabilities.max(axis=1)
    likelihood = predictions.probabilities[np.arange(n), predictions.labels]
    # What each image adds to: a cell of the confusion matrix, a bin's gap, the log loss. Sums over a sample are
    # then one product with how often each image was drawn.
    added = np.zeros((n, classes**2 + BINS + 1))
    added[np.arange(n), predictions.labels * classes + predictions.predicted] = 1
    added[np.arange(n), classes**2 + bin_of(confidence)] = (predictions.predicted == predictions.labels) - confidence
    added[:, -1] = -np.log(np.clip(likelihood, np.finfo(likelihood.dtype).eps, None))
    photos = np.arange(n) if photos is None else np.unique(photos, return_inverse=True)[1]
    by_photo = np.zeros((photos.max() + 1, added.shape[1]))
    np.add.at(by_photo, photos, added)
    sums = draws(len(by_photo), resamples, seed) @ by_photo

    confusion = sums[:, : classes**2].reshape(-1, classes, classes)
    hits, sizes = confusion.diagonal(axis1=1, axis2=2), confusion.sum(axis=(1, 2))
    true, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    there = added[:, : classes**2].sum(axis=0).reshape(classes, classes)
    labelled, named = there.sum(axis=1) > 0, there.sum(axis=1) + there.sum(axis=0) > 0  # classes, as scikit-learn's
    numerator = sizes * hits.sum(axis=1) - (true * predicted).sum(axis=1)
    denominator = np.sqrt((sizes**2 - (predicted**2).sum(axis=1)) * (sizes**2 - (true**2).sum(axis=1)))
    return {
        "accuracy": hits.sum(axis=1) / sizes,
        "balanced_accuracy": (hits / np.maximum(true, 1))[:, labelled].mean(axis=1),
        "macro_f1": (2 * hits / np.maximum(true + predicted, 1))[:, named].mean(axis=1),
        "mcc": np.divide(numerator, denominator, out=np.zeros(resamples), where=denominator > 0),
        "log_loss": sums[:, -1] / sizes,
        "ece": np.abs(sums[:, classes**2 : -1]).sum(axis=1) / sizes,
    }


def measure_folder(folder: str | Path) -> dict[str, dict]:
    """Compute every figure of a run folder from its predictions alone: of `validation`, `test` and `test_leak_free`
    (the test images without a copy in training), and with `_tta` the same where there is test-time augmentation."""
    folder, splits = Path(folder), {}
    for end in (end for end in ("", "_tta") if (folder / f"predictions{end}.csv").exists()):
        splits[f"validation{end}"] = Predictions.read(folder / f"predictions_validation{end}.csv")
        splits[f"test{end}"] = Predictions.read(folder / f"predictions{end}.csv")
        splits[f"test_leak_free{end}"] = leak_free(splits[f"test{end}"], folder.parent)
    return {name: measure(split, photos=photos_of(split, folder.parent)) for name, split in splits.items()}


def leak_free(test: Predictions, folder: str | Path) -> Predictions:
    """Return the test images without a copy in training, by the `copied_in_training.csv` of `results/<dataset>`.

    FileNotFoundError: that file is missing. ValueError: every test image has a copy in training."""
    file = Path(folder) / COPIED
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing, which lists the copies: evaluate a run of this data set again.")
    clean = test.take(~np.isin(test.ids, pd.read_csv(file, dtype=str)["id"].to_list()))
    if not len(clean):
        raise ValueError(f"Each of the {len(test):,} test images of {folder} has a copy in training: none is left.")
    return clean


def photos_of(predictions: Predictions, folder: str | Path) -> np.ndarray | None:
    """Return the source photo of each image, int, N, by the `photos.csv` of `results/<dataset>`; None without the file.

    Images made from one photo are one observation, so intervals and tests resample photos."""
    file = Path(folder) / PHOTOS
    if not file.exists():
        return None
    return pd.read_csv(file, dtype={"id": str}, index_col="id")["photo"].loc[predictions.ids].to_numpy()


def summary(metrics: dict) -> pd.DataFrame:
    """Return the headline figures of a `metrics.json` with 95% intervals, as text: figures by splits that differ."""
    figures = {"accuracy": "accuracy", "macro_f1": "macro F1", "mcc": "Matthews correlation",
               "log_loss": "log loss (nats)", "ece": "calibration error"}
    splits = {"validation": "validation", "test": "test"}
    if metrics["test_leak_free"]["n"] < metrics["test"]["n"]:
        splits["test, leak-free"] = "test_leak_free"
    return pd.DataFrame({f"{title}, n = {metrics[split]['n']:,}": [shown(metrics[split], figure) for figure in figures]
                         for title, split in splits.items()}, index=list(figures.values()))


def shown(figures: dict, figure: str = "accuracy") -> str:
    """Return a figure with its 95% interval as tables show it: `68.8 % [67.2, 70.3]`, `0.623 [0.604, 0.641]`."""
    value, (low, high) = figures[figure], figures[f"{figure}_interval"]
    if figure in ("mcc", "log_loss"):
        return f"{value:.3f} [{low:.3f}, {high:.3f}]"
    return in_words(value, low, high)


def in_words(share: float, low: float, high: float) -> str:
    """Return a share of 0-1 with the ends of its interval: `68.8 % [67.2, 70.3]`."""
    return f"{percent(share)} [{100 * low:.1f}, {100 * high:.1f}]"


def percent(share: float | None) -> str:
    """Return a share of 0-1 as tables show it: `68.8 %`, `-` where there is none."""
    return "-" if pd.isna(share) else f"{100 * share:.1f} %"
