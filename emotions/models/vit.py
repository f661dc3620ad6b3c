"""How does the Vision Transformer work? One architecture for both transformer notebooks, and a look inside.

`build` makes the ViT of Dosovitskiy et al. (2021, section 3.1). One layer, `patch_embedding`, holds all that comes
before the encoder: its kernel is the projection of the patches, and its bias, one row per token, is the sum of position
embedding, class token and projection bias. The class token's own patch is a row of zeros."""

import math

import keras
import numpy as np
from keras import layers, ops

from emotions.models.layers import resize


def build(classes: int, size: int, patch: int, width: int, depth: int, heads: int, mlp: int, dropout=0.0,
          epsilon=1e-6) -> keras.Model:
    """Build a Vision Transformer: pre-norm encoder, class token, learned positions.

    Images are resized to `size` pixels a side, a multiple of `patch`. Tokens have length `width`, a multiple of
    `heads`; each of `depth` encoder blocks has so many attention heads, and `mlp` hidden units in its MLP. The share
    `dropout` of values is dropped after the embedding, after attention and in the MLP. Layers are "patch_embedding",
    "block_00_attention" … "final_norm", "probabilities"; the second output of every attention layer is its map."""
    if size % patch:
        raise ValueError(f"size {size} cannot be cut into patches of {patch}: choose a multiple of {patch}")
    if width % heads:
        raise ValueError(f"width {width} cannot be shared by {heads} heads: choose a multiple of {heads}")
    image = keras.Input((None, None, 3), name="image")
    x = embed_patches(resize(size)(image), patch, width)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    for number in range(depth):
        x = encoder_block(x, f"block_{number:02d}", heads, mlp, dropout, epsilon)
    x = layers.LayerNormalization(epsilon=epsilon, name="final_norm")(x)
    x = layers.Cropping1D((0, (size // patch) ** 2), name="take_class_token")(x)
    x = layers.Flatten(name="features")(x)
    small = keras.initializers.TruncatedNormal(stddev=0.02)
    head = {"kernel_initializer": small, "dtype": "float32", "name": "probabilities"}
    return keras.Model(image, layers.Dense(classes, activation="softmax", **head)(x), name="vit")


def embed_patches(x, patch: int, width: int):
    """Cut images into patches and project each, a class token before them, to a token of length `width`."""
    n_patches = (x.shape[1] // patch) ** 2
    # float32 also under mixed precision: bfloat16 does not have the digits for 0-255.
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32", name="scaling")(x)
    x = layers.Reshape((n_patches, patch * patch * 3), name="patches")(ops.image.extract_patches(x, patch))
    x = layers.ZeroPadding1D((1, 0), name="class_token")(x)
    small = keras.initializers.TruncatedNormal(stddev=0.02)
    options = {"kernel_initializer": "lecun_normal", "bias_initializer": small, "name": "patch_embedding"}
    return layers.EinsumDense("bnp,pd->bnd", (n_patches + 1, width), bias_axes="nd", **options)(x)


def encoder_block(x, name: str, heads: int, mlp: int, dropout: float, epsilon: float):
    """Apply attention, then an MLP, each after its norm and added to its input."""
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


def principal_filters(model: keras.Model, count: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Return the first principal components of the patch filters (Dosovitskiy et al. 2021, figure 7), (count, patch,
    patch, 3), each of length 1; and the share of the filters' squared length that each of them holds."""
    kernel = ops.convert_to_numpy(model.get_layer("patch_embedding").kernel)  # (patch * patch * 3, filters)
    side = math.isqrt(len(kernel) // 3)
    _, lengths, components = np.linalg.svd(kernel.T, full_matrices=False)
    shares = lengths**2 / np.sum(lengths**2)
    return components[:count].reshape(-1, side, side, 3), shares[:count]


def position_similarity(model: keras.Model) -> np.ndarray:
    """Return the cosine similarity, -1 to 1, of all pairs of position embeddings: (grid, grid, grid, grid). Their mean
    is subtracted: it can't be told from the projection's bias."""
    bias = ops.convert_to_numpy(model.get_layer("patch_embedding").bias)[1:]
    grid = math.isqrt(len(bias))
    positions = keras.utils.normalize(bias - bias.mean(axis=0))  # each to length 1
    return (positions @ positions.T).reshape([grid] * 4)


def attention_distance(maps: np.ndarray) -> np.ndarray:
    """Return how far attention reaches, in shares of the image's side (Dosovitskiy et al. 2021, appendix D.7).

    The distance from each patch to those it takes from, weighted by how much it takes of each, averaged over the
    patches, without the class token: (..., tokens, tokens) to (...). It compares to a receptive field's size."""
    maps = np.asarray(maps)[..., 1:, 1:]
    grid = math.isqrt(maps.shape[-1])
    places = np.stack(np.divmod(np.arange(grid * grid), grid), axis=-1) / grid
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return np.mean(np.sum(maps * distances, axis=-1) / np.sum(maps, axis=-1), axis=-1)
