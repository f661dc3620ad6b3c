"""How good is a model? Predictions become files, and every number is computed from those files.

`evaluate` writes `predictions.csv` (one line per test picture), `predictions_validation.csv` and
`metrics.json` into a run folder. `measure` turns predictions into figures with intervals, anywhere.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn import metrics as sk

from emotions import backend
from emotions.data.datasets import Dataset, Split
from emotions.training.fit import git_commit, now, write

RESAMPLES = 2000  # of the bootstrap
BINS = 15  # of the calibration error (Guo et al. 2017, section 2)


# ------------------------------------------------------------------------------------------- predictions


@dataclass(frozen=True)
class Predictions:
    """What a model says of a split.

    Attributes:
        class_names: alphabetical.
        ids: str, N.
        labels: int, N: positions in `class_names`.
        probabilities: float, N x classes; rows sum to 1.
    """

    class_names: tuple[str, ...]
    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    def take(self, chosen) -> Predictions:
        return Predictions(self.class_names, self.ids[chosen], self.labels[chosen], self.probabilities[chosen])

    def join(self, other: Predictions) -> Predictions:
        """These pictures and then the other's, of another split."""
        mine, others = ((it.ids, it.labels, it.probabilities) for it in (self, other))
        if self.class_names != other.class_names or set(self.ids) & set(other.ids):
            raise ValueError("Predictions of two splits are joined: of the same classes, on different pictures.")
        return Predictions(self.class_names, *map(np.concatenate, zip(mine, others, strict=True)))

    def save(self, path: str | Path) -> None:
        """Write `id,label,<class>…`: label is the class name, probabilities have five digits."""
        frame = pd.DataFrame(self.probabilities, columns=list(self.class_names))
        frame.insert(0, "label", np.array(self.class_names)[self.labels])
        frame.insert(0, "id", self.ids)
        write(Path(path), frame.to_csv(index=False, float_format="%.5g", lineterminator="\n"))

    @classmethod
    def read(cls, path: str | Path) -> Predictions:
        """Read what `save` wrote."""
        frame = pd.read_csv(path, dtype={"id": str, "label": str}, keep_default_na=False)
        class_names = tuple(frame.columns[2:])
        probabilities = frame[list(class_names)].to_numpy(float)
        labels = pd.Index(class_names).get_indexer(frame["label"])
        if (labels < 0).any():
            raise ValueError(
                f"{path}: the label {frame['label'][labels < 0].iloc[0]!r} is none of its columns {class_names}."
            )
        return cls(
            class_names, frame["id"].to_numpy(str), labels, probabilities / probabilities.sum(axis=1, keepdims=True)
        )


class Pictures(keras.utils.PyDataset):
    """A split's pictures in batches and in order, mirrored on request."""

    def __init__(self, images, batch_size: int, flip: bool = False):
        super().__init__()
        self.images, self.batch_size, self.flip = images, batch_size, flip

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        last = min((index + 1) * self.batch_size, len(self.images))
        batch = self.images[np.arange(index * self.batch_size, last)]
        return (batch[:, :, ::-1] if self.flip else batch,)


def predict(
    model: keras.Model, split: Split, class_names: tuple[str, ...], *, flip: bool = False, batch_size: int = 64
) -> Predictions:
    """Predict a split in order, so that labels and probabilities line up.

    Args:
        flip: average the probabilities of each picture and its mirror image.
    """
    plain = _pass(model, split, class_names, batch_size)
    return _mean(plain, _pass(model, split, class_names, batch_size, mirrored=True)) if flip else plain


def _pass(model, split, class_names, batch_size=64, mirrored=False) -> Predictions:
    """Predict each picture once."""
    probabilities = model.predict(Pictures(split.images, batch_size, flip=mirrored), verbose=0)
    if probabilities.shape != (len(split), len(class_names)):
        raise ValueError(
            f"{model.name} returned {probabilities.shape} for {len(split)} pictures of {len(class_names)} classes."
        )
    return Predictions(tuple(class_names), split.ids, split.labels, probabilities)


def _mean(one: Predictions, other: Predictions) -> Predictions:
    return replace(one, probabilities=(one.probabilities + other.probabilities) / 2)


