"""How does the Vision Transformer work? One architecture for both transformer notebooks.

`build` makes the ViT of Dosovitskiy et al. (2021, "An Image is Worth 16x16 Words", section 3.1) from
built-in Keras layers, so that a saved file loads with stock Keras and its attention can be read from it.
`load_hugging_face` fills these layers with pretrained weights. The rest looks inside a model, a loaded
file included.

One layer, `patch_embedding`, holds all that comes before the encoder: its kernel is the projection of the
patches, and its bias, one row per token, is the sum of position embedding, class token and projection bias.
The class token's own patch is a row of zeros, so for that token the bias is everything.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotions.models.layers import class_probabilities, picture_input

# The arguments of `build`, but for the number of classes. ViT-Tiny and ViT-Base are those of Steiner et al.
# (2022, "How to train your ViT?", table 2); the custom ones are small, for training on small data.
SHAPES = {
    "custom-vit": {"size": 224, "patch": 16, "width": 192, "depth": 6, "heads": 6, "mlp": 384, "dropout": 0.1},
    "custom-vit-48": {"size": 48, "patch": 6, "width": 128, "depth": 6, "heads": 4, "mlp": 256, "dropout": 0.1},
    "vit-tiny": {"size": 224, "patch": 16, "width": 192, "depth": 12, "heads": 3, "mlp": 768},
    "vit-base": {"size": 224, "patch": 16, "width": 768, "depth": 12, "heads": 12, "mlp": 3072},
}


def build(
    classes: int,
    size: int,
    patch: int,
    width: int,
    depth: int,
    heads: int,
    mlp: int,
    dropout: float = 0.0,
    epsilon: float = 1e-6,
) -> keras.Model:
    """A Vision Transformer: pre-norm encoder, class token, learned positions.

    For example `build(7, **SHAPES["vit-tiny"] | {"size": 112})`. Layers are named "patch_embedding",
    "block_00_attention" … "final_norm", "probabilities"; the second output of every attention layer is its map.

    Args:
        classes: number of classes.
        size: side in pixels to which every picture is resized; a multiple of `patch`.
        patch: side of a patch in pixels.
        width: length of a token; a multiple of `heads`.
        depth: number of encoder blocks.
        heads: attention heads per block.
        mlp: hidden units of each block's MLP.
        dropout: share of values dropped after the embedding, after attention and in the MLP.
        epsilon: added to the variance in every LayerNormalization.

    Returns:
        A model from RGB pictures (N, any height, any width, 3) with values 0-255 to probabilities
        (N, classes), float32 under mixed precision too.

    Raises:
        ValueError: if `size` is no multiple of `patch`, or `width` none of `heads`.
    """
    if size % patch:
        raise ValueError(f"size {size} cannot be cut into patches of {patch}: choose a multiple of {patch}")
    if width % heads:
        raise ValueError(f"width {width} cannot be shared by {heads} heads: choose a multiple of {heads}")
    n_patches = (size // patch) ** 2
    small = keras.initializers.TruncatedNormal(stddev=0.02)

    picture, x = picture_input(size)
    # float32 also under mixed precision: bfloat16 has not the digits for 0-255.
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32", name="scaling")(x)
    x = ops.image.extract_patches(x, patch)
    x = layers.Reshape((n_patches, patch * patch * 3), name="patches")(x)
    x = layers.ZeroPadding1D((1, 0), name="class_token")(x)
    x = layers.EinsumDense(
        "bnp,pd->bnd",
        (n_patches + 1, width),
        bias_axes="nd",
        kernel_initializer="lecun_normal",
        bias_initializer=small,
        name="patch_embedding",
    )(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    for number in range(depth):
        x = _block(x, f"block_{number:02d}", heads, mlp, dropout, epsilon)
    x = layers.LayerNormalization(epsilon=epsilon, name="final_norm")(x)
    x = layers.Cropping1D((0, n_patches), name="take_class_token")(x)
    x = layers.Flatten(name="features")(x)
    return keras.Model(picture, class_probabilities(x, classes, kernel_initializer=small), name="vit")


def _block(x, name, heads, mlp, dropout, epsilon):
    """An encoder block: attention, then an MLP, each after its norm and added to its input."""
    width = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_attention_norm")(x)
    attention = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")
    y, _ = attention(y, y, return_attention_scores=True)
    y = layers.Dropout(dropout, name=f"{name}_attention_dropout")(y)
    x = layers.Add(name=f"{name}_attention_add")([x, y])

    y = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_mlp_norm")(x)
    y = layers.Dense(mlp, activation="gelu", name=f"{name}_mlp_in")(y)
    y = layers.Dropout(dropout, name=f"{name}_mlp_in_dropout")(y)
    y = layers.Dense(width, name=f"{name}_mlp_out")(y)
    y = layers.Dropout(dropout, name=f"{name}_mlp_out_dropout")(y)
    return layers.Add(name=f"{name}_mlp_add")([x, y])


# Pretrained weights


def load_hugging_face(model: keras.Model, source) -> None:
    """Fill a model of `build`, all but its head, with the weights of a Hugging Face checkpoint.

    Tensors are found with and without the prefix "vit.". The position embeddings are resized to the
    model's grid. Whatever scaling the checkpoint expects is folded into the projection of the patches,
    so that the model goes on taking 0-255.

    Args:
        model: its patch size, width, depth, heads and MLP must be the checkpoint's. Its norms keep
            their own epsilon.
        source: a name on the Hugging Face hub, as "google/vit-base-patch16-224-in21k", or a local folder
            with its files: config.json, model.safetensors and preprocessor_config.json.

    Raises:
        OSError: the checkpoint can't be downloaded, or a file of it is missing.
        ValueError: the checkpoint is no Vision Transformer of this kind, or a tensor is missing or does not fit.
    """
    from safetensors.numpy import load_file

    folder = _folder(source)
    config = _config(folder)
    heads = _layer(model, "block_00_attention").num_heads
    if (len(_attention_layers(model)), heads) != (config["num_hidden_layers"], config["num_attention_heads"]):
        raise ValueError(
            f"{folder} has {config['num_hidden_layers']} blocks of {config['num_attention_heads']} heads, the model "
            f"{len(_attention_layers(model))} of {heads}: choose a model of that shape, or another checkpoint"
        )
    tensors = {name.removeprefix("vit."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}

    def tensor(name):
        if name not in tensors:
            raise ValueError(f"{folder / 'model.safetensors'} has no tensor {name!r}: it is not a ViT of Hugging Face")
        return tensors[name].astype("float32")

    def dense(name):
        return [tensor(f"{name}.weight").T, tensor(f"{name}.bias")]

    def norm(name):
        return [tensor(f"{name}.weight"), tensor(f"{name}.bias")]

    # Everything is read and compared before anything is written: a failure leaves the model as it was.
    weights = {"patch_embedding": _patch_embedding(model, tensor, _scaling(folder)), "final_norm": norm("layernorm")}
    for number in range(config["num_hidden_layers"]):
        ours, theirs = f"block_{number:02d}", f"encoder.layer.{number}"
        weights[f"{ours}_attention_norm"] = norm(f"{theirs}.layernorm_before")
        weights[f"{ours}_attention"] = [
            *dense(f"{theirs}.attention.attention.query"),
            *dense(f"{theirs}.attention.attention.key"),
            *dense(f"{theirs}.attention.attention.value"),
            *dense(f"{theirs}.attention.output.dense"),
        ]
        weights[f"{ours}_mlp_norm"] = norm(f"{theirs}.layernorm_after")
        weights[f"{ours}_mlp_in"] = dense(f"{theirs}.intermediate.dense")
        weights[f"{ours}_mlp_out"] = dense(f"{theirs}.output.dense")
    for name, values in weights.items():
        for variable, value in zip(_layer(model, name).weights, values, strict=True):
            if value.size != math.prod(variable.shape):
                raise ValueError(
                    f"{folder} has {value.shape} for {variable.path}, the model {tuple(variable.shape)}: "
                    "choose a model of that shape, or another checkpoint"
                )
    for name, values in weights.items():
        layer = _layer(model, name)
        # Keras keeps the heads of a projection on an axis of their own; the order of the numbers is the same.
        layer.set_weights([value.reshape(old.shape) for old, value in zip(layer.weights, values, strict=True)])


def _folder(source) -> Path:
    """The local folder of a checkpoint, downloaded if need be."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    files = ["config.json", "preprocessor_config.json", "model.safetensors"]
    try:
        return Path(snapshot_download(str(source), allow_patterns=files))
    except Exception as error:  # of huggingface_hub, its HTTP library or the network
        raise OSError(
            f"{source!r} is no local folder, and could not be downloaded from the Hugging Face hub "
            f"({type(error).__name__}: {error}). Without a connection, save {', '.join(files)} of "
            f"https://huggingface.co/{source}/tree/main in a folder and give its path instead."
        ) from error


