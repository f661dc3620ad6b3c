"""Write what the page's tests need into a folder: photos, a clip as a camera, and what Python answers for them."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from emotions import predict
from emotions.data import synthetic

RESIZED = [(107, 48), (300, 48), (96, 48), (49, 48), (20, 48), (301, 224)]  # pixels before and after
CROPS = [48, 64, 77, 96]  # pixels; the Python package and the page take such images for one face
FRAME = (640, 480)


def write(folder: Path) -> None:
    """Write all fixtures."""
    astronaut = data.astronaut()  # Eileen Collins, NASA, in the public domain
    Image.fromarray(astronaut).save(folder / "astronaut.png")
    Image.fromarray(astronaut).rotate(-25, Image.Resampling.BICUBIC).save(folder / "tilted.png")
    Image.fromarray(astronaut).resize((8000, 5000)).save(folder / "large.jpg")  # 40 megapixels
    Image.new("RGB", (400, 300), "teal").save(folder / "empty.png")
    for name in ("text.jpg", "text.webm"):
        (folder / name).write_text("This is neither a photo nor a video.")
    write_camera(folder / "camera.y4m", astronaut)
    write_video(folder / "clip.webm", astronaut)
    (folder / "resized.json").write_text(json.dumps([resized(*sizes) for sizes in RESIZED]))
    (folder / "expected.json").write_text(json.dumps(expected(folder, astronaut)))


def write_camera(file: Path, photo: np.ndarray) -> None:
    """Write a still of a face as uncompressed video, which Chromium takes for its camera."""
    planes = cv2.cvtColor(cv2.resize(photo, FRAME), cv2.COLOR_RGB2YUV_I420).tobytes()
    header = "YUV4MPEG2 W{} H{} F10:1 Ip A1:1 C420jpeg\n".format(*FRAME)
    file.write_bytes(header.encode() + (b"FRAME\n" + planes) * 5)


def write_video(file: Path, photo: np.ndarray) -> None:
    """Write a second of a still as WebM."""
    video = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"VP80"), 10, FRAME)
    for _ in range(10):
        video.write(cv2.resize(photo, FRAME)[..., ::-1])
    video.release()


def resized(before: int, after: int) -> dict:
    """Return noise and what Pillow makes of it; it is not square, so that swapped axes show."""
    image = np.random.default_rng(before).integers(0, 256, (before, before + 7, 3), dtype=np.uint8)
    smaller = Image.fromarray(image).resize((after, after), Image.Resampling.BILINEAR)
    return {"before": before, "after": after, "image": image.ravel().tolist(),
            "wanted": np.asarray(smaller).ravel().tolist()}  # fmt: skip


def expected(folder: Path, photo: np.ndarray) -> dict:
    """Write crops of faces; return Python's probabilities for them, by file."""
    faces = [photo[63:170, 170:277], *synthetic.render([0, 3, 6], size=128, seed=1)]
    for number, face in enumerate(faces):
        for size in CROPS:
            smaller = Image.fromarray(face).resize((size, size), Image.Resampling.LANCZOS)
            smaller.save(folder / f"crop-{number}-{size}.png")
    files = sorted(folder.glob("crop-*.png"))
    classifier = predict.load()
    table = classifier.predict(files)
    return {file.name: row[list(classifier.class_names)].tolist()
            for file, (_, row) in zip(files, table.iterrows(), strict=True)}  # fmt: skip


if __name__ == "__main__":
    write(Path(sys.argv[1]))
