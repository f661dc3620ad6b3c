"""Explanations: right on cases that can be worked out by hand, and the same on every backend."""

import gc
import weakref

import cv2
import keras
import numpy as np
import pytest
from conftest import run_under
from keras import layers, ops

from emotions import backend, explain
from emotions.explain import Graph
from emotions.explain.attention import attention_maps, attention_rollout, gradient_rollout
from emotions.explain.gradcam import finer_layer, grad_cam, target_layer
from emotions.explain.graph import BATCH

SIZE = 16
CLASSES = 4


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)


def convolutions():
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="conv_1"),
            layers.MaxPooling2D(name="pool_1"),
            layers.Conv2D(12, 3, padding="same", name="conv_2"),
            layers.BatchNormalization(name="norm_2"),
            layers.ReLU(name="relu_2"),
            layers.MaxPooling2D(name="pool_2"),
        ],
        name="base",
    )


def top(x):
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return layers.Dense(CLASSES, activation="softmax", name="probabilities")(x)


def scaled(image):
    return layers.Rescaling(1 / 127.5, -1, name="scale")(image)


def flat():
    """The layers of `convolutions` in one functional model."""
    image = keras.Input((SIZE, SIZE, 3))
    x = scaled(image)
    for layer in convolutions().layers:
        x = layer(x)
    return keras.Model(image, top(x), name="flat")


def nested():
    """Two levels down, with operations that are no layers, and a base called in inference mode."""
    middle = keras.Input((SIZE, SIZE, 3))
    middle = keras.Model(middle, convolutions()(middle / 127.5 - 1, training=False), name="middle")
    image = keras.Input((None, None, 3))
    return keras.Model(image, top(middle(ops.image.resize(image, (SIZE, SIZE)))), name="nested")


def nested_in_sequential():
    head = keras.Sequential([layers.Dense(CLASSES), layers.Softmax()], name="head")
    scale, average = layers.Rescaling(1 / 127.5, -1), layers.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), scale, convolutions(), average, head])


def transformer(depth=2, class_token=1):
    """A small Vision Transformer: class token first, 4 x 4 patches; its first layer hides its attention."""
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Reshape((16, 48))(ops.image.extract_patches(scaled(image), 4))
    x = layers.ZeroPadding1D((class_token, 0))(x)
    shape = (16 + class_token, 16)
    x = layers.EinsumDense("bnp,pd->bnd", shape, bias_axes="nd", bias_initializer="random_normal")(x)
    for number in range(depth):
        y = layers.LayerNormalization(name=f"norm_{number}")(x)
        attention = layers.MultiHeadAttention(2, 8, name=f"attention_{number}", kernel_initializer="random_normal")
        x = x + (attention(y, y, return_attention_scores=True)[0] if number else attention(query=y, value=y))
    x = layers.LayerNormalization(name="norm_last")(x)[:, 0]
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="probabilities")(x), name="transformer")


def copy_weights(source, target):
    target.set_weights(source.get_weights())
    return target


def stretched(maps):
    """Maps at the images' size, the strongest place 1."""
    maps = np.stack([cv2.resize(one, (SIZE, SIZE)) for one in np.float32(maps)])
    highest = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(highest > 0, highest, 1)


@pytest.mark.parametrize("build", [nested, nested_in_sequential])
def test_nested_models_are_explained_as_the_same_layers_unnested(build, images):
    model = copy_weights(flat(), build())
    assert target_layer(model).split("/")[-1] == target_layer(flat()) == "relu_2"
    np.testing.assert_allclose(grad_cam(model, images, 1), grad_cam(copy_weights(model, flat()), images, 1), atol=1e-4)


def test_maps_lie_over_the_images_and_between_0_and_1(images):
    graph = Graph(nested())
    for size in ((SIZE, SIZE), (40, 24), (4, 3)):
        resized = np.stack([cv2.resize(image, size[::-1]) for image in images])
        maps = grad_cam(graph, resized)
        assert maps.shape == resized.shape[:3] and maps.dtype == np.float32
        assert maps.min() >= 0 and set(np.round(maps.max(axis=(1, 2)), 5)) <= {0, 1} and maps.max() == 1