def _config(folder: Path) -> dict:
    """The checkpoint's architecture; an error if it is not one that `build` can make."""
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}. A checkpoint needs config.json and model.safetensors; one that has only "
                "pytorch_model.bin can be converted with transformers: save_pretrained(folder)"
            )
    # What transformers leaves out of a config.json is at its default, ViTConfig's.
    defaults = {"model_type": None, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "gelu"}
    config = defaults | json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key, wanted in (("model_type", "vit"), ("hidden_act", "gelu")):
        if config[key] != wanted:
            raise ValueError(f"{folder / 'config.json'}: {key} is {config[key]!r}; only {wanted!r} can be converted")
    return config


def _scaling(folder: Path):
    """Factor and offset per channel from values in [-1, 1] to what the checkpoint was trained on."""
    # Without the file, as ViTImageProcessor does by default: [-1, 1].
    scaling = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": 0.5, "image_std": 0.5}
    path = folder / "preprocessor_config.json"
    if path.is_file():
        scaling |= json.loads(path.read_text(encoding="utf-8"))
    factor = scaling["rescale_factor"] if scaling["do_rescale"] else 1.0
    mean, std = (scaling["image_mean"], scaling["image_std"]) if scaling["do_normalize"] else (0.0, 1.0)
    mean, std = np.broadcast_to(mean, 3), np.broadcast_to(std, 3)
    # A value v in [-1, 1] was 127.5 (v + 1) in the picture.
    return 127.5 * factor / std, (127.5 * factor - mean) / std


