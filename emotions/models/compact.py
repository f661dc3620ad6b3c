"""What is the champion's network? The one that notebook 10 writes out; later notebooks take it from here."""

import keras
from keras import layers, ops

from emotions.models.layers import resize


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
