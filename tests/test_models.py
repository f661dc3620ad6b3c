"""What the models share: resizing, the champion's net, files, pretrained bases."""

import json
import zipfile

import keras
import numpy as np
import pytest
from conftest import run_under
from keras import layers, ops
from synthetic_runs import save_model

from emotions import models
from emotions.models import files

CARD = {"class_names": ["angry", "happy", "sad"], "dataset": "none"}
IMAGES = np.random.default_rng(1).integers(0, 256, (3, 50, 60, 3)).astype("float32")


def small_compact() -> keras.Model:
    return models.compact(3, size=16, widths=(4, 8))


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    """A net whose weights and statistics are not those it was built with."""
    keras.utils.set_random_seed(0)
    model = small_compact()
    model.compile("adam", "categorical_crossentropy")
    model.fit(IMAGES, np.eye(3), epochs=2, verbose=0)
    return model


# ---------------------------------------------------------------------------------------- what all begin and end with


@pytest.mark.parametrize(("height", "width"), [(48, 48), (30, 40), (100, 333), (7, 300)])
def test_resizing_is_antialiased_bilinear(height, width):
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype("float32")
    expected = layers.Resizing(48, 48, antialias=True)(images)
    np.testing.assert_allclose(np.asarray(models.resize(48)(images)), np.asarray(expected), atol=1e-2)


def test_the_input_size_can_be_read_from_the_model(trained, tmp_path):
    trained.save(file := tmp_path / "x.keras")
    assert models.input_size(trained) == models.input_size(keras.models.load_model(file)) == 16
    assert models.input_size(keras.Sequential([keras.Input((None, None, 3)), layers.Resizing(12, 12)])) == 12
    assert models.input_size(keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten()])) is None


def test_temperature_scaling_divides_the_logits():
    logits = np.random.default_rng(0).normal(0, 3, (5, 7))
    probabilities, cooler = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (logits, logits / 2.5))
    np.testing.assert_allclose(models.temperature_scale(probabilities, 2.5), cooler)
    with pytest.raises(ValueError, match="must be positive"):
        models.temperature_scale(probabilities, 0)


# ------------------------------------------------------------------------------------------------- the champion's net


@pytest.mark.parametrize(
    ("options", "parameters", "trainable"),
    [
        ({}, 1_176_359, 1_174_439),
        ({"widths": (16, 32, 64, 128)}, 295_575, 294_615),
        ({"widths": (64, 128, 256, 512), "convolutions": 3, "dropout": 0.5}, 7_830_855, 7_825_095),
    ],
)
def test_compact_has_its_exact_number_of_parameters(options, parameters, trainable):
    model = models.compact(7, **options)
    assert model.count_params() == parameters
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == trainable


def test_images_of_any_size_become_probabilities(trained):
    for height, width in ((16, 16), (90, 70)):
        images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        probabilities = trained.predict(images, verbose=0)
        assert probabilities.shape == (2, 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_compact_sees_grey(trained):
    grey = np.broadcast_to(IMAGES @ np.float32([[0.2989], [0.587], [0.114]]), IMAGES.shape)
    np.testing.assert_allclose(np.asarray(trained(grey)), np.asarray(trained(IMAGES)), atol=1e-3)


def test_a_model_compiles_with_xla_as_keras_does_on_a_gpu(trained):
    """Stock Keras compiles `predict` with XLA when it sees a GPU; one operation without a kernel would fail there."""
    model = keras.models.clone_model(trained)
    model.set_weights(trained.get_weights())
    model.compile(jit_compile=True)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), np.asarray(trained(IMAGES)), atol=1e-3)


# -------------------------------------------------------------------------------------------------------------- files


def test_a_saved_model_loads_with_stock_keras_and_gives_the_same(trained, tmp_path):
    reloaded = save_model(trained, file := tmp_path / "new" / "compact-none.keras", CARD)
    for model in (keras.models.load_model(file), reloaded):
        np.testing.assert_allclose(np.asarray(model(IMAGES)), np.asarray(trained(IMAGES)), atol=1e-3)
    assert models.read_card(file) == CARD
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_light_copy_has_no_card_until_it_gets_one(trained, tmp_path):
    models.light_copy(trained, file := tmp_path / "x.keras")
    with pytest.raises(ValueError, match="its class names are unknown"):
        models.read_card(file)
    for card in (CARD, CARD | {"dataset": "another"}):
        models.add_card(file, card)
        assert models.read_card(file) == card
        assert zipfile.ZipFile(file).namelist().count(files.CARD) == 1
        keras.models.load_model(file)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_the_same_card_is_the_same_file(trained, tmp_path):
    save_model(trained, file := tmp_path / "x.keras", CARD)
    members = {member.filename: member.date_time for member in zipfile.ZipFile(file).infolist()}
    assert json.loads(zipfile.ZipFile(file).read(files.CARD)) == CARD
    assert members[files.CARD] == (1980, 1, 1, 0, 0, 0)


