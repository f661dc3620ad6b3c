"""What do all notebooks share? How they begin, and which single faces they may show."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

import numpy as np

import emotions

NO_ACCELERATOR = (
    "No accelerator was found: everything runs on the CPU, and training takes longer. To switch one on:\n"
    "  Colab: Runtime > Change runtime type > a GPU.  Kaggle: Settings > Accelerator > a GPU.\n"
    "  Your own machine: install your Keras backend with GPU support (for TensorFlow: tensorflow[and-cuda])."
)


def begin() -> None:
    """Print the versions and the accelerator; where there is none, say how to get one."""
    accelerator = start_backend()
    import keras

    from emotions import backend

    print(
        f"Python {platform.python_version()}, emotions {emotions.__version__}, "
        f"Keras {keras.__version__} on {backend.version()}, {backend.hardware()}"
    )
    if accelerator is None:
        print(NO_ACCELERATOR)


def start_backend() -> str | None:
    """Import Keras and its backend without what native libraries have to say; returns the accelerator, if any."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what TensorFlow would say later on
    with _native_messages_off():
        from emotions import backend

        return backend.accelerator()


@contextlib.contextmanager
def _native_messages_off():
    """Keep off the screen what native libraries print while they load, before their log levels count."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


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
    from emotions import synthetic

    if show_faces or dataset.name == "synthetic":
        return np.asarray(split.images), f"pictures of {dataset.name}"
    names = [dataset.class_names[label] for label in split.labels]
    labels = [synthetic.CLASS_NAMES.index(name if name in synthetic.CLASS_NAMES else "neutral") for name in names]
    caption = f"drawn faces with the same labels, in place of photographs of {dataset.name} (SHOW_FACES = False)"
    return synthetic.render(labels, difficulty=0.1), caption


def scored(metrics: dict) -> str:
    """The accuracy of a split in words, as "62.6 % of 1,964 pictures [60.5, 64.7]".

    Args:
        metrics: of one split, as from `evaluation.measure`.
    """
    low, high = metrics["accuracy_interval"]
    return f"{100 * metrics['accuracy']:.1f} % of {metrics['n']:,} pictures [{100 * low:.1f}, {100 * high:.1f}]"


def points(compared: dict, figure: str = "accuracy") -> str:
    """A difference between two models in words, as "+2.1 points [+0.4, +3.9]".

    Args:
        compared: from `comparison.compare`.
    """
    difference, low, high = (100 * compared[f"{figure}_{name}"] for name in ("difference", "low", "high"))
    return f"{difference:+.1f} points [{low:+.1f}, {high:+.1f}]"


def recalls(metrics: dict) -> str:
    """Recall per class in words, as "angry 51 %, happy 70 %"."""
    return ", ".join(f"{name} {100 * figures['recall']:.0f} %" for name, figures in metrics["per_class"].items())


def reported(dataset: str, model: str) -> str:
    """What others report of the same system, with the protocol, in a sentence; empty where there is nothing."""
    from emotions import published

    found = published.of(dataset, model)
    if found is None:
        return ""
    return f"{found.system}: {100 * found.accuracy:.1f} % ({found.protocol}; {found.source})."
