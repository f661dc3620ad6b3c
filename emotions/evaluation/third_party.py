"""How good are third-party models? Two networks that others trained, on the same images as ours.

Arriaga et al. 2017 (arXiv:1710.07557) publish them under the MIT licence, and other popular packages ship them too.
On which images these files were trained is not documented. The authors' training program takes the first four fifths
of FER2013's CSV, copies of test images included, and chooses the epoch on the last fifth, which is validation and
test together."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotions import runs
from emotions.data.dataset import Dataset
from emotions.evaluation.evaluate import predict_splits, report
from emotions.models.layers import resize
from emotions.runs import Run

SOURCE = "https://github.com/oarriaga/face_classification, folder trained_models/emotion_models"
TRAINED_BY = "others (Arriaga et al. 2017), on unknown images"
OUTPUTS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # in the order of FER2013's codes
MODELS = {"mini-xception": ("mini-Xception", "fer2013_mini_XCEPTION.102-0.66.hdf5"),
          "big-xception": ("big Xception", "fer2013_big_XCEPTION.54-0.66.hdf5")}


def adapt(network: keras.Model) -> keras.Model:
    """Put a network that takes square grey images, N x side x side x 1, values -1 to 1, and returns `OUTPUTS` in order
    behind the interface of our models: RGB images of any size in, classes in alphabetical order out."""
    inputs = keras.Input((None, None, 3))
    x = ops.image.rgb_to_grayscale(resize(network.input_shape[1])(inputs))
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    (outputs,) = keras.tree.flatten(network(x))  # files of Keras 2 give a list
    return keras.Model(inputs, ops.take(outputs, np.argsort(OUTPUTS), axis=-1), name=network.name)


def measure(folder: str | Path, faces: Dataset) -> list[Run]:
    """Measure the models in a folder of the authors' files on FER2013's validation and test, as runs beside our own.
    `trained_by` in their metrics says that they are none of our own."""
    for _, file in MODELS.values():
        if not (Path(folder) / file).is_file():
            raise FileNotFoundError(f"{folder} has no {file}: get it from {SOURCE}.")
    if list(faces.class_names) != sorted(OUTPUTS):
        theirs, ours = ", ".join(sorted(OUTPUTS)), ", ".join(faces.class_names)
        raise ValueError(f"The models' classes are {theirs}; {faces.name} has {ours}.")
    measured = []
    for name, (title, file) in MODELS.items():
        run = runs.start(name, replace(faces, variants=()), title=title)
        facts = predict_splits(adapt(keras.models.load_model(Path(folder) / file, compile=False)), faces, run)
        run.finish(report(run, faces, **facts, trained_by=TRAINED_BY))
        measured.append(run)
    return measured
