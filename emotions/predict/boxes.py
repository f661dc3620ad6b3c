"""Draw predictions: a box with the emotion and its confidence at every face, on copies of the images."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageColor, ImageDraw, ImageFont

from emotions.colors import colors
from emotions.files import expanded, written
from emotions.predict import inputs

COPY = ".annotated.jpg"  # such files in a folder are not read as images: see data.images.HIDDEN
SMALLEST = 320  # pixels on the shorter side: smaller images are enlarged, so that the text is readable


def annotate(image, faces: pd.DataFrame) -> np.ndarray:
    """Return a copy with a box in the colour of the emotion, its name and its confidence at every face.

    `image` is one, in any form that `Classifier.predict` takes, and `faces` what that returned for it. The copy is
    uint8, H x W x 3, RGB, with at most 1600 pixels on the longer side."""
    ((_, source),) = inputs.single_images(image)
    pixels, shape, _ = inputs.read(source)
    larger = max(1, min(-(-SMALLEST // min(pixels.shape[:2])), inputs.LARGEST // max(pixels.shape[:2])))
    canvas = Image.fromarray(pixels).resize((larger * pixels.shape[1], larger * pixels.shape[0]))
    return draw_boxes(canvas, canvas.width / shape[1], faces)


def draw_boxes(canvas: Image.Image, scale: float, faces: pd.DataFrame) -> np.ndarray:
    """Draw faces, as of `annotate`, on an image `scale` times as large as the one they were found in; return it."""
    line = max(2, max(canvas.size) // 400)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(8 * line)
    for face in faces[faces["error"].isna()].to_dict("records"):
        x, y, width, height = (round(scale * face[side]) for side in ("x", "y", "width", "height"))
        width, height = max(1, width), max(1, height)  # of a strip, one side may be rounded to nothing
        colour, text = ImageColor.getrgb(*colors([face["emotion"]])), f" {face['emotion']} {face['confidence']:.1%} "
        ink = "black" if np.dot(colour, (0.299, 0.587, 0.114)) > 127 else "white"  # by the colour's Rec. 601 luma
        draw.rectangle((x - 1, y - 1, x + width, y + height), outline="white", width=line + 2)
        draw.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=line)
        right, bottom = (round(n) for n in draw.textbbox((0, 0), text, font)[2:])
        left, top = min(max(x, 0), max(0, canvas.width - right)), max(0, y - bottom - line)
        draw.rectangle((left, top, left + right, top + bottom + line), fill=colour)
        draw.text((left, top), text, ink, font)
    return np.asarray(canvas)


def save_copy(file: str, faces: pd.DataFrame, folder: str | Path, base: str | Path) -> None:
    """Write the annotated copy of a file below `folder`, as the file lies below `base`: `x.png.annotated.jpg`."""
    path = expanded(file)
    copy = Path(folder) / path.parent.resolve().relative_to(base) / f"{path.name}{COPY}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()  # on a full disk Pillow itself would leave out the end of a file without a word
    Image.fromarray(annotate(file, faces)).save(encoded, format="JPEG", quality=95)
    with written(copy) as temporary:
        temporary.write_bytes(encoded.getvalue())
