"""Apply a classifier to a video or the camera: which emotion does each face show, from frame to frame?"""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from emotions.files import expanded, written
from emotions.predict.boxes import draw_boxes
from emotions.predict.classifier import BOX, Classifier
from emotions.predict.faces import crop, find_faces

SEARCHED = 480  # pixels on the longer side of the copy in which faces are searched for: in real time on two cores
MEMORY = 0.5  # seconds: over about so long probabilities are averaged
LOST = 1.0  # seconds: a face that was away for longer comes back under a new number
FASTEST = 240  # frames per second that a camera takes
RECORDED = 10  # frames per second of a recorded live picture: about what two cores keep up with
ROWS = 1000  # that become a table at a time: as dictionaries, the rows of an hour would take ten times as much memory

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a bad file gets our sentence, not FFmpeg's messages


def predict_video(classifier: Classifier, file: str | Path, every: int = 1, annotated: str | Path = "",
                  unsure_below: float = 0.0) -> pd.DataFrame:
    """Return which emotion each face shows in a video.

    Args:
        every: look at every so many frames, from 1.
        annotated: file of a copy of the video with boxes, written as .mp4, without sound; it may replace the video.
        unsure_below: a confidence below this makes an emotion "unsure".

    Returns:
        one row per frame and face: `frame` (from 0), `seconds`, `face` (its number, kept from frame to frame), `x`,
        `y`, `width`, `height` (pixels), `emotion`, `confidence`, one column of probabilities per class, and `smoothed`,
        the emotion by probabilities averaged over half a second. A frame without a face has a row without values.

    FileNotFoundError, ValueError: there is no such file, or it holds no frame that can be read."""
    if every < 1:
        raise ValueError(f"every is {every}; a video is looked at every so many frames, from 1.")
    columns = {"frame": int, "seconds": float, **dict.fromkeys(("face", *BOX), "Int64"), "emotion": object,
               "smoothed": object, **dict.fromkeys(("confidence", *classifier.class_names), float)}
    rows, tables, tracks = [], [], Tracks()
    with written(Path(annotated), ".mp4") if annotated else contextlib.nullcontext() as copy:
        recording = copy and Recording(copy, _rate(cv2.VideoCapture(os.fsencode(expanded(file)))))
        for number, seconds, frame in frames(file):
            if number % every == 0:
                found = predict_frame(classifier, frame, tracks, seconds, unsure_below)
                rows += [{"frame": number, "seconds": seconds, **row} for row in found or [{}]]
            if recording:
                recording.add(drawn(frame, found)[..., ::-1], seconds)
            if len(rows) >= ROWS:
                tables.append(_table(rows, columns))
                rows = []
        if recording:
            recording.close()
    return pd.concat([*tables, _table(rows, columns)], ignore_index=True)