def test_grad_cam_is_cam_where_average_pooling_and_a_dense_layer_follow(images):
    """Zhou et al. 2016: the map is the weighted sum of the features, by the weights of the class."""
    graph = Graph(flat())
    classes = np.arange(4)
    features = graph.read(images, ["pool_2"])["pool_2"]
    kernel = ops.convert_to_numpy(graph.model.get_layer("probabilities").kernel)
    cam = np.maximum(np.einsum("nhwc,cn->nhw", features, kernel[:, classes]), 0)
    assert cam.max() > 0
    np.testing.assert_allclose(grad_cam(graph, images, classes, "pool_2"), stretched(cam), atol=1e-4)


@pytest.mark.parametrize("end", ["dense", "layer", "activation", "operation"])
def test_a_sure_model_is_explained_by_its_scores_before_the_softmax(end, images):
    """Probabilities of exactly 1 have no gradient, however the softmax was written."""

    def build(end):
        image = keras.Input((SIZE, SIZE, 3))
        x = layers.GlobalAveragePooling2D()(convolutions()(scaled(image)))
        x = layers.Dense(CLASSES, activation="softmax" if end == "dense" else None)(x)
        ends = {"layer": layers.Softmax(), "activation": layers.Activation("softmax"), "operation": ops.softmax}
        return keras.Model(image, ends.get(end, lambda x: x)(x))

    model = build(end)
    model.weights[-1].assign([0, 0, 200, 0])
    assert model.predict_on_batch(images)[:, 2].min() == 1
    maps = grad_cam(model, images, 2)
    np.testing.assert_allclose(maps, grad_cam(copy_weights(model, build("logits")), images, 2), atol=1e-5)
    assert maps.max() == 1


def test_the_predicted_class_is_explained_unless_another_is_named(images):
    graph = Graph(flat())
    predicted = graph.model.predict_on_batch(images).argmax(axis=1)
    maps = grad_cam(graph, images)
    one_by_one = [grad_cam(graph, images[i : i + 1], int(c))[0] for i, c in enumerate(predicted)]
    np.testing.assert_allclose(maps, one_by_one, atol=1e-5)
    assert np.abs(grad_cam(graph, images, 0) - grad_cam(graph, images, 1)).max() > 0.1
    many = np.concatenate([images] * 20)[: 2 * BATCH + 3]  # more than a batch
    np.testing.assert_allclose(grad_cam(graph, many)[-3:], maps[[0, 1, 2]], atol=1e-5)


def test_a_layer_beside_a_residual_path_gets_its_own_gradient(images):
    """The feature maps of one branch are explained by what passes through that branch alone."""
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(scaled(image))
    model = keras.Model(
        image, top(layers.Add(name="joined")([x, layers.Conv2D(4, 3, padding="same", name="branch")(x)]))
    )
    graph = Graph(model)
    assert target_layer(graph) == "joined"
    kernel = ops.convert_to_numpy(model.get_layer("probabilities").kernel)[:, 1]
    cam = np.maximum(graph.read(images, ["branch"])["branch"] @ kernel, 0)
    np.testing.assert_allclose(grad_cam(graph, images, 1, "branch"), stretched(cam), atol=1e-4)


def test_a_layer_used_twice_has_two_paths(images):
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    image = keras.Input((SIZE, SIZE, 3))
    graph = Graph(keras.Model(image, top(shared(shared(scaled(image))))))
    maps = graph.read(images, ["shared", "shared#2"])
    assert target_layer(graph) == "shared#2"
    assert np.abs(maps["shared"] - maps["shared#2"]).max() > 1e-3


def test_explanations_follow_weights_that_change_and_leave_the_model_as_it_was(images):
    graph = Graph(flat())
    config, weights = graph.model.get_config(), graph.model.get_weights()
    before = grad_cam(graph, images, 0)
    assert graph.model.get_config() == config
    for old, new in zip(weights, graph.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    kernel = graph.model.get_layer("probabilities").kernel
    kernel.assign(-kernel)
    assert np.abs(before - grad_cam(graph, images, 0)).max() > 0.1


def test_a_model_that_was_explained_can_be_forgotten(images):
    model = flat()
    reference = weakref.ref(model)
    for method in explain.methods(model).values():
        method(images)
    del model, method
    gc.collect()
    assert reference() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "side"),
    [
        ("VGG16", "block5_conv3", 4),
        ("EfficientNetB0", "top_activation", 2),
        ("ResNet50V2", "post_relu", 2),
        ("MobileNetV2", "out_relu", 2),
        ("MobileNetV3Small", None, 2),  # it goes on with convolutions of a single place, which have no map
    ],
)
def test_the_target_of_well_known_nets_is_the_last_map_before_pooling(name, layer, side):
    options = {"include_top": name == "MobileNetV3Small", "input_shape": (64, 64, 3)}
    model = getattr(keras.applications, name)(weights=None, **options)
    graph = Graph(model if options["include_top"] else keras.Model(model.input, top(model.output)))
    target = target_layer(graph)
    assert graph.feature_layers[target][:2] == (side, side)
    assert layer in (target, None)


