"""What do all notebooks share? How they begin, and the small table they end with."""

import contextlib
import os
import platform
from pathlib import Path

NO_ACCELERATOR = (
    "No accelerator was found, so training takes longer. To switch one on: Colab, Runtime > Change runtime type; "
    "Kaggle, Settings > Accelerator; your own machine, README."
)


def begin() -> None:
    """Start Keras quietly; print the versions and the accelerator, or what its absence means.

    Training computes in bfloat16 where the accelerator has it, otherwise in float32; the environment variable
    EMOTIONS_PRECISION ("float32" or "mixed_bfloat16") chooses.
    """
    # Several kernels may share one GPU: none is to take all its memory at once.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    accelerator = start_backend()
    import keras

    import emotions
    from emotions import backend

    usual = "mixed_bfloat16" if backend.bfloat16() else "float32"
    keras.mixed_precision.set_global_policy(os.environ.get("EMOTIONS_PRECISION", usual))
    print(
        f"Python {platform.python_version()}, emotions {emotions.__version__}, "
        f"Keras {keras.__version__} on {backend.version()}, {backend.hardware()}"
    )
    if accelerator is None:
        print(NO_ACCELERATOR)


def start_backend() -> str | None:
    """Import Keras and its backend without the messages of native libraries; return the accelerator, if any."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what TensorFlow would print later
    with native_messages_off():
        from emotions import backend

        return backend.accelerator()


@contextlib.contextmanager
def native_messages_off():
    """Keep off the screen what native libraries print while they load, before their log levels count."""
    stderr = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def results(*runs):
    """Return a small table of runs on one data set: test figures with 95 % intervals, the majority class first.

    Args:
        runs: of `emotions.runs`, finished.
    """
    import pandas as pd

    from emotions.evaluation import cards

    support = {name: figures["support"] for name, figures in runs[0].metrics["test"]["per_class"].items()}
    majority = max(support, key=support.get)
    share = support[majority] / sum(support.values())
    rows = {f"majority class ({majority})": {"accuracy": f"{share:.1%}".replace("%", " %")}}
    for run in runs:
        metrics = run.metrics
        rows[cards.display_title(metrics)] = {
            "accuracy": with_interval(metrics["test"]),
            "leak-free": with_interval(metrics["test_leak_free"]),
            "macro F1": f"{metrics['test']['macro_f1']:.3f}",
            "parameters": f"{metrics['parameters']:,}",
            "epochs": _epochs(metrics["training"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def with_interval(metrics: dict, figure: str = "accuracy") -> str:
    """Return a share with its 95 % interval in per cent, such as `68.8 % [67.2, 70.3]`."""
    low, high = metrics[f"{figure}_interval"]
    return f"{100 * metrics[figure]:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _epochs(training: dict) -> str:
    """Return the number of epochs, of a run that was cut short with the number its recipe has."""
    if not training:
        return ""
    trained, planned = training["epochs_trained"], training.get("recipe_epochs") or training["epochs_trained"]
    return f"{trained}" if trained >= planned or training.get("stopped_early") else f"{trained} of {planned}"
