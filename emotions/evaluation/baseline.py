"""How far does one get without a network? The trivial baseline of every table."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emotions import runs
from emotions.data.dataset import Dataset, Split
from emotions.data.images import fit_all
from emotions.evaluation.evaluate import report
from emotions.runs import Predictions, Run

NAME, SIDE, COMPONENTS = "logistic-regression", 48, 150


def logistic_regression(faces: Dataset) -> Run:
    """Return the run of logistic regression on 150 principal components of grey pixels at 48 x 48, fitted now if there
    is none; classes weigh the same."""
    run = runs.start(NAME, faces, title="Logistic regression")
    if run.saved:
        return run
    train = _pixels(faces.train)
    components = min(COMPONENTS, len(train) - 1, train.shape[1])
    regression = LogisticRegression(class_weight="balanced", max_iter=1000)
    classifier = make_pipeline(PCA(components, random_state=0), StandardScaler(), regression)
    classifier.fit(train, faces.train.labels)
    run.folder.mkdir(parents=True, exist_ok=True)
    for split, file in ((faces.validation, "predictions_validation.csv"), (faces.test, "predictions.csv")):
        probabilities = np.zeros((len(split), len(faces.class_names)))
        probabilities[:, classifier.classes_] = classifier.predict_proba(_pixels(split))  # classes seen in training
        Predictions(faces.class_names, split.ids, split.labels, probabilities).save(run.folder / file)
    weights = classifier[-1].coef_.size + classifier[-1].intercept_.size + classifier[0].components_.size
    run.record(report(run, faces, parameters=int(weights)))
    return run


def _pixels(split: Split) -> np.ndarray:
    """Return the grey values of the images, made no larger than 48 x 48, 0 to 1, one row per image."""
    images = fit_all(split.images, (SIDE, SIDE)) if max(split.images.shape[1:3]) > SIDE else split.images
    return np.asarray(images, "float32").mean(axis=-1).reshape(len(split), -1) / 255
