"""Training: Keras' `fit` made resumable, augmentation, schedules."""

from emotions.training.augmentation import RandomAffine, RandomErasing
from emotions.training.bases import check_base
from emotions.training.batches import class_weights
from emotions.training.fitting import fit
from emotions.training.schedules import cosine
