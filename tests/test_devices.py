"""Training on two devices ends as training on one: two virtual ones of the CPU, under TensorFlow and JAX."""

import pytest
from conftest import easy_faces, run_under
from test_training import home  # noqa: F401  a fixture

from emotions import backend
from emotions.training.batches import Batches

START = """
import os, sys
sys.path.insert(0, "tests")
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
from test_training import *
from emotions import backend

if backend.NAME == "tensorflow":
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
fitting.SAVE_SECONDS = 0.0
faces = easy_faces()
odd = dataclasses.replace(faces, train=faces.train.take(np.arange(95)), validation=faces.validation.take(np.arange(31)))

def on(devices):
    os.environ["EMOTIONS_DEVICES"] = str(devices)
"""

SAME = """
def exact(epochs):
    \"\"\"No batch statistics, no random numbers: TensorFlow has those of each device apart.\"\"\"
    image = keras.Input((24, 24, 3))
    x = layers.Conv2D(4, 5, strides=3, activation="relu")(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x)), name="exact")
    optimizer = keras.optimizers.AdamW(training.cosine(3e-3, epochs, steps=6), use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return model, {"epochs": epochs, "batch_size": 16, "callbacks": [keras.callbacks.SwapEMAWeights()]}

for recipe in (exact, every_choice) if backend.NAME == "jax" else (exact,):
    found = []
    for devices in (1, 2):
        on(devices)
        model, history = train(recipe, f"{recipe.__name__}-{devices}", faces, epochs=4)
        found.append((history[FIGURES], model.get_weights(), model.predict(faces.test.images[:39], verbose=0)))
    for one, two in zip(*found, strict=True):
        for a, b in zip(one, two, strict=True) if isinstance(one, list) else [(one, two)]:
            np.testing.assert_allclose(a, b, atol=1e-4)
assert runs.Run("easy", "exact-2").training["hardware"].startswith("2 x CPU")
"""

RESUMED = """
on(2)
backend.accelerator = lambda: "a GPU"
if "mixed" in sys.argv:
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
model, history = train(every_choice, "a", odd, epochs=10)
assert history["val_accuracy"].max() > 0.4, history
counted = odd.validation.take(np.arange(30))  # an equal part for each device
assert abs(accuracy(model, counted) - history["val_accuracy"].max()) < (0.1 if "mixed" in sys.argv else 1e-6)
whole = train(every_choice, "whole", odd, epochs=3)[1]
try:
    train(every_choice, "broken", odd, epochs=3, callbacks=[Interrupt(1)])
except KeyboardInterrupt:
    pass
np.testing.assert_allclose(train(every_choice, "broken", odd, epochs=3)[1][FIGURES], whole[FIGURES], atol=1e-4)
frozen, history = two_phases("phases", faces)
assert frozen and list(history["phase"]) == [1, 1, 2, 2]
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_two_devices_train_as_one(home, name):  # noqa: F811
    """Losses, weights and predictions agree to 1e-4."""
    run_under(name, START + SAME)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed"])
@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_averaged_weights_resuming_and_mixed_precision_work_on_two_devices(home, name, precision):  # noqa: F811
    run_under(name, START + RESUMED, precision)


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match="Batches of 15 images cannot be divided among 2 devices"):
        Batches(easy_faces().train, 3, 15, devices=2)
    with pytest.raises(ValueError, match="9 devices were asked for; there are 1: "):
        backend.parallel(9)
