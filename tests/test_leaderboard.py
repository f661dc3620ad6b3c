"""The leaderboard: computed from predictions, in order, and honest about what it does not know."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import CLASSES, TRAINING, make_predictions, write_run

from emotions import cli, runs
from emotions.data.dataset import WITH_DUPLICATES
from emotions.evaluation import comparison, leaderboard, published
from emotions.evaluation import metrics as evaluation
from emotions.runs import Predictions, Run

DATASET = "fer2013-3"
README = f"# Title\n<!-- leaderboard:{DATASET} -->\nold\n<!-- /leaderboard:{DATASET} -->\nend\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    results = home / "results" / DATASET
    write_run(results / "lenet", skill=1.5, architecture="lenet")
    write_run(results / "lenet-s1", skill=1.6, seed=1, architecture="lenet", suffix="-s1", variants=[])
    write_run(results / "champion-all", skill=3, seed=2, variants=[WITH_DUPLICATES], suffix="-all",
              title="Champion, with duplicates")  # fmt: skip
    write_run(results / "vgg16", skill=2.5, seed=4, training=TRAINING | {"recipe_epochs": 30})
    write_run(results / "theirs", skill=2.8, seed=5, training={}, trained_by="others")
    untimed = {"training_seconds": None, "seconds_per_picture": None, "training": {}}
    write_run(results / "logistic-regression", skill=0.5, seed=3, flip=False, **untimed)
    (results / "untested").mkdir()
    (home / "models").mkdir()
    return home


@pytest.fixture
def home(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "home"))


@pytest.fixture(scope="module")
def board(made):
    return read(made)


def read(home):
    return leaderboard.table(leaderboard.read(DATASET, home)[0], home)


@pytest.fixture(scope="module")
def page(made):
    return leaderboard.contents(made, {})[made / "results" / DATASET / "leaderboard.md"]


def test_one_row_per_run_with_the_best_first(board):
    names = ["champion-all", "lenet", "lenet-s1", "logistic-regression", "theirs", "vgg16"]
    assert sorted(board.index) == names
    assert board.index[0] == "champion-all" and board.index[-1] == "logistic-regression"
    assert board["accuracy"].is_monotonic_decreasing
    assert ((board["accuracy_low"] < board["accuracy"]) & (board["accuracy"] < board["accuracy_high"])).all()


def test_figures_are_computed_from_predictions_and_facts_are_read(made, board):
    row, folder = board.loc["lenet"], made / "results" / DATASET / "lenet"
    predictions, augmented = (Predictions.read(folder / f"predictions{end}.csv") for end in ("", "_tta"))
    correct, copied = predictions.predicted == predictions.labels, np.arange(300) % 10 == 0
    assert row["accuracy"] == correct.mean()
    assert row["leak_free_accuracy"] == correct[~copied].mean()
    assert row["copies_accuracy"] == pytest.approx(correct[copied].mean())
    assert row["flip_averaged_accuracy"] == (augmented.predicted == augmented.labels).mean()
    assert (row["n"], row["n_leak_free"]) == (300, 270)
    assert row["milliseconds"] == pytest.approx(12.3)
    assert row["training_minutes"] == 1.5
    assert (row["training_pictures"], row["input_size"], row["epochs"]) == (1000, 64, 7)


def test_the_first_two_are_compared_on_the_leak_free_part(made, page):
    folder = made / "results" / DATASET
    pair = [Run(DATASET, name, home=made).predictions for name in ("champion-all", "lenet")]
    result = comparison.compare(*(evaluation.leak_free(predictions, folder) for predictions in pair))
    assert f"`champion-all` minus `lenet`, leak-free: {100 * result['accuracy_difference']:+.1f} points" in page
    assert f", {comparison.verdict(result['p'])}, not corrected" in page


def test_published_figures_stand_beside_the_same_system_only(board):
    assert board.loc["lenet", "published_accuracy"] == board.loc["lenet-s1", "published_accuracy"] == 0.787
    assert "Human Emotions" in board.loc["lenet", "published_protocol"]
    assert board.loc[["champion-all", "logistic-regression"], "published_accuracy"].isna().all()

    def figure(dataset, architecture, suffix="", variants=()):
        run = {"dataset": dataset, "architecture": architecture, "suffix": suffix, "variants": variants, "seed": 0}
        return [each["accuracy"] for each in published.of(run)]

    assert figure("fer2013", "resnet50v2", "-all", [WITH_DUPLICATES]) == [0.6708]
    assert figure("fer2013", "resnet50v2", "-clean") == figure("fer2013", "resnet50v2", "-wide") == []
    assert figure("fer2013", "lenet") == []
    assert figure(DATASET, "efficientnetb4-functional") == [0.817, 0.76]  # two projects, the higher figure first
    pair = {"dataset": DATASET, "model": "ensemble-resnet34-efficientnetb4", "seed": None}
    assert [each["accuracy"] for each in published.of(pair)] == [0.84]


def test_finished_runs_third_party_models_and_unfinished_runs_stand_apart(page):
    ours, third_party, unfinished = (
        [line.split("`")[1] for line in part.splitlines() if line.startswith("|") and "`" in line]
        for part in page.replace("**Third-party", "#").replace("**Unfinished", "#").split("#")
    )
    assert sorted(ours) == ["champion-all", "lenet", "lenet-s1", "logistic-regression"]
    assert (third_party, unfinished) == (["theirs"], ["vgg16"])
    assert "7 of 30 epochs" in page


def test_the_page_is_made_of_tables_that_name_their_numbers(made, page):
    labels = make_predictions().labels
    assert "300 images. Leak-free: the 270 of them" in page
    assert f"Majority-class baseline (*{CLASSES[np.bincount(labels).argmax()]}*): " in page
    lenet = next(line for line in page.splitlines() if "(`lenet`)" in line).replace("**", "")
    test = json.loads((made / f"results/{DATASET}/lenet/metrics.json").read_text())["test"]
    low, high = (100 * end for end in test["accuracy_interval"])
    assert f"{100 * test['accuracy']:.1f} % [{low:.1f}, {high:.1f}] |" in lenet
    assert lenet.endswith(f"| {100 * test['macro_f1']:.1f} % | 1.23 M; 1,000 images, 64 px, 7 epochs |")
    assert re.search(r"\| Champion, with duplicates(, seed \d)? \(`champion-all`\) \|", page)
    assert "| Lenet-s1, seed 1 (`lenet-s1`) |" in page
    assert "`lenet`, 2 seeds, mean ± standard deviation: accuracy " in page


def test_the_best_value_of_each_column_is_bold(made, page):
    ours = page.split("**Third-party")[0]
    accuracies = {name: json.loads((made / f"results/{DATASET}/{name}/metrics.json").read_text())["test"]["accuracy"]
                  for name in ("champion-all", "lenet", "lenet-s1", "logistic-regression")}
    bold = {line.split("`")[1] for line in ours.splitlines() if "`) | **" in line}
    assert bold == {name for name, share in accuracies.items() if share == max(accuracies.values())}


def test_an_ensemble_of_an_unfinished_run_is_unfinished(home):
    for name in ("theirs", "champion-all", "logistic-regression"):
        shutil.rmtree(home / "results" / DATASET / name)
    for name, members in (("ensemble-a", ["lenet", "vgg16"]), ("ensemble-b", ["lenet", "lenet-s1"])):
        write_run(home / "results" / DATASET / name, training={}, members=dict.fromkeys(members, 0.5))
    assert read(home)["unfinished"][["ensemble-a", "ensemble-b"]].tolist() == [True, False]


def test_what_is_missing_is_named(home):
    (home / f"results/{DATASET}/copied_in_training.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"copied_in_training\.csv is missing"):
        leaderboard.read(DATASET, home)


def test_runs_on_other_images_do_not_stand_in_one_table(home):
    make_predictions(200).save(home / f"results/{DATASET}/lenet/predictions.csv")
    with pytest.raises(ValueError, match=rf"{DATASET}: champion-all and lenet predict .*Train the older one"):
        leaderboard.read(DATASET, home)


def test_generated_parts_are_put_between_their_markers():
    filled = leaderboard.fill(README, {f"leaderboard:{DATASET}": "new\n", "other": "unused\n"})
    assert filled == README.replace("old", "new")
    assert leaderboard.fill(filled, {f"leaderboard:{DATASET}": "new\n"}) == filled
    with pytest.raises(ValueError, match="There is a place for leaderboard:fer2013-3"):
        leaderboard.fill(README, {"other": ""})
    for wrong in (README.replace("/leaderboard:fer", "/leaderboard:far"), README.replace("<!-- /leaderboard", "<!-- ")):
        with pytest.raises(ValueError, match="do not pair up"):
            leaderboard.fill(wrong, {f"leaderboard:{DATASET}": "new\n"})


def test_the_command_writes_what_its_check_then_accepts(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))
    assert cli.main(["leaderboard"]) == 2
    folder = tmp_path / f"results/{DATASET}"
    write_run(folder / "lenet", n=100, flip=False)
    write_run(folder / "vgg16", n=100, flip=False, seed=1)
    (tmp_path / "README.md").write_text(README)
    assert cli.main(["leaderboard", "--check"]) == 1
    assert not (folder / "leaderboard.csv").exists()
    assert cli.main(["leaderboard"]) == 0
    assert "Lenet (`lenet`)" in (tmp_path / "README.md").read_text()
    assert (folder / "ensemble-plain/metrics.json").exists()
    assert cli.main(["leaderboard", "--check"]) == 0
    metrics = Run(DATASET, "lenet").metrics
    (folder / "lenet/metrics.json").write_text(json.dumps(metrics | {"title": "Another"}))
    outdated = [path.name for path in leaderboard.refresh(check=True)]
    assert outdated == ["leaderboard.csv", "leaderboard.md", "README.md"]


def test_the_best_network_is_chosen_on_validation_and_is_finished_and_ours(board):
    board = board.copy()
    board["leak_free_accuracy"] = 0.9  # what is reported does not choose
    board.loc["lenet", ["validation_accuracy", "leak_free_accuracy"]] = 0.5, 0.8
    board.loc["lenet-s1", ["validation_accuracy", "members"]] = 0.9, "lenet + champion-all"
    board.loc[["champion-all", "logistic-regression", "vgg16", "theirs"], "validation_accuracy"] = 0.95
    text = leaderboard.best(DATASET, board)
    assert "**Lenet, 80.0 % [" in text and "270 leak-free" in text and "7 epochs" in text
    board["with_duplicates"] = True
    assert leaderboard.best(DATASET, board).startswith("No network of ours")


def test_the_list_of_models_begins_with_the_default_and_leaves_out_the_unfinished(home, monkeypatch):
    saved = {}
    for name in ("vgg16", "lenet", "lenet-s1"):
        file = home / "models" / f"{name}-{DATASET}.keras"
        file.write_bytes(bytes(2_500_000))
        saved[file] = {"dataset": DATASET, "model": name, "class_names": CLASSES, "guessing": 0.4,
                       "abstention": [{"accuracy": 0.9}]}  # fmt: skip
    lines = leaderboard.model_list(home, saved).splitlines()
    assert sorted(re.search(r"`(.*?)`", line)[1] for line in lines[2:]) == ["lenet-fer2013-3", "lenet-s1-fer2013-3"]
    assert "](models/lenet-fer2013-3.md) | `fer2013-3`, 3 emotions | " in "".join(lines)
    assert lines[2].endswith(" | 40.0 % | 90.0 % | 2.5 |")
    monkeypatch.setattr(leaderboard, "DEFAULT_MODEL", "lenet-fer2013-3")
    first = leaderboard.model_list(home, saved).splitlines()[2]
    assert first.startswith("| [`lenet-fer2013-3`](models/lenet-fer2013-3.md) (default) | ")


def test_users_are_told_what_the_default_model_does_elsewhere(home, monkeypatch):
    monkeypatch.setattr(leaderboard, "DEFAULT_MODEL", name := f"lenet-{DATASET}")
    file = home / "models" / f"{name}.keras"
    file.write_bytes(bytes(10))
    card = {"dataset": DATASET, "model": "lenet", "class_names": CLASSES, "guessing": 0.4,
            "abstention": [{"accuracy": 0.9}], "test": {"accuracy": 0.9}}  # fmt: skip
    assert "Expect less" not in leaderboard.model_list(home, {file: card}), "nothing was measured"
    rows = f"{name},{DATASET},human-emotions,900,0.61\nother,{DATASET},human-emotions,900,0.2\n"
    (home / "results" / "across.csv").write_text("model,trained_on,tested_on,n,accuracy\n" + rows)
    (answers := home / "results" / "human-emotions" / "across" / f"{name}.csv").parent.mkdir(parents=True)
    answers.touch()
    rows = "corruption,strength,n,accuracy,confidence\nblur,5,50,0.4,0.3\nnoise,5,50,0.22,0.87\n"
    (home / "results" / DATASET / "lenet" / "robustness.csv").write_text(rows)
    text = leaderboard.model_list(home, {file: card})
    assert "right on 90.0 %" in text and "right on 61.0 % of 900 test images" in text
    assert "On 50 of its own test images with noise of strength 5 of 5, it is right on 22.0 %, at a mean conf" in text


def test_the_mean_over_seeds_has_the_interval_of_a_mean(tmp_path):
    """Each image is drawn with its answers from all runs: the normal interval of the mean of their mean correctness."""
    folder = tmp_path / "results" / "seeds"
    for seed, name in enumerate(("net", "net-s1", "net-s2")):
        write_run(folder / name, skill=0.5 * (seed + 1), seed=seed, n=2000, flip=False, variants=[])
    board = leaderboard.table(leaderboard.read("seeds", tmp_path)[0], tmp_path)
    predictions = [run.predictions for run in runs.all_of("seeds", tmp_path).values()]
    correct = np.mean([each.predicted == each.labels for each in predictions], axis=0)
    half = 1.96 * correct.std() / np.sqrt(len(correct))
    row = leaderboard.seed_means(board, folder).loc["net"]
    assert row["accuracy_mean"] == pytest.approx(correct.mean())
    assert (row["low"], row["high"]) == pytest.approx((correct.mean() - half, correct.mean() + half), abs=0.002)


def test_a_leak_free_part_of_few_images_is_not_shown(home):
    write_run(home / "results" / "small" / "lenet", n=100)
    board = leaderboard.table(leaderboard.read("small", home)[0], home)
    text = leaderboard.to_markdown("small", board)
    assert "100 images. 95 % intervals" in text and "eak-free" not in text.split("`lenet`")[0]


def test_what_a_ready_made_model_gets_on_copies_is_said(board):
    text, theirs = leaderboard.best(DATASET, board), board.loc["theirs"]
    assert f"reaches {100 * theirs['copies_accuracy']:.1f} % on the 30 test images that have a copy" in text
    assert f"and {100 * theirs['leak_free_accuracy']:.1f} % [" in text
