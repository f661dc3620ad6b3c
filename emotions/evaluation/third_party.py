"""How good are ready-made classifiers? Networks that others trained, on the same pictures as ours.

    evaluate("face_classification/trained_models/emotion_models", load("fer2013"))

Arriaga et al. 2017 (arXiv:1710.07557) publish two small networks, which other popular packages ship too:
https://github.com/oarriaga/face_classification (MIT licence), folder `trained_models/emotion_models`. They are measured
here, not distributed. Nobody tells which pictures these very files were trained on. The authors' training program takes
the first four fifths of FER2013's CSV, copies of test pictures included, and chooses the epoch on the last fifth, which
is validation and test together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotions import runs
from emotions.data.datasets import FER2013_CLASSES, Dataset
from emotions.evaluation import metrics as evaluation
from emotions.models.layers import picture_input
from emotions.plots import figures as plots

TRAINED_BY = "others (Arriaga et al. 2017), on unknown pictures"


@dataclass(frozen=True)
class Peer:
    """A file of the authors'.

    Attributes:
        name: of the run folder.
        title: for tables and figures.
        file: its name.
    """

    name: str
    title: str
    file: str


PEERS = (
    Peer("mini-xception", "mini-Xception", "fer2013_mini_XCEPTION.102-0.66.hdf5"),
    Peer("big-xception", "big Xception", "fer2013_big_XCEPTION.54-0.66.hdf5"),
)


def adapt(network: keras.Model) -> keras.Model:
    """The network behind an interface like our models': RGB pictures of any size in, classes in alphabetical order out.

    Args:
        network: takes square grey pictures, N x side x side x 1, values -1 to 1; its outputs are in the order of
            `datasets.FER2013_CLASSES`.
    """
    inputs, x = picture_input(network.input_shape[1])
    x = ops.image.rgb_to_grayscale(x)
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    order = np.array([FER2013_CLASSES.index(name) for name in sorted(FER2013_CLASSES)])
    (outputs,) = keras.tree.flatten(network(x))  # files of Keras 2 give a list
    return keras.Model(inputs, ops.take(outputs, order, axis=-1), name=network.name)


def evaluate(folder: str | Path, dataset: Dataset) -> list[dict]:
    """Measure the ready-made classifiers on validation and test, into run folders beside our own.

    Args:
        folder: holds the authors' files.
        dataset: FER2013, in any of its cuts with seven classes.

    Returns:
        the content of each `metrics.json`; its `trained_by` says that this is none of our own.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: the data set has other classes.
    """
    folder = Path(folder)
    if missing := [peer.file for peer in PEERS if not (folder / peer.file).is_file()]:
        raise FileNotFoundError(
            f"{folder} has no {missing[0]}: get it from https://github.com/oarriaga/face_classification, folder "
            "trained_models/emotion_models."
        )
    if dataset.class_names != tuple(sorted(FER2013_CLASSES)):
        raise ValueError(
            f"The ready-made classifiers know {', '.join(sorted(FER2013_CLASSES))}; "
            f"{dataset.name} has {', '.join(dataset.class_names)}."
        )
    found = []
    for peer in PEERS:
        model = adapt(keras.models.load_model(folder / peer.file, compile=False))
        target = runs.run_folder(dataset.name, peer.name)
        found.append(evaluation.evaluate(model, dataset, target, title=peer.title, trained_by=TRAINED_BY))
        plots.draw_run(target)
    return found
