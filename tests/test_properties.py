"""What must hold for any input: decoding, splits, metrics and crops, on examples that Hypothesis makes up."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics as sk

from emotions.data.images import decode
from emotions.data.reading import SPLITS, Contents, Source
from emotions.data.splits import assemble
from emotions.evaluation.metrics import calibration_error, draws, measure, resampled
from emotions.predict import inputs
from emotions.predict.faces import Face, crop
from emotions.runs import Predictions

few = settings(max_examples=40, deadline=None)
fewer = settings(max_examples=10, deadline=None)  # of what takes a tenth of a second
sides = st.integers(1, 60)
seeds = st.integers(0, 2**32 - 1)
FORMATS = {"1": "PNG TIFF", "L": "PNG JPEG BMP", "LA": "PNG", "P": "PNG GIF", "RGB": "PNG JPEG WEBP",
           "RGBA": "PNG WEBP", "CMYK": "JPEG TIFF", "I;16": "PNG TIFF", "F": "TIFF"}  # fmt: skip


# Decoding


def encoded(mode: str, form: str, width: int, height: int, seed: int, orientation: int) -> bytes:
    """The bytes of a file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    grey = {"I;16": pixels[..., 0].astype(np.uint16) * 257, "F": pixels[..., 0].astype(np.float32)}
    image = Image.fromarray(grey[mode]) if mode in grey else Image.fromarray(pixels).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, form, **({"exif": exif} if form in ("PNG", "JPEG", "WEBP", "TIFF") else {}))
    return buffer.getvalue()


kinds = st.sampled_from([(mode, form) for mode, forms in FORMATS.items() for form in forms.split()])


@few
@given(kinds, sides, sides, seeds, st.integers(0, 9))
def test_any_image_decodes_to_upright_rgb(kind, width, height, seed, orientation):
    mode, form = kind
    image = decode(encoded(mode, form, width, height, seed, orientation))
    on_its_side = form in ("PNG", "JPEG", "WEBP", "TIFF") and orientation in (5, 6, 7, 8)
    assert image.dtype == np.uint8
    assert image.shape == ((width, height, 3) if on_its_side else (height, width, 3))


@few
@given(kinds, sides, sides, seeds, st.tuples(sides, sides))
def test_any_image_decodes_to_the_size_that_was_asked_for(kind, width, height, seed, size):
    assert decode(encoded(*kind, width, height, seed, 6), size).shape == (*size, 3)


def check_reading(content: bytes) -> None:
    """Reading bytes gives an image, or one sentence."""
    try:
        image, shape, _ = inputs.read(content)
    except ValueError as reason:
        assert re.fullmatch(r"The input cannot be read as an image: .+\.", str(reason))  # a point matches no new line
    else:
        whole = image.shape == (*shape, 3) or max(image.shape) == inputs.LARGEST < max(shape)  # large ones are reduced
        assert whole and image.shape[2:] == (3,) and image.dtype == np.uint8


@few
@given(kinds, seeds, st.floats(0, 1))
def test_a_file_cut_anywhere_is_an_image_or_one_sentence(kind, seed, place):
    content = encoded(*kind, 40, 30, seed, 1)
    check_reading(content[: round(place * len(content))])


@few
@given(st.binary(max_size=300))
def test_any_bytes_are_an_image_or_one_sentence(content):
    check_reading(content)


@few
@example(("P", "GIF"), 0, 7, 7)  # a GIF 1,832 pixels wide
@given(kinds, seeds, st.integers(0, 5000), st.integers(1, 255))
def test_a_file_with_a_wrong_byte_is_an_image_or_one_sentence(kind, seed, place, change):
    content = bytearray(encoded(*kind, 40, 30, seed, 6))
    content[place % len(content)] ^= change
    check_reading(bytes(content))


# Splits


@st.composite
def contents(draw) -> pd.DataFrame:
    """The table of a data set of two to four classes, whose images come in groups of one to four copies."""
    copies = [draw(st.lists(st.integers(1, 4), min_size=10, max_size=20)) for _ in range(draw(st.integers(2, 4)))]
    rows = [(f"class {label}", f"{label}-{group}") for label, sizes in enumerate(copies)
            for group, size in enumerate(sizes) for _ in range(size)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["label", "group"]).sample(frac=1, random_state=draw(st.integers(0, 1000)))
    return table.assign(part="", id=[f"image {i}" for i in range(len(table))]).reset_index(drop=True)


def split(table: pd.DataFrame, seed: int):
    images = np.zeros((len(table), 2, 2, 3), np.uint8)
    return assemble("any", Source(read=None), Contents(images, table.copy()), seed=seed)


@fewer
@given(contents(), st.integers(0, 100))
def test_splits_use_every_image_once_and_keep_groups_together(table, seed):
    dataset = split(table, seed)
    group_of = table.set_index("id")["group"]
    label_of = table.set_index("id")["label"]
    parts = dataset.splits()
    assert sorted(np.concatenate([part.ids for part in parts.values()])) == sorted(table["id"])
    groups = {name: set(group_of[part.ids]) for name, part in parts.items()}
    assert all(groups.values())
    assert not any(groups[one] & groups[other] for one in SPLITS for other in SPLITS if one < other)
    for part in parts.values():
        assert [dataset.class_names[label] for label in part.labels] == list(label_of[part.ids])


