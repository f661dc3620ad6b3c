"""Take one image with a camera: the browser's on Colab, otherwise the machine's."""

from __future__ import annotations

import base64
import sys

import cv2
import numpy as np

from emotions.data.images import decode

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
              "yours. Take a photo with your phone instead and give its file.")  # fmt: skip
    return image


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
