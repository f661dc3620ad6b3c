"""May a model be a base here? Not if it was trained on photos of this test part."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from emotions import files
from emotions.data import audit
from emotions.data.dataset import Dataset
from emotions.data.images import in_colour
from emotions.data.loading import NAMES, is_local, load
from emotions.models.files import ancestors

SIDE = 48  # pixels, grey: what images of two data sets are compared at


def check_base(file: str | Path | None, faces: Dataset) -> None:
    """Compare the images on which a saved model was trained, or its epoch chosen, with the test images of a data set;
    print what was compared. Weights from elsewhere have none. ValueError: they share photos."""
    for ancestor in ancestors(file):
        name = ancestor["dataset"]
        try:
            if name in NAMES and not is_local(name):
                raise FileNotFoundError("it is in none of the folders that are searched")
            base = load(name, keep_copies=ancestor["with_duplicates"])
            if ancestor.get("images", base.digest) != base.digest:
                raise ValueError(f"{name} holds other images now")
        except (FileNotFoundError, ValueError) as reason:  # ValueError: a folder that `load` does not know by name
            print(f"{name}, on which {Path(file).name} was trained, is not at hand "
                  f"({files.first_sentence(reason)}): whether it shares photos with your test images was not checked.")
            continue
        seen = [*base.train.images, *base.validation.images]
        count, total = int(shared_photos(faces.test.images, seen).sum()), len(faces.test)
        if count:
            raise ValueError(f"{Path(file).name} was trained on {name}, which holds {count:,} of the {total:,} "
                             f"test images of {faces.name}: choose another base.")
        print(f"None of the {total:,} test images is among the {len(seen):,} training and validation images of {name}.")


def shared_photos(images: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Mark the images (bool, N) of which a near duplicate, perhaps mirrored, is among the others; each is uint8,
    H x W x 3, RGB, of any size."""
    count = len(images)
    greys = [cv2.resize(audit.to_grey(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
             for image in (*images, *others)]
    greys[count:count] = [grey[:, ::-1] for grey in greys[:count]]  # the images once more, mirrored
    first, second = audit.near_duplicates(in_colour(np.stack(greys)[..., None])).T
    marked = np.zeros(count, bool)
    marked[first[(first < 2 * count) & (second >= 2 * count)] % count] = True
    return marked
