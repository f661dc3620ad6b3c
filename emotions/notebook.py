"""What do all notebooks share? How they begin, and which single faces they may show."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import platform
import sys
from pathlib import Path

import numpy as np

import emotions

NO_RUNS = (
    "Only the package is here, not the repository with its saved runs: what a notebook shows is trained now, for as "
    'long as its introduction says; PROFILE = "quick" takes minutes.'
)
NO_ACCELERATOR = (
    "No accelerator was found, so training takes longer. To switch one on: Colab, Runtime > Change runtime type; "
    "Kaggle, Settings > Accelerator; your own machine, README, “Run it”."
)


def begin() -> None:
    """Print the versions and the accelerator; where there is none, or are no saved runs, say what that means."""
    # Several kernels, and a process for costs, may share one GPU: none is to take all its memory at once.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    accelerator = start_backend()
    import keras
    import pandas as pd

    from emotions import backend

    pd.set_option("display.max_colwidth", None)  # or tables would cut what they say short
    print(
        f"Python {platform.python_version()}, emotions {emotions.__version__}, "
        f"Keras {keras.__version__} on {backend.version()}, {backend.hardware()}"
    )
    if accelerator is None:
        print(NO_ACCELERATOR)
    if not (Path(emotions.__file__).parents[1] / "notebooks").is_dir():
        print(NO_RUNS)


def start_backend() -> str | None:
    """Import Keras and its backend without what native libraries have to say; returns the accelerator, if any."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what TensorFlow would say later on
    with native_messages_off():
        from emotions import backend

        return backend.accelerator()


