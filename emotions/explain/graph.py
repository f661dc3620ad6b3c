"""How is a model read? Operation by operation, with inner models opened.

    steps(model)                    # {path: what it does}, in the order of the computation
    run(model, images, visit)       # the model's outputs; `visit` sees, and may change, each operation's

No graph has to be cut or sewn together: any output can be read, and differentiated by, on every backend. An
inner layer is called by its path, "base/block5_conv3", or by its own name where only one has it.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import keras
import numpy as np
from keras import layers, ops

BATCH = 32  # pictures whose gradients are in memory at once
SQUASHING = (keras.activations.softmax, keras.activations.sigmoid)


@dataclass(frozen=True)
class Step:
    """One operation of a model on its way from picture to classes, with its arguments and outputs."""

    path: str
    operation: keras.Operation
    args: tuple
    kwargs: dict
    outputs: object

    @property
    def has_map(self) -> bool:
        """Whether the output is a feature map; one of a single place, as in squeeze-and-excitation, is none."""
        shape = getattr(self.outputs, "shape", ())
        return len(shape) == 4 and tuple(shape[1:3]) != (1, 1)

    @property
    def is_attention(self) -> bool:
        # The optional output gate of newer versions of Keras comes after the map and is not modelled here.
        return isinstance(self.operation, layers.MultiHeadAttention) and not self.operation.get_config().get("use_gate")

    def argument(self, position, name):
        return self.args[position] if len(self.args) > position else self.kwargs[name]


def walk(model, inputs, visit, prefix=""):
    """Run a model operation by operation, inner models opened.

    `visit(step)` is called after each operation and returns what the next ones get. It works on tensors and
    on symbolic ones. An operation used again is called "name#2".
    """
    used = Counter()

    def opened(operation):
        used[operation.name] += 1
        path = prefix + operation.name + (f"#{used[operation.name]}" if used[operation.name] > 1 else "")

        def call(*args, **kwargs):
            if isinstance(operation, keras.Model) and _has_graph(operation):
                outputs = walk(operation, args[0] if args else kwargs["inputs"], visit, f"{path}/")
            else:
                outputs = operation(*args, **kwargs)
            return visit(Step(path, operation, args, kwargs, outputs))

        return call

    # Keras has no public way to run a graph with each operation replaced; this is the one behind clone_model.
    graph = keras.Function(model.inputs, model.outputs)
    outputs = graph._run_through_graph(keras.tree.flatten(inputs), operation_fn=opened)
    return outputs[0] if len(outputs) == 1 else outputs


def run(model, images, visit):
    """The class probabilities of pictures, with `visit` as of `walk`."""
    return walk(model, ops.cast(images, model.inputs[0].dtype), visit)


def _has_graph(model):
    """Whether a model is functional or Sequential, and built."""
    try:
        return bool(model.inputs and model.outputs)
    except AttributeError:
        return False


@lru_cache(maxsize=8)
def steps(model) -> dict[str, Step]:
    """The model's operations by path, in the order of the computation, with symbolic arguments and outputs."""
    if not _has_graph(model):
        raise ValueError(
            f"The model {model.name!r} has no graph to read: it must be a functional model, or a "
            "Sequential one that was built (begin it with keras.Input, or call it on a picture once)."
        )
    shape = model.inputs[0].shape
    if len(model.inputs) != 1 or len(shape) != 4 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        found = ", ".join(str(tuple(tensor.shape)) for tensor in (*model.inputs, *model.outputs))
        raise ValueError(
            f"The model {model.name!r} must take one batch of pictures and return one row of class scores "
            f"per picture; its inputs and outputs are {found}."
        )
    found = {}

    def visit(step):
        if getattr(step.operation, "data_format", None) == "channels_first":
            raise ValueError(f"Layer {step.path!r} of {model.name!r} has channels first; only channels last is read.")
        found[step.path] = step
        return step.outputs

    walk(model, keras.Input(shape[1:], dtype=model.inputs[0].dtype), visit)
    return found


def _last(model):
    """Path of the operation that puts out the model's scores; of an inner model the operation in it."""
    return [path for path, step in steps(model).items() if not isinstance(step.operation, keras.Model)][-1]


def score(model, images, classes, visit):
    """Sum of the pictures' class scores, each before the softmax; a class of -1 is the one predicted."""
    last, scores = _last(model), []

    def noting(step):
        outputs = visit(step)
        if step.path == last:
            scores.append(ops.cast(_before_softmax(step), "float32"))
        return outputs

    probabilities = run(model, images, noting)
    classes = ops.where(classes < 0, ops.cast(ops.argmax(probabilities, axis=-1), classes.dtype), classes)
    return ops.sum(scores[0] * ops.one_hot(classes, scores[0].shape[-1]))


def _before_softmax(step):
    """What the last operation puts out, without its softmax or sigmoid."""
    operation, inputs = step.operation, keras.tree.flatten((step.args, step.kwargs))[0]
    squashing = getattr(operation, "activation", None) in SQUASHING
    if type(operation).__name__ in ("Softmax", "Sigmoid") or (squashing and isinstance(operation, layers.Activation)):
        return inputs
    if squashing and isinstance(operation, layers.Dense):
        scores = ops.matmul(ops.cast(inputs, "float32"), ops.cast(operation.kernel, "float32"))
        return scores + ops.cast(operation.bias, "float32") if operation.use_bias else scores
    return step.outputs


def find(model, name):
    """The path of a layer given by path or by its own name."""
    paths = list(steps(model))
    found = [path for path in paths if path == name] or [path for path in paths if path.endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"The model {model.name!r} has {len(found)} layers {name!r}; name one by its path: {', '.join(found)}."
        )
    near = difflib.get_close_matches(name, [*paths, *(path.rsplit("/")[-1] for path in paths)], 1, cutoff=0)
    raise ValueError(f"The model {model.name!r} has no layer {name!r}; the nearest name is {near[0]!r}.")


def require_map(model, path):
    """Refuse an operation whose output is no feature map."""
    step = steps(model)[path]
    if not step.has_map:
        shape = getattr(step.outputs, "shape", None)
        raise ValueError(
            f"Layer {path!r} of {model.name!r} has no feature map (its output's shape is {shape}); "
            f"feature_layers(model) lists those that have."
        )


def pictures(model, images):
    """The pictures as an array, checked against what the model takes."""
    images = np.asarray(images)
    steps(model)
    wanted = model.inputs[0].shape[1:]
    if (
        images.ndim != 4
        or not len(images)
        or any(side not in (None, found) for side, found in zip(wanted, images.shape[1:], strict=True))
    ):
        sides = " x ".join("any" if side is None else str(side) for side in wanted)
        raise ValueError(
            f"The model {model.name!r} takes a batch of pictures, N x {sides}; found an array of shape {images.shape}."
        )
    return images


def in_batches(function, *arrays, size=BATCH):
    """`function` of rows of the arrays, batch by batch: float32 arrays, or a dict of them.

    The last batch is filled up with other rows, so that one shape is compiled.
    """
    count = len(arrays[0])
    size = min(size, count)
    parts = []
    for start in range(0, count, size):
        rows = np.arange(start, start + size) % count
        outputs = function(*(ops.convert_to_tensor(array[rows]) for array in arrays))
        parts.append(keras.tree.map_structure(ops.convert_to_numpy, outputs))
    return keras.tree.map_structure(lambda *some: np.concatenate(some)[:count], *parts)