# --------------------------------------------------------------------------------------------- measuring


def measure(predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """Every figure that one file of predictions gives, headline figures with bootstrap 95% intervals.

    Returns:
        a dictionary that goes into JSON as it is: n, accuracy, top_2 and top_3 (where there are more
        classes), macro_f1, mcc, log_loss (nats), roc_auc (macro, one-vs-rest), ece (15 bins);
        `<figure>_interval` for accuracy, macro_f1, mcc, log_loss and ece; `per_class` with precision,
        recall, f1, roc_auc and support; `confusion`, rows true and columns predicted.
        A figure that the labels do not define (ROC-AUC of an absent class) is None.
    """
    if not len(predictions):
        raise ValueError("There are no predictions to measure.")
    labels, probabilities = predictions.labels, predictions.probabilities
    names, classes = predictions.class_names, range(len(predictions.class_names))
    confusion = sk.confusion_matrix(labels, predictions.predicted, labels=classes)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predictions.predicted, labels=classes, zero_division=0
    )
    auc = [_roc_auc(labels == k, probabilities[:, k]) for k in classes]
    known = [value for value in auc if value is not None]
    found = {
        "n": len(predictions),
        "accuracy": float(sk.accuracy_score(labels, predictions.predicted)),
        **{
            f"top_{k}": float(sk.top_k_accuracy_score(labels, probabilities, k=k, labels=classes))
            for k in (2, 3)
            if k < len(names)
        },
        "macro_f1": float(f1.mean()),
        "mcc": float(sk.matthews_corrcoef(labels, predictions.predicted)),
        "log_loss": float(sk.log_loss(labels, probabilities, labels=classes)),
        "roc_auc": float(np.mean(known)) if known else None,
        "ece": calibration_error(labels, probabilities),
    }
    for name, values in resampled(predictions, resamples, seed).items():
        found[f"{name}_interval"] = np.percentile(values, [2.5, 97.5]).tolist()
    found["per_class"] = {
        name: {
            "precision": float(precision[k]),
            "recall": float(recall[k]),
            "f1": float(f1[k]),
            "roc_auc": auc[k],
            "support": int(support[k]),
        }
        for k, name in enumerate(names)
    }
    found["confusion"] = confusion.tolist()
    return found


def commonest(measured: dict) -> tuple[str, float]:
    """The commonest class of a split, and the accuracy of always saying it.

    Args:
        measured: from `measure`.
    """
    support = {name: figures["support"] for name, figures in measured["per_class"].items()}
    name = max(support, key=support.get)
    return name, support[name] / measured["n"]


def against_guessing(measured: dict) -> str:
    """How an accuracy, by its 95% interval, compares with that of always saying the commonest class, in words.

    Args:
        measured: from `measure`, with intervals.
    """
    share, (low, high) = commonest(measured)[1], measured["accuracy_interval"]
    if low > share:
        return "significantly better"
    return "significantly worse" if high < share else "not significantly better"


def counted(number: float, noun: str) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def _roc_auc(positive, scores) -> float | None:
    return float(sk.roc_auc_score(positive, scores)) if 0 < positive.sum() < len(positive) else None


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over equal-width bins of
    confidence, weighted by the pictures in each (Guo et al. 2017, equation 3)."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    gaps = np.bincount(bin_of(confidence, bins), weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """In which of the equal-width bins of 0 to 1 is each confidence? 0 to `bins` - 1; on an edge, in the one below."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


