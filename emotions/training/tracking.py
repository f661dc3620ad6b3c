"""Record trainings with TensorBoard or Weights & Biases as well: set EMOTIONS_TRACK to "tensorboard" or "wandb".

TensorBoard finds a run in `logs/`, `wandb sync` finds runs made under WANDB_MODE=offline in `wandb/`."""

import importlib.util
import os

import keras

from emotions.runs import Run


def wandb_logger(run: Run) -> keras.callbacks.Callback:
    """Return a callback that logs each epoch to Weights & Biases. (Its own Keras callback was removed in 2026.)"""
    import wandb

    def begin(logs):
        run.home.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(console="off", disable_git=True, save_code=False)
        wandb.init(project=os.environ.get("WANDB_PROJECT", "emotions"), name=f"{run.dataset}/{run.name}", dir=run.home,
                   config=run.facts, settings=settings)

    def log(epoch, logs):
        wandb.log({name: float(value) for name, value in logs.items()} | {"epoch": epoch + 1})

    return keras.callbacks.LambdaCallback(on_train_begin=begin, on_epoch_end=log, on_train_end=lambda _: wandb.finish())


def trackers(run: Run) -> list[keras.callbacks.Callback]:
    """Return the callbacks that EMOTIONS_TRACK asks for. ValueError: it is unknown. RuntimeError: it is missing."""
    folder = run.home / "logs" / run.dataset / run.name
    kinds = {"tensorboard": lambda: keras.callbacks.TensorBoard(folder, write_graph=False),
             "wandb": lambda: wandb_logger(run)}
    if not (kind := os.environ.get("EMOTIONS_TRACK")):
        return []
    if kind not in kinds:
        raise ValueError(f"EMOTIONS_TRACK is {kind!r}; there are {' and '.join(kinds)}.")
    if importlib.util.find_spec(kind) is None:
        raise RuntimeError(f"EMOTIONS_TRACK needs the package {kind}, which is not installed: pip install {kind}.")
    return [kinds[kind]()]
