"""Do the figures show the numbers, labels and images they are given?"""


import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import definitions
from matplotlib.colors import same_color
from scipy.stats import binomtest

from emotions import plots
from emotions.colors import EMOTION_COLORS
from emotions.runs import Predictions


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def titles(figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes]


def legend(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


def handles(figure) -> dict:
    """Points and intervals, by the name in the legend."""
    lines, names = figure.axes[0].get_legend_handles_labels()
    return dict(zip(names, lines, strict=True))


def assert_labelled(figure):
    figure.canvas.draw()
    for axis in figure.axes:
        assert axis.get_xlabel()
        assert axis.get_ylabel() or axis.get_subplotspec().colspan.start, "the first column names its axis"


def predictions_of(said, labels, names=("angry", "happy", "sad")) -> Predictions:
    probabilities = 0.1 + 0.7 * np.eye(len(names))[said]
    return Predictions(names, np.arange(len(labels)).astype(str), np.asarray(labels), probabilities)


# ------------------------------------------------------------------------------------------------- training


HISTORY = pd.DataFrame({"epoch": [1, 2, 3], "phase": [1, 1, 2], "accuracy": [0.4, 0.5, 0.6],
                        "val_accuracy": [0.3, 0.5, 0.4], "loss": [1.0, 0.9, 0.8], "val_loss": [1.1, 0.9, 1.0]})


def test_training_curves_mark_the_kept_epoch_and_fine_tuning():
    figure = plots.training_curves(HISTORY, "a model")
    assert_labelled(figure)
    assert legend(figure.axes[0]) == ["training (augmented)", "validation", "kept: epoch 2", "fine-tuning begins"]
    accuracy, loss = ([line.get_ydata().tolist() for line in axis.lines[:2]] for axis in figure.axes)
    assert accuracy == [[40, 50, 60], [30, 50, 40]] and loss == [[1.0, 0.9, 0.8], [1.1, 0.9, 1.0]]
    one_phase = plots.training_curves(HISTORY.assign(phase=1))
    assert "fine-tuning begins" not in legend(one_phase.axes[0])


# ----------------------------------------------------------------------------------------------- evaluation


def test_confusion_matrix_shows_shares_of_the_true_class():
    metrics = {"per_class": {"angry": {}, "sad": {}}, "confusion": [[3, 1], [0, 0]]}
    figure = plots.confusion_matrix(metrics, "a model")
    assert [text.get_text() for text in figure.axes[0].texts] == ["75 %\n3", "25 %\n1", "0 %\n0", "0 %\n0"]
    assert figure.axes[0].get_xlabel() == "predicted class" and figure.axes[0].get_ylabel() == "true class"


def test_a_long_title_of_a_confusion_matrix_has_lines_as_wide_as_the_figure():
    metrics = {"per_class": {"calm": {}, "cross": {}, "glad": {}}, "confusion": [[2, 0, 0], [0, 2, 0], [0, 0, 2]]}
    figure = plots.confusion_matrix(metrics, "EfficientNet-Lite0 (Functional), from ferplus, seed 1, test, n = 1,817")
    figure.canvas.draw()
    title = figure.axes[0].title.get_window_extent()
    assert 0 <= title.x0 < title.x1 <= figure.bbox.width


def test_roc_curves_leave_out_classes_without_images():
    names, labels = ("angry", "happy", "sad"), np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0], [0.4, 0.5, 0.1], [0.5, 0.5, 0], [0.1, 0.8, 0.1]])
    figure = plots.roc_curves(Predictions(names, np.arange(4).astype(str), labels, probabilities))
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("false positive rate (%)", "true positive rate (%)")
    # Angry: 0.9 and 0.4 against 0.5 and 0.1, three of four pairs in order. Happy: 0.5 ties with 0.5.
    assert legend(axis) == ["angry, AUC 0.75", "happy, AUC 0.88", "chance, AUC 0.50"]
    assert same_color(axis.lines[1].get_color(), EMOTION_COLORS["happy"])