def test_attention_maps_are_those_of_the_layers(images):
    model = transformer()
    maps = attention_maps(model, images)
    assert list(maps) == ["attention_0", "attention_1"]
    for attention in maps.values():
        assert attention.shape == (4, 2, 17, 17)
        np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-5)
    reference = keras.Model(model.input, model.get_layer("attention_1").output[1])
    np.testing.assert_allclose(maps["attention_1"], reference.predict_on_batch(images), atol=1e-5)


def test_rollout_multiplies_the_layers_and_ignores_the_class(images):
    graph = Graph(transformer())
    first, second = (attention.mean(axis=1) for attention in attention_maps(graph, images).values())
    joint = (second / 2 + np.eye(17) / 2) @ (first / 2 + np.eye(17) / 2)
    expected = stretched(joint[:, 0, 1:].reshape(-1, 4, 4))
    np.testing.assert_allclose(attention_rollout(graph, images, 0), expected, atol=1e-4)
    np.testing.assert_array_equal(attention_rollout(graph, images, 0), attention_rollout(graph, images, 1))


def test_gradient_rollout_uses_the_gradient_of_the_class(images):
    """In a transformer of one layer the relevance is gradient times attention; the gradient is tried by steps."""
    model = transformer(depth=1)
    attention = attention_maps(model, images)["attention_0"]
    layer, norm, kernel = model.get_layer("attention_0"), model.get_layer("norm_last"), model.layers[-1].kernel
    first = model.get_layer("norm_0")
    x, y = keras.Model(model.input, [first.input, first.output]).predict_on_batch(images)
    value = ops.convert_to_numpy(layer.value_dense(y))

    def score(maps):
        out = layer.output_dense(np.einsum("nhts,nshd->nthd", maps, value).astype(np.float32))
        return ops.convert_to_numpy(ops.matmul(norm(x + ops.convert_to_numpy(out))[:, 0], kernel))[:, 1]

    relevance = np.zeros((len(images), 16))
    for patch in range(1, 17):
        for head in range(2):
            step = np.zeros_like(attention)
            step[:, head, 0, patch] = 1e-2
            slope = (score(attention + step) - score(attention - step)) / 2e-2
            relevance[:, patch - 1] += np.maximum(slope * attention[:, head, 0, patch], 0) / 2
    expected = stretched(relevance.reshape(-1, 4, 4))
    np.testing.assert_allclose(gradient_rollout(model, images, 1), expected, atol=2e-2)


def test_gradient_rollout_adds_up_the_layers(images):
    """The same transformer put together again from its layers, with the gradient of both maps at once."""
    model = transformer()
    graph, kernel = Graph(model), model.layers[-1].kernel
    kernel.assign(100 * kernel)  # large gradients, so that the product of the two layers weighs as much as their sum
    norms = [model.get_layer(f"norm_{which}") for which in (0, 1, "last")]
    tokens = keras.Model(model.input, norms[0].input).predict_on_batch(images)

    def score(shifts):
        x, maps = ops.convert_to_tensor(tokens), []
        for number, shift in enumerate(shifts):
            attention, y = model.get_layer(f"attention_{number}"), norms[number](x)
            maps.append(attention(y, y, return_attention_scores=True)[1])
            x = x + attention.output_dense(ops.einsum("nhts,nshd->nthd", maps[-1] + shift, attention.value_dense(y)))
        return ops.sum(ops.matmul(norms[2](x)[:, 0], kernel)[:, 1]), tuple(maps)

    _, maps, gradients = backend.gradients(score, [np.zeros((4, 2, 17, 17), np.float32)] * 2)
    first, second = (
        np.maximum(ops.convert_to_numpy(a) * ops.convert_to_numpy(g), 0).mean(axis=1)
        for a, g in zip(maps, gradients, strict=True)
    )
    joint = (np.eye(17) + second) @ (np.eye(17) + first)
    weighted = gradient_rollout(graph, images, 1)
    np.testing.assert_allclose(weighted, stretched(joint[:, 0, 1:].reshape(-1, 4, 4)), atol=1e-4)
    assert np.abs(weighted - gradient_rollout(graph, images, 0)).max() > 0.1


