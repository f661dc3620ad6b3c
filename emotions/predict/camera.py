"""Watch the camera's live picture."""

import os
import re
import sys
import time
from pathlib import Path

import cv2

from emotions.predict.classifier import Classifier
from emotions.predict.video import Recording, Tracks, drawn, predict_frame

RECORDED = 10  # frames per second of a recording: about what two cores keep up with


def watch(classifier: Classifier, recording: str | Path = "", unsure_below: float = 0.0) -> None:
    """Show the camera's live picture with emotions and frames per second, until q or Escape is pressed.

    The picture is written to `recording`, an .mp4 file, if given. ValueError: OpenCV has no windows here, or there is
    no camera."""
    screen = sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)  # without one, Qt aborts
    if not screen or re.search(r"GUI: *NONE", cv2.getBuildInformation()):
        raise ValueError("OpenCV shows no windows here: it needs a screen, and opencv-python in the place of "
                         "opencv-python-headless. The page in web/ shows the camera in a browser.")
    camera, tracks, recorded = cv2.VideoCapture(0), Tracks(), Recording(recording, RECORDED)
    start = before = time.monotonic()
    while (read := camera.read())[0]:
        now = time.monotonic()
        frame = read[1][..., ::-1]  # OpenCV's order is BGR
        shown = drawn(frame, predict_frame(classifier, frame, tracks, now - start, unsure_below))[..., ::-1].copy()
        rate, before = 1 / max(1e-3, now - before), now
        cv2.putText(shown, f"{rate:.1f} frames per second, q quits", (8, 22), cv2.FONT_HERSHEY_PLAIN, 1.2, (255,) * 3)
        cv2.imshow("emotions", shown)
        if recording:
            recorded.add(shown, now - start)
        if cv2.waitKey(1) & 0xFF in (ord("q"), 27):
            break
    camera.release()
    cv2.destroyAllWindows()
    recorded.close()
    if not read[0]:
        raise ValueError("No image came from a camera: there is none, or it is in use.")