def test_recalls_are_bars_in_the_colours_of_the_classes_with_intervals():
    labels = [0, 0, 0, 0, 1, 1]  # no image is sad
    said = {"one": [0, 0, 1, 2, 1, 0], "other": [0, 0, 0, 0, 1, 1]}
    figure = plots.recalls({model: predictions_of(classes, labels) for model, classes in said.items()})
    expected = (("angry", 4, [50, 100]), ("happy", 2, [50, 100]), ("sad", 0, [np.nan] * 2))
    for axis, (name, n, recall) in zip(figure.axes, expected, strict=True):
        assert axis.get_title() == f"{name}\nn = {n}" and axis.get_xlabel() == "recall (%)"
        assert [bar.get_width() for bar in axis.patches] == pytest.approx(recall, nan_ok=True)
        assert all(same_color(bar.get_facecolor(), EMOTION_COLORS[name]) for bar in axis.patches)
    (ends,) = figure.axes[0].containers[1][2]
    wilson = [binomtest(k, 4).proportion_ci(method="wilson") for k in (2, 4)]
    for line, interval in zip(ends.get_segments(), wilson, strict=True):
        assert line[:, 0] == pytest.approx([100 * interval.low, 100 * interval.high])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "other"]


def test_intervals_show_every_row_of_every_table():
    whole = pd.DataFrame([[0.6, 0.5, 0.75], [0.7, 0.65, 0.72]], ["lenet", "champion"], ["accuracy", "low", "high"])
    figure = plots.intervals({"all": whole, "rest": whole - 0.1}, "accuracy (%)")
    drawn = handles(figure)
    for name, table in {"all": whole, "rest": whole - 0.1}.items():
        line, _, (lines,) = drawn[name].lines
        assert line.get_xdata() == pytest.approx(100 * table["accuracy"])
        ends = [segment[:, 0] for segment in lines.get_segments()]
        np.testing.assert_allclose(ends, 100 * table[["low", "high"]])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["lenet", "champion"]


def test_intervals_of_differences_take_their_own_columns():
    table = pd.DataFrame({"gain": [0.1, -0.2], "gain_low": [0.0, -0.3], "gain_high": [0.2, -0.1], "low": 9}, ["a", "b"])
    figure = plots.intervals({"minus chance": table}, "gain (points)", column="gain", zero=True)
    line, _, (lines,) = handles(figure)["minus chance"].lines
    np.testing.assert_allclose(line.get_xdata(), [10, -20])
    np.testing.assert_allclose([segment[:, 0] for segment in lines.get_segments()], [[0, 20], [-30, -10]], atol=1e-9)
    assert figure.axes[0].lines[-1].get_xdata() == [0, 0]


def test_reliability_shows_accuracy_against_confidence_in_filled_bins():
    table = pd.DataFrame({"n": [0, 30, 10], "confidence": [np.nan, 0.5, 0.9], "accuracy": [np.nan, 0.6, 0.8]})
    figure = plots.reliability({"before": table, "after": table}, "net")
    assert_labelled(figure)
    assert titles(figure) == ["before", "after"]
    points = figure.axes[0].collections[-1]
    assert points.get_offsets().tolist() == [pytest.approx([50, 60]), pytest.approx([90, 80])]
    larger, smaller = points.get_sizes()
    assert larger > smaller


def test_curves_show_shares_in_per_cent_with_intervals():
    table = pd.DataFrame({"accuracy": [0.5, 0.25], "n": [4, 8]}, [10, 20])
    definitions("13")["curves"]({"net": table}, "k", "wrong (%)", "title", base_rate=0.1)
    figure = plt.gcf()
    assert_labelled(figure)
    lines = handles(figure)
    assert lines["net"].get_xdata().tolist() == [10, 20] and lines["net"].get_ydata().tolist() == [50, 25]
    assert lines["base rate: 10.0 %"].get_ydata()[0] == pytest.approx(10)
    band, _ = figure.axes[0].collections  # the second is that of the legend
    wilson = binomtest(2, 4).proportion_ci(method="wilson")
    drawn = band.get_paths()[0].vertices
    assert set(drawn[drawn[:, 0] == 10][:, 1].round(6)) == {round(100 * wilson.low, 6), round(100 * wilson.high, 6)}


def test_diagrams_have_a_box_per_layer_that_holds_its_text():
    figure = plots.two_phases()
    figure.canvas.draw()
    (axis,) = figure.axes
    assert len(axis.patches) == 8
    for patch in axis.patches:
        outline = patch.get_window_extent()
        inside = [text for text in axis.texts if text.get_text() and outline.contains(*text.get_window_extent().p0)]
        assert len(inside) == 1 and outline.contains(*inside[0].get_window_extent().p1)
