"""The one place that knows TensorFlow, JAX and PyTorch apart: everything else is written with Keras 3 alone.

Choose one with the environment variable KERAS_BACKEND before the first import of Keras; TensorFlow is the default."""

import contextlib
import functools
import os
import platform

import keras

NAME = keras.backend.backend()  # "tensorflow", "jax" or "torch"
if NAME == "jax":
    import jax
elif NAME == "torch":
    import torch
else:
    import tensorflow as tf


def version() -> str:
    """Return the backend and its version, as in "tensorflow 2.21.0"."""
    return f"{NAME} {__import__(NAME).__version__}"


def accelerator() -> str | None:
    """Return the name of the GPU or TPU that the backend will use, or None on a CPU."""
    if NAME == "tensorflow":
        details = _tensorflow_gpu()  # a TPU would need a strategy, which nothing here sets
        return None if details is None else details.get("device_name", "GPU")
    if NAME == "jax":
        device = jax.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return "Apple GPU" if torch.backends.mps.is_available() else None


def _tensorflow_gpu() -> dict | None:
    """Return what TensorFlow knows of the first GPU, or None without one."""
    devices = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(devices[0]) if devices else None


def steps_per_execution(devices: int = 1) -> int:
    """Return how many training steps run between two calls of callbacks: several on an accelerator, if Keras allows;
    its loop under TensorFlow fails on several devices."""
    return 16 if accelerator() and (NAME == "jax" or (NAME == "tensorflow" and devices == 1)) else 1


def parallel(devices: int) -> contextlib.AbstractContextManager:
    """Return a context: models made and trained in it give each of several devices an equal part of every batch.
    ValueError: this machine has fewer devices, or the backend is PyTorch, where Keras has nothing of the kind."""
    if devices == 1:
        return contextlib.nullcontext()
    if NAME == "torch":
        raise ValueError("Several devices train under TensorFlow and JAX, not PyTorch: set KERAS_BACKEND.")
    if NAME == "jax":
        present = keras.distribution.list_devices()
    else:
        kinds = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
        present = [device.name for device in next(filter(None, kinds))]
    if not 1 <= devices <= len(present):
        raise ValueError(f"{devices} devices were asked for; there are {len(present)}: {', '.join(present)}.")
    if NAME == "jax":
        return keras.distribution.DataParallel(devices=present[:devices], auto_shard_dataset=False).scope()
    return _mirrored(tuple(present[:devices])).scope()


@functools.cache  # a second strategy in one process would mix its sums up with those of the first
def _mirrored(devices: tuple[str, ...]):
    return tf.distribute.MirroredStrategy(devices)


def jit_compile() -> bool | str:
    """Return `compile`'s choice of XLA: TensorFlow's lacks the operation behind the warp, others choose themselves."""
    return False if NAME == "tensorflow" else "auto"


def bfloat16() -> bool:
    """Tell whether the accelerator computes in bfloat16: NVIDIA's do from compute capability 8.0 on, a T4 has 7.5."""
    if accelerator() is None:
        return False
    if NAME == "tensorflow":
        return _tensorflow_gpu().get("compute_capability", (0, 0)) >= (8, 0)
    if NAME == "jax":
        device = jax.devices()[0]
        return device.platform == "tpu" or float(getattr(device, "compute_capability", 0)) >= 8
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


def hardware() -> str:
    """Return what the numbers were computed on: the accelerator, or the processor and its cores."""
    # The cores this process may use: in a container os.cpu_count() counts those of the host.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return accelerator() or f"CPU, {cores} {platform.machine()} cores"


def to_litert(model, precision: str, file) -> None:
    """Write a model as a LiteRT file, with built-in operators alone; under TensorFlow only. `precision` is "float32",
    or "float16" or "int8" of the weights."""
    options = {} if precision == "float32" else {"optimizations": [tf.lite.Optimize.DEFAULT]}
    target = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    target |= {"supported_types": [tf.float16]} if precision == "float16" else {}
    image = keras.InputSpec(shape=model.input_shape, dtype="float32", name="image")
    model.export(file, format="litert", verbose=False, input_signature=[image], target_spec=target, **options)


def compiled(function, model):
    """Compile a function of tensors (or tuples and dicts of them) that calls layers of `model`; PyTorch's stays as is.

    The weights are read anew at every call, so a compiled function follows a model that goes on learning. A new shape
    of an argument compiles once more: seconds for a deep net. The compiled function takes arrays too."""
    if NAME == "tensorflow":
        return tf.function(function, reduce_retracing=True)
    if NAME == "jax":
        @jax.jit
        def pure(weights, *arguments):
            # As an argument a weight stays a variable; jit would freeze one that it finds in the function.
            with keras.StatelessScope(state_mapping=list(zip(model.variables, weights, strict=True))):
                return function(*arguments)

        return lambda *arguments: pure([variable.value for variable in model.variables], *arguments)
    return function


def gradients(outputs_of, inputs):
    """Return value and gradient of a scalar function, on any backend: `(scalar, auxiliary, gradient)`.

    `outputs_of` is a function of `inputs`, made of Keras operations, that returns `(scalar, auxiliary)`; `auxiliary` is
    any tensor, or tuple or dict of tensors, and may be `()`. `inputs` are a tensor or array, or a tuple, list or dict
    of them. The gradient has their structure and shapes, and is 0 where the scalar does not depend on them."""
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    if NAME == "tensorflow":
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            scalar, auxiliary = outputs_of(inputs)
        return scalar, auxiliary, tape.gradient(scalar, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if NAME == "jax":
        (scalar, auxiliary), gradient = jax.value_and_grad(outputs_of, has_aux=True)(inputs)
        return scalar, auxiliary, gradient
    inputs = keras.tree.map_structure(lambda tensor: tensor.detach().requires_grad_(True), inputs)
    scalar, auxiliary = outputs_of(inputs)
    flat = torch.autograd.grad(scalar, keras.tree.flatten(inputs), allow_unused=True, materialize_grads=True)
    return scalar, auxiliary, keras.tree.pack_sequence_as(inputs, list(flat))
