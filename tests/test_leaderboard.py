"""Leaderboards: computed from predictions, the same every time, and never typed."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import make_predictions, write_run

from emotions import cli, runs
from emotions.data.variants import CLEANED, COPIES_KEPT
from emotions.evaluation import comparison, leaderboard, published
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    results = root / "results" / "fer2013-3"
    write_run(results / "lenet", skill=1.5)
    write_run(results / "lenet-s1", skill=1.6, seed=1, architecture="lenet", suffix="-s1", variants=[])
    write_run(results / "champion-all", skill=3, seed=2, hardware="NVIDIA H200")
    untimed = {"training_seconds": None, "seconds_per_picture": None}
    write_run(results / "logistic-regression", skill=0.5, seed=3, flip=False, **untimed)
    (results / "untested").mkdir()
    (root / "models").mkdir()
    (root / "models" / "lenet-fer2013-3.keras").write_bytes(bytes(2_500_000))
    return root


@pytest.fixture
def root(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "repository"))


@pytest.fixture(scope="module")
def table(made):
    return board(made)


def board(root):
    return leaderboard.table(leaderboard.read(root / "results" / "fer2013-3"), root / "models")


def test_one_row_per_run_with_the_best_first(table):
    assert set(table.index) == {"champion-all", "lenet", "lenet-s1", "logistic-regression"}
    assert table.index[0] == "champion-all"
    assert table.index[-1] == "logistic-regression"
    assert table["accuracy"].is_monotonic_decreasing
    assert (table["accuracy_low"] < table["accuracy"]).all()
    assert (table["accuracy"] < table["accuracy_high"]).all()


def test_figures_are_computed_from_predictions_and_facts_are_read(root, table):
    row = table.loc["lenet"]
    run = Predictions.read(root / "results/fer2013-3/lenet/predictions.csv")
    right = run.predicted == run.labels
    copied = np.arange(300) % 10 == 0
    flipped = Predictions.read(root / "results/fer2013-3/lenet/predictions_tta.csv")
    assert row["accuracy"] == right.mean()
    assert row["leak_free_accuracy"] == right[~copied].mean()
    assert row["copies_accuracy"] == pytest.approx(right[copied].mean())
    assert row["flip_averaged_accuracy"] == (flipped.predicted == flipped.labels).mean()
    assert (row["n"], row["n_leak_free"]) == (300, 270)
    assert row["megabytes"] == 2.5
    assert row["milliseconds"] == pytest.approx(12.3)
    assert row["training_minutes"] == 1.5
    assert (row["training_pictures"], row["input_size"], row["epochs"]) == (1000, 64, 7)


def test_the_first_place_is_tested_on_the_leak_free_part(root, table):
    first, second = table.index[:2]
    folder = root / "results/fer2013-3"
    clean = {name: evaluation.leak_free(run, folder) for name, run in comparison.read(folder, [first, second]).items()}
    found = comparison.compare(clean[first], clean[second])
    sentence = leaderboard.first_place(folder, table)
    assert f"`{first}` minus `{second}`, leak-free, {100 * found['accuracy_difference']:+.1f} points" in sentence
    assert sentence.endswith("within what chance does." if found["mcnemar_p"] >= 0.05 else "more than chance.")
    alike = table.loc[["lenet", "lenet"]]  # a network is never ahead of itself
    assert "+0.0 points [+0.0, +0.0]" in leaderboard.first_place(folder, alike)
    files = leaderboard.contents(root, "fer2013-3")
    assert sentence in files[folder / "leaderboard.md"]


def test_figures_in_metrics_json_are_not_trusted(root, table):
    file = root / "results/fer2013-3/lenet/metrics.json"
    saved = json.loads(file.read_text())
    saved["test"]["accuracy"] = saved["test_tta"]["accuracy"] = saved["test_leak_free"]["accuracy"] = 0.99
    file.write_text(json.dumps(saved))
    assert leaderboard.to_csv(board(root)) == leaderboard.to_csv(table)


def test_published_figures_stand_beside_the_same_system_only(table):
    assert table.loc["lenet", "published_accuracy"] == table.loc["lenet-s1", "published_accuracy"] == 0.787
    assert "Human Emotions" in table.loc["lenet", "published_protocol"]
    assert table.loc[["champion-all", "logistic-regression"], "published_accuracy"].isna().all()

    def figure(dataset, architecture, suffix="", variants=()):
        run = {"dataset": dataset, "architecture": architecture, "suffix": suffix, "variants": variants, "seed": 0}
        return published.of(run)

    assert figure("fer2013", "resnet50v2", "-all-s0", [COPIES_KEPT]).accuracy == 0.6708
    assert figure("fer2013", "resnet50v2", "-clean", [CLEANED]) is None
    assert figure("fer2013", "resnet50v2", "-wide") is None
    assert figure("fer2013", "lenet") is None
    assert figure("fer2013-3", "lenet-unweighted") is None
    pair = {"dataset": "fer2013-3", "model": "ensemble-resnet34-efficientnetb4", "seed": None}
    assert published.of(pair).accuracy == 0.84


def test_markdown_is_a_table_that_says_what_it_is(root):
    text = leaderboard.contents(root)[root / "results/fer2013-3/leaderboard.md"]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert len({row.count("|") for row in rows}) == 1
    assert "300 pictures; leak-free: the 270 of them" in text
    labels = make_predictions().labels
    assert f"Always saying “{['angry', 'happy', 'sad'][np.bincount(labels).argmax()]}” would give " in text
    lenet = next(row for row in rows if "(`lenet`)" in row)
    trained = "1,000 pictures, 64 px, 7 of 30 epochs, 2 min"
    assert f"| 1.23 | 2.5 | 12.3 | {trained} | 0.787 Human Emotions, validation |" in lenet
    champion = next(row for row in rows if "champion-all" in row)
    assert "| - | - | 1,000" in champion  # no model file here, and its time was not taken on a CPU
    assert "`lenet`, 2 seeds, mean ± sd: accuracy 0." in text
    assert "baseline" not in text


def test_a_missing_baseline_is_noted(root):
    for file in (root / "results/fer2013-3/logistic-regression").iterdir():
        file.unlink()
    text = leaderboard.contents(root)[root / "results/fer2013-3/leaderboard.md"]
    assert f"`{runs.BASELINE}`, has not been run on this data set yet" in text


def test_csv_reads_back(table):
    read = pd.read_csv(io.StringIO(leaderboard.to_csv(table)), index_col="model")
    np.testing.assert_allclose(read["log_loss"], table["log_loss"], rtol=1e-5)
    assert read.loc["lenet", "parameters"] == 1_234_567
    assert ",1000,64,7," in leaderboard.to_csv(table)  # whole numbers stay whole, whatever is missing elsewhere


def test_what_is_missing_is_named(root):
    (root / "results/fer2013-3/lenet/metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lenet has predictions but no metrics\.json"):
        leaderboard.contents(root)
    (root / "results/fer2013-3/copied_in_training.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no copied_in_training\.csv"):
        leaderboard.contents(root)


def test_runs_on_other_pictures_do_not_stand_in_one_table(root):
    make_predictions(200).save(root / "results/fer2013-3/lenet/predictions.csv")
    with pytest.raises(ValueError, match="champion-all and lenet predict different pictures"):
        leaderboard.contents(root)


README = "# Title\n<!-- leaderboard:fer2013-3 -->\nold\n<!-- /leaderboard:fer2013-3 -->\nend\n"


def test_tables_are_put_between_their_markers():
    filled = leaderboard.fill(README, {"fer2013-3": "new\n", "other": "unused\n"})
    assert filled == README.replace("old", "new")
    assert leaderboard.fill(README, {}) == README
    assert leaderboard.fill(filled, {"fer2013-3": "new\n"}) == filled
    for wrong in (README.replace("/leaderboard:fer", "/leaderboard:far"), README.replace("<!-- /leaderboard", "<!-- ")):
        with pytest.raises(ValueError, match="do not pair up"):
            leaderboard.fill(wrong, {})


def test_the_command_writes_what_its_check_then_finds_up_to_date(tmp_path, monkeypatch, capsys):
    root = tmp_path
    write_run(root / "results/fer2013-3/champion-all", n=100, flip=False)
    monkeypatch.setattr(runs, "root", lambda profile="full": root)
    (root / "README.md").write_text(README)
    assert cli.main(["leaderboard", "--check"]) == 1
    assert capsys.readouterr().err.count("is out of date") == 3
    assert cli.main(["leaderboard", "--data", "fer2013-3"]) == 0
    assert "Champion-all (`champion-all`)" in capsys.readouterr().out
    assert "Champion-all (`champion-all`)" in (root / "README.md").read_text()
    assert cli.main(["leaderboard", "--check"]) == 0
    (figure := root / "results/fer2013-3/leaderboard.png").unlink()
    assert cli.main(["leaderboard"]) == 0 and figure.exists()

    make_predictions(100, skill=2.9, seed=2).save(root / "results/fer2013-3/champion-all/predictions.csv")
    assert cli.main(["leaderboard", "--check"]) == 1
    assert cli.main(["leaderboard", "--data", "fer2013"]) == 2
    assert "has no run on fer2013; there are runs on fer2013-3" in capsys.readouterr().err
    (root / "README.md").write_text(README.replace("fer2013-3", "fer2031"))
    assert cli.main(["leaderboard", "--check"]) == 2
    assert "a place for the leaderboard of fer2031" in capsys.readouterr().err


def test_some_runs_stand_side_by_side_in_the_order_given(made):
    found = {run["model"]: run for run in leaderboard.read(made / "results" / "fer2013-3")}
    chosen = [found["logistic-regression"], found["champion-all"]]
    shown = leaderboard.side_by_side(chosen, ("Model", "Accuracy", "Trained on"))
    assert [name.split("`")[1] for name in shown.index] == ["logistic-regression", "champion-all"]
    assert list(shown.columns) == ["Accuracy", "Trained on"]
    assert shown["Accuracy"].iloc[1].startswith(f"{found['champion-all']['test']['accuracy']:.3f} [")


def test_the_best_network_of_ours_is_named_by_its_validation_accuracy(table):
    table = table.copy()
    table["leak_free_accuracy"] = [0.9, 0.8, 0.7, 0.6]  # what is reported does not choose
    table.loc["lenet", ["validation_accuracy", "leak_free_accuracy"]] = 0.5, 0.8
    table.loc["lenet-s1", ["validation_accuracy", "members"]] = 0.9, "lenet + champion-all"
    table.loc["champion-all", ["validation_accuracy", "variants"]] = 0.95, "copies kept"  # validation's too
    table.loc["logistic-regression", ["validation_accuracy", "trained_by"]] = 0.96, "others"
    table["leak_free_guessing"] = 0.452
    assert leaderboard.best("human-emotions-as-distributed", table).startswith("No network of ours"), "its cut leaks"
    text = leaderboard.best("fer2013-3", table)
    assert "**Lenet, 0.800 [" in text and "270 leak-free" in text and "7 of 30 epochs" in text and "0.452" in text
    place = "<!-- leaderboard:x/best -->\n<!-- /leaderboard:x/best -->"
    assert text in leaderboard.fill(place, {"x/best": text})
