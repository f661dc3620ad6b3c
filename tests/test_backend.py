"""What differs between backends."""

import pytest

from emotions import backend


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
    monkeypatch.setattr(backend, "NAME", name)
    monkeypatch.setattr(backend, "accelerator", lambda: accelerator)
    assert backend.steps_per_execution() == steps
    assert backend.steps_per_execution(devices=2) == (steps if name == "jax" else 1)
    assert backend.jit_compile() == (False if name == "tensorflow" else "auto")
