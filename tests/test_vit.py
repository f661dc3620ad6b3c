"""The Vision Transformer: its shape, its file, its weights from Hugging Face, and the look inside."""

import json
import math
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import REPOSITORY, SHAPES, definitions, run_under
from keras import layers, ops
from safetensors.numpy import save_file

from emotions import explain
from emotions.models import input_size, vit

SMALL = {"size": 24, "patch": 8, "width": 12, "depth": 2, "heads": 3, "mlp": 20}
notebook = definitions("09", "train")
load_checkpoint = notebook["load_checkpoint"]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3)).astype("float32")


def maps_of(model, images) -> np.ndarray:
    """Attention maps: images x blocks x heads x tokens x tokens."""
    return np.stack(list(explain.attention_maps(model, images).values()), axis=1)


def run(model, images):
    return ops.convert_to_numpy(model(images))


def tokens_of(model):
    """The model up to its final norm, which is what checkpoints are compared by."""
    return keras.Model(model.input, model.get_layer("final_norm").output)


# A checkpoint of random numbers, and an independent forward pass


def write_checkpoint(folder, prefix="", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), **changes):
    """A random ViT in the files of Hugging Face; returns its tensors by their names without prefix."""
    rng = np.random.default_rng(1)
    width, mlp, patch, depth, grid = 12, 20, 8, 2, 3
    shapes = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.position_embeddings": (1, grid * grid + 1, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (width,),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
    }
    for number in range(depth):
        block = f"encoder.layer.{number}"
        denses = {f"attention.attention.{part}": (width, width) for part in ("query", "key", "value")}
        denses |= {
            "attention.output.dense": (width, width),
            "intermediate.dense": (mlp, width),
            "output.dense": (width, mlp),
        }
        for name, shape in denses.items():
            shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
        for name in ("layernorm_before", "layernorm_after"):
            shapes |= {f"{block}.{name}.weight": (width,), f"{block}.{name}.bias": (width,)}
    tensors = {name: rng.normal(0, 0.3, shape).astype("float32") for name, shape in shapes.items()}

    config = {
        "model_type": "vit",
        "image_size": grid * patch,
        "patch_size": patch,
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": 3,
        "intermediate_size": mlp,
        "layer_norm_eps": 0.01,
    }
    scaling = {"rescale_factor": 1 / 255, "image_mean": mean, "image_std": std}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config | changes))
    (folder / "preprocessor_config.json").write_text(json.dumps(scaling))
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    return tensors


def reference(tensors, images, mean=0.5, std=0.5, heads=3, epsilon=0.01):
    """Hidden states and attention maps of a ViT (Dosovitskiy et al. 2021, equations 1-4), in NumPy."""

    def dense(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
        return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def split(x):  # (N, tokens, width) -> (N, heads, tokens, width / heads)
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    x = (images / 255 - mean) / std
    filters = tensors["embeddings.patch_embeddings.projection.weight"]
    side = filters.shape[-1]
    grid = x.shape[1] // side
    rows = []
    for row in range(grid):
        for column in range(grid):
            patch = x[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
            rows.append(np.einsum("nyxc,dcyx->nd", patch, filters))
    x = np.stack(rows, axis=1) + tensors["embeddings.patch_embeddings.projection.bias"]
    x = np.concatenate([np.repeat(tensors["embeddings.cls_token"], len(x), axis=0), x], axis=1)
    x = x + tensors["embeddings.position_embeddings"]
    maps = []
    for number in range(2):
        block = f"encoder.layer.{number}"
        y = norm(x, f"{block}.layernorm_before")
        query, key, value = (split(dense(y, f"{block}.attention.attention.{p}")) for p in ("query", "key", "value"))
        scores = np.exp(query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1]))
        scores /= scores.sum(-1, keepdims=True)
        maps.append(scores)
        y = (scores @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + dense(y, f"{block}.attention.output.dense")
        y = dense(norm(x, f"{block}.layernorm_after"), f"{block}.intermediate.dense")
        y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
        x = x + dense(y, f"{block}.output.dense")
    return norm(x, "layernorm"), np.stack(maps, axis=1)


# The model


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ("custom-vit", 1_969_159),
        ("custom-vit-48", 818_183),
        ("vit-tiny", 5_525_383),
        # keras-hub's backbone, which keeps class token and projection bias apart from the positions, and our head.
        pytest.param("vit-base", 85_798_656 - 2 * 768 + 7 * 769, marks=pytest.mark.slow),
    ],
)
def test_every_shape_has_its_exact_number_of_parameters(shape, parameters):
    assert vit.build(7, **SHAPES[shape]).count_params() == parameters


