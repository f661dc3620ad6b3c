"""Bad input, as a table: what is given, and the result or the one sentence that comes of it.

`python tests/test_bad_input.py` writes the table to results/bad_input.md.
"""

import codecs
import contextlib
import io
import json
import os
import pickle
import runpy
import sys
import tempfile
import unicodedata
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from re import fullmatch
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from keras import layers
from PIL import Image
from synthetic_runs import save_model
from test_datasets import class_folders, face, write, zipped

from emotions import cli, files, predict
from emotions.data import load
from emotions.models.files import CARD
from emotions.predict.classifier import BATCH
from emotions.predict.inputs import single_images

TABLE = REPOSITORY / "results" / "bad_input.md"
INTRODUCTION = """# Bad input

Written by `python tests/test_bad_input.py`; the same cases are tests. A photo is predicted beside a good one, which
always gets its answer. The outcome is a result, or the one sentence that people see.
"""
RED = (200, 0, 0)
USUAL = ("This copy holds", "was held out for", "The test part is small")  # notes on any small data set
# A linear model that knows colours, by weights of the mean of each channel, 0 to 1, and a bias.
KNOWN = {"red": (2, -1, -1, 0), "green": (-1, 2, -1, 0), "blue": (-1, -1, 2, 0), "grey": (0, 0, 0, 0.05),
         "black": (-1 / 3, -1 / 3, -1 / 3, 0.25), "white": (1 / 3, 1 / 3, 1 / 3, -0.75)}  # fmt: skip
SHADES = ("black", "grey", "white")


class Case(NamedTuple):
    name: str
    outcome: Callable[[Path], str]  # given an empty folder; beside it lies colours.keras
    wanted: str  # a regular expression for all of the outcome


def command(*words) -> tuple[int, str, str]:
    """Run a command; return its exit status, and what it printed to standard output and to standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def without(folder: Path, text: str) -> str:
    """Return a text without the place of a folder, on one line."""
    return text.replace(f"{folder}/", "").replace(str(folder), "the folder").replace("\n", " ").strip()


def plain(name: str, mode: str, size: tuple[int, int], colour, folder: Path) -> Path:
    """A photo of one colour."""
    return saved(name, Image.new(mode, size, colour), folder)


def saved(name: str, image: Image.Image, folder: Path, **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


def linear_model(channels: int = 3, known=SHADES, activation="softmax", policy: str = "float32", bias: float = 0):
    weights = 20 * np.array([KNOWN[name] for name in known]).T
    kernel = {1: weights[:3].sum(axis=0, keepdims=True), 3: weights[:3], 4: weights}[channels]
    image = keras.Input((48, 48, channels), dtype="float32")
    x = layers.GlobalAveragePooling2D(dtype=policy)(layers.Rescaling(1 / 255, dtype=policy)(image))
    outputs = layers.Dense(len(known), activation=activation, dtype=policy)
    model = keras.Model(image, outputs(x))
    outputs.set_weights([kernel, weights[3] + bias])
    return model


# Photos


def photo(make: Callable[[Path], Path], folder: Path) -> str:
    """Predict a good photo and what `make` wrote; return the answers about the latter."""
    plain("good.png", "RGB", (48, 48), RED, folder)
    path = make(folder)
    model = folder.parent / "colours.keras"
    status, out, err = command("predict", folder / "good.png", path, "--model", model, "--no-faces", "--json")
    good, *rows = json.loads(out)
    errors = [row["error"] for row in rows if row["error"]]
    assert good["emotion"] == "red" and rows and status == bool(errors)
    assert len(err.splitlines()) == len(errors)
    answers = [row["error"] or f"{row['emotion']}, {row['width']} x {row['height']}" for row in rows]
    return without(folder, " ".join(answers))


def turned(orientation: int, folder: Path) -> Path:
    """A photo that is 60 x 40 when upright; orientations above 4 store it on its side."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    size = (40, 60) if orientation in (5, 6, 7, 8) else (60, 40)
    return saved("turned.jpg", Image.new("RGB", size, RED), folder, exif=exif)


def noise_photo(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3)).astype(np.uint8)
    return saved("cut.jpg", Image.fromarray(noise), folder)


