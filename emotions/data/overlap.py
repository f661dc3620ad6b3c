"""Does one data set hold photos of another? By content and near duplicates, mirrored ones too."""

from __future__ import annotations

import cv2
import numpy as np

from emotions.data import audit

SIDE = 48  # pixels, grey: what images of two data sets are compared at


def shared_photos(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mark the images (bool, N) of which a near duplicate, perhaps mirrored, is among the others.

    Args:
        images, others: uint8, N x H x W x 3, RGB; of any two sizes.
    """
    small, other = _small(images), _small(others)
    found = np.zeros(len(small), bool)
    for mirrored in (small, small[:, :, ::-1]):
        for i, j in _close(_hashes(mirrored), _hashes(other)):
            found[i] = found[i] or np.corrcoef(mirrored[i].ravel(), other[j].ravel())[0, 1] >= audit.CORRELATION
    return found


def _small(images) -> np.ndarray:
    return np.stack([cv2.resize(audit.to_grey(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])


def _hashes(greys) -> np.ndarray:
    return np.array([audit.difference_hash(grey) for grey in greys], np.uint64)


def _close(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the pairs (int, P x 2) of hashes that differ in few bits."""
    pairs = [np.empty((0, 2), int)]
    for start in range(0, len(hashes), 256):
        bits = np.bitwise_count(hashes[start : start + 256, None] ^ others[None])
        i, j = np.nonzero(bits <= audit.HASH_DISTANCE)
        pairs.append(np.stack([i + start, j], axis=1))
    return np.concatenate(pairs)
