"""Apply saved models: to files, folders and arrays, to videos, to the camera's image."""

from emotions.predict.boxes import annotate
from emotions.predict.camera import capture, watch
from emotions.predict.classifier import Classifier, find, load
from emotions.predict.video import predict_video

__all__ = ["Classifier", "annotate", "capture", "find", "load", "predict_video", "watch"]
