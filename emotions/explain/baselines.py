"""Which maps must an explanation beat? Two that know nothing of the model; float32, N x height x width, 0 to 1."""

import numpy as np

from emotions.explain.graph import at_image_size

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
