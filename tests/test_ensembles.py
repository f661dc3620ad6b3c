"""Ensembles: ordinary runs, chosen without a look at the test split."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import make_predictions, write_run

from emotions import runs
from emotions.data.dataset import WITH_DUPLICATES
from emotions.evaluation import ensembles
from emotions.runs import Predictions, Run

NAMES = ["good", "other", "third", "weak"]
LATER = "2999-01-01T00:00:00Z"

PAIR, MEMBERS = next(iter(ensembles.PAIRS.items()))


def loss(run):
    return -np.log(run.probabilities[np.arange(len(run)), run.labels]).mean()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for seed, (name, skill) in enumerate({"weak": 0.2, "good": 2, "other": 1.9, "third": 1.8}.items()):
        write_run(home / "results" / "faces" / name, skill=skill, seed=seed, n=200)
    return home


@pytest.fixture
def home(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "home"))


@pytest.fixture
def folder(home):
    return home / "results" / "faces"


def build(home, name, members, **choices):
    return ensembles.build("faces", name, members, home=home, **choices)


def build_all(home) -> dict:
    """Build what is out of date; return all ensembles, by name."""
    ensembles.build_all("faces", home)
    return {name: run for name, run in runs.all_of("faces", home).items() if "members" in run.metrics}


def outdated(home):
    return list(ensembles.build_all("faces", home, check=True))


def change(folder, name, **facts):
    file = folder / name / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def test_the_average_is_the_average():
    first, second = make_predictions(seed=1), make_predictions(seed=2)
    runs = {"first": first, "second": second.take(np.arange(len(second))[::-1])}
    np.testing.assert_allclose(ensembles.average(runs).probabilities, (first.probabilities + second.probabilities) / 2)
    weighted = ensembles.average(runs, {"first": 3, "second": 1})
    np.testing.assert_allclose(weighted.probabilities, 0.75 * first.probabilities + 0.25 * second.probabilities)
    np.testing.assert_allclose(ensembles.average(runs, {"second": 1}).probabilities[::-1], second.probabilities)
    for weights, message in (({"first": -1, "second": 2}, "negative"), ({"first": 0}, "all zero")):
        with pytest.raises(ValueError, match=message):
            ensembles.average(runs, weights)


def test_selection_beats_the_best_member_and_leaves_a_useless_one_out():
    skills = {"noise": -1, "a": 2, "b": 2}
    runs = {name: make_predictions(1000, skill, seed) for seed, (name, skill) in enumerate(skills.items())}
    weights = ensembles.select(runs)
    assert set(weights) == {"a", "b"}
    assert sum(weights.values()) == pytest.approx(1)
    assert list(weights.values()) == sorted(weights.values(), reverse=True)
    assert loss(ensembles.average(runs, weights)) < min(loss(run) for run in runs.values())


def test_selection_comes_close_to_the_best_weights_there_are():
    runs = {"a": make_predictions(1000, 2.2, 1), "b": make_predictions(1000, 1.6, 2)}
    best = min(loss(ensembles.average(runs, {"a": share, "b": 1 - share})) for share in np.linspace(0, 1, 201))
    assert loss(ensembles.average(runs, ensembles.select(runs))) < best + 1e-4


def test_a_model_that_nothing_helps_stays_alone():
    perfect = make_predictions(skill=50)
    assert ensembles.select({"perfect": perfect, "noise": make_predictions(skill=0, seed=1)}) == {"perfect": 1.0}


def test_the_best_plain_average_beats_smaller_and_larger_ones_and_leaves_the_useless_out():
    skills = {"noise": -1, "a": 2, "b": 2, "c": 2}
    runs = {name: make_predictions(600, skill, seed) for seed, (name, skill) in enumerate(skills.items())}
    order = sorted(runs, key=lambda name: loss(runs[name]))
    chosen = ensembles.best_average(runs)
    losses = {k: loss(ensembles.average({name: runs[name] for name in order[:k]})) for k in (2, 3, 4)}
    assert chosen == order[: min(losses, key=losses.get)]
    assert "noise" not in chosen
    assert set(ensembles.best_average({name: runs[name] for name in ("noise", "a")})) == {"noise", "a"}  # never alone


def test_a_plain_ensemble_is_a_run_like_any_other(home, folder):
    run = build(home, "ensemble-good-other", ["good", "other"])
    assert run.finished and run.metrics["title"] == "Plain average of 2"
    files = [path.name for path in (folder / "good").glob("*.csv")]
    assert len(files) == 4
    for file in files:
        members = [Predictions.read(folder / name / file).probabilities for name in ("good", "other")]
        np.testing.assert_allclose(run.predictions_of(file).probabilities, np.mean(members, axis=0), atol=1e-5)
    metrics, member = run.metrics, Run("faces", "good", home=home).metrics
    assert set(metrics) == set(member) | {"variants", "timed_on", "members", "command"}
    assert metrics["members"] == {"good": 0.5, "other": 0.5}
    assert metrics["parameters"] == 2 * 1_234_567
    assert metrics["seconds_per_picture"] == pytest.approx(2 * 0.0123)
    assert metrics["training_seconds"] == 180
    assert metrics["test"]["log_loss"] < member["test"]["log_loss"]


def test_members_and_weights_do_not_depend_on_the_test_split(home, folder):
    before = build(home, "ensemble-before", NAMES, weighted=True).metrics["members"]
    assert "weak" not in before
    for name in NAMES:
        for file in ("predictions.csv", "predictions_tta.csv"):
            run = Predictions.read(folder / name / file)
            random = np.random.default_rng(len(name)).dirichlet((1, 1, 1), len(run))
            Predictions(run.class_names, run.ids, run.labels, random).save(folder / name / file)
    assert build(home, "ensemble-after", NAMES, weighted=True).metrics["members"] == before


def test_no_test_time_augmentation_without_that_of_all_members(home, folder):
    build(home, "ensemble-x", ["good", "other"])
    (folder / "other" / "predictions_tta.csv").unlink()
    assert "test_tta" not in build(home, "ensemble-x", ["good", "other"]).metrics
    assert not (folder / "ensemble-x" / "predictions_tta.csv").exists()
    assert (folder / "ensemble-x" / "predictions.csv").exists()


def test_runs_that_validation_flatters_are_no_candidates(home, folder):
    change(folder, "weak", trained_by="others")
    change(folder, "third", variants=[WITH_DUPLICATES])
    build(home, "ensemble-x", ["good", "other"])
    assert list(ensembles.candidates("faces", home)) == ["good", "other"]
    change(folder, "other", training={"teachers": ["voters"]})  # extra labels
    assert list(ensembles.candidates("faces", home)) == ["good"]
    change(folder, "other", training={"teachers": ["good"]})
    for name in ("good", "other"):  # whose own protocol flatters all alike
        change(folder, name, dataset="faces-as-distributed")
    assert list(ensembles.candidates("faces", home)) == ["good", "other"]


def test_all_ensembles_are_built_and_up_to_date_until_a_member_changes(home, folder):
    for seed, name in enumerate(MEMBERS):
        write_run(folder / name, skill=1.5, seed=10 + seed, n=200)
    names = {PAIR, f"{PAIR}-weighted", "ensemble-plain", "ensemble-weighted"}
    assert set(outdated(home)) == names
    built = build_all(home)
    assert set(built) == names
    assert built[PAIR].metrics["members"] == dict.fromkeys(MEMBERS, 0.5)
    assert built[PAIR].metrics["title"].startswith("Plain average of Resnet34 and ")
    assert "weak" not in built["ensemble-plain"].metrics["members"] | built["ensemble-weighted"].metrics["members"]
    assert outdated(home) == []
    change(folder, "weak", evaluated=LATER)
    assert outdated(home) == [], "it is in none of them"
    change(folder, "resnet34", evaluated=LATER)
    assert PAIR in outdated(home)


def test_ensembles_follow_their_candidates(home, folder):
    build_all(home)
    (folder / "good" / "checkpoint").mkdir()  # while it is being trained anew, its ensembles stay
    assert set(build_all(home)) == set(ensembles.CHOSEN)
    shutil.rmtree(folder / "good")
    assert set(outdated(home)) == set(ensembles.CHOSEN)
    assert all("good" not in run.metrics["members"] for run in build_all(home).values())
    shutil.rmtree(folder / "other")
    shutil.rmtree(folder / "third")  # nothing is chosen from fewer than two
    assert build_all(home) == {}
    assert not list(folder.glob("ensemble-*"))


def test_there_is_no_weighted_average_of_one(home, folder, monkeypatch):
    build_all(home)
    monkeypatch.setattr(ensembles, "select", lambda validation: {"good": 1.0})
    assert list(build_all(home)) == ["ensemble-plain"]
    assert not (folder / "ensemble-weighted").exists()


def test_an_ensemble_names_the_variants_of_its_members(home, folder):
    change(folder, "other", variants=[WITH_DUPLICATES])
    built = build(home, "ensemble-mine", ["good", "other", "weak"], weighted=True).metrics
    assert len(built["members"]) < 3 and built["title"].endswith(f"average of {len(built['members'])}, with duplicates")
    assert built["variants"] == [WITH_DUPLICATES]


def test_a_pair_without_a_member_is_removed(home, folder):
    for name in MEMBERS:
        write_run(folder / name, n=200)
    assert PAIR in build_all(home)
    shutil.rmtree(folder / MEMBERS[0])
    assert PAIR not in build_all(home) and not (folder / f"{PAIR}-weighted").exists()
