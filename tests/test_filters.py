"""What notebook 5 reads in a network, where it is known by construction."""

import keras
import numpy as np
import pytest
from conftest import REPOSITORY, definitions, run_under
from keras import layers

SIZE = 16
notebook = definitions("05")


def spots(norm: bool = False, bias: float = 0.0) -> keras.Model:
    """Filter 0 sees bright spots, filter 1 dark ones; a second convolution passes them on, coarser. With `norm`, each
    activation function is a layer of its own, as in VGG-16 with batch normalisation."""
    activation, names = (None, ("spots_conv_norm", "passed_conv_norm")) if norm else ("relu", ("spots", "passed"))
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(2, 3, padding="same", activation=activation, name=names[0])(x)
    x = layers.ReLU(name="spots_conv_relu")(x) if norm else x
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(2, 1, use_bias=False, activation=activation, name=names[1])(x)
    x = layers.ReLU(name="passed_conv_relu")(x) if norm else x
    base = keras.Model(inputs, x, name="base")
    kernel = np.zeros((3, 3, 3, 2), np.float32)
    kernel[..., 0], kernel[..., 1] = 1 / 27, -1 / 27
    base.get_layer(names[0]).set_weights([kernel, np.full(2, bias, np.float32)])
    base.get_layer(names[1]).set_weights([np.eye(2, dtype=np.float32)[None, None]])
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(base(layers.Rescaling(1 / 127.5, -1, name="scale")(image)))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x), name="spots")


def squares(count=6):
    """Grey images, each with a bright square of 6 pixels, the brighter the later the image, and its mask."""
    images = np.full((count, SIZE, SIZE, 3), 120, np.uint8)
    mask = np.zeros((count, SIZE, SIZE), bool)
    for number in range(count):
        place = slice(2 + number, 8 + number)
        images[number, place, place] = 180 + 10 * number
        mask[number, place, place] = True
    return images, mask


def responses(layer, images):
    read = notebook["reader"](spots(), layer)
    return read, read.predict(images, verbose=0)


def strongest(layer, images, number, count):
    read, maps = responses(layer, images)
    return notebook["patches"](read, images, maps, number, count)


def test_it_reads_one_layer_or_several_behind_the_activation_function():
    images, _ = squares()
    before, after = notebook["reader"](spots(), ["spots", "passed"]).predict(images, verbose=0)
    assert before.shape == (6, SIZE, SIZE, 2) and after.shape == (6, 8, 8, 2)
    assert before[0, 4, 4, 0] == pytest.approx(180 / 127.5 - 1, abs=1e-5) and before[0, 4, 4, 1] == 0
    np.testing.assert_allclose(responses("passed", images)[1], after, atol=1e-6)
    names = [layer.name for layer in notebook["vgg_base"](48).layers]
    assert len(notebook["EVERY"]) == 13 and set(notebook["LAST"]) < set(notebook["EVERY"]) < set(names)


def test_the_strongest_patches_are_found_and_cut_out():
    images, _ = squares()
    found = strongest("spots", images, 0, count=3)
    assert len(found) == 3
    for patch, grey in zip(found, (230, 220, 210), strict=True):  # the brightest squares first, nothing else
        assert patch.shape == (3, 3, 3)
        assert np.all(patch == grey)
    for patch in strongest("spots", images, 1, count=3):
        assert np.all(patch == 120)
    (later,) = strongest("passed", images, 0, count=1)
    assert later.shape == (3, 3, 3)  # max pooling passes on one place


def test_filters_that_vary_most_come_first_and_silent_ones_last():
    images, _ = squares()
    assert notebook["most_varied"](responses("spots", images)[1]).tolist() == [0, 1]
    assert notebook["most_varied"](responses("spots", 255 - images)[1], 1).tolist() == [1]
    maps = np.ones((20, 4, 4, 3))
    maps[..., 0], maps[0, ..., 0] = 0, 9  # responds to one image of twenty
    maps[:10, ..., 1] = 2
    assert notebook["most_varied"](maps, 3).tolist() == [1, 2, 0]


def test_ascent_makes_what_the_filter_sees():
    made = notebook["ascent"](spots(), "passed", [0, 1], steps=60, size=SIZE)
    assert made.shape == (2, SIZE, SIZE, 3) and made.min() >= 0 and made.max() <= 255
    assert made[0].mean() > 200 and made[1].mean() < 50
    np.testing.assert_array_equal(made[..., 0], made[..., 1])


@pytest.mark.parametrize("norm", [False, True])
def test_ascent_wakes_a_filter_that_is_silent_on_noise(norm, monkeypatch):
    """Behind a ReLU inside the convolution, or behind one of its own."""
    monkeypatch.setitem(notebook, "NORM", norm)
    model = spots(norm, bias=-0.5)
    assert notebook["ascent"](model, "spots_conv_relu" if norm else "spots", [0], steps=60, size=SIZE).mean() > 200
    assert norm or model.get_layer("base").get_layer("spots").activation is keras.activations.relu  # as it was


def test_the_share_inside_a_part_is_worked_out_by_hand():
    images, mask = squares()
    active = notebook["activity"](spots(), ["spots", "passed"])
    shares = notebook["shares_inside"](active, images, {"square": mask})["square"]
    assert shares.shape == (2, 6)
    grey = (images[..., 0] / 127.5 - 1).astype(np.float32)
    for share, one, inside in zip(shares[0], grey, mask, strict=True):
        padded = np.pad(one, 1)
        mean = sum(padded[i : i + SIZE, j : j + SIZE] for i in range(3) for j in range(3)) / 9
        assert share == pytest.approx(np.abs(mean)[inside].sum() / np.abs(mean).sum(), rel=1e-3)  # both filters
    assert (shares[0] / mask.mean(axis=(1, 2))).mean() > 3


def test_shuffled_weights_keep_their_numbers_and_lose_their_places():
    weights = [np.arange(24.0).reshape(2, 3, 4), np.arange(5.0)]
    first, again, other = (notebook["shuffled"](weights, seed) for seed in (0, 0, 1))
    for old, a, b, c in zip(weights, first, again, other, strict=True):
        assert a.shape == old.shape and np.array_equal(np.sort(a, axis=None), old.ravel())
        assert np.array_equal(a, b) and not np.array_equal(a, c) and not np.array_equal(a, old)


PROGRAM = f"""
import sys, numpy as np
folder, tests = sys.argv[1:]
sys.path.insert(0, tests)
from test_filters import notebook, spots, squares, strongest
images, mask = squares()
active = notebook["activity"](spots(), ["spots", "passed"])
np.savez(f"{{folder}}/found.npz", patches=strongest("spots", images, 0, 2),
         made=notebook["ascent"](spots(), "passed", [0], 5, {SIZE}),
         shares=notebook["shares_inside"](active, images, {{"square": mask}})["square"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_agree(backend, tmp_path):
    images, mask = squares()
    run_under(backend, PROGRAM, tmp_path, REPOSITORY / "tests")
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(found["patches"], strongest("spots", images, 0, 2))
    np.testing.assert_allclose(found["made"], notebook["ascent"](spots(), "passed", [0], 5, SIZE), atol=1)
    active = notebook["activity"](spots(), ["spots", "passed"])
    shares = notebook["shares_inside"](active, images, {"square": mask})["square"]
    np.testing.assert_allclose(found["shares"], shares, rtol=1e-3)
