import json
import zipfile

import keras
import numpy as np
import pytest
from conftest import run_under

from emotions.models import registry as models
from emotions.models.layers import input_size, resize
from emotions.training import fit as training

# Parameters with 7 classes and what of them is trainable, at the architecture's own size.
PARAMETERS = {
    "lenet": (6_153_163, 6_152_899),
    "lenet-unweighted": (6_153_163, 6_152_899),
    "resnet34": (21_305_287, 21_288_263),
    "efficientnetb4-functional": (18_135_398, 18_009_679),
    "efficientnetb4-sequential": (18_135_398, 18_009_679),
    "efficientnetb0": (4_058_538, 4_016_515),
    "vgg16": (14_718_279, 14_718_279),
    "resnet50v2": (24_757_255, 24_706_695),
    "mobilenetv2": (2_266_951, 2_232_839),
    "mobilenetv2-scratch": (2_266_951, 2_232_839),
    "custom-vit": (1_969_159, 1_969_159),
    "custom-vit-48": (818_183, 818_183),
    "hf-vit-tiny": (5_525_383, 5_525_383),
    "hf-vit-tiny-scratch": (5_525_383, 5_525_383),
    "hf-vit-base": (85_802_503, 85_802_503),
    "compact": (295_575, 294_615),
    "champion": (1_176_359, 1_174_439),
    "champion-large": (7_830_855, 7_825_095),
}


def counted(model) -> tuple[int, int]:
    return model.count_params(), sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_every_model_has_its_exact_number_of_parameters():
    assert {name: counted(models.build(name, 7)) for name in models.MODELS} == PARAMETERS


def test_the_figures_that_the_papers_and_projects_give():
    assert models.build("lenet", 3).count_params() == 6_153_119
    resnet = models.build("resnet34", 3)
    assert counted(resnet)[1] - (512 * 3 + 3) == 21_284_672  # torchvision's, without its top
    two_phase = models.build("resnet50v2", 7)
    training.set_trainable(two_phase, "head")
    assert counted(two_phase) == (24_757_255, 1_187_335)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (30, 40), (100, 333), (7, 300)])
def test_resizing_is_antialiased_bilinear(height, width):
    pictures = np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype("float32")
    expected = keras.layers.Resizing(48, 48, antialias=True)(pictures)
    np.testing.assert_allclose(np.asarray(resize(48)(pictures)), np.asarray(expected), atol=1e-2)


