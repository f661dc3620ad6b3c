"""Does every figure show what it was given? Bars, pictures, labels, and one colour per emotion."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from scipy.stats import binomtest

from emotions import notebook
from emotions.data import synthetic
from emotions.data.audit import measure, suspects
from emotions.data import Dataset
from emotions.evaluation.metrics import Predictions
from emotions.plots import figures as plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic.load(train=140, validation=28, test=35, size=24)


def titles(figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes]


def shown(figure) -> list[np.ndarray]:
    """The pictures of a figure."""
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes]


def assert_labelled(figure):
    figure.canvas.draw()
    for axis in figure.axes:
        assert axis.get_xlabel()
        assert axis.get_ylabel() or axis.get_subplotspec().colspan.start, "the first column names its axis"


def test_class_distribution_has_a_bar_per_class_and_split(drawn):
    figure = plots.class_distribution(drawn)
    assert_labelled(figure)
    assert titles(figure) == ["train, n = 140", "validation, n = 28", "test, n = 35"]
    for axis, counts in zip(figure.axes, drawn.describe().to_numpy(), strict=True):
        assert [bar.get_width() for bar in axis.patches] == pytest.approx(100 * counts / counts.sum())
        assert [text.get_text() for text in axis.texts] == [str(count) for count in counts]
        for bar, name in zip(axis.patches, drawn.class_names, strict=True):
            assert same_color(bar.get_facecolor(), plots.EMOTION_COLORS[name])


def test_every_emotion_has_its_own_colour_and_other_classes_share_one():
    assert set(synthetic.CLASS_NAMES) == set(plots.EMOTION_COLORS)
    assert len(set(plots.EMOTION_COLORS.values())) == 7
    assert plots.colors(["contempt", "sad"]) == [plots.OTHER, plots.EMOTION_COLORS["sad"]]


def test_class_rates_count_each_class_and_leave_out_absent_ones():
    hits, labels = np.array([1, 1, 1, 0, 0], bool), np.array([0, 0, 2, 2, 2])
    figure = plots.class_rates(hits, labels, ("angry", "happy", "sad"), "found (%)", "three of five")
    assert_labelled(figure)
    (axis,) = figure.axes
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([100, 100 / 3])
    assert [text.get_text() for text in axis.get_yticklabels()] == ["angry (n = 2)", "sad (n = 3)"]
    assert same_color(axis.patches[1].get_facecolor(), plots.EMOTION_COLORS["sad"])
    # Wilson (1927) for 2 of 2: from 1 / (1 + z²/n) to 1.
    low, high = axis.collections[0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((100 / (1 + 1.96**2 / 2), 100), abs=0.01)


def test_face_grid_shows_every_picture_under_its_title(drawn):
    names = [drawn.class_names[k] for k in drawn.test.labels[:10]]
    figure = plots.face_grid(drawn.test.images[:10], names, plots.colors(names), columns=4, caption="ten faces")
    assert titles(figure) == names
    assert np.array_equal(shown(figure), drawn.test.images[:10])
    assert figure.get_supxlabel() == "ten faces"
    for axis, name in zip(figure.axes, names, strict=True):
        assert same_color(axis.spines["left"].get_edgecolor(), plots.EMOTION_COLORS[name])


def test_mean_faces_are_the_means_of_the_classes(drawn):
    figure = plots.mean_faces(drawn.train, drawn.class_names)
    assert titles(figure) == [f"{name}\nn = 20" for name in drawn.class_names]
    happy = drawn.class_names.index("happy")
    expected = drawn.train.images[drawn.train.labels == happy].mean(axis=0)
    assert np.abs(shown(figure)[happy] - expected).max() <= 0.5


def test_no_mean_face_of_a_few_persons(drawn):
    figure = plots.mean_faces(drawn.test, drawn.class_names)
    assert titles(figure)[0] == "angry\nn = 5, too few"
    assert all(np.ptp(picture) == 0 for picture in shown(figure))


def test_mean_batches_share_no_picture_and_stay_within_the_split(drawn):
    white = replace(drawn.train, images=np.full_like(drawn.train.images, 255))
    white.images[0] = 0
    figure = plots.mean_batches(white, size=20)
    assert len(figure.axes) == 7
    means = [picture.mean() for picture in shown(figure)]
    assert sorted(means)[0] == pytest.approx(255 * 19 / 20, abs=0.5), "one batch holds the black picture"
    assert sorted(means)[1:] == [255] * 6
    assert len(plots.mean_batches(drawn.test, size=64).axes) == 1, "fewer pictures than a batch: their mean"


def test_measure_histograms_count_all_but_constant_pictures():
    images = np.random.default_rng(0).integers(100, 156, (40, 24, 24, 3), dtype=np.uint8)
    images[0] = 128
    images[1:3] //= 20  # dark and smooth
    measures = measure(images)
    pictures = measures.assign(**suspects(measures, np.zeros(40)))
    figure = plots.measure_histograms(pictures)
    assert_labelled(figure)
    for axis, name in zip(figure.axes, ("brightness", "sharpness"), strict=True):
        outliers = pictures[f"outlier in {name}"].sum()
        assert outliers >= 2  # the dark ones
        legend = [text.get_text() for text in axis.get_legend().get_texts()]
        assert legend == [f"usual: {39 - outliers}", f"outliers: {outliers}"]
        usual, unusual = (sum(bar.get_height() for bar in bars) for bars in axis.containers)
        assert (usual, unusual) == (39 - outliers, outliers)


@pytest.fixture
def predictions() -> Predictions:
    """Ten predictions of which the even ones are right."""
    labels = np.arange(10) % 3
    said = np.where(np.arange(10) % 2, (labels + 1) % 3, labels)
    return Predictions(("angry", "happy", "sad"), np.arange(10).astype(str), labels, 0.1 + 0.7 * np.eye(3)[said])


def test_examples_are_right_ones_then_wrong_ones(predictions):
    chosen = plots.examples(predictions, each=3)
    assert (chosen % 2).tolist() == [0, 0, 0, 1, 1, 1]
    assert len(set(chosen)) == 6
    assert len(plots.examples(predictions, each=9)) == 10


def test_gallery_tells_what_was_said_and_what_is_true(predictions):
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    figure = plots.gallery(images, predictions)
    assert [picture[0, 0, 0] for picture in shown(figure)] == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]
    assert titles(figure)[0] == "angry 80%\nright"
    assert titles(figure)[5] == "sad 80%\nwrong, is happy"
    assert same_color(figure.axes[5].spines["left"].get_edgecolor(), plots.EMOTION_COLORS["happy"])


def test_training_curves_mark_the_epoch_that_was_kept():
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "phase": [1, 1, 2],
            "accuracy": [0.4, 0.5, 0.6],
            "val_accuracy": [0.3, 0.5, 0.4],
            "loss": [1.0, 0.9, 0.8],
            "val_loss": [1.1, 0.9, 1.0],
        }
    )
    figure = plots.training_curves(history, "a model")
    assert_labelled(figure)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "kept: epoch 2" in legend and "fine-tuning begins" in legend
    assert figure.axes[0].lines[1].get_ydata().tolist() == [30, 50, 40]
    assert figure.axes[1].lines[1].get_ydata().tolist() == [1.1, 0.9, 1.0]


def test_compared_curves_show_training_beside_validation():
    found = {
        name: pd.DataFrame({"epoch": [1, 2, 3], "accuracy": [0.4, 0.5, 0.6], "val_accuracy": accuracies})
        for name, accuracies in {"with": [0.3, 0.5, 0.4], "without": [0.2, 0.3, 0.4]}.items()
    }
    figure = plots.compared_curves(found, "an ingredient")
    assert_labelled(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["with", "without"]
    training, validation = figure.axes
    assert [line.get_ydata().tolist() for line in training.lines[::2]] == [[40, 50, 60], [40, 50, 60]]
    kept = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in validation.lines[1::2]]
    assert kept == [([2], [50]), ([3], [40])], "a dot where each is best on validation"


def test_confusion_matrix_shows_shares_of_the_true_class():
    metrics = {"per_class": {"angry": {}, "sad": {}}, "confusion": [[3, 1], [0, 0]]}
    figure = plots.confusion_matrix(metrics, "a model")
    assert [text.get_text() for text in figure.axes[0].texts] == ["75%\n3", "25%\n1", "0%\n0", "0%\n0"]
    assert figure.axes[0].get_xlabel() == "predicted" and figure.axes[0].get_ylabel() == "true"


# ------------------------------------------------------------------------------------- single faces in notebooks


def test_photographs_are_shown_on_request_alone(easy_dataset):
    some = easy_dataset.test.take(np.arange(4))
    images, caption = notebook.faces(some, easy_dataset, show_faces=True)
    assert np.array_equal(images, some.images) and "easy" in caption
    images, caption = notebook.faces(some, easy_dataset, show_faces=False)
    drawn = synthetic.render(
        [synthetic.CLASS_NAMES.index(easy_dataset.class_names[k]) for k in some.labels], difficulty=0.1
    )
    assert np.array_equal(images, drawn) and "drawn" in caption


def test_a_class_that_is_no_emotion_gets_a_neutral_stand_in():
    dataset = SimpleNamespace(name="mine", class_names=("contempt", "sad"))
    images, _ = notebook.faces(SimpleNamespace(labels=[0, 1]), dataset, show_faces=False)
    neutral, sad = (synthetic.CLASS_NAMES.index(name) for name in ("neutral", "sad"))
    assert np.array_equal(images, synthetic.render([neutral, sad], difficulty=0.1))


def test_drawn_faces_are_shown_as_they_are(drawn):
    some = drawn.test.take(np.arange(3))
    assert np.array_equal(notebook.faces(some, drawn, show_faces=False)[0], some.images)


def test_begin_prints_the_versions_and_how_to_get_an_accelerator(capfd, monkeypatch):
    import keras

    from emotions import backend

    monkeypatch.setattr(backend, "accelerator", lambda: None)
    notebook.begin()
    printed = capfd.readouterr()
    assert f"Keras {keras.__version__} on {backend.version()}, CPU" in printed.out
    assert "Colab" in printed.out and "Kaggle" in printed.out and not printed.err
    monkeypatch.setattr(backend, "accelerator", lambda: "Some GPU")
    notebook.begin()
    printed = capfd.readouterr()
    assert "Some GPU" in printed.out and "Colab" not in printed.out and "saved runs" not in printed.out
    monkeypatch.setattr(notebook.emotions, "__file__", "/site-packages/emotions/__init__.py")
    notebook.begin()
    assert "not the repository with its saved runs" in capfd.readouterr().out


def test_recalls_are_bars_in_the_colours_of_the_classes_with_intervals():
    labels = np.array([0, 0, 0, 0, 1, 1])  # of sad, there is no picture
    saying = {"one": [0, 0, 1, 2, 1, 0], "other": [0, 0, 0, 0, 1, 1]}
    names, ids = ("angry", "happy", "sad"), np.arange(6).astype(str)
    figure = plots.recalls({model: Predictions(names, ids, labels, np.eye(3)[said]) for model, said in saying.items()})
    for axis, name, n, right in zip(figure.axes, names, (4, 2, 0), ([50, 100], [50, 100], [np.nan] * 2), strict=True):
        assert axis.get_title() == f"{name}\nn = {n}" and axis.get_xlabel() == "recall (%)"
        assert [bar.get_width() for bar in axis.patches] == pytest.approx(right, nan_ok=True)
        assert all(same_color(bar.get_facecolor(), plots.EMOTION_COLORS[name]) for bar in axis.patches)
    (ends,) = figure.axes[0].containers[1][2]
    wilson = [binomtest(k, 4).proportion_ci(method="wilson") for k in (2, 4)]
    for line, interval in zip(ends.get_segments(), wilson, strict=True):
        assert line[:, 0] == pytest.approx([100 * interval.low, 100 * interval.high])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "other"]


def test_roc_curves_leave_out_classes_without_pictures():
    names, labels = ("angry", "happy", "sad"), np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0], [0.4, 0.5, 0.1], [0.5, 0.5, 0], [0.1, 0.8, 0.1]])
    figure = plots.roc_curves(Predictions(names, np.arange(4).astype(str), labels, probabilities))
    assert_labelled(figure)
    (axis,) = figure.axes
    # Angry: 0.9 and 0.4 against 0.5 and 0.1, three of four pairs in order. Happy: 0.5 ties with 0.5.
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "angry, area 0.75",
        "happy, area 0.88",
        "guessing, area 0.50",
    ]
    assert same_color(axis.lines[1].get_color(), plots.EMOTION_COLORS["happy"])


# ---------------------------------------------------------------------------------------------- explanations


def test_heat_maps_stand_below_their_pictures():
    images, masks = synthetic.render([0, 3], masks=True)
    maps = {"one": np.ones((2, 64, 64)), "another one": np.zeros((2, 64, 64))}
    figure = plots.heat_maps(images, maps, ["angry", "happy"], {"mouth": masks["mouth"]})
    figure.canvas.draw()
    assert titles(figure)[:2] == ["angry", "happy"]
    assert [axis.get_ylabel() for axis in figure.axes[:6:2]] == ["picture", "one", "another\none"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), images[1])
    assert [figure.axes[place].images[1].get_array().max() for place in (2, 4)] == [1, 0]


def test_differences_are_drawn_with_their_intervals():
    table = pd.DataFrame({"gain": [0.1, -0.2], "gain_low": [0.0, -0.3], "gain_high": [0.2, -0.1]}, ["a", "b"])
    figure = plots.differences({"minus chance": table, "minus centre": table + 1}, "gain", "gain")
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    lines = [container.lines[0].get_xdata() for container in axis.containers]
    np.testing.assert_allclose(np.array(lines, float), [[0.1, -0.2], [1.1, 0.8]])
    ends = axis.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([segment[:, 0].astype(float) for segment in ends], [[0, 0.2], [-0.3, -0.1]])


def test_feature_maps_show_the_most_active_filters():
    maps = np.zeros((4, 4, 5))
    maps[..., 3], maps[..., 1] = 2, 1
    figure = plots.feature_maps({"early": maps, "late": maps}, np.zeros((8, 8, 3)), each=2)
    assert titles(figure) == ["", "filter 3", "filter 1"] * 2


def test_strongest_inputs_have_a_row_per_filter():
    patches = {7: [np.full((2, 2, 3), 9, np.uint8)] * 3, 2: [np.full((4, 2, 3), 5, np.uint8)] * 3}
    made = np.full((2, 8, 8, 3), 100, np.uint8)
    made[:, 0] = 90
    figure = plots.strongest_inputs(patches, made)
    assert figure.axes[3].images[0].get_clim() == (90, 100), "its contrast is stretched"
    assert [axis.get_ylabel() for axis in figure.axes[::4]] == ["filter 7", "filter 2"]
    assert [axis.images[0].get_array().max() for axis in figure.axes] == [9, 9, 9, 100, 5, 5, 5, 100]


def test_activation_by_part_has_a_panel_per_model():
    table = pd.DataFrame({"depth": [0, 1]})
    for number, part in enumerate(plots.PART_COLORS, start=1):
        for end in ("", "_low", "_high", "_shuffled", "_shuffled_low", "_shuffled_high"):
            table[f"{part}{end}"] = number
    figure = plots.activation_by_part({"LeNet": table, "VGG-16": 2 * table}, columns=1)
    assert titles(figure) == ["LeNet", "VGG-16"]
    assert [line.get_ydata()[0] for line in figure.axes[1].lines[:6:2]] == [2, 4, 6]


def test_mean_heat_maps_lie_over_mean_faces_on_one_scale_or_each_on_its_own():
    faces, one = np.full((2, 8, 8, 3), 50.0), np.full((2, 8, 8), 0.4)
    empty = one.copy()
    empty[1] = np.nan
    figure = plots.over_mean_faces(faces, {"right": one, "wrong": empty}, {"right": ["a", "b"], "wrong": ["c", "d"]})
    assert titles(figure)[:4] == ["a", "b", "c", "d"]
    assert {axis.images[1].get_clim() for axis in figure.axes[:4]} == {(0, 0.4)}
    shown = [set(np.unique(axis.images[0].get_array())) for axis in figure.axes[:4]]
    assert shown == [{50}, {50}, {50}, {plots.TOO_FEW}], "no face where there is no map"
    (warm := one.copy())[0, 0, 0] = 0.1
    maps, names = {"right": warm, "wrong": warm / 2}, {"right": ["a", "b"], "wrong": ["c", "d"]}
    figure = plots.over_mean_faces(faces, maps, names, one_scale=False)
    assert [axis.images[1].get_clim() for axis in figure.axes[:4]] == [(0.1, 0.4)] * 2 + [(0.05, 0.2)] * 2


# Comparing runs


def bars(figure):
    """Points and ends of the intervals, by the name in the legend."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    return dict(zip(names, handles, strict=True))


