"""What differs between backends: what is installed, other processes, memory."""

import keras
import numpy as np
import pytest
from conftest import run_under

from emotions import backend


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    file = tmp_path_factory.mktemp("models") / "small.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")]).save(file)
    return file


@pytest.mark.parametrize("name", ["tensorflow", "jax", "torch"])
def test_a_file_predicts_under_another_backend(name, saved):
    if name not in backend.installed():
        pytest.skip(f"{name} is not installed")
    inputs = np.array([[0.5, -1.0], [3.0, 2.0]], "float32")
    expected = keras.ops.convert_to_numpy(keras.models.load_model(saved)(inputs))
    np.testing.assert_allclose(backend.predict_under(name, saved, inputs), expected, atol=1e-5)


def test_a_file_that_does_not_load_is_an_error_with_its_reason(tmp_path):
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"no model")
    with pytest.raises(RuntimeError, match=r"broken\.keras failed under \w+: \w+"):
        backend.predict_under(backend.name(), broken, np.zeros((1, 2)))


WARP = """
import numpy as np
from keras import ops
from emotions import backend
random = np.random.default_rng(0)
images = random.random((6, 9, 12, 3)).astype("float32")
turns, scales = random.uniform(-1, 1, 6), random.uniform(0.7, 1.4, 6)
a, b = np.cos(turns) / scales, np.sin(turns) / scales
zero = np.zeros(6)
transforms = np.stack([a, -b, random.uniform(-4, 4, 6), b, a, random.uniform(-4, 4, 6), zero, zero], 1)
transforms = ops.convert_to_tensor(transforms.astype("float32"))
images = ops.convert_to_tensor(images)
found = ops.convert_to_numpy(backend.warp(images, transforms))
assert np.abs(found - ops.convert_to_numpy(images)).max() > 0.1
wanted = ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="reflect")
np.testing.assert_allclose(found, ops.convert_to_numpy(wanted), atol=1e-4)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorflow", "jax", "torch"])
def test_a_warp_is_keras_own_under_each_backend(name):
    run_under(name, WARP)


def test_peak_memory_grows_with_what_is_held():
    before = backend.peak_memory()
    assert before > 50e6, "Keras alone needs more"
    if backend.accelerator() is None:
        held = np.ones(before // 8)  # as much as was the most so far
        assert backend.peak_memory() > before + held.nbytes / 2


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_mixed_precision_only_where_the_accelerator_has_bfloat16(monkeypatch, capability, fast):
    """A T4 has 7.5 and would only emulate it."""
    import tensorflow as tf

    monkeypatch.setattr(backend, "accelerator", lambda: "a GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"] if kind == "GPU" else [])
    details = {"compute_capability": capability}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    with backend.mixed_precision() as mixed:
        assert mixed == fast
    with backend.mixed_precision(True) as mixed:
        assert mixed


@pytest.mark.parametrize(
    ("name", "accelerator", "steps"),
    [("tensorflow", "a GPU", 16), ("jax", "a GPU", 16), ("torch", "a GPU", 1), ("tensorflow", None, 1)],
)
def test_several_steps_at_once_only_where_keras_allows_them(monkeypatch, name, accelerator, steps):
    """Keras raises under PyTorch for more than one."""
    monkeypatch.setattr(backend, "name", lambda: name)
    monkeypatch.setattr(backend, "accelerator", lambda: accelerator)
    assert backend.steps_per_execution() == steps
    assert backend.jit_compile() == (False if name == "tensorflow" else "auto")
