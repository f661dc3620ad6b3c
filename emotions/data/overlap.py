"""Does one data set hold photos of another? By content and near duplicates, mirrored ones too."""

import cv2
import numpy as np

from emotions.data import audit

SIDE = 48  # pixels, grey: what images of two data sets are compared at


def shared_photos(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mark the images (bool, N) of which a near duplicate, perhaps mirrored, is among the others; both are uint8,
    N x H x W x 3, RGB, of any two sizes."""
    marked = np.zeros(len(images), bool)
    known, known_hashes = _small(others)
    for direction in (1, -1):  # as they are, and mirrored
        small, hashes = _small(images, direction)
        for i, j in audit.close_pairs(hashes, audit.HASH_DISTANCE, known_hashes):
            marked[i] = marked[i] or np.corrcoef(small[i].ravel(), known[j].ravel())[0, 1] >= audit.CORRELATION
    return marked


def _small(images, direction: int = 1) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the images in grey at one size, and their hashes."""
    greys = [cv2.resize(audit.to_grey(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)[:, ::direction]
             for image in images]
    return greys, np.array([audit.difference_hash(grey) for grey in greys], np.uint64)