def cut(percent: int, make: Callable[[Path], Path], folder: Path) -> Path:
    """What `make` writes, without its end."""
    path = make(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * percent // 100])
    return path


def with_content(name: str, content: bytes, folder: Path) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def renamed(name: str | bytes, folder: Path) -> Path:
    path = plain("plain.png", "RGB", (48, 48), RED, folder)
    return path.rename(folder / os.fsdecode(name))


def looping_links(folder: Path) -> Path:
    inner = folder / "photos"
    inner.mkdir()
    (inner / "one.png").symlink_to("two.png")
    (inner / "two.png").symlink_to("one.png")
    (inner / "back").symlink_to(inner)
    plain("red.png", "RGB", (48, 48), RED, inner)
    return inner


def dangling_link(folder: Path) -> Path:
    (folder / "photos").mkdir()
    (folder / "photos" / "gone.png").symlink_to(folder / "nothing.png")
    return folder / "photos"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def vanishing(folder: Path) -> str:
    """More photos than are read at a time; the last one is deleted after the first were answered."""
    for i in range(BATCH + 2):
        plain(f"{i:03d}.png", "RGB", (48, 48), RED, folder)
    classifier = predict.load(folder.parent / "colours.keras")
    stream = classifier.rows(single_images(folder), (ValueError, OSError), faces=True, unsure_below=0.0)
    rows = next(stream)
    (folder / f"{BATCH:03d}.png").unlink()
    rows += [row for more in stream for row in more]
    assert len(rows) == BATCH + 2 and [row.get("emotion") for row in rows].count("red") == BATCH + 1
    return without(folder, rows[BATCH]["error"])


def shade(value: float, kind, folder: Path) -> Path:
    return saved("a.tiff", Image.fromarray(np.full((48, 48), value, kind)), folder)


UNREADABLE = r"\S+ cannot be read as an image: "
CUT = UNREADABLE + r"(it is not an image, or its format is unknown|it is cut off)\."
LOOP = UNREADABLE + r"Too many levels of symbolic links\."
RANGE = r"its values range from {0} to {0}, not from 0 to 1 or from 0 to 255\."
SIZE = (48, 48)

PHOTOS = [
    ("RGBA, transparent", partial(plain, "a.png", "RGBA", SIZE, (200, 0, 0, 0)), "white, 48 x 48"),
    ("RGBA, opaque", partial(plain, "a.png", "RGBA", SIZE, (200, 0, 0, 255)), "red, 48 x 48"),
    ("palette", lambda folder: saved("a.png", Image.new("RGB", SIZE, RED).quantize(4), folder), "red, 48 x 48"),
    ("1 bit", partial(plain, "a.png", "1", SIZE, 1), "white, 48 x 48"),
    ("CMYK", partial(plain, "a.jpg", "CMYK", SIZE, (0, 255, 255, 50)), "red, 48 x 48"),
    ("16-bit TIFF", partial(shade, 40000, np.uint16), "grey, 48 x 48"),
    ("float TIFF, 0 to 1", partial(shade, 0.6, np.float32), "grey, 48 x 48"),
    ("float TIFF, 0 to 255", partial(shade, 150, np.float32), "grey, 48 x 48"),
    ("float TIFF, above 255", partial(shade, 5000, np.float32), UNREADABLE + RANGE.format(5000)),
    ("float TIFF, not a number", partial(shade, np.nan, np.float32), UNREADABLE + RANGE.format("nan")),
    *[(f"EXIF orientation {n}", partial(turned, n), "red, 60 x 40") for n in range(2, 9)],
    ("EXIF orientation 9, which there is not", partial(turned, 9), "red, 60 x 40"),
    ("a PNG named .jpg", lambda folder: renamed("a.jpg", folder), "red, 48 x 48"),
    ("a text named .png", partial(with_content, "a.png", b"I am no image, but a text.\n"),
     UNREADABLE + r"it is not an image, or its format is unknown\."),
    ("zero bytes", partial(with_content, "a.png", b""), UNREADABLE + r"it is empty\."),
    *[(f"JPEG, the first {n} %", partial(cut, n, noise_photo), CUT)
      for n in (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)],
    ("1 x 1", partial(plain, "a.png", "RGB", (1, 1), RED), "red, 1 x 1"),
    ("1 x 5000", partial(plain, "a.png", "RGB", (1, 5000), RED), "red, 1 x 5000"),
    ("5000 x 1", partial(plain, "a.png", "RGB", (5000, 1), RED), "red, 5000 x 1"),
    ("40 megapixels", partial(plain, "a.jpg", "RGB", (8000, 5000), RED), "red, 8000 x 5000"),
    ("a decompression bomb: 300 megapixels", partial(plain, "a.png", "1", (30000, 10000), 0),
     UNREADABLE + r"it has 300 megapixels; at most 179 are read\."),
    ("a Korean name", partial(renamed, "웃는 얼굴.png"), "red, 48 x 48"),
    ("a name of two lines", partial(renamed, "two\nlines.png"), "red, 48 x 48"),
    ("a name of two lines, not an image", partial(with_content, "two\nlines.png", b"text"),
     "two lines.png" + UNREADABLE[3:] + r"it is not an image, or its format is unknown\."),
    ("a name that begins with ~", partial(renamed, "~me.png"), "red, 48 x 48"),
    ("~me.png, which is not there", lambda folder: Path("~me.png"), r"There is no file ~me\.png\."),
    ("a folder without files", lambda folder: folder / "empty" if not (folder / "empty").mkdir() else None,
     r"There are no files in the folder empty\."),
    ("links that loop, and a photo between them", looping_links,
     f"{LOOP} red, 48 x 48 {LOOP} {UNREADABLE}it is a link to a folder, which is not followed\\."),
    ("a link to nothing", dangling_link, UNREADABLE + r"No such file or directory\."),
    ("a named pipe", pipe, UNREADABLE + r"it is a pipe, and reading it would wait for ever\."),
]


# Data sets


def described(name: str, path: Path | None, folder: Path) -> str:
    """Load a data set; return what is in it and the unusual notes, or the sentence that refuses it."""
    try:
        dataset = load(name, path)
    except (ValueError, OSError) as reason:  # the command line prints these, with exit status 2
        return without(folder, str(reason))
    counts = ", ".join(f"{len(split)} {part}" for part, split in dataset.splits().items())
    notes = [note for note in dataset.notes if not any(words in note for words in USUAL)]
    return without(folder, " ".join([f"{counts}; {', '.join(dataset.class_names)}.", *notes]))


def fer2013_table(count: int = 21) -> pd.DataFrame:
    """A FER2013 of three rows per class, no two alike; row 3 is in training."""
    pixels = [" ".join(map(str, face(seed)[..., 0].ravel())) for seed in range(count)]
    usage = np.repeat(["Training", "PublicTest", "PrivateTest"], count // 3)
    return pd.DataFrame({"emotion": np.arange(count) % 7, "pixels": pixels, "Usage": usage})


def fer2013(change: Callable[[pd.DataFrame], pd.DataFrame | str | bytes], folder: Path) -> str:
    """Load a fer2013.csv that holds a changed table, or the text or bytes made of it."""
    content = change(fer2013_table())
    content = content.to_csv(index=False) if isinstance(content, pd.DataFrame) else content
    content = content.encode() if isinstance(content, str) else content
    (folder / "fer2013.csv").write_bytes(content)
    return described("fer2013", folder, folder)


def third_row(column: str, value, table: pd.DataFrame) -> pd.DataFrame:
    table = table.astype(object)
    table.loc[3, column] = value
    return table


def class_folder(change: Callable[[Path], object], folder: Path) -> str:
    """Load ten images each of two classes, after a change to their folder."""
    root = class_folders(folder / "mine")
    change(root)
    return described(f"folder:{root}", None, folder)


SIDES = (40, 40)  # those of `class_folders`


def with_only(count: int, root: Path) -> None:
    for file in sorted((root / "calm").iterdir())[count:]:
        file.unlink()


def with_junk(root: Path) -> None:
    for name in (".DS_Store", "calm/.DS_Store", "calm/Thumbs.db", "calm/._0.png"):
        (root / name).write_bytes(b"x")
    for place in (root, root / "calm"):
        write(place / ".ipynb_checkpoints" / "0-checkpoint.png", face(5, SIDES))


def korean(root: Path) -> None:
    """One class, its name composed in one folder and taken apart in another, as macOS does."""
    (root / "calm").rename(root / "행복")
    write(root / unicodedata.normalize("NFD", "행복") / "more.png", face(77, SIDES))


def with_test(root: Path, *classes: str) -> None:
    """Training images of calm and cross, test images of these classes."""
    (root / "train").mkdir()
    for name in ("calm", "cross"):
        (root / name).rename(root / "train" / name)
    for code, name in enumerate(classes):
        write(root / "test" / name / "0.png", face(5000 + code, SIDES))


def archive(rename: Callable[[str], str], folder: Path) -> str:
    """Load a zip archive of class folders whose members are renamed."""
    root = class_folders(folder / "images")
    with zipfile.ZipFile(folder / "mine.zip", "w") as target:
        for file in sorted(root.rglob("*.png")):
            target.writestr(rename(file.relative_to(root).as_posix()), file.read_bytes())
    return described(f"folder:{folder / 'mine.zip'}", None, folder)


def cut_archive(folder: Path) -> str:
    path = zipped(class_folders(folder / "images"), folder / "mine.zip")
    path.write_bytes(path.read_bytes()[:-100])
    return described(f"folder:{path}", None, folder)


FER2013 = "7 train, 7 validation, 7 test; angry, disgust, fear, happy, neutral, sad, surprise."
ROW = r"Row 3 of \S*fer2013\.csv has "
CODES = r": emotions run from 0 to 6, and usages are Training, PublicTest, PrivateTest\."
TWENTY = r"\d+ train, \d validation, \d test; calm, cross\."
BOM = codecs.BOM_UTF8

DATA = [
    ("fer2013.csv, a row of 3 pixels", partial(fer2013, partial(third_row, "pixels", "1 2 3")),
     ROW + r"3 pixels instead of 48 x 48\."),
    ("fer2013.csv, a row without pixels", partial(fer2013, partial(third_row, "pixels", "")),
     ROW + r"0 pixels instead of 48 x 48\."),
    ("fer2013.csv, a word among the pixels", partial(fer2013, partial(third_row, "pixels", "1 " * 2303 + "x")),
     ROW + r"pixels that are no whole numbers\."),
    ("fer2013.csv, a pixel of 300", partial(fer2013, partial(third_row, "pixels", "1 " * 2303 + "300")),
     ROW + r"a pixel of 300: pixels run from 0 to 255\."),
    *[(f"fer2013.csv without {column}", partial(fer2013, lambda table, column=column: table.drop(columns=column)),
       rf".* does not hold fer2013\. Tried: .*no column {column}: its columns are .*")
      for column in ("emotion", "pixels", "Usage")],
    ("fer2013.csv without a header", partial(fer2013, lambda table: table.to_csv(index=False, header=False)),
     r".* does not hold fer2013\. Tried: .*no column emotion: its columns are 0, .{,90}…\).*"),
    ("fer2013.csv, blanks in its header", partial(fer2013, lambda table: table.rename(columns=" {} ".format)), FER2013),
    ("fer2013.csv, a usage nobody knows", partial(fer2013, partial(third_row, "Usage", "Trainin")),
     ROW + "the emotion 3 and the usage Trainin" + CODES),
    ("fer2013.csv, emotion 7", partial(fer2013, partial(third_row, "emotion", 7)),
     ROW + "the emotion 7 and the usage Training" + CODES),
    ("fer2013.csv, an emotion in words", partial(fer2013, partial(third_row, "emotion", "happy")),
     ROW + "the emotion happy and the usage Training" + CODES),
    ("fer2013.csv, emotions as 3.0", partial(fer2013, lambda table: table.astype({"emotion": float})), FER2013),
    ("fer2013.csv, Windows line ends and a byte-order mark",
     partial(fer2013, lambda table: BOM + table.to_csv(index=False, lineterminator="\r\n").encode()), FER2013),
    ("fer2013.csv, UTF-16", partial(fer2013, lambda table: table.to_csv(index=False).encode("utf-16")),
     r"\S*fer2013\.csv cannot be read as a CSV: .*"),
    ("fer2013.csv, cut within a row", partial(fer2013, lambda table: table.to_csv(index=False)[:40_000]),
     r"Row \d of \S*fer2013\.csv has \d+ pixels instead of 48 x 48\."),
    ("fer2013.csv, its header alone", partial(fer2013, lambda table: table[:0]), r"\S*fer2013\.csv has no rows\."),
    ("fer2013.csv, zero bytes", partial(fer2013, lambda table: b""), r"\S*fer2013\.csv cannot be read as a CSV: .*"),
    ("class folders with .DS_Store, Thumbs.db and .ipynb_checkpoints", partial(class_folder, with_junk), TWENTY),
    ("class folders in capitals, with blanks at the end",
     partial(class_folder, lambda root: (root / "calm").rename(root / "CALM ")), TWENTY),
    ("a Korean class, in letters composed and taken apart", partial(class_folder, korean),
     r"\d+ train, \d validation, \d test; cross, 행복\."),
    ("a class missing from test", partial(class_folder, lambda root: with_test(root, "calm")),
     r"16 train, 4 validation, 1 test; calm, cross\. No test image is of the class cross\."),
    ("a class in test alone", partial(class_folder, lambda root: with_test(root, "calm", "cross", "keen")),
     r'The class "keen" has too few distinct images left: it needs one for each split\. .*'),
    ("a class with four images", partial(class_folder, partial(with_only, 4)), TWENTY),
    ("a class with two images", partial(class_folder, partial(with_only, 2)),
     r'The class "calm" has too few distinct images left: it needs one for each split\. .*'),
    ("nested folders in a class",
     partial(class_folder, lambda root: write(root / "calm" / "a" / "b" / "0.png", face(88, SIDES))), TWENTY),
    ("a link in a class that loops", partial(class_folder, lambda root: (root / "calm" / "x.png").symlink_to("x.png")),
     TWENTY + r" 1 of 21 images in mine do not decode and were skipped: calm/x\.png\."),
    ("an image in the place of a folder", lambda folder: described(f"folder:{renamed('a.png', folder)}", None, folder),
     r"a\.png is neither a folder nor a zip archive\."),
    ("a zip with backslashes", partial(archive, lambda name: name.replace("/", "\\")), TWENTY),
    ("a zip with absolute names", partial(archive, "/{}".format),
     r"All names in mine\.zip lead out of it, such as /calm/0\.png\."),
    ("a zip with ..", partial(archive, "../{}".format),
     r"All names in mine\.zip lead out of it, such as \.\./calm/0\.png\."),
    ("a zip with one .. and good names", partial(archive, lambda name: name.replace("calm/0", "../calm/0")),
     TWENTY + r" Left out: 1 name in mine\.zip that would lead out of it, such as \.\./calm/0\.png\."),
    ("a zip without its end", cut_archive, r"mine\.zip is neither a folder nor a zip archive\."),
]


# Model files


def model_file(make: Callable[[Path], Path], options: tuple[str, ...], folder: Path) -> str:
    """Predict a white photo with what `make` wrote; return the answer, or the sentence that refuses the model."""
    white = plain("white.png", "RGB", SIZE, "white", folder)
    path = make(folder)
    status, out, err = command("predict", white, "--model", path, "--no-faces", "--json", *options)
    assert (status, len(err.splitlines())) == ((2, 1) if err else (0, 0))
    return without(folder, err.removeprefix("emotions: ") or json.loads(out)[0]["emotion"])


def stored(name: str, folder: Path, **options) -> Path:
    linear_model(**options).save(folder / name)
    return folder / name


def with_card(card: str, folder: Path) -> Path:
    path = stored("a.keras", folder)
    with zipfile.ZipFile(path, "a") as target:
        target.writestr(CARD, card)
    return path


def with_lambda(name: str, folder: Path) -> Path:
    image = keras.Input((48, 48, 3))
    x = layers.GlobalAveragePooling2D()(layers.Lambda(lambda image: image / 255)(image))
    keras.Model(image, layers.Dense(3, activation="softmax")(x)).save(folder / name)
    return folder / name


def never_built(folder: Path) -> Path:
    with warnings.catch_warnings(action="ignore"):  # Keras warns of it
        keras.Sequential([layers.Flatten(), layers.Dense(3)]).save(folder / "a.keras")
    return folder / "a.keras"


def weights_alone(folder: Path) -> Path:
    linear_model().save_weights(folder / "a.weights.h5")
    return folder / "a.weights.h5"


NO_MODEL = r"\S+ is not a model that Keras can load: "
NO_ARCHIVE = NO_MODEL + r"it is not a \.keras archive, or not all of one\."
NO_NAMES = r"The class names of \S+ are unknown: give them \(class_names, or --classes\), in the order of its outputs\."
GOES_FROM = r"\S+ goes from \({0}\) to \(None, 3\); a model of {1} classes goes from .*\."
NO_SOFTMAX = r"The outputs of the model \S+ are not probabilities: they do not sum to 1\. Let it end in a softmax\."
NAMED = ("--classes", ",".join(SHADES))

MODELS = [
    ("a Lambda layer, .keras", partial(with_lambda, "a.keras"), NAMED, NO_MODEL + ".*Lambda.*"),
    ("a Lambda layer, .h5", partial(with_lambda, "a.h5"), NAMED, NO_MODEL + ".*Lambda.*"),
    ("no emotions.json", partial(stored, "a.keras"), (), NO_NAMES),
    ("no emotions.json, but --classes", partial(stored, "a.keras"), NAMED, "white"),
    ("emotions.json is no JSON", partial(with_card, "{calm"), (), NO_NAMES),
    ("emotions.json without class names", partial(with_card, "{}"), (), NO_NAMES),
    ("emotions.json with numbers for class names", partial(with_card, '{"class_names": [0, 1, 2]}'), (), NO_NAMES),
    ("emotions.json with four class names", partial(with_card, '{"class_names": ["a", "b", "c", "d"]}'), (),
     GOES_FROM.format("None, 48, 48, 3", 4)),
    ("emotions.json with one name twice", partial(with_card, '{"class_names": ["a", "a", "b"]}'), (),
     r"The class names of a\.keras are not distinct: a, a, b\."),
    ("emotions.json, temperature -1", partial(with_card, '{"class_names": ["a", "b", "c"], "temperature": -1}'),
     (), r"The temperature in the card of a\.keras is -1, and must be a positive number\."),
    *[(f".keras, the first {n} %", partial(cut, n, partial(stored, "a.keras")), NAMED, NO_ARCHIVE)
      for n in (0, 50, 99)],
    ("legacy .h5", partial(stored, "a.h5"), NAMED, "white"),
    ("legacy .h5, without --classes", partial(stored, "a.h5"), (), NO_NAMES),
    ("legacy .h5, the first 50 %", partial(cut, 50, partial(stored, "a.h5")), NAMED, NO_MODEL + ".*truncated.*"),
    ("legacy .h5 named .keras", lambda folder: stored("a.h5", folder).rename(folder / "a.keras"), NAMED, NO_ARCHIVE),
    ("weights alone", weights_alone, NAMED, NO_MODEL + ".*"),
    ("input of 4 channels", partial(stored, "a.keras", channels=4), NAMED, GOES_FROM.format("None, 48, 48, 4", 3)),
    ("input of 1 channel", partial(stored, "a.keras", channels=1), NAMED, "white"),
    ("mixed precision inside, float16", partial(stored, "a.keras", policy="mixed_float16"), NAMED, "white"),
    ("mixed precision inside, bfloat16", partial(stored, "a.keras", policy="mixed_bfloat16"), NAMED, "white"),
    ("no softmax", partial(stored, "a.keras", activation=None), NAMED, NO_SOFTMAX),
    ("weights that are not numbers", partial(stored, "a.keras", bias=np.nan), NAMED, NO_SOFTMAX),
    ("a model that was never built", never_built, NAMED, NO_MODEL + ".*no defined input shape yet.*"),
    ("a pickle named .keras", partial(with_content, "a.keras", pickle.dumps({"a": 1})), NAMED, NO_ARCHIVE),
    ("a zip of something else named .keras", lambda folder: zipped(class_folders(folder / "x"), folder / "a.keras"),
     NAMED, NO_MODEL + r"it is a zip archive without a Keras model\."),
    ("a model file that is not there", lambda folder: folder / "no.keras", NAMED, r"There is no file no\.keras\."),
]

CASES = {
    "Photos": [Case(name, partial(photo, make), wanted) for name, make, wanted in PHOTOS]
    + [Case("a photo that vanishes after it was listed", vanishing, UNREADABLE + r"No such file or directory\.")],
    "Data sets": [Case(*case) for case in DATA],
    "Model files": [Case(name, partial(model_file, make, options), wanted) for name, make, options, wanted in MODELS],
}
ALL = [case for cases in CASES.values() for case in cases]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return with_colours(tmp_path_factory.mktemp("bad_input"))


def with_colours(place: Path) -> Path:
    save_model(linear_model(known=tuple(KNOWN)), place / "colours.keras", {"class_names": list(KNOWN)})
    return place


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_bad_input_gets_a_result_or_a_sentence(case, place):
    folder = Path(tempfile.mkdtemp(dir=place))
    outcome = case.outcome(folder)
    assert fullmatch(case.wanted, outcome), outcome


def table(place: Path) -> str:
    """Return the table of all cases with their outcomes, as Markdown."""
    parts = [INTRODUCTION]
    for kind, cases in CASES.items():
        rows = [(case.name, case.outcome(Path(tempfile.mkdtemp(dir=place)))) for case in cases]
        lines = [f"| {name} | {outcome.replace('|', chr(92) + '|')} |" for name, outcome in rows]
        parts.append("\n".join([f"## {kind}", "", "| Given | Outcome |", "| --- | --- |", *lines, ""]))
    return "\n".join(parts)


def test_the_table_in_results_is_up_to_date():
    """The words of libraries may change with their versions: each outcome is compared with what the test wants."""
    rows = [line[2:-2].split(" | ", 1) for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row not in (["Given", "Outcome"], ["---", "---"])]
    assert [name for name, _ in rows] == [case.name for case in ALL]
    for case, (_, outcome) in zip(ALL, rows, strict=True):
        assert fullmatch(case.wanted, outcome), case.name


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_photos_of_extreme_shapes_go_through_the_search_for_faces_and_get_small_copies(size, place):
    classifier, image = predict.load(place / "colours.keras"), Image.new("RGB", size, RED)
    (error,) = classifier.predict([image])["error"]
    assert error is None if size == (1, 1) else "No face was detected" in error
    assert max(predict.annotate(image, classifier.predict(image, faces=False)).shape) <= 1600


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_a_folder_that_may_not_be_read_gets_a_row_and_the_others_are_used(place, tmp_path):
    plain("red.png", "RGB", SIZE, RED, tmp_path)
    (tmp_path / "closed").mkdir(mode=0)
    rows = predict.load(place / "colours.keras").predict(tmp_path)
    (tmp_path / "closed").rmdir()
    assert list(rows["emotion"].fillna("-")) == ["red", "-"]
    assert fullmatch(UNREADABLE + r"Permission denied\.", rows["error"][1])


def test_names_that_a_terminal_cannot_show_are_spelled_out(place, tmp_path, monkeypatch):
    renamed("웃.png", tmp_path)
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    words = ["predict", str(tmp_path), "--model", str(place / "colours.keras"), "--no-faces"]
    monkeypatch.setattr(sys, "argv", ["emotions", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("emotions", run_name="__main__")
    terminal.flush()
    assert end.value.code == 0 and rb"\uc6c3.png" in terminal.buffer.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_a_name_that_is_no_text_is_used_and_spelled_out_in_json(place, tmp_path):
    path = renamed(b"\xff.png", tmp_path)
    status, out, err = command("predict", path, "--model", place / "colours.keras", "--no-faces", "--json")
    assert (status, err) == (0, "") and json.loads(out)[0]["image"] == str(path)


def test_bad_data_is_one_sentence_and_exit_status_2_on_the_command_line(tmp_path):
    status, out, err = command("data", "--data", f"folder:{renamed('a.png', tmp_path)}")
    assert (status, out, err) == (2, "", f"emotions: {tmp_path}/a.png is neither a folder nor a zip archive.\n")


def test_the_table_is_long_and_no_case_is_in_it_twice():
    assert len({case.name for case in ALL}) == len(ALL) >= 40


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        files.write(TABLE, table(with_colours(Path(folder).resolve())))
