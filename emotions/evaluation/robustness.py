"""How fast does a model break when images get worse? Nine corruptions, each at five strengths.

After Hendrycks & Dietterich 2019 (arXiv:1903.12261), with parameters fit for small faces: sizes are shares of the
image's side."""

from functools import partial

import cv2
import numpy as np
import pandas as pd

from emotions import files
from emotions.data import load
from emotions.data.dataset import Split
from emotions.evaluation.calibration import temperature_scale
from emotions.evaluation.evaluate import predict
from emotions.models.files import read_card
from emotions.runs import Run

COUNT = 500  # test images, drawn at random
GREY = 128


def jpeg(image, quality, random):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def rotation(image, degrees, random):
    side = image.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), degrees * random.choice([-1, 1]), 1)
    return cv2.warpAffine(image, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)


def low_resolution(image, share, random):
    side = image.shape[0]
    small = cv2.resize(image, (max(2, round(share * side)),) * 2, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)


def hidden(image, share, random, top: float, bottom: float):
    """Cover a band of the face; `top` and `bottom` are shares of the side."""
    side, covered = image.shape[0], image.copy()
    left, right = round(side * (1 - share) / 2), round(side * (1 + share) / 2)
    covered[round(top * side) : round(bottom * side), left:right] = GREY
    return covered


CORRUPTIONS = {  # functions of (image, strength, random), and the five strengths
    "blur": (lambda image, share, _: cv2.GaussianBlur(image, (0, 0), share * image.shape[0]),
             (0.01, 0.02, 0.03, 0.045, 0.06)),
    "noise": (lambda image, deviation, random: image + random.normal(0, deviation, image.shape[:2])[..., None],
              (8, 16, 26, 40, 60)),
    "JPEG": (jpeg, (40, 25, 15, 10, 6)),
    "darkness": (lambda image, light, _: light * image, (0.6, 0.45, 0.3, 0.2, 0.12)),
    "low contrast": (lambda image, share, _: image.mean() + share * (image - image.mean()),
                     (0.6, 0.45, 0.3, 0.2, 0.12)),
    "rotation": (rotation, (8, 15, 22, 30, 40)),
    "low resolution": (low_resolution, (0.6, 0.45, 0.33, 0.25, 0.18)),
    "eyes hidden": (partial(hidden, top=0.25, bottom=0.5), (0.2, 0.4, 0.6, 0.8, 1.0)),
    "mouth hidden": (partial(hidden, top=0.65, bottom=0.9), (0.2, 0.4, 0.6, 0.8, 1.0)),
}


def corrupt(images: np.ndarray, name: str, strength: int, seed: int = 0) -> np.ndarray:
    """Return the images, uint8, N x H x W x 3, corrupted with a strength of 1 to 5."""
    change, values = CORRUPTIONS[name]
    random = np.random.default_rng(seed)
    changed = [change(np.ascontiguousarray(image), values[strength - 1], random) for image in images]
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def table(run: Run) -> pd.DataFrame:
    """Return a saved model's accuracy and mean calibrated confidence, 0-1, per corruption and strength.

    It is measured on `COUNT` images of the run's test split once, and kept as `robustness.csv` in the run's folder:
    `corruption` ("none" with strength 0), `strength`, `n`, `accuracy`, `confidence`, `digest` of the model."""
    file = run.folder / "robustness.csv"
    if file.exists() and (saved := pd.read_csv(file))["digest"][0] == run.digest:
        return saved
    model, card, test = run.load(), read_card(run.file), load(run.dataset).test
    some = test.take(np.sort(np.random.default_rng(0).permutation(len(test))[:COUNT]))
    rows = []
    for name, strength in [("none", 0), *((name, strength) for name in CORRUPTIONS for strength in range(1, 6))]:
        images = corrupt(some.images, name, strength) if strength else some.images
        answers = predict(model, Split(images, some.labels, some.ids), tuple(card["class_names"]))
        answers = temperature_scale(answers, card["temperature"])
        accuracy, confidence = (answers.predicted == answers.labels).mean(), answers.probabilities.max(axis=1).mean()
        rows.append((name, strength, len(some), accuracy, confidence, run.digest))
    board = pd.DataFrame(rows, columns=["corruption", "strength", "n", "accuracy", "confidence", "digest"])
    files.write(file, board.to_csv(index=False, float_format="%.5g", lineterminator="\n"))
    return board
