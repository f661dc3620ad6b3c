"""Apply saved models: to files, folders and arrays, to the camera's image."""

from emotions.predict.boxes import annotate
from emotions.predict.camera import capture
from emotions.predict.classifier import Classifier, find, load

__all__ = ["Classifier", "annotate", "capture", "find", "load"]