@contextlib.contextmanager
def native_messages_off():
    """Keep off the screen what native libraries print while they load, before their log levels count."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def saved_model(name: str, profile: str) -> Path:
    """The file of a saved model for a notebook that only uses it.

    Args:
        name: as `inference.find` takes it; "" is the default model.
        profile: "quick" takes a small LeNet instead, trained on drawn faces now if it is not there yet. So does "full",
            and says so, where there is no default model, as when the package was installed without the repository.
    """
    from emotions.predict import classifier as inference

    if profile == "full":
        try:
            return inference.find(name or inference.DEFAULT)
        except FileNotFoundError as reason:
            if name:
                raise
            print(f"{reason} Instead, a small LeNet learns drawn faces now, which takes a minute.")
    from emotions import runs
    from emotions.data.datasets import load

    return runs.obtain("lenet", load("synthetic"), profile="quick", verbose=0).file


# What the browser does on Colab: ask for the camera, wait for it to adjust to the light, and hand one picture over.
TAKE_PICTURE = """
(async () => {
  const stream = await navigator.mediaDevices.getUserMedia({video: true});
  const video = document.createElement("video");
  video.srcObject = stream;
  await video.play();
  await new Promise(done => setTimeout(done, 1500));
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  stream.getTracks().forEach(track => track.stop());
  return canvas.toDataURL("image/jpeg", 0.9);
})()
"""
NO_CAMERA = (
    "No picture came from a camera: there is none, it is in use, or this notebook runs on another machine than yours. "
    "Take a photo with your phone instead, put it beside the notebook, and name it in PHOTO."
)


def camera() -> np.ndarray | None:
    """One picture from the camera: of the browser on Colab, otherwise of the machine the notebook runs on, by OpenCV.

    Returns:
        uint8, H x W x 3, RGB; None where there is no camera, after saying what to do.
    """
    picture = _from_browser() if "google.colab" in sys.modules else _from_machine()
    if picture is None:
        print(NO_CAMERA)
    return picture


def _from_browser() -> np.ndarray | None:
    from google.colab import output

    from emotions.data.images import decode

    try:
        address = output.eval_js(TAKE_PICTURE)  # data:image/jpeg;base64,…
    except Exception as refused:  # whatever the browser answers, a refusal included
        print(f"The browser said: {refused}")
        return None
    return decode(base64.b64decode(address.partition(",")[2]))


def _from_machine() -> np.ndarray | None:
    import cv2

    with native_messages_off():
        device = cv2.VideoCapture(0)
        for _ in range(10):  # the first pictures are dark, until the camera has adjusted to the light
            taken, picture = device.read()
            if not taken:
                break
        device.release()
    return picture[..., ::-1].copy() if taken else None  # OpenCV's colours are BGR


def faces(split, dataset, show_faces: bool) -> tuple[np.ndarray, str]:
    """Single faces for a figure: a split's own pictures, or drawn faces that stand in for photographs of persons.

    Args:
        split: the few pictures to show, of `dataset`.
        dataset: tells the class names; the faces of "synthetic" are always shown.
        show_faces: show photographs.

    Returns:
        uint8, N x H x W x 3, RGB, in the order of the split, drawn with the split's labels where they are emotions and
        a neutral face where not; and a caption that says which of the two they are.
    """
    from emotions.data import synthetic

    if show_faces or dataset.name == "synthetic":
        return np.asarray(split.images), f"pictures of {dataset.name}"
    names = [dataset.class_names[label] for label in split.labels]
    labels = [synthetic.CLASS_NAMES.index(name if name in synthetic.CLASS_NAMES else "neutral") for name in names]
    caption = f"drawn faces with the same labels, in place of photographs of {dataset.name} (SHOW_FACES = False)"
    return synthetic.render(labels, difficulty=0.1), caption


def recipe_table(recipe):
    """A recipe as a table for people: a row for each choice, augmentations that are not used left out.

    Args:
        recipe: a `recipes.Recipe`.
    """
    import pandas as pd

    choices = dataclasses.asdict(recipe)
    phases, augmentation = choices.pop("phases"), choices.pop("augmentation")
    rows = {f"phase {k}: {name}": value for k, phase in enumerate(phases, start=1) for name, value in phase.items()}
    rows |= choices | {f"augmentation: {name}": value for name, value in augmentation.items() if value}
    rows = {name.replace("_", " "): str(value) for name, value in rows.items()}
    return pd.Series(rows, name="choice").to_frame()


def scored(metrics: dict) -> str:
    """The accuracy of a split in words, as "62.6% [60.5, 64.7] of 1,964 pictures".

    Args:
        metrics: of one split, as from `evaluation.measure`.
    """
    low, high = metrics["accuracy_interval"]
    return f"{100 * metrics['accuracy']:.1f}% [{100 * low:.1f}, {100 * high:.1f}] of {metrics['n']:,} pictures"


def points(compared: dict, figure: str = "accuracy") -> str:
    """A difference between two models in words, as "+2.1 points [+0.4, +3.9]".

    Args:
        compared: from `comparison.compare`.
    """
    difference, low, high = (100 * compared[f"{figure}_{name}"] for name in ("difference", "low", "high"))
    return f"{difference:+.1f} points [{low:+.1f}, {high:+.1f}]"


def paired(compared: dict, first: str, second: str):
    """Two models on the same pictures, as a table for people: one column, named after both.

    Args:
        compared: from `comparison.compare`.
        first, second: what the models are called.
    """
    import pandas as pd

    n, p = compared["n"], compared["mcnemar_p"]
    rows = {
        "accuracy": points(compared),
        "macro F1": points(compared, "macro_f1"),
        "right by the first alone": f"{compared['only_first']:,} of {n:,} pictures",
        "right by the second alone": f"{compared['only_second']:,} of {n:,} pictures",
        "McNemar's p": "below 0.0001" if p < 1e-4 else f"{p:.4f}",
    }
    return pd.Series(rows, name=f"{first} minus {second}").to_frame()


def recalls(metrics: dict) -> str:
    """Recall per class in words, as "angry 51%, happy 70%"."""
    return ", ".join(f"{name} {100 * figures['recall']:.0f}%" for name, figures in metrics["per_class"].items())


def reported(dataset: str, architecture: str) -> str:
    """What others report of the same system, with the protocol, in a sentence; empty where there is nothing."""
    from emotions.evaluation import published

    found = published.on(dataset, architecture)
    if found is None:
        return ""
    also = f", {found.also}" if found.also else ""
    return f"{found.system}: {100 * found.accuracy:.1f}%{also} ({found.protocol}; {found.source})."
