"""Take one image with a camera, the browser's on Colab, otherwise the machine's; or watch its live picture."""

import base64
import os
import re
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from emotions.data.images import decode
from emotions.predict.classifier import Classifier
from emotions.predict.video import Recording, Tracks, drawn, predict_frame

RECORDED = 10  # frames per second of a recording: about what two cores keep up with

TAKE_IMAGE = """
(async () => {
  const video = document.createElement("video"), canvas = document.createElement("canvas");
  video.srcObject = await navigator.mediaDevices.getUserMedia({video: true});
  await video.play();
  await new Promise(done => setTimeout(done, 1500));  // until the camera has adjusted to the light
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  video.srcObject.getTracks().forEach(track => track.stop());
  return canvas.toDataURL("image/jpeg", 0.9);
})()
"""


def capture() -> np.ndarray | None:
    """Take one image: uint8, H x W x 3, RGB. Without a camera, print what to do and return None."""
    image = _from_browser() if "google.colab" in sys.modules else _from_machine()
    if image is None:
        print("No image came from a camera: there is none, it is in use, or this code runs on another machine than "
              "yours. Take a photo with your phone instead and give its file.")
    return image


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


def _from_browser() -> np.ndarray | None:
    from google.colab import output

    try:
        url = output.eval_js(TAKE_IMAGE)  # data:image/jpeg;base64,…
    except Exception as refused:  # the browser's answer, a refusal included
        print(f"The browser said: {refused}")
        return None
    return decode(base64.b64decode(url.partition(",")[2]))


def _from_machine() -> np.ndarray | None:
    device = cv2.VideoCapture(0)
    for _ in range(10):  # the first images are dark, until the camera has adjusted to the light
        taken, image = device.read()
        if not taken:
            break
    device.release()
    return image[..., ::-1].copy() if taken else None  # OpenCV's order is BGR
