"""How does a Hugging Face checkpoint become a Keras model? Tensor by tensor, into the layers of `vit.build`."""

import math
from pathlib import Path

import keras
import numpy as np
from keras import ops
from safetensors.numpy import load_file

from emotions import files
from emotions.models import vit

FILES = ["config.json", "model.safetensors", "preprocessor_config.json"]
# The layers of an encoder block: ours, and the checkpoint's that fill it, in the order of Keras' weights.
BLOCK = {
    "attention_norm": ["layernorm_before"],
    "attention": [*(f"attention.attention.{part}" for part in ("query", "key", "value")), "attention.output.dense"],
    "mlp_norm": ["layernorm_after"],
    "mlp_in": ["intermediate.dense"],
    "mlp_out": ["output.dense"],
}


def load_hugging_face(model: keras.Model, source: str | Path) -> None:
    """Fill a model of `vit.build`, all but its head, with the weights of a Hugging Face checkpoint of its shape, but
    for the image size: a name on the hub, as "google/vit-base-patch16-224-in21k", or a local folder with `FILES`.

    OSError: the download or a file fails. ValueError: it has another shape. KeyError: it lacks a tensor."""
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(str(source), allow_patterns=FILES))
    _check_shape(folder, model)
    tensors = read_tensors(folder)
    weights = {"patch_embedding": patch_embedding(tensors, vit.grid_size(model), *input_scaling(folder))}
    for number in range(len(vit.attention_layers(model))):
        weights |= block_weights(tensors, number)
    weights["final_norm"] = _arrays(tensors, "layernorm")
    # Keras keeps the heads of a projection on an axis of their own; the order of the numbers is the same.
    # All is reshaped before anything is written: a failure leaves the model as it was.
    for name, values in weights.items():
        shapes = [variable.shape for variable in model.get_layer(name).weights]
        weights[name] = [value.reshape(shape) for value, shape in zip(values, shapes, strict=True)]
    for name, values in weights.items():
        model.get_layer(name).set_weights(values)


def read_tensors(folder: str | Path) -> dict[str, np.ndarray]:
    """Return the tensors of a checkpoint as float32, by their names without the prefix "vit."."""
    tensors = load_file(Path(folder) / "model.safetensors")
    return {name.removeprefix("vit."): tensor.astype("float32") for name, tensor in tensors.items()}


def block_weights(tensors: dict, number: int) -> dict[str, list[np.ndarray]]:
    """Return the weights of one encoder block, {our layer: its arrays in Keras' order}."""
    return {f"block_{number:02d}_{ours}": _arrays(tensors, *(f"encoder.layer.{number}.{name}" for name in theirs))
            for ours, theirs in BLOCK.items()}


def _arrays(tensors: dict, *names: str) -> list[np.ndarray]:
    # PyTorch keeps a dense kernel as (out, in), Keras as (in, out); a norm's scale has one axis.
    return [array for name in names for array in (tensors[f"{name}.weight"].T, tensors[f"{name}.bias"])]


def patch_embedding(tensors: dict, grid: int, factor: np.ndarray, offset: np.ndarray) -> list[np.ndarray]:
    """Return kernel and bias of the patch embedding, for `grid` x `grid` patches, the input's scaling folded in."""
    kernel = tensors["embeddings.patch_embeddings.projection.weight"].transpose(2, 3, 1, 0)  # row, column, colour, out
    bias = tensors["embeddings.patch_embeddings.projection.bias"] + np.einsum("yxcd,c->d", kernel, offset)
    kernel = np.einsum("yxcd,c->yxcd", kernel, factor)
    class_token, positions = tensors["embeddings.cls_token"][0], tensors["embeddings.position_embeddings"][0]
    side = math.isqrt(len(positions) - 1)
    patches = positions[1:].reshape(side, side, -1)
    if side != grid:  # as transformers does it: bicubic, without antialiasing
        patches = ops.image.resize(patches, (grid, grid), interpolation="bicubic", data_format="channels_last")
    patches = ops.convert_to_numpy(patches).reshape(grid * grid, -1) + bias
    return [kernel.reshape(-1, kernel.shape[-1]), np.concatenate([class_token + positions[:1], patches])]


def input_scaling(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and offset per channel from values in [-1, 1] to what the checkpoint was trained on."""
    path = folder / "preprocessor_config.json"
    scaling = files.read_json(path) if path.is_file() else {}  # what is missing is at ViTImageProcessor's default
    factor = scaling.get("rescale_factor", 1 / 255) if scaling.get("do_rescale", True) else 1.0
    usual = (scaling.get("image_mean", 0.5), scaling.get("image_std", 0.5))
    mean, std = (np.broadcast_to(each, 3) for each in (usual if scaling.get("do_normalize", True) else (0.0, 1.0)))
    return 127.5 * factor / std, (127.5 * factor - mean) / std  # a value v in [-1, 1] was 127.5 (v + 1) in the image


def _check_shape(folder: Path, model: keras.Model) -> None:
    """Raise an error if a checkpoint is not of the model's architecture and shape."""
    attention, embedding = vit.attention_layers(model), model.get_layer("patch_embedding").kernel
    shape = {  # ours, and the default of transformers, which leaves it out of a config.json
        "model_type": ("vit", None), "hidden_act": ("gelu", "gelu"),
        "num_hidden_layers": (len(attention), 12), "num_attention_heads": (attention[0].num_heads, 12),
        "patch_size": (math.isqrt(embedding.shape[0] // 3), 16),
        "hidden_size": (embedding.shape[1], 768),
        "intermediate_size": (model.get_layer("block_00_mlp_in").units, 3072),
    }
    config = files.read_json(folder / "config.json")
    for key, (ours, default) in shape.items():
        if (theirs := config.get(key, default)) != ours:
            raise ValueError(f"{folder / 'config.json'}: {key} is {theirs!r}, but {ours!r} in the model")
