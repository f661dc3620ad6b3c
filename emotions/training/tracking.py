"""Record trainings with TensorBoard or Weights & Biases as well: set EMOTIONS_TRACK to "tensorboard" or "wandb".

TensorBoard finds a run in `logs/`, `wandb sync` finds runs made under WANDB_MODE=offline in `wandb/`."""

import importlib.util
import os

import keras

from emotions.runs import Run


class WandbLogger(keras.callbacks.Callback):
    """Log each epoch to Weights & Biases. (Its own Keras callback was removed in 2026.)"""

    def __init__(self, run: Run):
        super().__init__()
        self.record = run

    def on_train_begin(self, logs=None):
        import wandb

        self.record.home.mkdir(parents=True, exist_ok=True)
        project, name = os.environ.get("WANDB_PROJECT", "emotions"), f"{self.record.dataset}/{self.record.name}"
        settings = wandb.Settings(console="off", disable_git=True, save_code=False)
        self.run = wandb.init(project=project, name=name, dir=self.record.home, config=self.record.facts,
                              settings=settings)

    def on_epoch_end(self, epoch, logs=None):
        self.run.log({name: float(value) for name, value in logs.items()} | {"epoch": epoch + 1})

    def on_train_end(self, logs=None):
        self.run.finish()


def trackers(run: Run) -> list[keras.callbacks.Callback]:
    """Return the callbacks that EMOTIONS_TRACK asks for.

    ValueError: there is no such tracker. RuntimeError: it is not installed."""
    folder = run.home / "logs" / run.dataset / run.name
    kinds = {"tensorboard": lambda: keras.callbacks.TensorBoard(folder, write_graph=False),
             "wandb": lambda: WandbLogger(run)}
    kind = os.environ.get("EMOTIONS_TRACK")
    if not kind:
        return []
    if kind not in kinds:
        raise ValueError(f"EMOTIONS_TRACK is {kind!r}; there are {' and '.join(kinds)}.")
    if importlib.util.find_spec(kind) is None:
        raise RuntimeError(f"EMOTIONS_TRACK needs the package {kind}, which is not installed: pip install {kind}.")
    return [kinds[kind]()]
