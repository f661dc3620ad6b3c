"""Does the evaluation panel show a run's own numbers, and write its figures once?"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from test_plots import HISTORY, close_figures, legend, predictions_of, titles  # noqa: F401

from emotions import plots
from emotions.data import Dataset, Split
from emotions.plots import report
from emotions.runs import Run

PER_CLASS = {"angry": {"precision": 0.5, "recall": 0.75, "f1": 0.6, "support": 4},
             "happy": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 6},
             "sad": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}}
TEST = {"n": 10, "accuracy": 0.9, "accuracy_interval": [0.6, 1.0], "macro_f1": 0.8, "per_class": PER_CLASS,
        "confusion": [[3, 0, 1], [0, 6, 0], [0, 0, 0]]}


@pytest.fixture
def run(tmp_path) -> Run:
    run = Run("easy", "lenet", home=tmp_path)
    run.folder.mkdir(parents=True)
    predictions_of([0, 0, 0, 2, 1, 1, 1, 1, 1, 1], [0] * 4 + [1] * 6).save(run.folder / "predictions.csv")
    HISTORY.to_csv(run.folder / "history.csv", index=False)
    run.record({"title": "LeNet", "dataset": "easy", "test": TEST})
    return run


@pytest.fixture
def faces() -> Dataset:
    split = Split(np.zeros((10, 8, 8, 3), np.uint8), np.array([0] * 4 + [1] * 6), np.arange(10).astype(str))
    return Dataset("easy", ("angry", "happy", "sad"), split, split, split)


@pytest.fixture
def shown(monkeypatch) -> list:
    items = []
    monkeypatch.setattr(report, "display", lambda *displayed: items.extend(displayed))
    return items


def test_panel_displays_words_table_and_two_figures_and_keeps_those_of_the_run(run, faces, shown):
    plots.panel(run, faces)
    words, table, overview, wrong = shown
    assert words.data == ("**LeNet, easy, test, n = 10**: accuracy 90.0 % [60.0, 100.0], macro F1 80.0 %; "
                          "majority-class baseline: accuracy 60.0 %")
    assert table.loc["angry"].tolist() == ["50.0", "75.0", "60.0", 4]
    labels = [axis.get_ylabel() for axis in overview.axes[:4]]
    assert labels == ["accuracy (%)", "loss (nats)", "true class", "true positive rate (%)"]
    assert "kept: epoch 2" in legend(overview.axes[0])
    assert titles(wrong) == ["true: angry\npredicted: sad\nn = 1, too few align"]
    assert not plt.get_fignums(), "displayed figures are closed, or a notebook shows them twice"
    for name in ("training_accuracy_loss.png", "confusion_matrix.png"):
        assert (run.folder / name).read_bytes()[:4] == b"\x89PNG"


def test_panel_of_a_baseline_has_no_training_curves_and_leaves_existing_figures_alone(run, faces, shown):
    (run.folder / "history.csv").unlink()
    (run.folder / "confusion_matrix.png").write_bytes(b"committed")
    plots.panel(run, faces)
    assert [axis.get_ylabel() for axis in shown[2].axes[:2]] == ["true class", "true positive rate (%)"]
    assert not (run.folder / "training_accuracy_loss.png").exists()
    assert (run.folder / "confusion_matrix.png").read_bytes() == b"committed"
