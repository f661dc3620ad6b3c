"""What several test files share: small data sets of random images, a small net, a way to run under another backend."""

import ast
import builtins
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as emotions does, which is imported after Keras here
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import numpy as np
import pytest
from keras import layers

from emotions.data.dataset import Dataset, Split
from emotions.runner import code_cells, find, parameters

REPOSITORY = Path(__file__).resolve().parents[1]


def definitions(notebook: str, tag: str = "") -> dict:
    """Execute what a notebook defines: imports, functions, classes, constants in capitals, and what follows from
    the parameters alone; of all code cells, or of those with a tag."""
    (path,) = find([notebook[:2]])
    namespace, chosen = parameters(path), []
    known = {*namespace, *vars(builtins)}
    cells = [source for tags, source in code_cells(path) if not tag or tag in tags]
    for node in (node for source in cells for node in ast.parse(source).body):
        names = [name for name in ast.walk(node) if isinstance(name, ast.Name)]
        used = {name.id for name in names if isinstance(name.ctx, ast.Load)}
        if isinstance(node, ast.Assign) and (used <= known or ast.unparse(node.targets[0]).isupper()):
            known |= {name.id for name in names}
            chosen.append(node)
        elif isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            chosen.append(node)
    exec(compile(ast.Module(chosen, type_ignores=[]), str(path), "exec"), namespace)
    return namespace


def blobs(count: int, classes: int, size: int, seed: int) -> Split:
    """Grey noise with a bright square whose place tells the class: easy to learn, quick to draw."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = random.integers(0, 120, (count, size, size, 1), dtype=np.uint8)
    side = size // classes
    for image, label in zip(images, labels, strict=True):
        image[label * side : (label + 1) * side, : size // 2] += 100
    images = np.broadcast_to(images, (count, size, size, 3))
    return Split(images, labels, np.array([f"picture_{seed}_{i:04d}" for i in range(count)]))


def easy_faces() -> Dataset:
    """Three classes of 24-pixel images: 96 to train on, 32 to validate and 40 to test."""
    return Dataset(
        "easy",
        ("angry", "happy", "sad"),
        train=blobs(96, 3, 24, seed=1),
        validation=blobs(32, 3, 24, seed=2),
        test=blobs(40, 3, 24, seed=3),
        copied=frozenset({"picture_3_0000", "picture_3_0007"}),
    )


@pytest.fixture
def easy_dataset() -> Dataset:
    return easy_faces()


def small_net(classes: int = 3) -> keras.Model:
    """A convolution, batch norm and dropout: what a saved state must hold, in a second."""
    inputs = keras.Input((24, 24, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(4, 5, strides=3, activation="relu")(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.Dropout(0.1)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax", name="probabilities")(x), name="small")


def run_under(backend: str, program: str, *arguments: str) -> str:
    """Run a Python program under another Keras backend and return what it printed; skip where it is missing."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    finished = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


# The arguments of `vit.build`, but for the number of classes. ViT-Tiny and ViT-Base are those of Steiner et al.
# (2022, "How to train your ViT?", table 2); the custom ones are small, for training on small data.
SHAPES = {
    "custom-vit": {"size": 224, "patch": 16, "width": 192, "depth": 6, "heads": 6, "mlp": 384, "dropout": 0.1},
    "custom-vit-48": {"size": 48, "patch": 6, "width": 128, "depth": 6, "heads": 4, "mlp": 256, "dropout": 0.1},
    "vit-tiny": {"size": 224, "patch": 16, "width": 192, "depth": 12, "heads": 3, "mlp": 768},
    "vit-base": {"size": 224, "patch": 16, "width": 768, "depth": 12, "heads": 12, "mlp": 3072},
}
