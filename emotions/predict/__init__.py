"""Apply saved models: to files, folders and arrays, to videos, to the camera's image."""

from emotions.predict.boxes import annotate
from emotions.predict.classifier import Classifier, find, load
from emotions.predict.video import predict_video, watch