def _patch_embedding(model, tensor, scaling):
    """Kernel and bias of the patch embedding, from the five tensors and the scaling that it stands for."""
    kernel = tensor("embeddings.patch_embeddings.projection.weight").transpose(2, 3, 1, 0)  # row, column, colour, out
    bias = tensor("embeddings.patch_embeddings.projection.bias")
    factor, offset = scaling
    bias = bias + np.einsum("yxcd,c->d", kernel, offset)
    kernel = np.einsum("yxcd,c->yxcd", kernel, factor)

    class_token = tensor("embeddings.cls_token")[0]
    positions = tensor("embeddings.position_embeddings")[0]
    theirs = math.isqrt(len(positions) - 1)
    ours = _grid(model)
    grid = positions[1:].reshape(theirs, theirs, -1)
    if theirs != ours:
        # As transformers does it: bicubic, without antialiasing.
        grid = ops.image.resize(grid, (ours, ours), interpolation="bicubic", data_format="channels_last")
        grid = ops.convert_to_numpy(grid)
    patches = grid.reshape(ours * ours, -1) + bias
    return [kernel.reshape(-1, kernel.shape[-1]), np.concatenate([class_token + positions[:1], patches])]


# Looking inside


def attention(model: keras.Model) -> keras.Model:
    """The attention maps of a model of `build`, new or loaded from its file.

    Returns:
        A model from pictures, as the model's own, to maps (N, depth, heads, tokens, tokens): how much each
        token (rows, which sum to 1) takes from each (columns). Token 0 is the class token, the others are
        the patches, row by row.
    """
    maps = [layer.output[1] for layer in _attention_layers(model)]
    return keras.Model(model.input, ops.stack(maps, axis=1), name="attention")


