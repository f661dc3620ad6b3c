"""What architectures exist? One registry: name -> builder, input size, recipe.

    model = build("lenet", classes=7)

Every model is a plain `keras.Model` of built-in layers. It takes a batch of RGB pictures of any size with
values 0-255 and returns class probabilities; resizing and scaling are inside. Augmentation is not: it
belongs to training.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotions.models import vit
from emotions.models.files import CARD, in_float32, read_card, save  # noqa: F401
from emotions.models.files import add_card as write_card  # noqa: F401
from emotions.models.hugging_face import load_hugging_face
from emotions.models.layers import class_probabilities, picture_input, resize
from emotions.training.recipes import Augmentation, Phase, Recipe


@dataclass(frozen=True)
class Architecture:
    """An entry of the registry.

    Attributes:
        build: `build(classes, size, weights) -> keras.Model`.
        size: side, in pixels, to which the model resizes its input.
        recipe: how it is trained unless told otherwise.
        title: for tables and figures; see `title_with`.
        weights: where its pretrained weights come from: "imagenet", the name of a Hugging Face repository, or
            None where the architecture is always trained from scratch.
        scratch: how it is trained without pretrained weights, where it has some: all of it, in one phase.
        source: the paper.
    """

    build: Callable[..., keras.Model]
    size: int
    recipe: Recipe
    title: str
    weights: str | None = None
    scratch: Recipe | None = None
    source: str = ""

    def recipe_with(self, weights: str | Path | None) -> Recipe:
        """The recipe for these pretrained weights, or for none."""
        return self.recipe if weights is not None or self.scratch is None else self.scratch

    def epochs_with(self, weights: str | Path | None) -> int:
        """How many epochs that recipe has at most, over its phases."""
        return sum(phase.epochs for phase in self.recipe_with(weights).phases)

    def title_with(self, weights: str | Path | None) -> str:
        """The title, which says of an architecture that has pretrained weights whether a run used them."""
        if self.weights is None:
            return self.title
        return f"{self.title}, pretrained" if weights is not None else f"{self.title} from scratch"


# ------------------------------------------------------------------------------------------------ LeNet


def lenet(classes: int, size: int = 256, weights: None = None) -> keras.Model:
    """LeNet with batch norm and dropout, after LeCun et al. 1998, "Gradient-based learning", section II.

    6,153,119 parameters with 3 classes at 256 px, nearly all of them in the first dense layer.
    """
    l2 = keras.regularizers.L2(1e-4)
    inputs, x = picture_input(size)
    x = layers.Rescaling(1 / 255, name="scale")(x)
    x = layers.Conv2D(6, 3, activation="relu", kernel_regularizer=l2, name="conv_1")(x)
    x = layers.BatchNormalization(name="conv_1_norm")(x)
    x = layers.MaxPooling2D(name="pool_1")(x)
    x = layers.Dropout(0.1, name="pool_1_dropout")(x)
    x = layers.Conv2D(16, 3, activation="relu", kernel_regularizer=l2, name="conv_2")(x)
    x = layers.BatchNormalization(name="conv_2_norm")(x)
    x = layers.MaxPooling2D(name="pool_2")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, (units, dropout) in enumerate([(100, 0.2), (10, 0.1)], start=1):
        x = layers.Dense(units, activation="relu", kernel_regularizer=l2, name=f"dense_{i}")(x)
        x = layers.BatchNormalization(name=f"dense_{i}_norm")(x)
        x = layers.Dropout(dropout, name=f"dense_{i}_dropout")(x)
    return keras.Model(inputs, class_probabilities(x, classes, kernel_regularizer=l2), name="lenet")


# -------------------------------------------------------------------------------------------- ResNet-34


def resnet34(classes: int, size: int = 224, weights: None = None) -> keras.Model:
    """ResNet-34 with basic blocks 3-4-6-3, after He et al. 2016, "Deep residual learning", table 1.

    21,284,672 trainable parameters without its top.
    """
    inputs, x = picture_input(size)
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    x = _conv(x, 64, 7, stride=2, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(1, blocks + 1):
            x = _basic_block(x, width, stride=2 if stage > 1 and block == 1 else 1, name=f"stage_{stage}_block_{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, class_probabilities(x, classes), name="resnet34")


def _basic_block(x, width: int, stride: int, name: str):
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = _conv(x, width, 1, stride, name=f"{name}_shortcut")
    x = _conv(x, width, 3, stride, name=f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = _conv(x, width, 3, 1, name=f"{name}_2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv(x, width: int, kernel: int, stride: int = 1, *, name: str):
    """Convolution without bias, padded alike on all sides, and batch norm."""
    if kernel > 1 and stride > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    padding = "valid" if stride > 1 or kernel == 1 else "same"
    x = layers.Conv2D(
        width, kernel, strides=stride, padding=padding, use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


# --------------------------------------------------------------------------- families of keras.applications


IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], "float32")  # of red, green and blue, values 0-1


def application(family: str, size: int, weights: str | Path | None) -> keras.Model:
    """A network of keras.applications without its top, as the nested model "base".

    Args:
        family: its name there, as "MobileNetV2".
        size: side of its input, in pixels.
        weights: "imagenet", a file of the same network's weights without its top, or None.

    Raises:
        FileNotFoundError: the file is not there, or the download failed; says what to do.
        ValueError: the file's weights are those of another network.
    """
    builder = getattr(keras.applications, family)
    options = {"include_top": False, "input_shape": (size, size, 3), "name": "base"}
    if weights == "imagenet":
        try:
            return builder(weights="imagenet", **options)
        except Exception as error:  # keras.utils.get_file raises a bare Exception
            if "fetch" not in str(error):
                raise
            raise FileNotFoundError(
                f"The ImageNet weights of {family} could not be downloaded ({error}). Put that file into "
                "~/.keras/models, or give its path as weights=, or train from scratch with weights=None."
            ) from error
    base = builder(weights=None, **options)
    if weights is None:
        _made_for_short_trainings(base, family)
        return base
    if not Path(weights).is_file():
        raise FileNotFoundError(f"There is no file of pretrained weights at {weights}.")
    try:
        base.load_weights(weights)
    except (ValueError, OSError) as error:
        raise ValueError(f"{weights} does not hold the weights of {family} without its top: {error}") from error
    if family.startswith("EfficientNet"):
        # Keras scales once more, by 1 / sqrt(deviation), in a layer that it adds only when it downloads the weights
        # itself; here the variance takes that in, so that both ways are one function.
        normalize = next(layer for layer in base.layers if isinstance(layer, layers.Normalization))
        mean, variance, *rest = normalize.get_weights()
        normalize.set_weights([mean, variance * IMAGENET_DEVIATION, *rest])
        normalize.finalize_state()
    return base


def _made_for_short_trainings(base: keras.Model, family: str) -> None:
    """What a base needs to be trained from scratch in some thousand steps.

    Batch norms forget faster: with MobileNetV2's momentum of 0.999 validation lags a thousand steps behind. And
    VGG16, without norms, gets kernels with the variance of He et al. 2015: the default's signal fades over 13 layers.
    """
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9
    if family == "VGG16":
        for variable in base.trainable_variables:
            if variable.path.endswith("kernel"):
                variable.assign(variable * np.sqrt(2))


def _scaled_for(family: str, x):
    """Pictures of 0-255 as a family of keras.applications wants them; EfficientNet scales inside."""
    if family in ("ResNet50V2", "MobileNetV2"):
        return layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    if family == "VGG16":  # blue, green, red, less ImageNet's means
        x = ops.flip(x, axis=-1)
        return layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="scale")(x)
    return x


def transfer(family: str, head: Callable, name: str) -> Callable[..., keras.Model]:
    """A builder: picture, the family's own scaling, its base, global average pooling and a new head."""

    def builder(classes: int, size: int, weights: str | Path | None = None) -> keras.Model:
        inputs, x = picture_input(size)
        x = application(family, size, weights)(_scaled_for(family, x))
        x = head(layers.GlobalAveragePooling2D(name="pool")(x))
        return keras.Model(inputs, class_probabilities(x, classes), name=name)

    return builder