def test_probabilities_for_images_of_any_size(images):
    model = vit.build(4, **SMALL)
    for size in ((24, 24), (48, 48), (31, 70)):
        output = run(model, np.resize(images, (2, *size, 3)))
        assert output.shape == (2, 4)
        np.testing.assert_allclose(output.sum(axis=1), 1, atol=1e-5)


def test_probabilities_are_float32_under_mixed_precision(images):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = vit.build(3, **SMALL)
        assert model.get_layer("block_00_mlp_in").compute_dtype == "bfloat16"
        assert run(model, images).dtype == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_every_weight_learns(images):
    model = vit.build(3, **SMALL, dropout=0.1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = [weight.copy() for weight in model.get_weights()]
    model.fit(images, np.array([0, 1]), epochs=2, verbose=0)
    for variable, old in zip(model.weights, before, strict=True):
        # The bias of the keys shifts all scores of a row alike, and softmax does not see it.
        if "key/bias" not in variable.path:
            assert np.abs(ops.convert_to_numpy(variable) - old).max() > 0, variable.path


@pytest.mark.parametrize(("change", "message"), [({"size": 25}, "multiple of 8"), ({"heads": 5}, "multiple of 5")])
def test_a_shape_that_does_not_divide_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        vit.build(3, **SMALL | change)


ELSEWHERE = """
import keras, numpy as np, sys
here = np.load("here.npz")
model = keras.models.load_model("vit.keras", safe_mode=True)
assert not any(name.startswith("emotions") for name in sys.modules)
np.testing.assert_allclose(model.predict(here["x"], verbose=0), here["p"], atol=1e-5)
scores = keras.Model(model.input, model.get_layer("block_01_attention").output[1])
np.testing.assert_allclose(scores.predict(here["x"], verbose=0), here["maps"][:, 1], atol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorflow", "jax", "torch"])
def test_the_file_needs_no_code_of_ours(name, images, tmp_path):
    model = vit.build(3, **SMALL)
    model.save(tmp_path / "vit.keras")
    np.savez(tmp_path / "here.npz", x=images, p=run(model, images), maps=maps_of(model, images))
    run_under(name, f"import os; os.chdir({str(tmp_path)!r})\n{ELSEWHERE}")


# Weights from Hugging Face


def pretrained(source, classes=3, size=24):
    """A model of the shape that `write_checkpoint` writes, its epsilon included, with the weights from there."""
    model = vit.build(classes, **SMALL | {"size": size}, epsilon=0.01)
    load_checkpoint(model, source)
    return model


@pytest.mark.parametrize("prefix", ["", "vit."])
def test_a_checkpoint_converts_exactly(prefix, images, tmp_path):
    tensors = write_checkpoint(tmp_path, prefix)
    model = pretrained(tmp_path, classes=4)
    states, maps = reference(tensors, images)
    np.testing.assert_allclose(run(tokens_of(model), images), states, atol=1e-4)
    np.testing.assert_allclose(maps_of(model, images), maps, atol=1e-5)
    assert model.output_shape == (None, 4)


def test_the_scaling_of_a_checkpoint_is_inside_the_model(images, tmp_path):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    tensors = write_checkpoint(tmp_path, mean=mean, std=std)
    states, _ = reference(tensors, images, np.array(mean), np.array(std))
    np.testing.assert_allclose(run(tokens_of(pretrained(tmp_path)), images), states, atol=1e-4)


def test_position_embeddings_resize_to_another_grid(tmp_path):
    tensors = write_checkpoint(tmp_path)
    rows = np.repeat(np.arange(3.0), 3)  # each patch knows its row, and nothing of its column
    tensors["embeddings.position_embeddings"][0, 1:] = rows[:, None]
    save_file(tensors, tmp_path / "model.safetensors")
    token = tensors["embeddings.cls_token"][0, 0] + tensors["embeddings.position_embeddings"][0, 0]
    for size in (16, 40):
        bias = pretrained(tmp_path, size=size).get_layer("patch_embedding").get_weights()[1]
        np.testing.assert_allclose(bias[0], token, atol=1e-6)
        positions = bias[1:].reshape(size // 8, size // 8, 12)
        assert (np.diff(positions, axis=0) > 0.1).all()
        np.testing.assert_allclose(np.diff(positions, axis=1), 0, atol=1e-5)


def test_the_tensors_of_a_block_are_the_weights_of_our_layers(tmp_path):
    tensors = write_checkpoint(tmp_path, prefix="vit.")
    weights = notebook["block_weights"](tensors, 1)
    names = [f"block_01_{name}" for name in ("attention_norm", "attention", "mlp_norm", "mlp_in", "mlp_out")]
    assert list(weights) == names
    np.testing.assert_array_equal(weights["block_01_mlp_in"][0], tensors["encoder.layer.1.intermediate.dense.weight"].T)
    model = pretrained(tmp_path)
    for layer, arrays in weights.items():
        for ours, theirs in zip(model.get_layer(layer).get_weights(), arrays, strict=True):
            np.testing.assert_array_equal(ours.ravel(), theirs.ravel())


def test_a_missing_tensor_is_named_and_the_model_left_alone(tmp_path):
    tensors = write_checkpoint(tmp_path)
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    model = vit.build(3, **SMALL)
    before = model.get_weights()
    with pytest.raises(KeyError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        load_checkpoint(model, tmp_path)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 3}, "num_hidden_layers is 2, but 3 in the model"),
        ({"heads": 4}, "num_attention_heads is 3, but 4"),
        ({"width": 24}, "cannot reshape"),
        ({"mlp": 40}, "cannot reshape"),
        ({"patch": 4}, "cannot reshape"),
    ],
)
def test_a_checkpoint_of_another_shape_is_an_error(change, message, tmp_path):
    write_checkpoint(tmp_path)
    model = vit.build(3, **SMALL | change)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        load_checkpoint(model, tmp_path)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("change", "message"), [({"model_type": "swin"}, "model_type is 'swin'"), ({"hidden_act": "relu"}, "hidden_act")]
)
def test_a_checkpoint_of_another_kind_is_an_error(change, message, tmp_path):
    write_checkpoint(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        pretrained(tmp_path)


def test_a_folder_without_safetensors_is_an_error(tmp_path):
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        pretrained(tmp_path)


def test_a_name_is_downloaded(monkeypatch, tmp_path):
    write_checkpoint(tmp_path)
    asked = []

    def download(name, allow_patterns):
        asked.append((name, sorted(allow_patterns)))
        return str(tmp_path)

    monkeypatch.setitem(notebook, "snapshot_download", download)
    assert pretrained("someone/some-vit", 5).output_shape == (None, 5)
    assert asked == [("someone/some-vit", ["config.json", "model.safetensors", "preprocessor_config.json"])]


@pytest.mark.parametrize("layout", ["ViTModel", "ViTForImageClassification"])
def test_parity_with_transformers(layout, images, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=24,
        patch_size=8,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        initializer_range=0.5,
    )
    theirs = getattr(transformers, layout)(config).eval()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    with torch.no_grad():
        scaled = torch.tensor(images / 127.5 - 1).permute(0, 3, 1, 2)
        states = theirs(scaled, output_hidden_states=True).hidden_states[-1]
        states = getattr(theirs, "vit", theirs).layernorm(states).numpy()
    model = vit.build(3, **SMALL, epsilon=config.layer_norm_eps)
    load_checkpoint(model, tmp_path)
    ours = tokens_of(model)
    np.testing.assert_allclose(run(ours, images), states, atol=1e-3)


@pytest.fixture(scope="module")
def vit_tiny():
    """A real checkpoint: EMOTIONS_WEIGHTS names the folder that holds vit_tiny_patch16_224/."""
    folder = Path(os.environ.get("EMOTIONS_WEIGHTS", ""), "vit_tiny_patch16_224")
    if "EMOTIONS_WEIGHTS" not in os.environ or not folder.is_dir():
        pytest.skip("EMOTIONS_WEIGHTS does not name a folder with vit_tiny_patch16_224")
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype("float32")
    model = vit.build(7, **SHAPES["vit-tiny"], epsilon=1e-12)
    load_checkpoint(model, folder)
    return folder, images, run(tokens_of(model), images)


def test_vit_tiny_agrees_with_transformers(vit_tiny):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder, images, states = vit_tiny
    theirs = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        wanted = theirs(torch.tensor(images / 127.5 - 1).permute(0, 3, 1, 2)).last_hidden_state.numpy()
    np.testing.assert_allclose(states, wanted, atol=1e-3)


def test_vit_tiny_agrees_with_keras_hub(vit_tiny):
    keras_hub = pytest.importorskip("keras_hub")
    folder, images, states = vit_tiny
    theirs = keras_hub.models.ViTBackbone.from_preset(str(folder))
    np.testing.assert_allclose(states, run(theirs, images / 127.5 - 1), atol=1e-3)


# Looking inside


def test_principal_filters_are_directions_that_the_filters_share():
    model = vit.build(3, **SMALL)
    layer = model.get_layer("patch_embedding")
    direction = np.random.default_rng(0).normal(size=8 * 8 * 3)
    layer.set_weights([np.outer(direction, np.arange(12.0)), layer.get_weights()[1]])
    components, shares = vit.principal_filters(model, count=5)
    assert components.shape == (5, 8, 8, 3)
    np.testing.assert_allclose(shares, [1, 0, 0, 0, 0], atol=1e-6)
    wanted = direction / np.linalg.norm(direction)
    np.testing.assert_allclose(abs(components[0].ravel() @ wanted), 1, atol=1e-5)


def test_places_with_the_same_embedding_are_alike():
    model = vit.build(3, **SMALL)
    layer = model.get_layer("patch_embedding")
    kernel, bias = layer.get_weights()
    bias[1:] = np.repeat(np.eye(3, 12), 3, axis=0)  # each patch knows its row, and nothing of its column
    layer.set_weights([kernel, bias])
    similarity = vit.position_similarity(model)
    assert similarity.shape == (3, 3, 3, 3)
    for row in range(3):
        for other in range(3):
            # Three vectors of length 1 at right angles, less their mean, are at 120 degrees.
            np.testing.assert_allclose(similarity[row, :, other], 1 if row == other else -0.5, atol=1e-5)


def test_attention_distance_of_known_maps():
    tokens, grid = 10, 3
    itself = np.eye(tokens)
    right = np.eye(tokens)
    right[1:, 1:] = np.eye(9)[np.arange(9) // 3 * 3 + (np.arange(9) + 1) % 3]  # the last column's right is the first
    right[:, 0] = 5  # what is taken from the class token does not count
    output = vit.attention_distance(np.stack([itself, right]))
    np.testing.assert_allclose(output, [0, (1 + 1 + 2) / 3 / grid], atol=1e-6)
    maps = maps_of(vit.build(3, **SMALL), np.zeros((2, 24, 24, 3), "float32"))
    assert vit.attention_distance(maps).shape == (2, 2, 3)  # images, blocks, heads


COMMITTED = {"custom-vit-48-human-emotions": "custom-vit-48", "hf-vit-tiny-human-emotions": "vit-tiny"}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_model_is_what_build_makes(name):
    saved = keras.models.load_model(REPOSITORY / "models" / f"{name}.keras", compile=False)
    model = vit.build(3, **SHAPES[COMMITTED[name]] | {"size": input_size(saved)})
    names = [[layer.name for layer in each.layers[1:]] for each in (model, saved)]  # the input was "picture" once
    assert names[0] == names[1]
    model.set_weights(saved.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3)).astype("float32")
    np.testing.assert_allclose(run(model, images), run(saved, images), atol=1e-5)


def test_layer_depths_rise_from_the_patches_to_the_head():
    model = vit.build(3, **SMALL)
    depths = notebook["layer_depths"](model)
    assert set(depths) == {variable.path for variable in model.trainable_variables}
    assert depths["patch_embedding/kernel"] == depths["patch_embedding/bias"] == 0
    assert depths["block_00_attention/query/kernel"] == depths["block_00_mlp_out/bias"] == 1
    assert depths["block_01_attention_norm/gamma"] == 2
    assert depths["final_norm/gamma"] == depths["probabilities/kernel"] == 3


def test_layer_decay_scales_the_rate_of_each_layer(monkeypatch):
    """One step moves a weight by a share of what it usually would, weight decay included."""
    moved = {}
    monkeypatch.setitem(notebook, "highest", 2)
    for decay in (1.0, 0.5):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="first"), layers.Dense(3, name="last")])
        for variable in model.weights:
            variable.assign(np.full(variable.shape, 0.3))
        start = model.get_weights()
        depths = {variable.path: 0 if "first" in variable.path else 2 for variable in model.weights}
        monkeypatch.setitem(notebook, "depths", depths)
        monkeypatch.setattr(notebook["AdamW"], "layer_decay", decay)
        model.compile(notebook["AdamW"](1e-2, weight_decay=0.1), loss="mse")
        model.fit(np.ones((8, 4)), np.zeros((8, 3)), verbose=0)
        moved[decay] = [np.asarray(v) - old for v, old in zip(model.weights, start, strict=True)]
    for number, (usual, scaled) in enumerate(zip(moved[1.0], moved[0.5], strict=True)):
        factor = 0.25 if number < 2 else 1
        assert np.abs(usual).max() > 0
        np.testing.assert_allclose(scaled, usual * factor, atol=0.02 * np.abs(usual).max())


def test_the_record_of_a_training_names_its_layer_decay():
    assert notebook["AdamW"].layer_decay == 0.75 and notebook["AdamW"].__name__ == "AdamW"
