"""How is a model trained? Recipes are data: a frozen dataclass with one or two phases.

`models.MODELS` gives each architecture its recipe; `dataclasses.replace(recipe, ...)` makes a variant.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Phase:
    """One call of `fit`.

    Attributes:
        epochs: most epochs to train.
        learning_rate: the rate at its highest, after warm-up.
        trainable: what learns. "everything": from scratch, batch norms included. Of a model with a
            pretrained base, whose batch norms stay frozen: "head", the new layers only; "base", the whole
            base too; or the name prefix of a layer, from which on the base learns.
        patience: epochs without better validation accuracy before training stops; None never stops.
    """

    epochs: int
    learning_rate: float
    trainable: str = "everything"
    patience: int | None = None


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training pictures; the defaults change nothing.

    Attributes:
        flip: mirror half of the pictures, left to right.
        rotation: largest angle, in degrees.
        shift: largest shift, as a share of the picture's side.
        zoom: largest change of scale, as a share.
        brightness: largest change, as a share of the value range.
        contrast: largest change of contrast, as a share.
        erasing: share of pictures in which a random rectangle is overwritten (Zhong et al. 2017).
        mixup: alpha of the Beta distribution that blends pairs of pictures and labels (Zhang et al.
            2018); 0 blends none.
    """

    flip: bool = False
    rotation: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training.

    Attributes:
        phases: one `Phase`, or two (frozen base first, then fine-tuning).
        batch_size: pictures per step.
        optimizer: "adam", "adamw" or "sgd" (with Nesterov momentum 0.9).
        schedule: "plateau" (ReduceLROnPlateau on validation accuracy) or "cosine" (with warm-up).
        warmup: share of a cosine schedule spent on raising the rate from 0.
        weight_decay: decoupled weight decay; kernels only, not biases, norms or position embeddings.
        clip: largest global norm of the gradient; 0 does not clip.
        label_smoothing: share of each target spread evenly over the classes.
        class_weights: weigh classes inversely to their frequency in training.
        ema: momentum of the running mean of the weights that is evaluated and kept; 0 keeps the
            weights themselves.
        layer_decay: factor of the learning rate per layer, counted from the top; 1 trains all alike.
        accumulate: batches whose gradients are summed into one step.
        augmentation: see `Augmentation`.
    """

    phases: tuple[Phase, ...]
    batch_size: int = 64
    optimizer: str = "adam"
    schedule: str = "plateau"
    warmup: float = 0.1
    weight_decay: float = 0.0
    clip: float = 0.0
    label_smoothing: float = 0.0
    class_weights: bool = True
    ema: float = 0.0
    layer_decay: float = 1.0
    accumulate: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
