"""How do models begin and end? Images of any size are resized inside, and probabilities come out."""

import keras
import numpy as np
from keras import ops
from scipy.special import softmax


def resize(size: int) -> keras.Model:
    """Return antialiased bilinear resizing to `size` x `size`, as a model named "resize".

    The same values as `keras.layers.Resizing(size, size, antialias=True)`, within 0.001 of 255, in operations that run
    on every accelerator. The layer's own have no XLA kernel on TensorFlow, and Keras compiles `predict` with XLA on a
    GPU."""
    image = x = keras.Input((None, None, 3))
    targets = np.arange(size, dtype="float32").reshape(1, size, 1) + 0.5
    for axis, equation in ((1, "bih,bhwc->biwc"), (2, "bjw,bhwc->bhjc")):
        # Where the pixels' centres lie along the axis: 0.5, 1.5, … however long it turns out to be.
        centres = ops.cumsum(ops.ones_like(ops.max(x, axis=(3 - axis, 3))), axis=1) - 0.5
        centres = ops.expand_dims(centres, 1)
        scale = (ops.max(centres, axis=2, keepdims=True) + 0.5) / size
        # A triangle about each target, as wide as the step when shrinking.
        weights = ops.relu(1 - ops.abs(scale * targets - centres) / ops.maximum(scale, 1.0))
        x = ops.einsum(equation, weights / ops.sum(weights, axis=2, keepdims=True), x)
    return keras.Model(image, x, name="resize")


def input_size(model: keras.Model) -> int | None:
    """Return the side, in pixels, to which a model resizes images; None if it does not resize as ours do."""
    return next((layer.output.shape[1] for layer in model.layers if layer.name == "resize"), None)


def temperature_scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits behind probabilities, N x classes, by the temperature (Guo et al. 2017, section 4.2)."""
    if not temperature > 0:
        raise ValueError(f"The temperature is {temperature}, and must be positive.")
    # The logarithm of a softmax's output differs from its logits by a constant, so probabilities suffice.
    return softmax(np.log(np.clip(probabilities, np.finfo(float).eps, None)) / temperature, axis=1)