def test_a_saved_model_is_light(tmp_path):
    model = models.compact(3, size=16, widths=(64, 128))
    model.compile("adam", "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.save(full := tmp_path / "full.keras")
    save_model(model, light := tmp_path / "light.keras", CARD)
    assert light.stat().st_size < 0.55 * model.count_params() * 4
    assert light.stat().st_size < full.stat().st_size / 4  # neither float32 nor the optimizer's state


@pytest.mark.parametrize("factor", [1e7, np.nan])
def test_weights_too_large_for_float16_stay_and_broken_ones_are_not_written(tmp_path, factor):
    model = small_compact()
    kernel = model.get_layer("probabilities").kernel
    kernel.assign(kernel * factor)
    (file := tmp_path / "x.keras").write_text("what was there before")
    if np.isnan(factor):
        with pytest.raises(ValueError, match="was not written"):
            save_model(model, file, CARD)
        assert file.read_text() == "what was there before"
    else:
        save_model(model, file, CARD)
        again = keras.models.load_model(file).get_layer("probabilities").kernel
        np.testing.assert_array_equal(ops.convert_to_numpy(again), ops.convert_to_numpy(kernel))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_weights_for_which_float16_is_too_coarse_stay_float32(tmp_path):
    """The classes differ by less than float16 can tell apart near 1, times thousands."""
    head = layers.Dense(2, activation="softmax", kernel_initializer="ones")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), head])
    head.kernel.assign(ops.stack([ops.full((192,), 1.0001), ops.ones((192,))], axis=1))
    save_model(model, file := tmp_path / "x.keras", CARD)
    again = keras.models.load_model(file).layers[-1].kernel
    np.testing.assert_array_equal(ops.convert_to_numpy(again), ops.convert_to_numpy(head.kernel))


