"""Apply saved models: to files, folders and arrays, to videos, to the camera's image."""

from emotions.predict.boxes import annotate
from emotions.predict.camera import watch
from emotions.predict.classifier import Classifier, find, load
from emotions.predict.video import predict_video

__all__ = ["Classifier", "annotate", "find", "load", "predict_video", "watch"]