def test_methods_fit_the_model():
    assert list(explain.methods(flat())) == ["grad-cam", "random", "centred gaussian"]
    assert list(explain.methods(transformer()))[:2] == ["attention rollout", "gradient rollout"]


def test_grad_cam_is_tried_finer_where_its_layer_is_coarse(images):
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.MaxPooling2D(8)(layers.Conv2D(8, 3, padding="same", activation="relu", name="fine")(scaled(image)))
    graph = Graph(keras.Model(image, top(layers.Conv2D(4, 3, padding="same", activation="relu", name="coarse")(x))))
    assert (target_layer(graph), finer_layer(graph), finer_layer(flat())) == ("coarse", "fine", None)
    finer = explain.methods(graph)["grad-cam, finer"]
    np.testing.assert_array_equal(finer(images, 1), grad_cam(graph, images, 1, "fine"))


def test_baselines_know_nothing_of_the_model(images):
    random, gaussian = (method(None, images) for method in explain.BASELINES.values())
    assert gaussian.shape == images.shape[:3] and gaussian.max() == 1
    np.testing.assert_allclose(gaussian, gaussian[:, ::-1, ::-1])
    assert gaussian[0, 8, 8] > gaussian[0, 8, 4] > gaussian[0, 0, 0]
    np.testing.assert_array_equal(random, explain.BASELINES["random"](None, images))
    assert np.abs(random[0] - random[1]).max() > 0.3


PROGRAM = """
import sys, keras, numpy as np
from emotions import explain
folder = sys.argv[1]
images, maps = np.load(f"{folder}/images.npy"), {}
for name in ("nested", "transformer"):
    for method, maps_of in explain.methods(keras.models.load_model(f"{folder}/{name}.keras")).items():
        maps[f"{name} {method}"] = maps_of(images, 1)
np.savez(f"{folder}/maps.npz", **maps)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_backends_agree(name, tmp_path, images):
    np.save(tmp_path / "images.npy", images)
    models = [nested(), transformer()]
    for model in models:
        model.save(tmp_path / f"{model.name}.keras")
    run_under(name, PROGRAM, tmp_path)
    theirs = np.load(tmp_path / "maps.npz")
    ours = {f"{model.name} {m}": maps(images, 1) for model in models for m, maps in explain.methods(model).items()}
    assert len(ours) == len(theirs) == 7
    for key, maps in ours.items():
        np.testing.assert_allclose(theirs[key], maps, atol=1e-3)


class Subclassed(keras.Model):
    def call(self, x):
        return x


def two_inputs():
    both = [keras.Input((SIZE, SIZE, 3)) for _ in range(2)]
    return keras.Model(both, top(layers.Add()(both)))


@pytest.mark.parametrize(
    ("build", "call", "message"),
    [
        (transformer, grad_cam, "'transformer' has no convolution.*gradient_rollout"),
        (flat, lambda model, x: grad_cam(model, x, layer="conv2"), "no feature maps 'conv2'.*conv_2"),
        (flat, lambda model, x: grad_cam(model, x, layer="average"), "no feature maps 'average'"),
        (flat, lambda model, x: grad_cam(model, x, CLASSES), "from 0 to 3, not 4"),
        (flat, lambda model, x: grad_cam(model, x, [0, -1, 2, 3]), "from 0 to 3"),
        (flat, lambda model, x: grad_cam(model, x, [0, 1]), "one index or 4"),
        (flat, lambda model, x: grad_cam(model, x, "happy"), "not 'happy'"),
        (flat, lambda model, x: grad_cam(model, x[0]), r"16, 16, 3\); this array's is \(16, 16, 3\)"),
        (flat, lambda model, x: grad_cam(model, x[:0]), r"this array's is \(0, 16, 16, 3\)"),
        (flat, lambda model, x: grad_cam(model, x[..., :1]), r"this array's is \(4, 16, 16, 1\)"),
        (flat, attention_rollout, "'flat' see no tokens"),
        (lambda: transformer(class_token=0), gradient_rollout, "class token.*see 16 tokens"),
        (lambda: Subclassed(name="own"), grad_cam, "'own' has no graph to read"),
        (lambda: keras.Sequential([layers.Conv2D(3, 3)]), grad_cam, "built"),
        (two_inputs, grad_cam, "must map images to rows of class scores"),
    ],
)
def test_a_wrong_input_gets_one_clear_sentence(build, call, message, images):
    with pytest.raises(ValueError, match=message):
        call(build(), images)
