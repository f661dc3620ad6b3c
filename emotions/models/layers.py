"""How do models begin and end? Images of any size are resized inside, and probabilities come out.

With the champion's network, which notebook 10 writes out; later notebooks take it from here."""

import keras
import numpy as np
from keras import layers, ops
from scipy.special import softmax


def resize(size: int) -> keras.Model:
    """Return antialiased bilinear resizing to `size` x `size`, as a model named "resize".

    The same values as `keras.layers.Resizing(size, size, antialias=True)`, within 0.001 of 255, in operations that run
    on every accelerator. The layer's own have no XLA kernel on TensorFlow, with which Keras compiles for a GPU."""
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


def compact(classes: int, size: int = 48, widths: tuple[int, ...] = (32, 64, 128, 256), convolutions: int = 2,
            dropout=0.3) -> keras.Model:
    """Build a VGG-like convnet for small grey faces: stages of 3x3 convolutions with batch norm, pooling between them.

    Colours are reduced to grey inside. After Simonyan & Zisserman 2015 with Ioffe & Szegedy 2015's batch norm and Lin
    et al. 2014's global pooling; 1.18 M parameters at the default widths and 7 classes. `size` is the side in pixels to
    which every image is resized; `convolutions` the number in each stage."""
    image = keras.Input((None, None, 3), name="image")
    x = ops.image.rgb_to_grayscale(resize(size)(image))
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    for stage, width in enumerate(widths, start=1):
        for number in range(1, convolutions + 1):
            name = f"stage_{stage}_conv_{number}"
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
            x = layers.BatchNormalization(name=f"{name}_norm")(x)
            x = layers.ReLU(name=f"stage_{stage}_relu_{number}")(x)
        if stage < len(widths):
            x = layers.MaxPooling2D(name=f"stage_{stage}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    probabilities = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, probabilities, name="compact")


def resizing_layer(model: keras.Model) -> keras.Layer | None:
    """Return the layer that resizes a model's images: that of `resize`, or Keras' own; None without one."""
    resizing = (layer for layer in model.layers if layer.name == "resize" or isinstance(layer, layers.Resizing))
    return next(resizing, None)


def input_size(model: keras.Model) -> int | None:
    """Return the side, in pixels, to which a model resizes images; None if it does not."""
    layer = resizing_layer(model)
    return layer and layer.output.shape[1]


def temperature_scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits behind probabilities, N x classes, by the temperature (Guo et al. 2017, section 4.2)."""
    if not temperature > 0:
        raise ValueError(f"The temperature is {temperature}, and must be positive.")
    # The logarithm of a softmax's output differs from its logits by a constant, so probabilities suffice.
    return softmax(np.log(np.clip(probabilities, np.finfo(float).eps, None)) / temperature, axis=1)
