"""Are composites mean faces of enough people, aligned, and of the images they name?"""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from matplotlib.colors import same_color
from test_plots import close_figures, predictions_of, titles  # noqa: F401

from emotions import plots
from emotions.colors import EMOTION_COLORS
from emotions.data import Split, synthetic
from emotions.plots.faces import SIDE, _aligned, _cell, _normalised
from emotions.runs import Predictions

CLASSES = ("angry", "happy", "sad")


@pytest.fixture(scope="module")
def drawn() -> Split:
    """Twelve drawn faces of each of three emotions."""
    labels = np.repeat(np.arange(3), 12)
    images = synthetic.render([synthetic.CLASS_NAMES.index(CLASSES[k]) for k in labels], size=48, difficulty=0.1)
    return Split(images, labels, np.array([f"face_{i}" for i in range(36)]))


def shown(figure) -> list[np.ndarray]:
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes]


def is_empty(image) -> bool:
    return np.ptp(image) == 0


def assert_grey(group):
    """Of too few photos nothing is shown, and no image is counted."""
    image, used = plots.composite(group)
    assert image.shape == (SIDE, SIDE, 3) and is_empty(image) and used == 0


def test_a_composite_needs_eight_different_photos(drawn):
    image, used = plots.composite(drawn.images[:12])
    assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8 and 8 <= used <= 12
    for group in (drawn.images[:7], drawn.images[:0],
                  np.repeat(drawn.images[:1], 12, axis=0),  # identical images count once
                  replace(drawn.take(np.arange(12)), groups=np.arange(12) // 2)):  # two images of each photo
        assert_grey(group)


def test_other_crops_of_one_photo_count_once(drawn):
    crops = np.stack([np.roll(drawn.images[0], (x, y), axis=(0, 1)) for x in (-1, 0, 1) for y in (-1, 0, 1)])
    assert_grey(crops)


def test_faces_are_moved_turned_and_scaled_back(drawn):
    face = _normalised(drawn.images[0])
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 8, 1.08)
    turn[:, 2] += (4, -3)
    moved = cv2.warpAffine(face, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)

    def distance(other):
        return np.abs(other - face)[16:-16, 16:-16].mean()

    assert distance(_aligned(moved, face)) < 0.3 * distance(moved)
    noise = np.random.default_rng(0).normal(size=face.shape).astype(np.float32)
    assert _aligned(noise, face) is None, "what is no face does not converge, or lands far away"


def test_contrast_does_not_count(drawn):
    dark = (drawn.images[:12] // 3 + 10).astype(np.uint8)
    one, other = (plots.composite(images)[0].astype(float) for images in (drawn.images[:12], dark))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95
    assert abs(one.mean() - other.mean()) < 10 and abs(one.std() - other.std()) < 10


def test_composites_name_their_n_and_leave_small_groups_empty(drawn):
    groups = {name: drawn.take(drawn.labels == k) for k, name in enumerate(CLASSES)}
    groups["sad"] = groups["sad"].take(np.arange(3))
    groups["happy"] = replace(groups["happy"], groups=np.zeros(12, int))  # all of one photo
    figure = plots.composites(groups, "drawn faces")
    first, second, third = titles(figure)
    assert first.startswith("angry\nn = ") and first.endswith("12")
    assert second == "happy\nn = 12, too few align" and third == "sad\nn = 3, too few align"
    assert [is_empty(image) for image in shown(figure)] == [False, True, True]
    assert same_color(figure.axes[1].spines["left"].get_edgecolor(), EMOTION_COLORS["happy"])
    assert figure.get_supxlabel() == "drawn faces"


def shuffled_predictions(drawn):
    """All angry faces are predicted as sad, one happy one as angry, in another order than the split."""
    said = drawn.labels.copy()
    said[drawn.labels == 0] = 2
    said[12] = 0
    predictions = predictions_of(said, drawn.labels)
    predictions = replace(predictions, ids=drawn.ids)
    return predictions.take(np.random.default_rng(0).permutation(36))


def test_mistakes_are_composites_of_the_most_frequent_pairs(drawn):
    figure = plots.mistakes(shuffled_predictions(drawn), drawn)
    first, second = titles(figure)
    assert first.startswith("true: angry\npredicted: sad\nn = ") and first.endswith("12")
    assert second == "true: happy\npredicted: angry\nn = 1, too few align"
    assert [is_empty(image) for image in shown(figure)] == [False, True]
    perfect = replace(predictions_of(drawn.labels, drawn.labels), ids=drawn.ids)
    assert titles(plots.mistakes(perfect, drawn)) == ["no mistakes\nn = 0, too few align"]


def test_the_images_of_a_confusion_are_found_by_their_ids_the_most_confident_first(drawn):
    probabilities = np.array([[0.2, 0.8, 0], [0.4, 0.6, 0], [0.9, 0.1, 0], [0.1, 0.9, 0], [0, 0.9, 0.1]])
    predictions = Predictions(CLASSES, drawn.ids[[3, 1, 0, 2, 30]], np.array([0, 0, 0, 0, 2]), probabilities)
    cell = _cell(predictions, drawn, 0, 1)
    assert cell.ids.tolist() == ["face_2", "face_3", "face_1"]
    assert np.array_equal(cell.images, drawn.images[[2, 3, 1]])
    with pytest.raises(ValueError, match="no image face_2"):
        _cell(predictions, drawn.take(np.array([0, 1, 3])), 0, 1)


def test_confusion_in_faces_counts_every_cell(drawn):
    figure = plots.confusion_faces(shuffled_predictions(drawn), drawn, "drawn")
    assert titles(figure) == ["0", "0", "12", "1", "11", "0", "0", "0", "12"]
    assert [not is_empty(image) for image in shown(figure)] == [int(n) >= 8 for n in titles(figure)]
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == list(CLASSES)
    assert [axis.get_xlabel() for axis in figure.axes[-3:]] == list(CLASSES)


def test_image_grid_shows_every_image_under_its_title():
    images = [np.full((4, 4, 3), 9, np.uint8), np.arange(16.0).reshape(4, 4), np.full((2, 2, 3), 7, np.uint8)]
    figure = plots.image_grid(images, ["a", "b", "c"], ["red", "blue", "red"], 2, ["early", "late"], "caption " * 30)
    assert titles(figure) == ["a", "b", "c"]
    assert all(np.array_equal(one, other) for one, other in zip(shown(figure), images, strict=True))
    assert same_color(figure.axes[1].spines["left"].get_edgecolor(), "blue")
    assert [axis.get_ylabel() for axis in figure.axes] == ["early", "", "late"]
    assert "\n" in figure.get_supxlabel(), "a long caption has several lines"