def frames(file: str | Path) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield the number, the seconds and the image (uint8, H x W x 3, RGB) of each frame, with a progress bar."""
    path = expanded(file)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    video = cv2.VideoCapture(os.fsencode(path))
    total, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), _rate(video)
    for number in tqdm(count(), path.name, max(total, 0), unit="frame", leave=False, delay=1):
        read, frame = video.read()
        if not read:
            break
        at = video.get(cv2.CAP_PROP_POS_MSEC) / 1000  # frames need not be evenly spaced; 0 where it is not known
        seconds = at if at > 0 or number == 0 else number / rate
        yield number, seconds, frame[..., ::-1]
    video.release()
    if number == 0:
        why = "the file is empty" if path.stat().st_size == 0 else "it is no video, is damaged, or holds sound alone"
        raise ValueError(f"{path} has no frame that can be read: {why}.")
    if number < 0.95 * total and seconds < 0.95 * (total - 1) / rate:
        print(f"{path} ends after {number:,} of {total:,} frames: it is truncated.", file=sys.stderr)


class Tracks:
    """Numbers the faces, and averages their probabilities over time."""

    def __init__(self):
        self.faces, self.numbers = {}, count(1)  # number -> (middle, seconds, probabilities)

    def assign(self, found: list, seconds: float) -> list[int]:
        """Return the number of each face: of the nearest one before, not further than its own width, or a new one."""
        self.faces = {number: track for number, track in self.faces.items() if seconds - track[1] <= LOST}
        known = list(self.faces)
        far = [[np.hypot(*(_middle(face) - self.faces[number][0])) / face.width for number in known] for face in found]
        pairs = zip(*linear_sum_assignment(np.minimum(np.reshape(far, (len(found), len(known))), 1)), strict=True)
        numbers = {i: known[j] for i, j in pairs if far[i][j] < 1}
        return [numbers.get(i) or next(self.numbers) for i in range(len(found))]

    def smooth(self, number: int, face, seconds: float, probabilities: np.ndarray) -> np.ndarray:
        """Return the face's probabilities, averaged with weights that fall by half in about a third of a second."""
        if number in self.faces:
            _, before, average = self.faces[number]
            share = np.exp((before - seconds) / MEMORY)
            probabilities = share * average + (1 - share) * probabilities
        self.faces[number] = (_middle(face), seconds, probabilities)
        return probabilities


def _middle(face) -> np.ndarray:
    return np.array([face.x + face.width / 2, face.y + face.height / 2])


def predict_frame(classifier: Classifier, frame: np.ndarray, tracks: Tracks, seconds: float,
                  unsure_below: float) -> list[dict]:
    """Return a row per face of one frame, uint8, H x W x 3, RGB; `tracks` remembers the frames before."""
    found = find_faces(frame, largest=SEARCHED, turns=(0,))
    each = classifier.probabilities([classifier.resize(crop(frame, face)) for face in found])
    rows = []
    for number, face, probabilities in zip(tracks.assign(found, seconds), found, each, strict=True):
        smoothed = tracks.smooth(number, face, seconds, probabilities)
        emotion, steady = (classifier.emotion(values, unsure_below) for values in (probabilities, smoothed))
        row = {"face": number, "emotion": emotion, "smoothed": steady, "confidence": float(probabilities.max())}
        values = (*map(round, face[:4]), *probabilities.tolist())
        rows.append(row | dict(zip((*BOX, *classifier.class_names), values, strict=True)))
    return rows


def drawn(frame: np.ndarray, rows: list[dict]) -> np.ndarray:
    """Return a copy of a frame with the boxes and the smoothed emotions of `predict_frame`."""
    if not rows:
        return frame
    table = pd.DataFrame(rows).assign(error=None)
    return draw_boxes(Image.fromarray(frame), 1, table.assign(emotion=table["smoothed"]))


class Recording:
    """An .mp4 file of frames of one shape, uint8, BGR, that plays as fast as they came."""

    def __init__(self, target: str | Path, rate: float):
        rate = rate if rate <= FASTEST else 30.0  # a file without a fixed rate names the ticks of its clock
        self.target, self.rate, self.writer, self.count = target, rate, None, 0

    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Write a frame, as often as its time asks for; ValueError if the file cannot be written."""
        if not self.writer:
            Path(self.target).parent.mkdir(parents=True, exist_ok=True)
            shape = frame.shape[1::-1]
            self.writer = cv2.VideoWriter(str(self.target), cv2.VideoWriter_fourcc(*"mp4v"), self.rate, shape)
            if not self.writer.isOpened():
                raise ValueError(f"{self.target} cannot be written as a video: can its folder be written, and is it "
                                 "an .mp4?")
        for _ in range(self.count, round(self.rate * seconds) + 1):
            self.writer.write(frame)
            self.count += 1

    def close(self) -> None:
        if self.writer:
            self.writer.release()


def _table(rows: list[dict], columns: dict) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _rate(video: cv2.VideoCapture) -> float:
    return video.get(cv2.CAP_PROP_FPS) or 25.0


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
