"""Data sets: `faces = load("human-emotions")`, then `faces.train.images`, `faces.describe()`."""

from emotions.data.dataset import Dataset, Split
from emotions.data.human_emotions import kinds
from emotions.data.loading import NAMES, load
