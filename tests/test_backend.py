"""What differs between backends."""

import pytest
from conftest import run_under

from emotions import backend

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


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_mixed_precision_only_where_the_accelerator_has_bfloat16(monkeypatch, capability, fast):
    """A T4 has 7.5 and would only emulate it."""
    import tensorflow as tf

    monkeypatch.setattr(backend, "accelerator", lambda: "a GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"] if kind == "GPU" else [])
    details = {"compute_capability": capability}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    assert backend.bfloat16() == fast


@pytest.mark.parametrize(
    ("name", "accelerator", "steps"),
    [("tensorflow", "a GPU", 16), ("jax", "a GPU", 16), ("torch", "a GPU", 1), ("tensorflow", None, 1)],
)
def test_several_steps_at_once_only_where_keras_allows_them(monkeypatch, name, accelerator, steps):
    """Keras raises under PyTorch for more than one."""
    monkeypatch.setattr(backend, "name", lambda: name)
    monkeypatch.setattr(backend, "accelerator", lambda: accelerator)
    assert backend.steps_per_execution() == steps
    assert backend.steps_per_execution(devices=2) == (steps if name == "jax" else 1)
    assert backend.jit_compile() == (False if name == "tensorflow" else "auto")
