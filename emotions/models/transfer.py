"""Where do pretrained convnets come from? From keras.applications or a file, always as the nested model "base"."""

from pathlib import Path

import keras
import numpy as np
from keras import layers


def base(family: str, size: int, weights: str | Path | None) -> keras.Model:
    """Return a network of keras.applications, as "MobileNetV2", without its top, as the nested model "base" for images
    of `size` x `size` pixels.

    Weights are "imagenet" (a download), an `.h5` file of the family's weights without its top, a `.keras` file of any
    network or of a run (see `_load_base`), or None to train from scratch. What is missing or can't be downloaded raises
    FileNotFoundError; weights of another network raise ValueError."""
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise FileNotFoundError(f"There is no file of pretrained weights at {weights}: WEIGHTS=imagenet downloads "
                                "Keras' own, WEIGHTS=None trains from scratch.")
    if str(weights).endswith(".keras"):
        return _load_base(weights, size)
    if not hasattr(keras.applications, family):
        raise ValueError(f"keras.applications has no {family}: give a .keras file of it as weights.")
    builder, download = getattr(keras.applications, family), "imagenet" if weights == "imagenet" else None
    try:
        network = builder(include_top=False, weights=download, input_shape=(size, size, 3), name="base")
    except Exception as error:  # keras.utils.get_file raises a bare Exception
        if "fetch" not in str(error):
            raise
        raise FileNotFoundError(f"The ImageNet weights of {family} could not be downloaded ({error}). Put that file "
                                "into ~/.keras/models, or give its path as weights, or train from scratch with "
                                "weights=None.") from error
    if weights is None:
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = 0.9  # with MobileNetV2's 0.999 validation lags a thousand steps behind training
    elif weights != "imagenet":
        network.load_weights(weights)
        if family.startswith("EfficientNet"):
            _scale_as_downloaded(network)
    return network


def _load_base(path: str | Path, size: int) -> keras.Model:
    """Load a network without its top from a `.keras` file, for images of `size` x `size`, as "base": the file holds it,
    or a model of which it is the nested "base", such as a run's file."""
    source = keras.models.load_model(path, compile=False)
    source = next((layer for layer in source.layers if layer.name == "base"), source)
    config = source.get_config() | {"name": "base"}
    config["layers"][0]["config"]["batch_shape"] = (None, size, size, 3)
    for layer in config["layers"][1:]:  # they were saved in float32
        layer["config"]["dtype"] = keras.config.dtype_policy().name
    base = type(source).from_config(config)
    base.set_weights(source.get_weights())
    for layer in (base, *base.layers):  # one by one: what was frozen there can be trained here
        layer.trainable = True
    return base


def freeze_batch_norms(base: keras.Model) -> None:
    """Freeze a base's batch norms, for fine-tuning: in Keras 3, `fit` overrides a base called with `training=False`."""
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def _scale_as_downloaded(network: keras.Model) -> None:
    """Make an EfficientNet with weights from a file the function that it is with weights="imagenet": Keras scales once
    more, by 1 / sqrt(deviation), when it downloads them itself; here the variance takes that in."""
    normalize = next(layer for layer in network.layers if isinstance(layer, layers.Normalization))
    mean, variance, *rest = normalize.get_weights()
    normalize.set_weights([mean, variance * np.array([0.229, 0.224, 0.225], "float32"), *rest])
    normalize.finalize_state()
