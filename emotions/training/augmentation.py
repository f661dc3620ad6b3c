"""How are training images changed at random? Layers in front of the model, in training only, never saved with it.

Layers of `keras.layers` work as well; images have values 0-255."""

import math

import keras
from keras import ops


class RandomAffine(keras.layers.Layer):
    """Mirror half of the images, N x H x W x C, rotate (largest angle in degrees), shift (largest share of the side)
    and zoom (largest change of scale, a share) them in one resampling, with reflected edges; in training only."""

    def __init__(self, flip=False, rotation=0.0, shift=0.0, zoom=0.0, seed=0, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)
        self.flip, self.rotation, self.shift, self.zoom = flip, rotation, shift, zoom
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, images, training=None):
        if not training:
            return images
        shape = ops.shape(images)
        count, height, width = shape[0], ops.cast(shape[1], "float32"), ops.cast(shape[2], "float32")

        def uniform(limit):
            return keras.random.uniform((count,), -limit, limit, seed=self.seeds)

        angle, scale = uniform(math.radians(self.rotation)), 1 + uniform(self.zoom)
        mirror, zero = ops.sign(uniform(1.0)) if self.flip else ops.ones((count,)), ops.zeros((count,))
        cos, sin = ops.cos(angle) / scale, ops.sin(angle) / scale
        # Where in the input each pixel of the output comes from: about the centre, then shifted.
        a, b, c, d = mirror * cos, -mirror * sin, sin, cos
        x_centre, y_centre = (width - 1) / 2, (height - 1) / 2
        x_start = x_centre + uniform(self.shift) * width - a * x_centre - b * y_centre
        y_start = y_centre + uniform(self.shift) * height - c * x_centre - d * y_centre
        transforms = ops.stack([a, b, x_start, c, d, y_start, zero, zero], axis=1)
        return ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="reflect")

    def get_config(self):
        return super().get_config() | {name: getattr(self, name) for name in ("flip", "rotation", "shift", "zoom")}


def RandomErasing(share: float = 0.5, seed: int = 0) -> keras.layers.Layer:
    """Return the layer that overwrites a random rectangle with noise in a share of the images (Zhong et al. 2017)."""
    # Both ends of the range: a single number would be the upper end, and half as many would be erased.
    options = {"scale": (0.02, 0.25), "fill_value": None, "value_range": (0, 255), "dtype": "float32"}
    return keras.layers.RandomErasing((share, share), seed=seed, **options)


def describe(augment, mixup: float) -> dict:
    """Return the augmentation as `training.json` records it."""
    choices = {}
    for layer in augment:
        config = layer.get_config()
        if isinstance(layer, RandomAffine):
            choices |= {name: config[name] for name in ("flip", "rotation", "shift", "zoom")}
        elif isinstance(layer, keras.layers.RandomErasing):
            choices["erasing"] = config["factor"][1]
        else:
            choices[type(layer).__name__] = str(config.get("factor") or config.get("mode") or True)
    return choices | ({"mixup": mixup} if mixup else {})
