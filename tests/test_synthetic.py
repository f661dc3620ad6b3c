"""Drawn faces: the same again, the truth where it is said to be, harder when asked, and fast enough."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from emotions.data.synthetic import ACTION_UNITS, CLASS_NAMES, EMOTIONS, PARTS, load, render


def true_labels(split) -> np.ndarray:
    """The ids end in the class drawn, whatever the noise made of the labels."""
    return np.array([CLASS_NAMES.index(name.rsplit("_", 1)[1]) for name in split.ids])


def code(name):
    return CLASS_NAMES.index(name)


def height(mask):
    """Mean row of each mask, as a share of the image's side."""
    rows = np.arange(mask.shape[1])[None, :, None]
    return (mask * rows).sum((1, 2)) / mask.sum((1, 2)) / mask.shape[1]


def faces(emotion, n=40, difficulty=0.0, **arguments):
    """The same n people, all with one expression."""
    return render(np.full(n, code(emotion)), difficulty=difficulty, masks=True, **arguments)


def accuracy(difficulty):
    """Test accuracy of a linear classifier on 16 x 16 grey pixels."""
    labels = np.arange(700) % 7
    grey = render(labels, size=64, difficulty=difficulty).mean(-1).reshape(700, 16, 4, 16, 4).mean((2, 4))
    pixels = grey.reshape(700, -1) / 255
    return RidgeClassifier(10.0).fit(pixels[:490], labels[:490]).score(pixels[490:], labels[490:])


def test_class_names_are_the_seven_emotions_in_alphabetical_order():
    assert CLASS_NAMES == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert all(unit in ACTION_UNITS for units in EMOTIONS.values() for unit in units)


@pytest.mark.parametrize("size", [48, 64, 97])
def test_render_returns_rgb_images_and_masks_of_the_size_asked_for(size):
    images, parts = render([0, 3, 6], size=size, masks=True)
    assert images.shape == (3, size, size, 3) and images.dtype == np.uint8
    assert set(parts) == set(PARTS)
    assert all(mask.shape == (3, size, size) and mask.dtype == bool for mask in parts.values())
    assert (images.std((1, 2)) > 10).all()


def test_a_image_depends_on_its_seed_number_and_label_alone():
    labels = np.arange(300) % 7                       # more than one batch
    images, parts = render(labels, masks=True)
    chosen = [299, 7, 100]
    again, parts_again = render(labels[chosen], numbers=chosen, masks=True)
    assert np.array_equal(again, images[chosen])
    assert all(np.array_equal(parts_again[part], parts[part][chosen]) for part in PARTS)
    assert np.array_equal(render(labels), images)     # masks change nothing
    assert not np.array_equal(render(labels[:5], seed=1), images[:5])
    assert len({image.tobytes() for image in images}) == 300


def test_one_number_under_two_labels_is_one_person():
    happy, sad = (render([code(name)] * 6, difficulty=0, numbers=range(6)) for name in ("happy", "sad"))
    same = np.abs(happy.astype(int) - sad).mean((1, 2, 3))
    other = np.abs(happy.astype(int) - np.roll(sad, 1, axis=0)).mean((1, 2, 3))
    assert (same > 0).all() and same.max() < 0.5 * other.min()


def test_brows_lie_above_eyes_above_nose_above_mouth():
    _, parts = render(np.arange(70) % 7, difficulty=0, masks=True)
    rows = [height(parts[part]) for part in ("brows", "eyes", "nose", "mouth")]
    assert all((low - high > 0.02).all() for high, low in pairwise(rows))
    share = {part: mask.mean() for part, mask in parts.items()}
    assert all(0.003 < value < 0.06 for value in share.values()), share


def test_masks_cover_what_is_drawn():
    # One person in one situation, noise included: two images differ only where the expression does.
    neutral, surprised = (faces(name, 100, 0.6) for name in ("neutral", "surprise"))
    change = np.abs(neutral[0].astype(float) - surprised[0]).mean(-1)
    features = {part: neutral[1][part] | surprised[1][part] for part in ("mouth", "eyes", "brows")}
    elsewhere = change[~np.any(list(features.values()), axis=0)].mean()
    for part, mask in features.items():
        assert change[mask].mean() > 4 * elsewhere, part


def test_what_is_hidden_is_not_in_the_masks():
    whole, hidden = (faces("neutral", 60, difficulty)[1] for difficulty in (0.0, 1.0))
    assert all(mask.any((1, 2)).all() for mask in whole.values())
    assert not all(mask.any((1, 2)).all() for mask in hidden.values())