def accuracies(**rows):
    return pd.DataFrame.from_dict(rows, orient="index", columns=["accuracy", "low", "high"])


def test_intervals_show_every_model_in_every_series_and_what_is_reported_of_some():
    whole = accuracies(lenet=(0.6, 0.5, 0.75), champion=(0.7, 0.65, 0.72))
    figure = plots.intervals({"all": whole, "rest": whole - 0.1}, "accuracy (%)", marks=pd.Series({"champion": 0.9}))
    assert_labelled_x(figure)
    found = bars(figure)
    for name, table in {"all": whole, "rest": whole - 0.1}.items():
        line, _, (lines,) = found[name].lines
        assert line.get_xdata() == pytest.approx(100 * table["accuracy"])
        ends = [segment[:, 0] for segment in lines.get_segments()]
        np.testing.assert_allclose(ends, 100 * table[["low", "high"]])
    assert found["reported elsewhere"].get_offsets().tolist() == [pytest.approx([90, 1])]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["lenet", "champion"]


def assert_labelled_x(figure):
    figure.canvas.draw()
    assert figure.axes[0].get_xlabel()


def test_pairs_are_coloured_only_where_chance_is_unlikely():
    names = ["a", "b", "c"]
    differences = pd.DataFrame([[np.nan, 0.05, 0.01], [-0.05, np.nan, -0.04], [-0.01, 0.04, np.nan]], names, names)
    p_values = pd.DataFrame([[np.nan, 0.01, 0.5], [0.01, np.nan, 0.04], [0.5, 0.04, np.nan]], names, names)
    figure = plots.pairs(differences, p_values)
    axis = figure.axes[0]
    texts = {(round(text.get_position()[1] - 0.5), round(text.get_position()[0] - 0.5)): text.get_text()
             for text in axis.texts}
    assert {place: text for place, text in texts.items() if text} == {
        (0, 1): "+5.0*", (0, 2): "+1.0", (1, 0): "-5.0*", (1, 2): "-4.0*", (2, 0): "-1.0", (2, 1): "+4.0*"}
    values = axis.collections[0].get_array().reshape(3, 3)
    assert values[0, 1] == pytest.approx(5) and values[0, 2] == 0 and values[1, 2] == pytest.approx(-4)
    assert np.ma.getmaskarray(values).diagonal().all()