@fewer
@given(contents(), st.integers(0, 100))
def test_the_same_seed_draws_the_same_splits(table, seed):
    one, other = split(table, seed).splits(), split(table, seed).splits()
    assert all(list(one[name].ids) == list(other[name].ids) for name in SPLITS)


# Metrics


@st.composite
def predictions(draw) -> Predictions:
    """Predictions of any skill, for 5 to 60 images of two to five classes; some classes may be absent."""
    classes, count = draw(st.integers(2, 5)), draw(st.integers(5, 60))
    random = np.random.default_rng(draw(seeds))
    labels = random.integers(classes, size=count)
    logits = draw(st.floats(-3, 8)) * np.eye(classes)[labels] + random.normal(size=(count, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"class {k}" for k in range(classes))
    return Predictions(names, np.array([f"image {i}" for i in range(count)]), labels, probabilities)


def by_scikit_learn(given: Predictions, weights: np.ndarray) -> dict[str, float]:
    classes, answers = range(len(given.class_names)), (given.labels, given.predicted)
    return {
        "accuracy": sk.accuracy_score(*answers, sample_weight=weights),
        "macro_f1": sk.f1_score(*answers, average="macro", zero_division=0, sample_weight=weights),  # of these present
        "mcc": sk.matthews_corrcoef(*answers, sample_weight=weights),
        "log_loss": sk.log_loss(given.labels, given.probabilities, labels=classes, sample_weight=weights),
    }


@fewer
@given(predictions(), st.integers(0, 100))
def test_figures_on_bootstrap_samples_are_scikit_learns(made, seed):
    figures = resampled(made, 5, seed)
    for i, weights in enumerate(draws(len(made), 5, seed)):
        for name, value in by_scikit_learn(made, weights).items():
            assert figures[name][i] == pytest.approx(value, abs=1e-6), name


@fewer
@given(predictions())
def test_figures_agree_with_scikit_learn_and_stay_in_their_ranges(made):
    figures = measure(made, resamples=50)
    for name, value in by_scikit_learn(made, np.ones(len(made))).items():
        assert figures[name] == pytest.approx(value, abs=1e-6), name
    assert -1 <= figures["mcc"] <= 1 and figures["log_loss"] >= 0
    assert all(0 <= figures[name] <= 1 for name in ("accuracy", "macro_f1", "ece"))
    assert all(low <= high for low, high in (figures[f"{name}_interval"] for name in ("accuracy", "mcc", "log_loss")))
    assert np.sum(figures["confusion"]) == figures["n"] == len(made)
    assert np.trace(figures["confusion"]) == round(figures["accuracy"] * len(made))


@few
@given(predictions(), st.integers(1, 20))
def test_the_calibration_error_is_what_its_definition_says(made, bins):
    confidence, right = made.probabilities.max(axis=1), made.predicted == made.labels
    expected = 0.0
    for low, high in zip(np.arange(bins) / bins, np.arange(1, bins + 1) / bins, strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert calibration_error(made.labels, made.probabilities, bins) == pytest.approx(expected, abs=1e-9)


# Crops

places = st.floats(-150, 150)


@few
@given(sides, sides, places, places, st.floats(0, 150), st.floats(-180, 180), seeds)
def test_crops_are_square_and_hold_nothing_but_the_images_pixels(height, width, x, y, side, degrees, seed):
    """Wherever the box lies, however the face is tilted: what lies beyond the image repeats its edge."""
    image = np.random.default_rng(seed).integers(50, 200, (height, width, 3)).astype(np.uint8)
    radians = np.radians(degrees)
    face = Face(x, y, side, side, ((x, y), (x + np.cos(radians), y + np.sin(radians))))
    cut = crop(image, face)
    assert cut.shape == (max(2, round(side)),) * 2 + (3,) and cut.dtype == np.uint8
    assert cut.min() >= image.min() and cut.max() <= image.max()


@few
@given(st.integers(2, 30), st.integers(2, 40), seeds, st.data())
def test_what_a_crop_shares_with_the_image_is_where_it_was(size, side, seed, data):
    image = np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)
    x, y = (data.draw(st.integers(1 - side, size - 1)) for _ in range(2))  # so that they share a pixel at least
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, size), min(y + side, size)
    cut = crop(image, Face(x, y, side, side))
    assert np.array_equal(cut[top - y : bottom - y, left - x : right - x], image[top:bottom, left:right])


@few
@given(st.floats(-80, 80))
def test_the_eyes_of_a_tilted_face_are_level_in_its_crop(degrees):
    middle, apart = np.array([60.0, 60.0]), 16 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    eyes = (middle - apart, middle + apart)
    rows, columns = np.mgrid[:120, :120]
    image = np.zeros((120, 120, 3), np.uint8)
    for channel, (x, y) in enumerate(eyes):  # the left eye is red, the right one green
        image[..., channel] = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)
    cut = crop(image, Face(30, 30, 60, 60, tuple(map(tuple, eyes)))).astype(float)
    rows, columns = np.mgrid[:60, :60]
    left, right = ([(cut[..., k] * axis).sum() / cut[..., k].sum() for axis in (rows, columns)] for k in (0, 1))
    tolerance = 3.0 if abs(degrees) < 5 else 1.0  # a slight tilt stays
    assert abs(left[0] - right[0]) < tolerance and right[1] - left[1] == pytest.approx(32, abs=1)