def test_action_units_move_what_they_should():
    parts = {name: faces(name)[1] for name in CLASS_NAMES}
    area = {name: parts[name]["mouth"].mean() for name in CLASS_NAMES}
    eyes = {name: parts[name]["eyes"].mean() for name in CLASS_NAMES}
    brows = {name: height(parts[name]["brows"]).mean() for name in CLASS_NAMES}

    def tall(name):                                   # rows that the mouth spans
        return parts[name]["mouth"].any(2).sum(1).mean()

    def wide(name):
        return parts[name]["mouth"].any(1).sum(1).mean()

    def curve(name):                                  # how far the mouth's corners lie below its middle
        corners, middles = [], []
        for mask in parts[name]["mouth"]:
            columns = np.flatnonzero(mask.any(0))
            rows = [np.flatnonzero(mask[:, column]).mean() for column in columns]
            corners.append((rows[0] + rows[-1]) / 2)
            middles.append(rows[len(rows) // 2])
        return np.mean(corners) - np.mean(middles)

    assert tall("surprise") > 1.8 * tall("neutral")                      # 26 opens the mouth
    assert area["angry"] < area["neutral"]                               # 23 tightens the lips
    assert curve("happy") < curve("neutral") - 2 and curve("sad") > curve("neutral") + 2    # 12 up, 15 down
    assert wide("fear") > wide("surprise") + 3                           # 20 stretches the lips
    assert wide("happy") > wide("neutral")
    assert eyes["surprise"] > eyes["neutral"] > eyes["happy"]            # 5 opens the lids, 6 narrows them
    assert brows["surprise"] < brows["fear"] < brows["neutral"] < brows["angry"]    # 1 and 2 up, 4 down


def test_a_simple_classifier_learns_it_and_difficulty_makes_it_harder():
    easy, hard = accuracy(0.0), accuracy(1.0)
    assert easy > 0.6
    assert hard < easy - 0.25


def test_load_gives_balanced_disjoint_splits_with_stable_ids():
    dataset = load(70, 14, 28, size=32)
    assert dataset.name == "synthetic" and dataset.class_names == CLASS_NAMES
    assert [len(split) for split in dataset.splits().values()] == [70, 14, 28]
    images = [image.tobytes() for split in dataset.splits().values() for image in split.images]
    ids = [i for split in dataset.splits().values() for i in split.ids]
    assert len(set(images)) == len(set(ids)) == 112
    for split in dataset.splits().values():
        assert set(np.bincount(split.labels, minlength=7)) == {len(split) // 7}
        assert np.array_equal(true_labels(split), split.labels)
    again = load(70, 14, 28, size=32)
    assert np.array_equal(again.train.ids, dataset.train.ids)
    assert np.array_equal(again.test.images, dataset.test.images)
    assert not dataset.copied


def test_label_noise_flips_the_share_asked_for_and_the_truth_is_known():
    clean, noisy = load(200, 50, 100, size=32), load(200, 50, 100, size=32, label_noise=0.1)
    for split, truth in zip(noisy.splits().values(), clean.splits().values(), strict=True):
        assert np.array_equal(split.images, truth.images) and np.array_equal(split.ids, truth.ids)
        assert np.array_equal(true_labels(split), truth.labels)
        assert (split.labels != truth.labels).sum() == round(0.1 * len(split))
        assert split.labels.min() >= 0 and split.labels.max() <= 6


def test_duplicates_are_exact_copies_of_test_images_in_train():
    dataset = load(100, 20, 50, size=32, duplicates=0.2)
    train = {image.tobytes() for image in dataset.train.images}
    found = {i for i, image in zip(dataset.test.ids, dataset.test.images, strict=True) if image.tobytes() in train}
    assert len(found) == 10 and found == dataset.copied
    assert len(train) == 100 and len(set(dataset.train.ids)) == 100


@pytest.mark.parametrize(("call", "says"), [
    (lambda: render([7]), "Found labels from 7 to 7"),
    (lambda: render([0], difficulty=2), "Found the difficulty 2"),
    (lambda: render([0, 1], numbers=[5]), "2 labels and 1 numbers"),
    (lambda: load(10, 5, 20, duplicates=0.9), "10"),
    (lambda: load(10, 5, 20, label_noise=-0.1), "label_noise=-0.1"),
])
def test_wrong_input_gets_one_clear_sentence(call, says):
    with pytest.raises(ValueError, match=says):
        call()
