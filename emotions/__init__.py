"""Emotion classification on face photographs: data, models, training, evaluation, explanation, use."""

__version__ = "0.1.0"