def test_reliability_shows_confidence_against_right_answers_of_filled_bins():
    table = pd.DataFrame({"n": [0, 30, 10], "confidence": [np.nan, 0.5, 0.9], "accuracy": [np.nan, 0.6, 0.8]})
    figure = plots.reliability({"before": table, "after": table}, "net")
    assert_labelled(figure)
    assert titles(figure) == ["before", "after"]
    points = figure.axes[0].collections[-1]
    assert points.get_offsets().tolist() == [pytest.approx([50, 60]), pytest.approx([90, 80])]
    larger, smaller = points.get_sizes()
    assert larger > smaller


def test_curves_and_steps_show_shares_in_percent():
    figure = plots.curves({"net": pd.Series([0.5, 0.25], [10, 20])}, "k", "wrong (%)", chance=0.1)
    assert_labelled(figure)
    lines = bars(figure)
    assert lines["net"].get_xdata().tolist() == [10, 20] and lines["net"].get_ydata().tolist() == [50, 25]
    assert lines["chance: 10.0%"].get_ydata()[0] == pytest.approx(10)
    figure = plots.curves({"net": pd.Series([0.5, 0.25], [10, 20])}, "k", "wrong (%)", counts={"net": [4, 8]})
    (band,) = figure.axes[0].collections
    wilson = binomtest(2, 4).proportion_ci(method="wilson")
    drawn = band.get_paths()[0].vertices
    assert set(drawn[drawn[:, 0] == 10][:, 1].round(6)) == {round(100 * wilson.low, 6), round(100 * wilson.high, 6)}

    groups = accuracies(**{"4": (0.3, 0.2, 0.5), "10": (0.9, 0.8, 0.95)}).assign(n=[1234, 56])
    groups.index = [0.4, 1.0]
    figure = plots.steps({"net": groups, "other": groups}, "share")
    assert_labelled(figure)
    assert bars(figure)["net"].lines[0].get_ydata() == pytest.approx([30, 90])
    assert bars(figure)["net"].lines[0].get_xdata() == pytest.approx([0.37, 0.97])  # the lines do not hide each other
    assert bars(figure)["other"].lines[0].get_xdata() == pytest.approx([0.43, 1.03])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0.4\nn = 1,234", "1\nn = 56"]


def test_more_lines_than_colours_are_all_drawn():
    lines = {str(k): pd.Series([0.1 * k], [1]) for k in range(9)}
    assert list(bars(plots.curves(lines, "x", "y"))) == list(lines)
    histories = {k: pd.DataFrame({"epoch": [1], "accuracy": [0.5], "val_accuracy": [0.5]}) for k in lines}
    drawn = plots.compared_curves(histories).axes[1].lines[::2]
    assert [line.get_label() for line in drawn] == list(lines)
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == len(lines)