def dropout_head(share: float) -> Callable:
    return lambda x: layers.Dropout(share, name="dropout")(x)


def two_layer_head(x):
    """Batch norm, 512 and 256 units with L2, dropout 0.5 and 0.3."""
    l2 = keras.regularizers.L2(1e-4)
    x = layers.BatchNormalization(name="head_norm_1")(x)
    x = layers.Dense(512, activation="relu", kernel_regularizer=l2, name="head_dense_1")(x)
    x = layers.Dropout(0.5, name="head_dropout_1")(x)
    x = layers.BatchNormalization(name="head_norm_2")(x)
    x = layers.Dense(256, activation="relu", kernel_regularizer=l2, name="head_dense_2")(x)
    return layers.Dropout(0.3, name="head_dropout_2")(x)


def dense_head(x):
    """256 units with batch norm and dropout 0.3: the head of the three-class EfficientNetB4."""
    x = layers.Dense(256, use_bias=False, name="head_dense")(x)
    x = layers.BatchNormalization(name="head_norm")(x)
    x = layers.Activation("relu", name="head_relu")(x)
    return layers.Dropout(0.3, name="head_dropout")(x)


def efficientnetb4_sequential(classes: int, size: int = 224, weights: str | Path | None = None) -> keras.Model:
    """The same network as `efficientnetb4-functional`, written as a list of layers."""
    return keras.Sequential(
        [
            keras.Input((None, None, 3), name="picture"),
            resize(size),
            application("EfficientNetB4", size, weights),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(256, use_bias=False, name="head_dense"),
            layers.BatchNormalization(name="head_norm"),
            layers.Activation("relu", name="head_relu"),
            layers.Dropout(0.3, name="head_dropout"),
            layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities"),
        ],
        name="efficientnetb4_sequential",
    )


