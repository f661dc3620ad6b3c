"""How is a model read? Operation by operation, with inner models opened: "base/block5_conv3" is the path of a layer."""

from collections import Counter, namedtuple
from functools import partial

import cv2
import keras
import numpy as np
from keras import layers, ops

from emotions import backend

BATCH = 32  # images whose gradients are in memory at once
Step = namedtuple("Step", "path operation args kwargs outputs")  # one operation on the way from image to classes


class Graph:
    """A model opened for reading, functional or Sequential, from one batch of images to one row of scores per image.

    Every explanation takes a model or its Graph. What is compiled lives as long as the Graph, so pass one to explain a
    model several times; weights are read anew at every call. `steps` are its operations, in order, by path."""

    def __init__(self, model: keras.Model):
        if not _has_graph(model):
            raise ValueError(f"{model.name!r} has no graph to read: it must be functional, or Sequential and built.")
        shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
        if [len(shape) for shape in shapes] != [4, 2]:
            raise ValueError(f"{model.name!r} must map images to rows of class scores; its shapes are {shapes}.")
        self.model, self.steps, self._compiled = model, {}, {}

        def note(step):
            self.steps[step.path] = step
            return step.outputs

        _walk(model, keras.Input(shapes[0][1:], dtype=model.inputs[0].dtype), note)

    @classmethod
    def of(cls, model: "keras.Model | Graph") -> "Graph":
        return model if isinstance(model, cls) else cls(model)

    def images(self, images) -> np.ndarray:
        """Return the images as an array, checked."""
        images, shape = np.asarray(images), self.model.inputs[0].shape
        if images.ndim != 4 or any(n < 1 or side not in (None, n) for side, n in zip(shape, images.shape, strict=True)):
            raise ValueError(f"{self.model.name!r} takes images of shape {shape}; this array's is {images.shape}.")
        return images

    def classes(self, images, classes=None) -> np.ndarray:
        """Return one class index per image: those given, checked, or the predicted ones for None."""
        if classes is None:
            return self.probabilities(images).argmax(axis=1).astype(np.int32)
        count, number, indices = len(images), self.model.outputs[0].shape[-1], np.asarray(classes)
        if indices.shape not in ((), (count,)) or not np.isin(indices, range(number)).all():
            raise ValueError(f"Classes are one index or {count}, from 0 to {number - 1}, not {classes!r}.")
        return np.broadcast_to(indices, (count,)).astype(np.int32)

    def probabilities(self, images) -> np.ndarray:
        return in_batches(self.model.predict_on_batch, self.images(images), size=4 * BATCH)

    def compiled(self, function, *choices):
        """Return `function(graph, *choices, *tensors)` as a function of the tensors, compiled once."""
        if (function, choices) not in self._compiled:
            self._compiled[function, choices] = backend.compiled(partial(function, self, *choices), self.model)
        return self._compiled[function, choices]

    def run(self, images, hooks: dict):
        """Run the model; a hook is called with the step at its path, and returns what the next operations get."""
        def visit(step):
            return hooks[step.path](step) if step.path in hooks else step.outputs

        return _walk(self.model, ops.cast(images, self.model.inputs[0].dtype), visit)

    def score(self, images, classes, hooks: dict):
        """Return the sum of the images' class scores, each before the softmax: a probability near 1 has no gradient."""
        last = [path for path, step in self.steps.items() if not isinstance(step.operation, keras.Model)][-1]
        scores = []

        def note(step):
            scores.append(ops.cast(_before_softmax(step), "float32"))
            return step.outputs

        self.run(images, hooks | {last: note})
        return ops.sum(scores[0] * ops.one_hot(classes, scores[0].shape[-1]))


def _has_graph(model):
    return bool(getattr(model, "inputs", None) and getattr(model, "outputs", None))


def _walk(model, inputs, visit, prefix=""):
    """Run a model on tensors or symbolic ones. An operation used again is called "name#2"."""
    used = Counter()

    def opened(operation):
        used[operation.name] += 1
        path = prefix + operation.name + (f"#{used[operation.name]}" if used[operation.name] > 1 else "")

        def call(*args, **kwargs):
            if isinstance(operation, keras.Model) and _has_graph(operation):
                outputs = _walk(operation, args[0] if args else kwargs["inputs"], visit, f"{path}/")
            else:
                outputs = operation(*args, **kwargs)
            return visit(Step(path, operation, args, kwargs, outputs))

        return call

    # Keras has no public way to run a graph with each operation replaced; this is the one behind clone_model.
    function = keras.Function(model.inputs, model.outputs)
    outputs = function._run_through_graph(keras.tree.flatten(inputs), operation_fn=opened)
    return outputs[0] if len(outputs) == 1 else outputs


def _before_softmax(step):
    """What the last operation puts out, without its softmax if it has one."""
    operation, inputs = step.operation, keras.tree.flatten((step.args, step.kwargs))[0]
    softmax = getattr(operation, "activation", None) is keras.activations.softmax
    if type(operation).__name__ == "Softmax" or (softmax and isinstance(operation, layers.Activation)):
        return inputs
    if softmax and isinstance(operation, layers.Dense):
        scores = ops.matmul(ops.cast(inputs, "float32"), ops.cast(operation.kernel, "float32"))
        return scores + ops.cast(operation.bias, "float32") if operation.use_bias else scores
    return step.outputs


def in_batches(function, *arrays, size=BATCH):
    """Return `function` of the arrays, batch by batch; other rows fill the last, so that one shape is compiled."""
    count = len(arrays[0])
    size = min(size, count)
    parts = []
    for start in range(0, count, size):
        rows = np.arange(start, start + size) % count
        outputs = function(*(ops.convert_to_tensor(array[rows]) for array in arrays))
        parts.append(keras.tree.map_structure(ops.convert_to_numpy, outputs))
    return keras.tree.map_structure(lambda *some: np.concatenate(some)[:count], *parts)


def at_image_size(maps, images) -> np.ndarray:
    """Return maps stretched to the images' size, the strongest place of each 1; float32, N x height x width."""
    height, width = np.shape(images)[1:3]
    how = cv2.INTER_AREA if maps.shape[1] > height or maps.shape[2] > width else cv2.INTER_LINEAR
    maps = np.stack([cv2.resize(np.float32(map_), (width, height), interpolation=how) for map_ in maps])
    highest = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(highest > 0, highest, 1)