def test_a_model_trained_under_mixed_precision_is_saved_under_float32(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = small_compact()
        save_model(model, file := tmp_path / "x.keras", CARD)
        assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        keras.mixed_precision.set_global_policy("float32")
    again = keras.models.load_model(file)
    assert {layer.dtype_policy.name for layer in again.layers} == {"float32"}
    for expected, weights in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(expected, weights, atol=1e-3)


ELSEWHERE = """
import sys, keras, numpy as np
from keras import ops
np.save(sys.argv[2], ops.convert_to_numpy(keras.models.load_model(sys.argv[1], compile=False)(np.load(sys.argv[3]))))
assert not any(name.startswith("emotions") for name in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_saved_model_gives_the_same_on_another_backend(trained, tmp_path, backend):
    np.save(tmp_path / "images.npy", IMAGES)
    save_model(trained, file := tmp_path / "compact.keras", CARD)
    run_under(backend, ELSEWHERE, file, tmp_path / "there.npy", tmp_path / "images.npy")
    np.testing.assert_allclose(np.load(tmp_path / "there.npy"), np.asarray(trained(IMAGES)), atol=1e-3)


# --------------------------------------------------------------------------------------------------- pretrained bases


@pytest.fixture(scope="module")
def notop() -> keras.Model:
    """A network without its top, for images of 64 px, with a residual and the padding of PyTorch."""
    image = keras.Input((64, 64, 3))
    x = layers.Conv2D(8, 3, strides=4, use_bias=False)(layers.ZeroPadding2D(1)(image))
    x = layers.ReLU(max_value=6.0)(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    return keras.Model(image, layers.Conv2D(12, 1, strides=2)(x), name="net")


@pytest.mark.parametrize("size", [64, 32])
def test_a_base_from_a_keras_file_is_rebuilt_at_another_size(notop, tmp_path, size):
    notop.save(file := tmp_path / "notop.keras")
    base = models.base("MobileNetV2", size, file)
    assert (base.name, base.input_shape, base.output_shape) == (
        "base",
        (None, size, size, 3),
        (None, *[size // 8] * 2, 12),
    )
    for expected, weights in zip(notop.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, weights)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    outputs, expected = np.asarray(base(images[:, :size, :size])), np.asarray(notop(images))
    inner = size // 8 - 1  # what the border of the smaller image does not reach
    np.testing.assert_allclose(outputs[:, :inner, :inner], expected[:, :inner, :inner], atol=1e-5)


def test_a_base_from_a_file_computes_in_the_precision_of_today(notop, tmp_path):
    notop.save(file := tmp_path / "notop.keras")
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        base = models.base("MobileNetV2", 64, file)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {layer.compute_dtype for layer in base.layers[1:]} == {"bfloat16"}
    assert {weight.dtype for weight in base.weights} == {"float32"}


def test_the_base_of_a_run_can_start_another(notop, tmp_path):
    """Trained on one data set, it goes on to the next: the head stays behind, batch norms can be trained again."""
    inputs = keras.Input((None, None, 3))
    base = keras.Model.from_config(notop.get_config() | {"name": "base"})
    base.set_weights([weights + 0.5 for weights in notop.get_weights()])
    models.freeze_batch_norms(base)
    x = layers.Dense(2)(layers.GlobalAveragePooling2D()(base(models.resize(64)(inputs))))
    keras.Model(inputs, x).save(file := tmp_path / "run.keras")
    taken = models.base("MobileNetV2", 32, file)
    assert (taken.name, taken.input_shape, taken.output_shape) == ("base", (None, 32, 32, 3), (None, 4, 4, 12))
    for expected, weights in zip(base.get_weights(), taken.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, weights)
    assert len(taken.trainable_weights) == len(notop.trainable_weights)


def test_a_base_from_a_file_of_weights_and_without(tmp_path):
    original = models.base("MobileNet", 32, None)
    norms = [layer for layer in original.layers if isinstance(layer, layers.BatchNormalization)]
    # Keras' remember hundreds of steps: from scratch, validation would lag behind.
    assert len(norms) == 27 and all(layer.momentum**100 < 0.01 for layer in norms)
    original.save_weights(file := tmp_path / "notop.weights.h5")
    base = models.base("MobileNet", 32, file)
    assert base.name == "base"
    for expected, weights in zip(original.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, weights)
    models.freeze_batch_norms(base)
    frozen = {type(layer).__name__ for layer in base.layers if not layer.trainable}
    assert frozen == {"BatchNormalization"} and len(base.trainable_weights) == 27  # the convolutions' kernels


def start_of_efficientnet(include_top, weights, input_shape, name=None):
    image = keras.Input(input_shape)
    return keras.Model(image, layers.Normalization(axis=3)(layers.Rescaling(1 / 255)(image)), name=name)


@pytest.mark.parametrize(
    "builder", [start_of_efficientnet, pytest.param(keras.applications.EfficientNetB0, marks=pytest.mark.slow)]
)
def test_efficientnet_from_a_file_is_the_function_that_keras_downloads(tmp_path, monkeypatch, builder):
    """Keras adds a second scaling, by 1 / sqrt(deviation), only when it downloads: the file must give the same."""
    monkeypatch.setattr(keras.applications, "EfficientNetB0", builder)
    original = builder(weights=None, include_top=False, input_shape=(32, 32, 3))
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    normalize = next(layer for layer in original.layers if isinstance(layer, layers.Normalization))
    normalize.set_weights([mean, deviation**2, np.zeros((), "int32")][: len(normalize.get_weights())])
    original.save_weights(file := tmp_path / "notop.weights.h5")
    base = models.base("EfficientNetB0", 32, file)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    layer = next(layer for layer in base.layers if isinstance(layer, layers.Normalization))
    normalized = np.asarray(keras.Model(base.input, layer.output)(images))
    np.testing.assert_allclose(normalized, (images / 255 - mean) / deviation / np.sqrt(deviation), atol=2e-3)


def test_what_cannot_be_had_is_said_in_one_sentence(notop, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no file of pretrained weights .*: WEIGHTS=imagenet .*=None"):
        models.base("MobileNetV2", 32, tmp_path / "nowhere.h5")
    notop.save_weights(other := tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match="could not be loaded"):
        models.base("MobileNet", 32, other)

    def offline(*args, weights=None, **options):
        raise Exception(f"URL fetch failure on https://example.org/{weights}.h5: None -- no network")

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    with pytest.raises(FileNotFoundError, match=r"imagenet.h5.*~/.keras/models.*weights=None"):
        models.base("MobileNetV2", 32, "imagenet")
