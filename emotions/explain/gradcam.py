"""Where did a convolutional model see evidence for a class? Grad-CAM."""

import numpy as np
from keras import Model, layers, ops

from emotions import backend
from emotions.explain.graph import Graph, at_image_size, in_batches

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)
COARSE = 6  # places per side; where Grad-CAM's layer has fewer, a finer one is tried too


def grad_cam(model, images, classes=None, layer: str | None = None) -> np.ndarray:
    """Sum a layer's feature maps, weighted by the mean gradient of the class's score (Selvaraju et al. 2017).

    Args:
        model, images: with a convolution, or its `Graph`; as it takes them, N x height x width x channels.
        classes: the class to explain: one index, one per image, or None for the predicted class.
        layer: path of a layer with feature maps; None takes `target_layer`.

    Returns float32, N x height x width; the strongest place of an image is 1, zeros say that nothing speaks for the
    class. ValueError: no convolution, no such layer, a class out of range, or images of another shape."""
    graph = Graph.of(model)
    path, known = layer or target_layer(graph), list(_feature_maps(graph))
    if path is None:
        raise ValueError(f"{graph.model.name!r} has no convolution to explain; for a transformer use gradient_rollout.")
    if path not in known:
        raise ValueError(f"{graph.model.name!r} has no feature maps {path!r}; it has {', '.join(known)}.")
    images = graph.images(images)
    maps = in_batches(graph.compiled(_class_activation, path), images, graph.classes(images, classes))
    return at_image_size(maps, images)


def _class_activation(graph, path, images, classes):
    def score(shift):
        features = []

        def shifted(step):
            features.append(ops.cast(step.outputs, "float32"))
            # A shift common to all places of a channel: its gradient is the sum over the places.
            return step.outputs + ops.cast(shift, step.outputs.dtype)

        return graph.score(images, classes, {path: shifted}), features[0]

    unshifted = ops.zeros((ops.shape(images)[0], 1, 1, graph.steps[path].outputs.shape[-1]))
    _, features, weights = backend.gradients(score, unshifted)
    return ops.relu(ops.sum(weights * features, axis=-1))


def target_layer(model) -> str | None:
    """Return the last feature map of the last convolution's size, not pooled, with activation and normalisation in it,
    or None without a convolution: block5_conv3 of VGG-16, out_relu of MobileNetV2."""
    maps = [step for step in _feature_maps(model).values() if not isinstance(step.operation, Model)]
    convolutions = [number for number, step in enumerate(maps) if isinstance(step.operation, CONVOLUTIONS)]
    if not convolutions:
        return None
    last = maps[convolutions[-1] :]
    same_size = [step for step in last if step.outputs.shape[1:3] == last[0].outputs.shape[1:3]]
    return [step.path for step in same_size if not isinstance(step.operation, POOLINGS)][-1]


def finer_layer(model) -> str | None:
    """Return the last feature map of at least 6 x 6 before `target_layer`, where that is coarser; otherwise None."""
    graph = Graph.of(model)
    maps, target = _feature_maps(graph), target_layer(graph)
    paths = list(maps)[: list(maps).index(target) + 1] if target else []
    # A map whose size depends on the image counts as fine enough.
    fine = [path for path in paths if min(side or COARSE for side in maps[path].outputs.shape[1:3]) >= COARSE]
    return fine[-1] if fine and fine[-1] != target else None


def _feature_maps(model) -> dict:
    """The steps with feature maps, by path; one of a single place, as in squeeze-and-excitation, is none."""
    steps = Graph.of(model).steps
    shapes = {path: getattr(step.outputs, "shape", ()) for path, step in steps.items()}
    return {path: steps[path] for path, shape in shapes.items() if len(shape) == 4 and tuple(shape[1:3]) != (1, 1)}
