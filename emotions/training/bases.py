"""May a model be a base here? Not if it was trained on photos of this test part."""

from pathlib import Path

import cv2
import numpy as np

from emotions.data import audit
from emotions.data.dataset import Dataset
from emotions.data.loading import load
from emotions.models.files import ancestors

SIDE = 48  # pixels, grey: what images of two data sets are compared at


def check_base(file: str | Path, faces: Dataset) -> None:
    """Compare all that a saved model was trained on with the test images of a data set; print what was compared.
    ValueError: they share photos."""
    for ancestor in ancestors(file):
        name = ancestor["dataset"]
        try:
            base = load(name, keep_copies=ancestor["with_duplicates"])
        except (FileNotFoundError, ValueError):  # ValueError: a folder of one's own, which `load` does not know by name
            print(f"{name}, on which {Path(file).name} was trained, is not at hand: whether it shares photos with "
                  "your test images was not checked.")
            continue
        count, total = int(shared_photos(faces.test.images, base.train.images).sum()), len(faces.test)
        if count:
            raise ValueError(f"{Path(file).name} was trained on {name}, which holds {count:,} of the {total:,} "
                             f"test images of {faces.name}: choose another base.")
        print(f"None of the {total:,} test images is among the {len(base.train):,} training images of {name}.")


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