@lru_cache(maxsize=3)  # validation, test and its leak-free part: the same for every run of a data set
def draws(n: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each of `n` pictures is in each bootstrap sample: float, resamples x n."""
    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, n))
    for sample in drawn:
        sample[:] = np.bincount(random.integers(n, size=n), minlength=n)
    return drawn


def resampled(predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, np.ndarray]:
    """Figures on bootstrap samples of the pictures (Efron & Tibshirani 1993, chapter 13).

    For runs on the same pictures the same seed draws the same samples, so that differences between what two
    runs get are paired.

    Returns:
        float, `resamples`, for accuracy, macro_f1, mcc, log_loss and ece.
    """
    n, classes = len(predictions), len(predictions.class_names)
    confidence = predictions.probabilities.max(axis=1)
    likelihood = predictions.probabilities[np.arange(n), predictions.labels]
    # What each picture adds to: a cell of the confusion matrix, a bin's gap, the log loss. Sums over a sample are
    # then one product with how often each picture was drawn.
    added = np.zeros((n, classes**2 + BINS + 1))
    added[np.arange(n), predictions.labels * classes + predictions.predicted] = 1
    gaps = (predictions.predicted == predictions.labels) - confidence
    added[np.arange(n), classes**2 + bin_of(confidence)] = gaps
    added[:, -1] = -np.log(np.clip(likelihood, np.finfo(likelihood.dtype).eps, None))
    sums = draws(n, resamples, seed) @ added

    confusion = sums[:, : classes**2].reshape(-1, classes, classes)
    hits = confusion.diagonal(axis1=1, axis2=2)
    true, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    numerator = n * hits.sum(axis=1) - (true * predicted).sum(axis=1)
    denominator = np.sqrt((n**2 - (predicted**2).sum(axis=1)) * (n**2 - (true**2).sum(axis=1)))
    return {
        "accuracy": hits.sum(axis=1) / n,
        "macro_f1": (2 * hits / np.maximum(true + predicted, 1)).mean(axis=1),
        "mcc": np.divide(numerator, denominator, out=np.zeros(resamples), where=denominator > 0),
        "log_loss": sums[:, -1] / n,
        "ece": np.abs(sums[:, classes**2 : -1]).sum(axis=1) / n,
    }


# -------------------------------------------------------------------------------------------- evaluating


def evaluate(
    model: keras.Model, dataset: Dataset, folder: str | Path, *, flip: bool = True, title: str | None = None, **facts
) -> dict:
    """Predict validation and test, and write what was found into the run folder.

    Writes `predictions_validation.csv`, `predictions.csv` (single pass), with `flip` also `predictions_tta.csv`
    (averaged over each picture and its mirror image) and the same for validation, and `metrics.json`.

    Args:
        folder: the run folder; its `training.json`, where there is one, goes into the metrics.
        facts: more on the model, for `metrics.json`.

    Returns:
        the content of `metrics.json`; see `measure` for the figures of each split.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in ((dataset.validation, "predictions_validation"), (dataset.test, "predictions")):
        plain = _pass(model, split, dataset.class_names)
        plain.save(folder / f"{name}.csv")
        if flip:
            mirrored = _pass(model, split, dataset.class_names, mirrored=True)
            _mean(plain, mirrored).save(folder / f"{name}_tta.csv")
    seconds = seconds_per_picture(model, dataset.test.images.shape[1:3])
    return report(
        folder,
        dataset,
        title=title or folder.name,
        parameters=model.count_params(),
        seconds_per_picture=seconds,
        timed_on=backend.hardware(),
        **facts,
    )


def report(folder: str | Path, dataset: Dataset, **facts) -> dict:
    """Write `metrics.json` from the predictions in a run folder, with `facts` on the model beside them.

    The ids of test pictures that have a copy in training are kept beside the run folders, in
    `copied_in_training.csv`, so that the leak-free part can be measured without the data set.
    """
    folder = Path(folder)
    copied = pd.DataFrame({"id": sorted(dataset.copied)})
    write(folder.parent / "copied_in_training.csv", copied.to_csv(index=False, lineterminator="\n"))
    record_file = folder / "training.json"
    training = json.loads(record_file.read_text(encoding="utf-8")) if record_file.exists() else {}
    found = {
        "dataset": dataset.name,
        "model": folder.name,
        "class_names": list(dataset.class_names),
        "split_sizes": {name: len(split) for name, split in dataset.splits().items()},
        "seed": training.get("seed"),
        "backend": training.get("backend", backend.version()),
        "hardware": training.get("hardware", backend.hardware()),
        "training_seconds": training.get("seconds"),
        "git_commit": training.get("git_commit", git_commit()),
        "evaluated": now(),
        **facts,
        **measure_folder(folder),
        "training": training,
    }
    write(folder / "metrics.json", json.dumps(found, indent=2) + "\n")
    return found


def measure_folder(folder: str | Path) -> dict[str, dict]:
    """Every figure of a run folder from its committed predictions alone.

    Returns:
        `validation`, `test` and `test_leak_free` (the test pictures without a copy in training), and the
        same with the suffix `_tta` where averaged predictions are there.
    """
    folder, found = Path(folder), {}
    for end in ("", "_tta"):
        if not (folder / f"predictions{end}.csv").exists():
            continue
        test = Predictions.read(folder / f"predictions{end}.csv")
        found[f"validation{end}"] = measure(Predictions.read(folder / f"predictions_validation{end}.csv"))
        found[f"test{end}"] = measure(test)
        clean = leak_free(test, folder.parent)
        if not len(clean):
            raise ValueError(
                f"Each of the {len(test):,} test pictures of {folder} has a copy in training, so that nothing is left "
                "to measure without leakage: test on other pictures."
            )
        found[f"test_leak_free{end}"] = measure(clean)
    return found


def leak_free(test: Predictions, folder: str | Path) -> Predictions:
    """The test pictures without a copy in training, by the `copied_in_training.csv` of `results/<data set>`.

    Raises:
        FileNotFoundError: that file is not there.
    """
    file = Path(folder) / "copied_in_training.csv"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing, which says what is leak-free: evaluate a run there again.")
    return test.take(~np.isin(test.ids, pd.read_csv(file, dtype=str)["id"].to_list()))


def summary(found: dict) -> pd.DataFrame:
    """The headline figures of a `metrics.json`, with 95% intervals: figures (rows) by splits (columns)."""
    splits = {"validation": "validation", "test": "test", "test_leak_free": "test, leak-free"}
    figures = {
        "accuracy": "accuracy",
        "macro_f1": "macro F1",
        "mcc": "Matthews correlation",
        "log_loss": "log loss (nats)",
        "ece": "calibration error",
    }
    columns = {}
    for split, title in splits.items():
        measured = found[split]
        intervals = [measured[f"{figure}_interval"] for figure in figures]
        columns[f"{title}, n = {measured['n']:,}"] = [
            f"{measured[figure]:.3f} [{low:.3f}, {high:.3f}]"
            for figure, (low, high) in zip(figures, intervals, strict=True)
        ]
    return pd.DataFrame(columns, index=list(figures.values()))


def seconds_per_picture(model: keras.Model, picture_size: tuple[int, int], repeats: int = 30) -> float:
    """Time to predict one picture alone, compiled: the fastest of several, for other work can only add to it."""
    image = np.zeros((1, *picture_size, 3), "float32")
    times = []
    for _ in range(repeats + 3):  # the first ones compile
        started = time.perf_counter()
        model.predict_on_batch(image)
        times.append(time.perf_counter() - started)
    return min(times[3:])


def card(found: dict, temperature: float, counts: str = "test") -> dict:
    """What goes into a saved model beside its weights: what it is, and how good, in a few lines.

    Args:
        found: the content of a `metrics.json`.
        temperature: fitted on validation, see `calibration.fit_temperature`.
        counts: the part of test to which guessing refers: "test" or "test_leak_free".
    """
    kept = ("accuracy", "accuracy_interval", "macro_f1", "n")
    return {
        "class_names": found["class_names"],
        "model": found["model"],
        "title": found["title"],
        "dataset": found["dataset"],
        "split_sizes": found["split_sizes"],
        "input": "RGB pictures of faces, N x H x W x 3, any size, values 0-255",
        **{split: {name: found[split][name] for name in kept} for split in ("validation", "test", "test_leak_free")},
        "guessing": round(commonest(found[counts])[1], 4),  # accuracy of always saying the commonest class
        "training": {
            name: found["training"].get(name) for name in ("seed", "epochs_trained", "input_size", "finished")
        },
        "versions": {"backend": found["backend"], "keras": found["training"].get("keras")},
        "temperature": temperature,
        "calibration": "The model's own probabilities p are not calibrated; softmax(log(p) / temperature) are, with "
        "the temperature fitted on validation. The figures here are of the model's own.",
        "limits": "Posed and web-scraped faces, many disputed labels, none of who is shown: "
        "not for decisions about people.",
    }
