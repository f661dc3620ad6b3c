"""May a model be a base here? Not if it was trained on photos of this test part."""

from pathlib import Path

from emotions.data.dataset import Dataset
from emotions.data.loading import load
from emotions.data.overlap import shared_photos
from emotions.models.files import ancestors


def check_base(file: str | Path, faces: Dataset) -> None:
    """Compare all that a saved model was trained on with the test images of a data set; print what was compared.
    ValueError: they share photos."""
    for ancestor in ancestors(file):
        name = ancestor["dataset"]
        try:
            base = load(name, keep_copies=ancestor["with_duplicates"])
        except FileNotFoundError:
            print(f"{name}, on which {Path(file).name} was trained, is not at hand: whether it shares photos with "
                  "your test images was not checked.")
            continue
        count, total = int(shared_photos(faces.test.images, base.train.images).sum()), len(faces.test)
        if count:
            raise ValueError(f"{Path(file).name} was trained on {name}, which holds {count:,} of the {total:,} "
                             f"test images of {faces.name}: choose another base.")
        print(f"None of the {total:,} test images is among the {len(base.train):,} training images of {name}.")
