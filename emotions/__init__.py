"""Emotion classification on face photographs: data, models, training, evaluation, explanation, use."""

import os

# TensorFlow turns these kernels on by itself only where a CPU has AVX-512; with AVX2 alone, networks of plain
# convolutions train two to three times as fast with them. It reads the variable when it is first imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"
