"""What do all notebooks share? How they begin, and the small table they end with."""

import contextlib
import os
import platform
from pathlib import Path

NO_ACCELERATOR = ("No accelerator was found, so training takes longer. To switch one on: Colab, Runtime > Change "
                  "runtime type; Kaggle, Settings > Accelerator; your own machine, docs/running.md.")


def begin() -> None:
    """Start Keras quietly; print the versions and the accelerator, or what its absence means. Training computes in
    bfloat16 where the accelerator has it, or as the environment variable EMOTIONS_PRECISION says (docs/running.md)."""
    # Several kernels may share one GPU: none is to take all its memory at once.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    accelerator = start_backend()
    import keras
    import pandas as pd

    import emotions
    from emotions import backend

    usual = "mixed_bfloat16" if backend.bfloat16() else "float32"
    keras.mixed_precision.set_global_policy(os.environ.get("EMOTIONS_PRECISION") or usual)
    pd.set_option("display.max_colwidth", None)  # tables show texts whole
    print(f"Python {platform.python_version()}, emotions {emotions.__version__}, "
          f"Keras {keras.__version__} on {backend.version()}, {backend.hardware()}")
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
    """Return a table of finished runs on one data set: test figures with 95 % intervals, the majority class first."""
    import pandas as pd

    from emotions.evaluation import cards, majority_class, percent, shown

    majority, share = majority_class(runs[0].metrics["test"])
    rows = {f"majority class ({majority})": {"accuracy": percent(share)}}
    copies = any(run.metrics["test"]["n"] > run.metrics["test_leak_free"]["n"] for run in runs)
    titles = [cards.display_title(run.metrics) for run in runs]
    for title, metrics in zip(titles, (run.metrics for run in runs), strict=True):
        test, clean, training = metrics["test"], metrics["test_leak_free"], metrics["training"]
        planned = f" of {training['recipe_epochs']}" if cards.unfinished(training) else ""
        rows[title if titles.count(title) == 1 else f"{title} ({metrics['model']})"] = {
            "accuracy": shown(test), **({"leak-free": shown(clean)} if copies else {}),
            "macro F1": percent(test["macro_f1"]), "parameters": f"{metrics['parameters']:,}",
            "epochs": f"{training['epochs_trained']}{planned}" if training else "",
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")
