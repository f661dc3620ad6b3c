"""Does one data set hold photos of another? By content and near duplicates, mirrored ones too."""

import cv2
import numpy as np

from emotions.data import audit

SIDE = 48  # pixels, grey: what images of two data sets are compared at


def shared_photos(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mark the images (bool, N) of which a near duplicate, perhaps mirrored, is among the others; both are uint8,
    N x H x W x 3, RGB, of any two sizes."""
    small, other = ([cv2.resize(audit.to_grey(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in some]
                    for some in (images, others))
    marked = np.zeros(len(small), bool)
    for turned in (small, [image[:, ::-1] for image in small]):
        hashes = [np.array([audit.difference_hash(grey) for grey in some], np.uint64) for some in (turned, other)]
        for i, j in audit.close_pairs(hashes[0], audit.HASH_DISTANCE, hashes[1]):
            marked[i] = marked[i] or np.corrcoef(turned[i].ravel(), other[j].ravel())[0, 1] >= audit.CORRELATION
    return marked
