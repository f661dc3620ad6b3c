"""Measure what a million images cost: `python docs/many_images.py 20000` writes results/many_images.csv.

Photographs of 640 x 480 pixels are drawn, with two faces each, and predicted in one process, step by step on a single
core; then by `predict` as it is; then with Ray. The first images of each are left out: they start the programs."""

import itertools
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from emotions import files, predict
from emotions.data import synthetic
from emotions.predict import faces, inputs
from emotions.predict.many import predict_many

FEW = 256  # photographs that are enough for the steps and for `predict`


def draw(folder: Path, count: int) -> None:
    """Write JPEG photographs with two drawn faces each; a few hundred differ, the others are copies of them."""
    random = np.random.default_rng(0)
    drawn = synthetic.render(np.arange(2 * FEW) % len(synthetic.CLASS_NAMES), size=200)
    for i in tqdm(range(count)):
        file = folder / f"{i:08d}.jpg"
        if i >= FEW:
            file.write_bytes((folder / f"{i % FEW:08d}.jpg").read_bytes())
            continue
        photo = cv2.resize(random.integers(60, 200, (6, 8, 3)).astype(np.uint8), (640, 480))
        for face, (x, y) in zip(drawn[2 * i : 2 * i + 2], random.integers(0, [120, 280], (2, 2)) + [[0, 0], [320, 0]],
                                strict=True):  # fmt: skip
            photo[y : y + 200, x : x + 200] = face
        Image.fromarray(photo).save(file, quality=90)


def steps(classifier, paths: list[Path]) -> dict[str, float]:
    """Return the seconds that each step takes on a single core."""
    cv2.setNumThreads(1)
    times = [time.perf_counter()]
    images = [inputs.read(path)[0] for path in paths]
    times.append(time.perf_counter())
    found = [faces.find_faces(image) for image in images]
    times.append(time.perf_counter())
    crops = [classifier.resize(faces.crop(image, face))
             for image, some in zip(images, found, strict=True) for face in some]  # fmt: skip
    times.append(time.perf_counter())
    classifier.probabilities(crops)
    times.append(time.perf_counter())
    cv2.setNumThreads(-1)
    return dict(zip(("read", "find faces", "cut out", "model"), np.diff(times), strict=True))


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "photos")
        folder.mkdir()
        draw(folder, count)
        classifier, paths = predict.load(), sorted(folder.iterdir())
        few, warm = paths[:FEW], paths[:64]
        classifier.predict(warm)
        rows = [{"what": what, "images": len(few), "seconds": seconds} for what, seconds in steps(classifier, few).items()]
        started = time.perf_counter()
        classifier.predict(few)
        rows.append({"what": "predict", "images": len(few), "seconds": time.perf_counter() - started})
        predict_many(map(str, warm), str(Path(temporary, "answers")))  # starts Ray
        started = time.perf_counter()
        predict_many([str(folder)], str(Path(temporary, "answers")))
        rows.append({"what": "predict --ray", "images": count - len(warm), "seconds": time.perf_counter() - started})
    table = pd.DataFrame(rows).round({"seconds": 2})
    files.write(files.REPOSITORY / "results" / "many_images.csv", table.to_csv(index=False, lineterminator="\n"))
    print(table.to_string())


if __name__ == "__main__":
    main(int(sys.argv[1]))
