"""What filters look for, where it is known by construction."""

import keras
import numpy as np
import pytest
from conftest import run_under
from keras import layers

from emotions.explain import filters

SIZE = 16


def spots() -> keras.Model:
    """Filter 0 sees bright spots, filter 1 dark ones; a second convolution passes them on, coarser."""
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 127.5, -1, name="scale"),
            layers.Conv2D(2, 3, padding="same", activation="relu", name="spots"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(2, 1, use_bias=False, name="passing"),
            layers.ReLU(name="passed"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ],
        name="spots",
    )
    kernel = np.zeros((3, 3, 3, 2), np.float32)
    kernel[..., 0], kernel[..., 1] = 1 / 27, -1 / 27
    model.get_layer("spots").set_weights([kernel, np.zeros(2, np.float32)])
    model.get_layer("passing").set_weights([np.eye(2, dtype=np.float32)[None, None]])
    return model


def squares(count=6):
    """Grey images, each with a bright square of 6 pixels, the brighter the later the image, and its mask."""
    images = np.full((count, SIZE, SIZE, 3), 120, np.uint8)
    mask = np.zeros((count, SIZE, SIZE), bool)
    for number in range(count):
        place = slice(2 + number, 8 + number)
        images[number, place, place] = 180 + 10 * number
        mask[number, place, place] = True
    return images, mask


def test_activations_are_the_maps_behind_activation_functions():
    assert filters.activations(spots()) == {"spots": (16, 16, 2), "passed": (8, 8, 2)}
    dense = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, activation="relu")])
    with pytest.raises(ValueError, match="no convolution with an activation"):
        filters.activations(dense)


def test_the_strongest_patches_are_found_and_cut_out():
    images, _ = squares()
    found = filters.strongest(spots(), images, "spots", [0, 1], count=3)
    assert list(found) == [0, 1] and len(found[0]) == 3
    for patch, grey in zip(found[0], (230, 220, 210), strict=True):  # the brightest squares first, nothing else
        assert patch.shape == (3, 3, 3)
        assert np.all(patch == grey)
    for patch in found[1]:
        assert np.all(patch == 120)
    (later,) = filters.strongest(spots(), images, "passed", [0], count=1)[0]
    assert later.shape == (3, 3, 3)  # max pooling passes on one place


def test_filters_that_vary_most_come_first():
    images, _ = squares()
    assert filters.most_varied(spots(), images, "spots", 2) == [0, 1]
    assert filters.most_varied(spots(), 255 - images, "spots", 1) == [1]


def test_ascent_makes_what_the_filter_sees():
    made = filters.ascent(spots(), "passed", [0, 1], size=SIZE, steps=60)
    assert made.shape == (2, SIZE, SIZE, 3) and made.dtype == np.uint8
    assert made[0].mean() > 200 and made[1].mean() < 50
    np.testing.assert_array_equal(made[..., 0], made[..., 1])


@pytest.mark.parametrize("inside", [True, False])
def test_ascent_wakes_a_filter_that_is_silent_on_noise(inside):
    """Behind a ReLU inside the convolution, or behind one of its own."""
    model = keras.Sequential(
        [
            *spots().layers[:1],
            layers.Conv2D(1, 3, activation="relu" if inside else None, name="spots"),
            layers.ReLU(name="woken"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.build((None, SIZE, SIZE, 3))
    model.get_layer("spots").set_weights([np.full((3, 3, 3, 1), 1 / 27, np.float32), np.array([-0.5], np.float32)])
    assert filters.ascent(model, "spots" if inside else "woken", [0], size=SIZE, steps=60).mean() > 200


def test_density_on_a_part_is_worked_out_by_hand():
    images, mask = squares()
    model = spots()
    weights = model.get_weights()
    table = filters.by_part(model, images, {"square": mask}).set_index("layer")
    assert list(table.index) == ["spots", "passed"] and list(table["depth"]) == [0, 1]
    grey = (images[..., 0] / 127.5 - 1).astype(np.float32)
    share = []
    for one, inside in zip(grey, mask, strict=True):
        padded = np.pad(one, 1)
        mean = sum(padded[i : i + SIZE, j : j + SIZE] for i in range(3) for j in range(3)) / 9
        share.append(np.abs(mean)[inside].sum() / np.abs(mean).sum())  # both filters together
    assert table.loc["spots", "square"] == pytest.approx(np.mean(share) / mask.mean(), rel=1e-3)
    assert table.loc["spots", "square_low"] < table.loc["spots", "square"] < table.loc["spots", "square_high"]
    assert table.loc["spots", "square"] > 3
    without = table.loc["spots", ["square_shuffled_low", "square_shuffled", "square_shuffled_high"]]
    assert without.is_monotonic_increasing and without.nunique() == 3  # several shuffles, which differ
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_layer_that_does_not_exist():
    with pytest.raises(ValueError, match="no feature maps 'spot'; the nearest is spots"):
        filters.ascent(spots(), "spot", [0], size=SIZE)


PROGRAM = """
import sys, numpy as np, keras
from emotions.explain import filters
folder = sys.argv[1]
images, mask = np.load(f"{folder}/images.npy"), np.load(f"{folder}/mask.npy")
model = keras.models.load_model(f"{folder}/model.keras")
patches = filters.strongest(model, images, "spots", [0], 2)[0]
np.savez(f"{folder}/found.npz", patches=patches, made=filters.ascent(model, "passed", [0], SIZE, 5),
         table=filters.by_part(model, images, {"square": mask})[["square", "square_low", "square_shuffled"]])
""".replace("SIZE", str(SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_agree(backend, tmp_path):
    images, mask = squares()
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "mask.npy", mask)
    spots().save(tmp_path / "model.keras")
    run_under(backend, PROGRAM, tmp_path)
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(found["patches"], filters.strongest(spots(), images, "spots", [0], 2)[0])
    assert np.abs(found["made"].astype(int) - filters.ascent(spots(), "passed", [0], SIZE, 5)).max() <= 1
    table = filters.by_part(spots(), images, {"square": mask})[["square", "square_low", "square_shuffled"]]
    np.testing.assert_allclose(found["table"], table, rtol=1e-3)
