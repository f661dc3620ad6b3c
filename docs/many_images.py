"""Measure what a million images cost: `python docs/many_images.py 20000` writes results/many_images.csv.

The images are drawn photographs of 640 x 480 pixels with two faces each. A few are predicted step by step in one
thread, then by `predict` as it is, then all of them with Ray. Time is that of processors, summed over all threads and
processes: other programs on the machine change it little."""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from emotions import files, predict
from emotions.data import synthetic
from emotions.predict import faces, inputs

FEW = 256  # photographs that differ: enough for the steps and for `predict`
TABLE = files.REPOSITORY / "results" / "many_images.csv"


def draw(folder: Path, count: int) -> None:
    """Write JPEG photographs with two drawn faces each; beyond the first few they are copies."""
    random = np.random.default_rng(0)
    drawn = synthetic.render(np.arange(2 * FEW) % len(synthetic.CLASS_NAMES), size=200)
    for i in range(min(FEW, count)):
        photo = cv2.resize(random.integers(60, 200, (6, 8, 3)).astype(np.uint8), (640, 480))
        for side in (0, 1):
            x, y = 320 * side + random.integers(120), random.integers(280)
            photo[y : y + 200, x : x + 200] = drawn[2 * i + side]
        Image.fromarray(photo).save(folder / f"{i:08d}.jpg", quality=90)
    for i in range(FEW, count):
        (folder / f"{i:08d}.jpg").write_bytes((folder / f"{i % FEW:08d}.jpg").read_bytes())


def steps(classifier, paths: list[Path]) -> dict[str, float]:
    """Return the seconds of processor time that each step takes."""
    times = [time.process_time()]
    images = [inputs.read(path)[0] for path in paths]
    times.append(time.process_time())
    found = [faces.find_faces(image) for image in images]
    times.append(time.process_time())
    pairs = [(image, face) for image, some in zip(images, found, strict=True) for face in some]
    crops = [classifier.resize(faces.crop(image, face)) for image, face in pairs]
    times.append(time.process_time())
    classifier.probabilities(crops)
    times.append(time.process_time())
    return dict(zip(("read", "find faces", "cut out", "model"), np.diff(times), strict=True))


def measure(folder: Path, count: int) -> pd.DataFrame:
    """Return `images` and `core_seconds` of each step, of `predict`, and of `predict` with Ray."""
    from emotions.predict.many import predict_many  # needs Ray, which the page's test does not

    (folder / "photos").mkdir()
    draw(folder / "photos", count)
    classifier, few = predict.load(), sorted((folder / "photos").iterdir())[:FEW]
    classifier.predict(few)  # the first call starts TensorFlow's programs
    rows = [(what, len(few), seconds) for what, seconds in steps(classifier, few).items()]
    started = time.process_time()
    classifier.predict(few)
    rows.append(("predict", len(few), time.process_time() - started))
    started = time.perf_counter()
    told = predict_many([str(folder / "photos")], str(folder / "answers"))
    rows.append(("predict --ray", told["images"], told["core_seconds"]))
    print(f"Ray took {time.perf_counter() - started:.0f} seconds in all.")
    return pd.DataFrame(rows, columns=["what", "images", "core_seconds"])


def lines(table: pd.DataFrame) -> list[str]:
    """Return the rows of the page's table: milliseconds of one core for an image, core hours for a million."""
    each = table["core_seconds"] / table["images"]
    rows = zip(table["what"], table["images"], 1e3 * each, 1e6 / 3600 * each, strict=True)
    return [f"| {what} | {count:,} | {ms:.1f} | {hours:.1f} |" for what, count, ms, hours in rows]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        measured = measure(Path(temporary), int(sys.argv[1]))
    files.write(TABLE, measured.round(2).to_csv(index=False, lineterminator="\n"))
    print("\n".join(lines(measured)))
