"""The one place that knows TensorFlow, JAX and PyTorch apart.

Everything else in the package is written with Keras 3 alone, so that any of the three can train, load
and explain the same models. Choose one with the environment variable KERAS_BACKEND before the first
import of Keras; TensorFlow is the default and the fastest of the three on a CPU.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np


def name() -> str:
    """The Keras backend in use: "tensorflow", "jax" or "torch"."""
    return keras.backend.backend()


def version() -> str:
    """The backend and its version, as in "tensorflow 2.21.0"."""
    return f"{name()} {__import__(name()).__version__}"


def installed() -> list[str]:
    """The backends that are installed."""
    return [backend for backend in ("tensorflow", "jax", "torch") if importlib.util.find_spec(backend)]


def predict_under(backend: str, file: str | Path, pictures: np.ndarray) -> np.ndarray:
    """What a saved model says under some backend, in a process of stock Keras on the CPU, without this package.

    Args:
        backend: one of `installed()`.
        file: a `.keras` file.
        pictures: as the model takes them.

    Returns:
        its output.

    Raises:
        RuntimeError: the model could not be loaded, or failed; with the last line of the process.
    """
    program = "\n".join(
        [
            "import keras, numpy as np",
            f"model = keras.models.load_model({str(Path(file).resolve())!r}, compile=False, safe_mode=True)",
            "np.save('found.npy', model.predict(np.load('pictures.npy'), verbose=0))",
        ]
    )
    hidden = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "PYTHONPATH": ""}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "pictures.npy"), pictures)
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env=os.environ | hidden, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{file} failed under {backend}: {done.stderr.strip().splitlines()[-1]}")
        return np.load(Path(folder, "found.npy"))


def accelerator() -> str | None:
    """The name of the GPU or TPU that the backend will use, or None on a CPU."""
    if name() == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")  # a TPU would need a strategy, which nothing here sets
        if not devices:
            return None
        details = tf.config.experimental.get_device_details(devices[0])
        return details.get("device_name", devices[0].device_type)
    if name() == "jax":
        import jax

        device = jax.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return "Apple GPU" if torch.backends.mps.is_available() else None


def steps_per_execution() -> int:
    """How many training steps run between two looks at the callbacks: several on an accelerator, in TensorFlow without
    returning to Python; one where Keras does not allow more."""
    return 16 if accelerator() and name() != "torch" else 1


def jit_compile() -> bool | str:
    """What `compile` is told of XLA: TensorFlow's lacks the operation behind the warp, the others choose themselves."""
    return False if name() == "tensorflow" else "auto"


def bfloat16() -> bool:
    """Whether there is an accelerator that computes in bfloat16: of NVIDIA's, those from compute capability 8.0 on; a
    T4, P100 or V100 would only emulate it."""
    if accelerator() is None:
        return False
    if name() == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
        return details.get("compute_capability", (0, 0)) >= (8, 0)
    if name() == "jax":
        import jax

        device = jax.devices()[0]
        return device.platform == "tpu" or float(getattr(device, "compute_capability", 0)) >= 8
    import torch

    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


def hardware() -> str:
    """What the numbers were computed on: the accelerator, or the processor and its cores."""
    if accelerator():
        return accelerator()
    # The cores this process may use: in a container os.cpu_count() counts those of the host.
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count()
    return f"CPU, {cores} {platform.machine()} cores"


def peak_memory() -> int:
    """The most memory in use at once so far, in bytes: the accelerator's, or without one the whole process's."""
    if accelerator() and name() == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    if accelerator() and name() == "jax":
        import jax

        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    if accelerator() and name() == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says may be left from the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def mixed_precision(wanted: bool | None = None) -> Iterator[bool]:
    """Mixed precision, by default where an accelerator has `bfloat16`, else float32; yields whether it is mixed.

    bfloat16 keeps float32's range, so no loss scaling is needed. Of CPUs, those with bfloat16 instructions
    (AVX512_BF16, AMX) train dense convolutions faster with it, depthwise ones slower; others are slower with any.
    """
    mixed = bfloat16() if wanted is None else wanted
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed else "float32")
    try:
        yield mixed
    finally:
        keras.mixed_precision.set_global_policy(before)


def warp(images, transforms):
    """Resample pictures bilinearly, reflecting at the edges, as `keras.ops.image.affine_transform` does.

    Under PyTorch that goes picture by picture, in many small steps; this takes the whole batch at once.

    Args:
        images: N x H x W x C, float.
        transforms: N x 8, in the layout of `affine_transform`.
    """
    if name() != "torch":
        return keras.ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="reflect")
    import torch

    _, height, width, _ = images.shape
    rows, columns = (torch.arange(n, device=images.device, dtype=images.dtype) for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    places = torch.einsum("hwk,nik->nhwi", points, transforms[:, :6].reshape(-1, 2, 3))
    places = (2 * places + 1) / torch.tensor([width, height], device=images.device) - 1  # from -1 to 1, edge to edge
    options = {"mode": "bilinear", "padding_mode": "reflection", "align_corners": False}
    return torch.nn.functional.grid_sample(images.permute(0, 3, 1, 2), places, **options).permute(0, 2, 3, 1)


def compiled(function, model):
    """Compile a function of tensors that calls layers of `model`; on PyTorch it stays as it is.

    The weights are read anew at every call, so a compiled function follows a model that goes on learning.
    A new shape of an argument compiles once more: seconds for a deep net.

    Args:
        function: takes and returns tensors (or tuples and dicts of them); made of Keras operations.
        model: whose weights `function` reads.

    Returns:
        The compiled function; it takes arrays too.
    """
    if name() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)
    if name() == "jax":
        import jax

        @jax.jit
        def pure(weights, *arguments):
            # As an argument a weight stays a variable; jit would freeze one that it finds in the function.
            with keras.StatelessScope(state_mapping=list(zip(model.variables, weights, strict=True))):
                return function(*arguments)

        return lambda *arguments: pure([variable.value for variable in model.variables], *arguments)
    return function


def gradients(outputs_of, inputs):
    """Value and gradient of a scalar function, on any backend.

    Args:
        outputs_of: function of `inputs` that returns `(scalar, auxiliary)`; it must be made of
            Keras operations. `auxiliary` is any tensor, or tuple or dict of tensors, and may be `()`.
        inputs: the tensor or array to differentiate with respect to, or a tuple, list or dict of them.

    Returns:
        `(scalar, auxiliary, gradient)`; the gradient has the structure and shapes of `inputs`, and is 0
        where the scalar does not depend on them.
    """
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    if name() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            scalar, auxiliary = outputs_of(inputs)
        return scalar, auxiliary, tape.gradient(scalar, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if name() == "jax":
        import jax

        (scalar, auxiliary), gradient = jax.value_and_grad(outputs_of, has_aux=True)(inputs)
        return scalar, auxiliary, gradient
    import torch

    inputs = keras.tree.map_structure(lambda tensor: tensor.detach().requires_grad_(True), inputs)
    scalar, auxiliary = outputs_of(inputs)
    flat = torch.autograd.grad(scalar, keras.tree.flatten(inputs), allow_unused=True, materialize_grads=True)
    return scalar, auxiliary, keras.tree.pack_sequence_as(inputs, list(flat))
