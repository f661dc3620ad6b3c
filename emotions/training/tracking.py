"""Who else keeps a record of a training? TensorBoard or Weights & Biases, for those who ask for one.

    runs.run("lenet", dataset, track="tensorboard")     # then: tensorboard --logdir logs
    runs.run("lenet", dataset, track="wandb")           # an account, or WANDB_MODE=offline

The run folder holds everything in any case; nothing here reads what a tracker wrote.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import keras

PROJECT = "emotions"  # at Weights & Biases, unless WANDB_PROJECT names another


class WandbLogger(keras.callbacks.Callback):
    """Logs each epoch's figures to a Weights & Biases run. (Its own Keras callback was removed in 2026.)"""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs=None):
        self.run.log({name: float(value) for name, value in logs.items()} | {"epoch": epoch + 1})


@contextlib.contextmanager
def tracking(track: str | None, name: str, config: dict, home: Path) -> Iterator[list[keras.callbacks.Callback]]:
    """The callbacks that record a training; none where nobody asked.

    Args:
        track: "tensorboard", "wandb" or None.
        name: of the run, as "fer2013/lenet".
        config: the choices behind the training, as JSON holds them.
        home: TensorBoard finds the run in `<home>/logs/<name>`, `wandb sync` finds offline runs in `<home>/wandb`.

    Raises:
        ValueError: there is no such tracker.
        RuntimeError: it is not installed, or cannot start.
    """
    if track is None:
        yield []
    elif track == "tensorboard":
        _need("tensorboard")
        yield [keras.callbacks.TensorBoard(home / "logs" / name, write_graph=False)]
    elif track == "wandb":
        _need("wandb")
        with _wandb_run(name, config, home) as run:
            yield [WandbLogger(run)]
    else:
        raise ValueError(f"There is no tracker named {track!r}; there are tensorboard and wandb.")


def _wandb_run(name: str, config: dict, home: Path):
    import wandb

    home.mkdir(parents=True, exist_ok=True)
    try:
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            config=config,
            dir=home,
            settings=wandb.Settings(console="off", disable_git=True, save_code=False),
        )
    except wandb.Error as reason:
        raise RuntimeError(
            f"Weights & Biases did not start: {str(reason).splitlines()[0]} "
            "(log in with `wandb login`, or set WANDB_MODE=offline)."
        ) from reason


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise RuntimeError(f"Tracking needs the package {package}, which is not installed: pip install {package}.")
