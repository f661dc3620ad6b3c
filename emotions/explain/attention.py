"""Where does a Vision Transformer look? Its attention, layer by layer or rolled into one map."""

import math

import numpy as np
from keras import layers, ops

from emotions import backend
from emotions.explain.graph import Graph, at_image_size, in_batches


def attention_layers(model) -> list[str]:
    """Return the paths of the `keras.layers.MultiHeadAttention` layers, in the order of the computation."""
    steps = Graph.of(model).steps
    return [path for path, step in steps.items() if isinstance(step.operation, layers.MultiHeadAttention)]


def attention_maps(model, images) -> dict[str, np.ndarray]:
    """Return how much each token takes from each other one, in every head of every attention layer.

    {layer: float32, N x heads x tokens x tokens}, in the order of the computation, none for a model without attention;
    rows sum to 1. In our Vision Transformers token 0 is the class token, then come the patches."""
    graph = Graph.of(model)
    return in_batches(graph.compiled(_attention), graph.images(images))


def _attention(graph, images):
    """The maps of all layers for one batch, as tensors."""
    maps = {}

    def note(step):
        maps[step.path] = ops.cast(_attention_of(step), "float32")
        return step.outputs

    graph.run(images, dict.fromkeys(attention_layers(graph), note))
    return maps


def _attention_of(step):
    """The map of an attention layer, whether or not the model asked for it."""
    if isinstance(step.outputs, tuple | list):
        return step.outputs[1]
    return step.operation(*step.args, **{**step.kwargs, "return_attention_scores": True})[1]


def attention_rollout(model, images, classes=None) -> np.ndarray:
    """Multiply the layers' attention, heads averaged, half of every token coming past it on the residual path (Abnar &
    Zuidema 2020, section 3), whatever the `classes`: float32, N x height x width, how much of each patch reaches the
    class token, at most 1. ValueError: no attention, or tokens that are not a class token and a square of patches."""
    graph = Graph.of(model)
    images = graph.images(images)
    return at_image_size(in_batches(graph.compiled(_rollout, _tokens(graph)), images), images)


def _rollout(graph, tokens, images):
    rolled = identity = ops.eye(tokens)
    for attention in _attention(graph, images).values():
        attention = ops.mean(attention, axis=1) + identity
        rolled = ops.matmul(attention / ops.sum(attention, axis=-1, keepdims=True), rolled)
    return _patches(rolled)


def gradient_rollout(model, images, classes=None) -> np.ndarray:
    """Roll out the attention that speaks for a class: each head's, times the gradient of the class's score; what is
    positive is averaged over the heads and added, layer by layer (Chefer, Gur & Wolf 2021, ICCV, equations 5 and 6).

    Arguments as of `grad_cam`; returns and errors as of `attention_rollout`."""
    graph = Graph.of(model)
    explain, images = graph.compiled(_gradient_rollout, _tokens(graph)), graph.images(images)
    return at_image_size(in_batches(explain, images, graph.classes(images, classes)), images)


def _gradient_rollout(graph, tokens, images, classes):
    def score(shifts):
        maps = {}

        def shifted(step):
            attention = _attention_of(step)
            maps[step.path] = ops.cast(attention, "float32")
            # What the layer does with its map, done again here, so that the map can be differentiated by.
            value = step.operation.value_dense(step.args[1] if len(step.args) > 1 else step.kwargs["value"])
            moved = attention + ops.cast(shifts[step.path], attention.dtype)
            outputs = step.operation.output_dense(ops.einsum("nhts,nshd->nthd", moved, value))
            return (outputs, attention) if isinstance(step.outputs, tuple | list) else outputs

        return graph.score(images, classes, dict.fromkeys(shifts, shifted)), maps

    paths, batch, relevance = attention_layers(graph), ops.shape(images)[0], ops.eye(tokens)
    heads = {path: graph.steps[path].operation.num_heads for path in paths}
    unshifted = {path: ops.zeros((batch, number, tokens, tokens)) for path, number in heads.items()}
    _, maps, gradients = backend.gradients(score, unshifted)
    for path in paths:
        positive = ops.mean(ops.relu(maps[path] * gradients[path]), axis=1)
        relevance = relevance + ops.matmul(positive, relevance)
    return _patches(relevance)


def _tokens(graph):
    """Number of tokens, the same in all attention layers: a class token and a square of patches."""
    counts = {side for path in attention_layers(graph) for side in _attention_of(graph.steps[path]).shape[2:]}
    if len(counts) != 1 or max(counts) not in (1 + grid**2 for grid in range(1, max(counts) or 0)):
        raise ValueError("Rollout needs attention to a class token and a square of patches, the same in all layers; "
                         f"those of {graph.model.name!r} see {', '.join(map(str, counts)) or 'no'} tokens.")
    return max(counts)


def _patches(relevance):
    """What the class token takes from the patches, as a square."""
    grid = math.isqrt(relevance.shape[-1] - 1)
    return ops.reshape(relevance[:, 0, 1:], (-1, grid, grid))