def patches(model: keras.Model, images) -> np.ndarray:
    """The patches that a model cuts pictures into: (N, grid, grid, patch, patch, 3), values in [-1, 1]."""
    grid = _grid(model)
    cut = keras.Model(model.input, _layer(model, "patches").output)
    found = ops.convert_to_numpy(cut(ops.convert_to_tensor(images, "float32")))
    side = math.isqrt(found.shape[-1] // 3)
    return found.reshape(len(found), grid, grid, side, side, 3)


def patch_filters(model: keras.Model) -> np.ndarray:
    """What the projection looks for in a patch: (width, patch, patch, 3), one small picture per filter."""
    kernel = ops.convert_to_numpy(_layer(model, "patch_embedding").kernel)
    side = math.isqrt(len(kernel) // 3)
    return kernel.T.reshape(-1, side, side, 3)


def principal_filters(model: keras.Model, count: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """What the filters have in common: their first principal components (Dosovitskiy et al. 2021, figure 7).

    Args:
        count: how many, at most as many as there are filters.

    Returns:
        the components, (count, patch, patch, 3), each of length 1; and the share of the filters' squared length
        that each of them holds.
    """
    filters = patch_filters(model)
    _, lengths, components = np.linalg.svd(filters.reshape(len(filters), -1), full_matrices=False)
    shares = lengths**2 / np.sum(lengths**2)
    return components[:count].reshape(-1, *filters.shape[1:]), shares[:count]


def position_embeddings(model: keras.Model) -> np.ndarray:
    """The learned position embeddings of the patches: (grid, grid, width), mean 0 over the grid.

    The mean is taken away because it can't be told from the projection's bias, the same for every patch.
    """
    bias = ops.convert_to_numpy(_layer(model, "patch_embedding").bias)[1:]
    return (bias - bias.mean(axis=0)).reshape(_grid(model), _grid(model), -1)


def position_similarity(model: keras.Model) -> np.ndarray:
    """How alike are two places? (grid, grid, grid, grid): cosine similarity of their position embeddings, -1 to 1."""
    positions = position_embeddings(model)
    positions = positions / np.maximum(np.linalg.norm(positions, axis=-1, keepdims=True), 1e-12)
    return np.einsum("yxd,vud->yxvu", positions, positions)


def attention_distance(maps: np.ndarray) -> np.ndarray:
    """How far does attention reach? (Dosovitskiy et al. 2021, figure 7, right, and appendix D.7.)

    The distance from each patch to those it takes from, weighted by how much it takes of each, averaged over
    the patches. The class token is left out. In a convolutional network this is the receptive field's size.

    Args:
        maps: (..., tokens, tokens), as from `attention`.

    Returns:
        (...), in shares of the picture's side.
    """
    maps = np.asarray(maps)[..., 1:, 1:]
    grid = math.isqrt(maps.shape[-1])
    places = np.stack(np.divmod(np.arange(grid * grid), grid), axis=-1) / grid
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return np.mean(np.sum(maps * distances, axis=-1) / np.sum(maps, axis=-1), axis=-1)


def layer_numbers(model: keras.Model) -> dict[str, int]:
    """How deep each weight lies: {variable.path: number}, for layer-wise learning-rate decay.

    The patch embedding is 0, block i is i + 1, and the final norm and the head share the highest number,
    as in Bao et al. (2022, "BEiT"): a weight learns at `rate * decay ** (highest - number)`.
    """
    attention_layers = _attention_layers(model)
    numbers = {}
    for layer in model.layers:
        if layer.name.startswith("block_"):
            number = int(layer.name.split("_")[1]) + 1
        else:
            number = 0 if layer.name == "patch_embedding" else len(attention_layers) + 1
        numbers |= {variable.path: number for variable in layer.weights}
    return numbers


def _attention_layers(model):
    found = [layer for layer in model.layers if isinstance(layer, layers.MultiHeadAttention)]
    if not found:
        raise ValueError(f"the model {model.name!r} has no attention layers: it is not a Vision Transformer")
    return found


def _grid(model) -> int:
    """Patches along a side."""
    return math.isqrt(_layer(model, "patches").output.shape[1])


def _layer(model, name):
    """A layer of a model of `build`; an error if the model is another."""
    if name not in {layer.name for layer in model.layers}:
        raise ValueError(f"the model {model.name!r} has no layer {name!r}: it was not made by emotions.vit")
    return model.get_layer(name)
