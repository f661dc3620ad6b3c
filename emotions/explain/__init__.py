"""Why did the model say that? Heat maps, filters, and checks whether such maps are true.

To add an explanation, write a module with a function of (model, images, classes) and add it to `METHODS`."""

from functools import partial

from emotions.explain.attention import attention_layers, attention_maps, attention_rollout, gradient_rollout
from emotions.explain.baselines import centred_gaussian, random_map
from emotions.explain.gradcam import finer_layer, grad_cam, target_layer
from emotions.explain.graph import Graph

__all__ = ["BASELINES", "METHODS", "Graph", "attention_maps", "finer_layer", "grad_cam", "methods"]

METHODS = {  # name: (what a model must have, function of model, images and classes)
    "grad-cam": (target_layer, grad_cam),
    "grad-cam, finer": (finer_layer, lambda model, *of, **by: grad_cam(model, *of, **by, layer=finer_layer(model))),
    "attention rollout": (attention_layers, attention_rollout),
    "gradient rollout": (attention_layers, gradient_rollout),
}
BASELINES = {"random": random_map, "centred gaussian": centred_gaussian}


def methods(model) -> dict:
    """Return the explanations that fit a model, then the baselines: {name: function(images, classes=None)}.

    Each returns float32, N x height x width, 0 to 1. They share a `Graph`: each is compiled once."""
    graph = Graph.of(model)
    fitting = {name: method for name, (needed, method) in METHODS.items() if needed(graph)}
    return {name: partial(method, graph) for name, method in (fitting | BASELINES).items()}