def test_a_model_compiles_with_xla_as_keras_does_on_a_gpu():
    """Stock Keras compiles `predict` with XLA when it sees a GPU; one operation without a kernel would fail there."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3)).astype("float32")
    for name in ("lenet", "champion", "vgg16"):
        model = models.build(name, 3, size=32)
        plain = np.asarray(model(pictures))
        model.compile(jit_compile=True)
        np.testing.assert_allclose(model.predict(pictures, verbose=0), plain, atol=1e-3, err_msg=name)


def test_the_input_size_can_be_read_from_the_model(tmp_path):
    model = models.build("champion", 3, size=32)
    model.save(file := tmp_path / "x.keras")
    assert input_size(model) == input_size(keras.models.load_model(file)) == 32
    assert input_size(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])) is None


@pytest.mark.parametrize("name", [name for name in models.MODELS if name not in ("hf-vit-base", "lenet-unweighted")])
def test_pictures_of_any_size_become_probabilities(name):
    model = models.build(name, 7, size=48)
    for height, width in ((48, 48), (90, 70)):
        pictures = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        found = model.predict(pictures, verbose=0)
        assert found.shape == (2, 7)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "family"), [("vgg16", "vgg16"), ("resnet50v2", "resnet_v2"), ("mobilenetv2", "mobilenet_v2")]
)
def test_a_family_sees_pictures_scaled_as_it_was_trained_on(name, family):
    model = models.build(name, 3, size=64)
    scaled = keras.Model(model.input, model.get_layer("scale").output)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    expected = getattr(keras.applications, family).preprocess_input(pictures.copy())
    np.testing.assert_allclose(np.asarray(scaled(pictures)), expected, atol=1e-3)


def test_efficientnet_scales_inside():
    model = models.build("efficientnetb0", 3, size=64)
    first = [layer for layer in model.get_layer("base").layers if isinstance(layer, keras.layers.Rescaling)]
    assert len(first) == 1 and first[0].scale == pytest.approx(1 / 255)
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)


@pytest.mark.parametrize("power", [1, 2])  # what is stored as the variance: the deviation, or its square
def test_efficientnet_from_a_file_is_the_function_that_keras_downloads(tmp_path, power):
    """Keras adds a second scaling, by 1 / sqrt(deviation), only when it downloads: the file must give the same."""
    original = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(64, 64, 3))
    deviation = np.array([0.229, 0.224, 0.225], "float32")
    mean = np.array([0.485, 0.456, 0.406], "float32")
    normalize = next(layer for layer in original.layers if isinstance(layer, keras.layers.Normalization))
    normalize.set_weights([mean, deviation**power, np.zeros((), "int32")][: len(normalize.get_weights())])
    original.save_weights(file := tmp_path / "notop.weights.h5")
    ours = models.application("EfficientNetB0", 64, file)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")

    def normalized(base):
        layer = next(layer for layer in base.layers if isinstance(layer, keras.layers.Normalization))
        return np.asarray(keras.Model(base.input, layer.output)(pictures))

    as_downloaded = (pictures / 255 - mean) / np.sqrt(deviation**power) / np.sqrt(deviation)
    np.testing.assert_allclose(normalized(ours), as_downloaded, atol=2e-3)


def test_pretrained_weights_are_read_from_a_file(tmp_path):
    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(96, 96, 3))
    base.save_weights(file := tmp_path / "notop.weights.h5")
    model = models.build("mobilenetv2", 7, weights=file)
    for expected, found in zip(base.get_weights(), model.get_layer("base").get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_what_cannot_be_had_is_said_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"no model named 'resnet43'\. Did you mean 'resnet34'"):
        models.build("resnet43", 7)
    with pytest.raises(ValueError, match="always trained from scratch"):
        models.build("lenet", 7, weights="imagenet")
    with pytest.raises(FileNotFoundError, match="no file of pretrained weights at"):
        models.build("mobilenetv2", 7, weights=tmp_path / "nowhere.h5")
    keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3)).save_weights(
        other := tmp_path / "other.weights.h5"
    )
    with pytest.raises(ValueError, match="does not hold the weights of MobileNetV2"):
        models.build("mobilenetv2", 7, weights=other)

    def offline(*args, weights=None, **options):
        raise Exception(f"URL fetch failure on https://example.org/{weights}.h5: None -- no network")

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    with pytest.raises(FileNotFoundError, match=r"imagenet.h5.*~/.keras/models.*weights=None"):
        models.build("mobilenetv2", 7, weights="imagenet")


# ------------------------------------------------------------------------------------------------- saving

CARD = {"class_names": ["angry", "happy", "sad"], "dataset": "none"}
PICTURES = np.random.default_rng(1).integers(0, 256, (3, 50, 60, 3)).astype("float32")


def trained(name="champion", size=32):
    """A model whose weights and statistics are not those it was built with."""
    keras.utils.set_random_seed(0)
    model = models.build(name, 3, size=size)
    model.compile("adam", "categorical_crossentropy")
    model.fit(PICTURES, np.eye(3), epochs=2, verbose=0)
    return model


def test_a_saved_model_loads_with_stock_keras_and_gives_the_same(tmp_path):
    model = trained()
    models.save(model, file := tmp_path / "champion-none.keras", CARD)
    again = keras.models.load_model(file)
    np.testing.assert_allclose(again.predict(PICTURES, verbose=0), model.predict(PICTURES, verbose=0), atol=1e-3)
    assert models.read_card(file) == CARD
    assert [path.name for path in tmp_path.iterdir()] == ["champion-none.keras"]


def test_a_saved_model_is_light(tmp_path):
    model = trained()
    model.save(full := tmp_path / "full.keras")
    models.save(model, light := tmp_path / "light.keras", CARD)
    assert light.stat().st_size < 0.55 * model.count_params() * 4
    assert light.stat().st_size < full.stat().st_size / 4  # neither float32 nor the optimizer's state
    assert light.stat().st_size < 4e6


ELSEWHERE = """
import sys, keras, numpy as np
from keras import ops
np.save(sys.argv[2], ops.convert_to_numpy(keras.models.load_model(sys.argv[1], compile=False)(np.load(sys.argv[3]))))
assert not any(name.startswith("emotions") for name in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_saved_model_gives_the_same_on_another_backend(tmp_path, backend):
    np.save(tmp_path / "pictures.npy", PICTURES)
    for name in ("champion", "lenet", "vgg16", "mobilenetv2", "resnet34", "efficientnetb0"):
        model = models.build(name, 3, size=32)
        models.save(model, tmp_path / f"{name}.keras", CARD)
    everything = "\n".join(
        ELSEWHERE.replace("sys.argv[1]", repr(str(file))).replace("sys.argv[2]", repr(str(file.with_suffix(".npy"))))
        for file in sorted(tmp_path.glob("*.keras"))
    )
    run_under(backend, everything, "", "", tmp_path / "pictures.npy")
    for file in tmp_path.glob("*.keras"):
        here = np.asarray(keras.models.load_model(file, compile=False)(PICTURES))
        np.testing.assert_allclose(np.load(file.with_suffix(".npy")), here, atol=1e-3, err_msg=file.name)


def test_class_names_must_fit(tmp_path):
    model = models.build("champion", 3, size=32)
    for names in (["sad", "happy", "angry"], ["angry", "happy"]):
        with pytest.raises(ValueError, match="as many, alphabetical"):
            models.save(model, tmp_path / "x.keras", {"class_names": names})
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_float16_stay_as_they_are(tmp_path):
    model = models.build("champion", 3, size=32)
    kernel = model.get_layer("probabilities").kernel
    kernel.assign(kernel * 1e7)
    models.save(model, tmp_path / "x.keras", CARD)
    again = keras.models.load_model(tmp_path / "x.keras").get_layer("probabilities").kernel
    assert np.array_equal(keras.ops.convert_to_numpy(again), keras.ops.convert_to_numpy(kernel))


def test_a_model_that_would_not_survive_is_not_written(tmp_path):
    model = models.build("champion", 3, size=32)
    kernel = model.get_layer("probabilities").kernel
    kernel.assign(kernel * np.nan)
    (tmp_path / "x.keras").write_text("what was there before")
    with pytest.raises(ValueError, match="was not written"):
        models.save(model, tmp_path / "x.keras", CARD)
    assert (tmp_path / "x.keras").read_text() == "what was there before"


def test_a_model_trained_under_mixed_precision_is_saved_under_float32(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = models.build("champion", 3, size=32)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    models.save(model, file := tmp_path / "x.keras", CARD)
    again = keras.models.load_model(file)
    assert {layer.dtype_policy.name for layer in again.layers} == {"float32"}
    for expected, found in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(expected, found, atol=1e-3)


def test_a_file_without_a_card_says_so(tmp_path):
    models.build("champion", 3, size=32).save(file := tmp_path / "plain.keras")
    with pytest.raises(ValueError, match="its class names are unknown"):
        models.read_card(file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(models.CARD, json.dumps(CARD))
    assert models.read_card(file) == CARD


def test_statistics_of_a_base_from_scratch_follow_within_a_short_training():
    """Keras gives MobileNetV2 batch norms that remember a thousand steps: from scratch, validation would lag behind."""
    base = models.application("MobileNetV2", 32, None)
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 52
    assert {layer.momentum**100 < 0.01 for layer in norms} == {True}
