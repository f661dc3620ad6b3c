"""How are images fed to a model? In batches that an interrupted training meets again in the same order."""

import math

import keras
import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from emotions.data.dataset import Split
from emotions.data.images import channels


class Batches(keras.utils.PyDataset):
    """A split in batches of `(images, targets, weights)`; `begin` starts an epoch.

    The order of an epoch, and the pairs that mixup blends, follow from (seed, epoch) alone, so that a resumed training
    sees what an uninterrupted one would have seen. A grey set (a broadcast view) is fed as one channel.

    A seed shuffles anew each epoch; None keeps the order. With `class_weight`, by class number, a soft label weighs the
    mean of its classes' weights. With `mixup`, alpha of the Beta distribution, each image and its target are blended
    with those that stand opposite in the batch. Each of several devices is to get an equal part of every batch, so an
    epoch leaves out up to `devices - 1` images."""

    def __init__(self, split: Split, classes: int, batch_size: int, *, seed=None, class_weight=None, mixup=0.0,
                 devices=1):
        super().__init__()
        if devices < 1 or batch_size % devices:
            raise ValueError(f"Batches of {batch_size} images cannot be divided among {devices} devices.")
        self.batch_size, self.seed, self.mixup, self.devices = batch_size, seed, mixup, devices
        self.images = channels(split.images)
        self.targets = np.eye(classes, dtype="float32")[split.labels] if split.targets is None else split.targets
        self.weights = class_weight and np.array([class_weight.get(k, 0.0) for k in range(classes)], "float32")
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Shuffle for an epoch."""
        self.epoch, self.order = epoch, np.arange(len(self.targets))
        if self.seed is not None:
            np.random.default_rng((self.seed, epoch)).shuffle(self.order)
        self.order = self.order[: len(self.order) // self.devices * self.devices]

    def __len__(self):
        return math.ceil(len(self.order) / self.batch_size)

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        images, targets = self.images[chosen], self.targets[chosen]
        if self.mixup:
            random = np.random.default_rng((self.seed, self.epoch, index))
            share = random.beta(self.mixup, self.mixup, size=(len(chosen), 1)).astype("float32")
            targets = share * targets + (1 - share) * targets[::-1]
            share = share[..., None, None]
            images = share * images + (1 - share) * images[::-1]
        return (images, targets) if self.weights is None else (images, targets, targets @ self.weights)


def class_weights(labels: np.ndarray) -> dict[int, float]:
    """Return weights inversely proportional to the frequency of the class numbers, as `class_weight` of `fit`: as
    scikit-learn's "balanced", with a mean of 1 over the images."""
    classes = np.unique(labels)
    weights = compute_class_weight("balanced", classes=classes, y=labels)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))
