"""Why did the model say that? Heat maps, and checks whether such maps are true.

To add an explanation, write a module with a function of (model, images, classes) and add it to `METHODS`."""

from functools import partial

import numpy as np

from emotions.explain.attention import attention_layers, attention_maps, attention_rollout, gradient_rollout
from emotions.explain.gradcam import finer_layer, grad_cam, target_layer
from emotions.explain.graph import Graph, at_image_size

__all__ = ["BASELINES", "METHODS", "Graph", "attention_maps", "finer_layer", "grad_cam", "methods"]

METHODS = {  # name: (what a model must have, function of model, images and classes)
    "grad-cam": (target_layer, grad_cam),
    "grad-cam, finer": (finer_layer, lambda model, *of, **by: grad_cam(model, *of, **by, layer=finer_layer(model))),
    "attention rollout": (attention_layers, attention_rollout),
    "gradient rollout": (attention_layers, gradient_rollout),
}
CELLS = 8  # per side of the random map, which is as smooth as real maps are
SIGMA = 0.25  # of the Gaussian, in shares of the image's sides


def random_map(model, images, classes=None) -> np.ndarray:
    """Return noise, the same at every call. It is coarse: a sieve of single pixels would upset a convnet anywhere."""
    noise = np.random.default_rng(0).random((len(images), CELLS, CELLS), dtype=np.float32)
    return at_image_size(noise, images)


def centred_gaussian(model, images, classes=None) -> np.ndarray:
    """Return a Gaussian in the middle, where faces are."""
    height, width = np.shape(images)[1:3]
    y, x = (((np.arange(side) + 0.5) / side - 0.5) / SIGMA for side in (height, width))
    bell = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / 2).astype(np.float32)
    return np.tile(bell / bell.max(), (len(images), 1, 1))


# What an explanation must beat: maps that know nothing of the model.
BASELINES = {"random": random_map, "centred gaussian": centred_gaussian}


def methods(model) -> dict:
    """Return the explanations that fit a model, then the baselines: {name: function(images, classes=None)}, where each
    returns float32, N x height x width, 0 to 1. They share a `Graph`: each is compiled once."""
    graph = Graph.of(model)
    fitting = {name: method for name, (needed, method) in METHODS.items() if needed(graph)}
    return {name: partial(method, graph) for name, method in (fitting | BASELINES).items()}