# ---------------------------------------------------------------------------------------------- champion


def compact(
    classes: int,
    size: int = 48,
    weights: None = None,
    *,
    widths: tuple[int, ...] = (32, 64, 128, 256),
    convolutions: int = 2,
    dropout: float = 0.3,
) -> keras.Model:
    """A VGG-like convnet for small grey faces: stages of 3x3 convolutions with batch norm, pooling between them.

    Colours are reduced to grey inside. After Simonyan & Zisserman 2015 with Ioffe & Szegedy 2015's batch norm
    and Lin et al. 2014's global pooling; 1.18 M parameters at the default widths and 7 classes.

    Args:
        widths: channels of each stage.
        convolutions: of a stage.
        dropout: share of the pooled features that is dropped in training.
    """
    inputs, x = picture_input(size)
    x = ops.image.rgb_to_grayscale(x)
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    for stage, width in enumerate(widths, start=1):
        for place in range(1, convolutions + 1):
            x = _conv(x, width, 3, name=f"stage_{stage}_conv_{place}")
            x = layers.ReLU(name=f"stage_{stage}_relu_{place}")(x)
        if stage < len(widths):
            x = layers.MaxPooling2D(name=f"stage_{stage}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, class_probabilities(x, classes), name="compact")


# ------------------------------------------------------------------------------------------- transformers


def transformer(shape: str) -> Callable[..., keras.Model]:
    """A builder of the Vision Transformer in one of `vit.SHAPES`; weights are a Hugging Face name or folder."""

    def builder(classes: int, size: int, weights: str | Path | None = None) -> keras.Model:
        model = vit.build(classes, **vit.SHAPES[shape] | {"size": size})
        if weights is not None:
            load_hugging_face(model, weights)
        return model

    return builder


# --------------------------------------------------------------------------------------------- registry

_LIGHT = Augmentation(flip=True, rotation=10, shift=0.1, zoom=0.1)
_STRONG = replace(_LIGHT, erasing=0.5)
_SCRATCH = Recipe(
    phases=(Phase(epochs=30, learning_rate=1e-3),),
    optimizer="adamw",
    schedule="cosine",
    weight_decay=0.05,
    clip=1.0,
    label_smoothing=0.1,
    class_weights=False,
    ema=0.995,
    augmentation=_STRONG,
)
_FROM_SCRATCH = replace(_SCRATCH, class_weights=True, augmentation=_LIGHT)
_TWO_PHASE = Recipe(
    phases=(
        Phase(epochs=10, learning_rate=1e-3, trainable="head"),
        Phase(epochs=40, learning_rate=1e-4, trainable="conv5", patience=15),
    ),
    batch_size=220,
    augmentation=_LIGHT,
)
_FINE_TUNING = replace(
    _TWO_PHASE,
    batch_size=64,
    schedule="cosine",
    phases=(
        Phase(epochs=5, learning_rate=1e-3, trainable="head"),
        Phase(epochs=20, learning_rate=3e-4, trainable="base"),
    ),
)

_TRANSFORMER = Recipe(
    phases=(Phase(epochs=10, learning_rate=5e-4),),
    batch_size=32,
    optimizer="adamw",
    schedule="cosine",
    weight_decay=0.05,
    clip=1.0,
    label_smoothing=0.1,
    augmentation=_STRONG,
)

MODELS: dict[str, Architecture] = {
    "lenet": Architecture(
        lenet,
        size=256,
        title="LeNet",
        source="LeCun et al. 1998",
        recipe=Recipe(
            phases=(Phase(epochs=10, learning_rate=1e-3),),
            schedule="cosine",
            warmup=0.05,
            augmentation=Augmentation(flip=True),
        ),
    ),
    "resnet34": Architecture(
        resnet34,
        size=224,
        title="ResNet-34 from scratch",
        source="He et al. 2016",
        recipe=_FROM_SCRATCH,
    ),
    "efficientnetb4-functional": Architecture(
        transfer("EfficientNetB4", dense_head, "efficientnetb4_functional"),
        size=224,
        title="EfficientNetB4 (Functional)",
        weights="imagenet",
        source="Tan & Le 2019",
        recipe=_FINE_TUNING,
        scratch=_FROM_SCRATCH,
    ),
    "efficientnetb4-sequential": Architecture(
        efficientnetb4_sequential,
        size=224,
        title="EfficientNetB4 (Sequential)",
        weights="imagenet",
        source="Tan & Le 2019",
        recipe=_FINE_TUNING,
        scratch=_FROM_SCRATCH,
    ),
    "efficientnetb0": Architecture(
        transfer("EfficientNetB0", dropout_head(0.3), "efficientnetb0"),
        size=224,
        title="EfficientNetB0",
        weights="imagenet",
        source="Tan & Le 2019",
        recipe=replace(
            _TWO_PHASE,
            batch_size=64,
            phases=(
                Phase(epochs=5, learning_rate=1e-3, trainable="head"),
                Phase(epochs=30, learning_rate=3e-4, trainable="base", patience=8),
            ),
        ),
        scratch=_FROM_SCRATCH,
    ),
    "vgg16": Architecture(
        transfer("VGG16", dropout_head(0.5), "vgg16"),
        size=224,
        title="VGG-16",
        weights="imagenet",
        source="Simonyan & Zisserman 2015",
        recipe=_FINE_TUNING,
        scratch=replace(_FROM_SCRATCH, phases=(Phase(epochs=30, learning_rate=2e-4),)),
    ),
    "resnet50v2": Architecture(
        transfer("ResNet50V2", two_layer_head, "resnet50v2"),
        size=224,
        title="ResNet50V2",
        weights="imagenet",
        source="He et al. 2016, identity mappings",
        recipe=_TWO_PHASE,
        scratch=_FROM_SCRATCH,
    ),
    "mobilenetv2": Architecture(
        transfer("MobileNetV2", dropout_head(0.3), "mobilenetv2"),
        size=96,
        title="MobileNetV2",
        weights="imagenet",
        source="Sandler et al. 2018",
        recipe=_FINE_TUNING,
        scratch=_FROM_SCRATCH,
    ),
    "custom-vit": Architecture(
        transformer("custom-vit"),
        size=224,
        title="Vision Transformer by hand",
        source="Dosovitskiy et al. 2021",
        recipe=replace(_TRANSFORMER, phases=(Phase(epochs=30, learning_rate=5e-4),)),
    ),
    "custom-vit-48": Architecture(
        transformer("custom-vit-48"),
        size=48,
        title="Vision Transformer by hand, 48 px",
        source="Dosovitskiy et al. 2021",
        recipe=replace(_TRANSFORMER, batch_size=64, phases=(Phase(epochs=30, learning_rate=5e-4),)),
    ),
    "hf-vit-tiny": Architecture(
        transformer("vit-tiny"),
        size=224,
        title="ViT-Tiny",
        weights="WinKawaks/vit-tiny-patch16-224",
        source="Steiner et al. 2022",
        recipe=replace(_TRANSFORMER, layer_decay=0.75),
        scratch=_TRANSFORMER,
    ),
    "hf-vit-base": Architecture(
        transformer("vit-base"),
        size=224,
        title="ViT-Base",
        weights="google/vit-base-patch16-224-in21k",
        source="Dosovitskiy et al. 2021",
        recipe=replace(_TRANSFORMER, layer_decay=0.75),
        scratch=_TRANSFORMER,
    ),
    # For drawn faces, where what a heat map must show is known: minutes on a CPU.
    "compact": Architecture(
        partial(compact, widths=(16, 32, 64, 128)),
        size=48,
        title="Compact convnet",
        source="Simonyan & Zisserman 2015",
        recipe=Recipe(
            phases=(Phase(epochs=12, learning_rate=1e-3),),
            batch_size=32,
            optimizer="adamw",
            schedule="cosine",
            weight_decay=0.05,
            class_weights=False,
            augmentation=_LIGHT,
        ),
    ),
    "champion": Architecture(
        compact,
        size=48,
        title="Champion",
        source="Simonyan & Zisserman 2015",
        # Shrinks the weights by 4e-4 a step at the highest rate, as SGD with rate 0.1, momentum 0.9 and an L2 of 4e-4
        # does: FER2013 is small enough to be learned by heart.
        recipe=replace(_SCRATCH, batch_size=128, weight_decay=0.2, phases=(Phase(epochs=36, learning_rate=2e-3),)),
    ),
}


def _variant(of: str, title: str, **choices) -> Architecture:
    """An entry with another title and other choices of its recipe."""
    entry = MODELS[of]
    return replace(entry, title=title, recipe=replace(entry.recipe, **choices))


_CHAMPION = MODELS["champion"]
MODELS["champion-large"] = replace(  # for accelerators
    _CHAMPION,
    build=partial(compact, widths=(64, 128, 256, 512), convolutions=3, dropout=0.5),
    title="Champion, large",
    recipe=replace(
        _CHAMPION.recipe,
        phases=(Phase(epochs=150, learning_rate=1e-3),),
        ema=0.999,
        augmentation=replace(_STRONG, mixup=0.2),
    ),
)
MODELS["lenet-unweighted"] = _variant("lenet", "LeNet, no class weights", class_weights=False)
for _name in ("mobilenetv2", "hf-vit-tiny"):  # the same again, to compare with
    _entry = MODELS[_name]
    MODELS[f"{_name}-scratch"] = replace(
        _entry, title=_entry.title_with(None), recipe=_entry.scratch, weights=None, scratch=None
    )


def find(name: str) -> Architecture:
    """The registry's entry of that name, or a ValueError that names the nearest."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"There is no model named {name!r}. {hint}There are: {', '.join(MODELS)}.")
    return MODELS[name]


def build(name: str, classes: int, size: int | None = None, weights: str | Path | None = None) -> keras.Model:
    """Build a model of the registry.

    Args:
        name: a key of `MODELS`.
        classes: number of classes.
        size: side in pixels to which pictures are resized inside; the architecture's own by default.
        weights: None trains from scratch; the architecture's own (`MODELS[name].weights`) downloads; a path is a
            file of pretrained weights, of a Vision Transformer a folder in Hugging Face's layout.

    Returns:
        a model from RGB pictures of any size, N x H x W x 3, values 0-255, to probabilities, N x classes.
    """
    architecture = find(name)
    if weights is not None and architecture.weights is None:
        raise ValueError(f"{name} has no pretrained weights; it is always trained from scratch (weights=None).")
    return architecture.build(classes, size or architecture.size, weights)
