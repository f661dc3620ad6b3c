"""Ensembles: ordinary run folders, chosen without a look at the test split."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import make_predictions, write_run

from emotions.data.variants import COPIES_KEPT
from emotions.evaluation import ensembles, leaderboard
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions


def loss(run):
    return -np.log(run.probabilities[np.arange(len(run)), run.labels]).mean()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed, (name, skill) in enumerate({"weak": 0.2, "good": 2, "other": 1.9, "third": 1.8}.items()):
        write_run(folder / "faces" / name, skill=skill, seed=seed)
    return folder / "faces"


@pytest.fixture
def folder(runs, tmp_path):
    return Path(shutil.copytree(runs, tmp_path / "faces"))


def test_the_average_is_the_average():
    first, second = make_predictions(seed=1), make_predictions(seed=2)
    runs = {"first": first, "second": second.take(np.arange(len(second))[::-1])}
    np.testing.assert_allclose(ensembles.average(runs).probabilities, (first.probabilities + second.probabilities) / 2)
    weighted = ensembles.average(runs, {"first": 3, "second": 1})
    np.testing.assert_allclose(weighted.probabilities, 0.75 * first.probabilities + 0.25 * second.probabilities)
    np.testing.assert_allclose(ensembles.average(runs, {"second": 1}).probabilities[::-1], second.probabilities)


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"third": 1}, "none of the runs"), ({"first": -1, "second": 2}, "negative"), ({"first": 0}, "all zero")],
)
def test_impossible_weights_are_an_error(weights, message):
    with pytest.raises(ValueError, match=message):
        ensembles.average({"first": make_predictions(), "second": make_predictions(seed=1)}, weights)


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


def test_a_plain_ensemble_is_a_run_like_any_other(folder):
    found = ensembles.build(folder, "ensemble-good-other", ["good", "other"], title="Two nets")
    saved = json.loads((folder / "ensemble-good-other" / "metrics.json").read_text())
    assert saved == found
    assert len(list((folder / "good").glob("*.csv"))) == 4
    for file in [path.name for path in (folder / "good").glob("*.csv")]:
        members = [Predictions.read(folder / name / file).probabilities for name in ("good", "other")]
        averaged = Predictions.read(folder / "ensemble-good-other" / file)
        np.testing.assert_allclose(averaged.probabilities, np.mean(members, axis=0), atol=1e-5)
    assert found["members"] == {"good": 0.5, "other": 0.5}
    assert found["parameters"] == 2 * 1_234_567
    assert found["seconds_per_picture"] == pytest.approx(2 * 0.0123)
    assert found["training_seconds"] == 180
    alone = [json.loads((folder / name / "metrics.json").read_text())["test"]["log_loss"] for name in ("good", "other")]
    assert found["test"]["log_loss"] < min(alone)


def test_metrics_have_the_form_that_evaluation_gives_them(folder, easy_dataset, tmp_path):
    """Whatever reads a run's metrics.json can read an ensemble's."""
    ensemble = ensembles.build(folder, "ensemble-x", ["good", "other"])
    run = tmp_path / "elsewhere" / "run"
    run.mkdir(parents=True)
    for file in folder.glob("good/predictions*.csv"):
        (run / file.name).write_text(file.read_text())
    facts = {"title": "Run", "variants": [], "parameters": 1, "seconds_per_picture": 1.0, "timed_on": "CPU"}
    reported = evaluation.report(run, easy_dataset, **facts)
    assert list(ensemble) == [*list(reported)[:15], "members", "told", *list(reported)[15:]]
    assert list(ensemble["split_sizes"]) == list(reported["split_sizes"])
    assert evaluation.card(ensemble, temperature=1.5)["title"] == "Plain average of 2"


def test_members_and_weights_do_not_depend_on_the_test_split(folder):
    before = ensembles.build(folder, "ensemble-before", ["weak", "good", "other", "third"], weighted=True)["members"]
    assert "weak" not in before
    for name in ("weak", "good", "other", "third"):
        for file in ("predictions.csv", "predictions_tta.csv"):
            run = Predictions.read(folder / name / file)
            random = np.random.default_rng(len(name)).dirichlet((1, 1, 1), len(run))
            Predictions(run.class_names, run.ids, run.labels, random).save(folder / name / file)
    after = ensembles.build(folder, "ensemble-after", ["weak", "good", "other", "third"], weighted=True)["members"]
    assert before == after


def test_no_flip_averaged_ensemble_of_members_without(folder):
    ensembles.build(folder, "ensemble-x", ["good", "other"])
    (folder / "other" / "predictions_tta.csv").unlink()
    found = ensembles.build(folder, "ensemble-x", ["good", "other"])
    assert "test_tta" not in found
    assert not (folder / "ensemble-x" / "predictions_tta.csv").exists()
    assert (folder / "ensemble-x" / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("name", "members", "error", "message"),
    [
        ("both", ["good", "other"], ValueError, 'begin with "ensemble-"'),
        ("ensemble-x", ["good"], ValueError, "two other runs or more"),
        ("ensemble-x", ["good", "good"], ValueError, "two other runs or more"),
        ("ensemble-x", ["good", "missing"], FileNotFoundError, "no missing/predictions_validation.csv; there are good"),
    ],
)
def test_impossible_ensembles_are_errors(folder, name, members, error, message):
    with pytest.raises(error, match=message):
        ensembles.build(folder, name, members)
    assert not (folder / name).exists()


def test_runs_that_validation_flatters_are_no_candidates(folder):
    write_run(folder / "peer", trained_by="others")
    for name in ("good-all", "kept"):
        write_run(folder / name, variants=[COPIES_KEPT])
    write_run(folder / "all-round", variants=[])
    ensembles.build(folder, "ensemble-x", ["good", "other"])
    assert ensembles.candidates(folder) == ["all-round", "good", "other", "third", "weak"]


def test_the_best_plain_average_beats_smaller_and_larger_ones_and_leaves_the_useless_out():
    skills = {"noise": -1, "a": 2, "b": 2, "c": 2}
    runs = {name: make_predictions(600, skill, seed) for seed, (name, skill) in enumerate(skills.items())}
    order = sorted(runs, key=lambda name: loss(runs[name]))
    found = ensembles.best(runs)
    losses = {k: loss(ensembles.average({name: runs[name] for name in order[:k]})) for k in (2, 3, 4)}
    assert found == order[: min(losses, key=losses.get)]
    assert "noise" not in found
    assert set(ensembles.best({name: runs[name] for name in ("noise", "a")})) == {"noise", "a"}  # never alone


def test_all_ensembles_are_built_from_what_is_there(folder):
    assert list(ensembles.build_all(folder)) == ["ensemble-plain", "ensemble-weighted"]
    for seed, name in enumerate(ensembles.FIRST):
        write_run(folder / name, skill=1.5, seed=10 + seed)
    built = ensembles.build_all(folder)
    assert list(built) == ["ensemble-resnet34-efficientnetb4", "ensemble-plain", "ensemble-weighted"]
    assert built["ensemble-resnet34-efficientnetb4"]["members"] == dict.fromkeys(ensembles.FIRST, 0.5)
    assert "weak" not in built["ensemble-plain"]["members"] | built["ensemble-weighted"]["members"]
    for name, found in built.items():
        assert json.loads((folder / name / "metrics.json").read_text()) == found


def test_there_is_no_weighted_average_of_one(folder, monkeypatch):
    ensembles.build_all(folder)
    monkeypatch.setattr(ensembles, "select", lambda validation: {"good": 1.0})
    assert list(ensembles.build_all(folder)) == ["ensemble-plain"]
    assert not (folder / "ensemble-weighted").exists()


@pytest.mark.parametrize("kept", [(), ("good",)], ids=["none", "one"])
def test_nothing_is_chosen_from_fewer_than_two(folder, kept):
    ensembles.build_all(folder)
    for name in {"weak", "good", "other", "third"} - set(kept):
        shutil.rmtree(folder / name)
    assert ensembles.build_all(folder) == {}
    assert not list(folder.glob("ensemble-*"))


def change(folder, name, **facts):
    file = folder / name / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def test_an_ensemble_of_told_members_is_outdated_by_those_alone_and_built_again(folder):
    for name in {"weak", "third"}:  # one candidate alone, from which nothing is chosen
        change(folder, name, trained_by="others")
    change(folder, "other", trained_by="others")
    ensembles.build(folder, "ensemble-mine", ["good", "other"])
    change(folder, "ensemble-mine", evaluated="2999-01-01T00:00:00Z")
    change(folder, "weak", evaluated="2999-01-02T00:00:00Z")
    assert not ensembles.outdated(folder), "it was made of others"
    change(folder, "good", evaluated="2999-01-03T00:00:00Z")
    assert ensembles.outdated(folder)
    assert ensembles.build_all(folder)["ensemble-mine"]["members"] == {"good": 0.5, "other": 0.5}
    change(folder, "good", evaluated="2026-01-01T00:00:00Z")
    change(folder, "weak", evaluated="2026-01-01T00:00:00Z")
    assert not ensembles.outdated(folder)
    shutil.rmtree(folder / "good")  # what cannot be built again is left as it is
    assert "ensemble-mine" not in ensembles.build_all(folder) and (folder / "ensemble-mine").exists()
    assert not ensembles.outdated(folder)


def test_weights_and_title_of_an_ensemble_of_told_members_stay(folder):
    change(folder, "other", variants=[COPIES_KEPT])
    built = ensembles.build(folder, "ensemble-mine", ["good", "other"], weighted=True, title="Mine")
    assert built["members"]["good"] > 0.5 and built["title"] == "Mine, copies kept"
    again = ensembles.build_all(folder)["ensemble-mine"]
    assert (again["members"], again["title"]) == (built["members"], built["title"])


def test_a_weighted_ensemble_is_built_again_from_all_it_was_told(folder):
    """Also of those that got no weight, which a better run of theirs could change."""
    built = ensembles.build(folder, "ensemble-mine", ["good", "other", "weak"], weighted=True)
    assert len(built["members"]) < 3
    again = ensembles.build_all(folder)["ensemble-mine"]
    assert again["told"] == {"members": ["good", "other", "weak"], "weighted": True, "title": None}
    assert (again["members"], again["title"]) == (built["members"], built["title"])


def test_ensembles_are_outdated_once_a_candidate_was_evaluated_later(folder):
    assert ensembles.outdated(folder), "there is none yet"
    ensembles.build_all(folder)
    assert not ensembles.outdated(folder)
    change(folder, "weak", evaluated="2999-01-01T00:00:00Z")
    assert ensembles.outdated(folder)
    change(folder, "weak", variants=[COPIES_KEPT])
    assert not ensembles.outdated(folder), "what was trained on copies is no candidate"
    shutil.rmtree(folder / "good")
    assert ensembles.outdated(folder), "a member is gone"


def test_an_ensemble_says_what_was_done_to_its_members_pictures(folder):
    for name in ("good-all-s0", "good-all-s1"):
        write_run(folder / name, variants=[COPIES_KEPT])
    found = ensembles.build(folder, "ensemble-good-all", ["good-all-s0", "good-all-s1"])
    assert found["variants"] == [COPIES_KEPT] and found["title"] == "Plain average of 2, copies kept"
    table = leaderboard.table(leaderboard.read(folder))
    assert "chosen on validation" not in leaderboard.to_markdown("faces", table)
    ensembles.build_all(folder)
    table = leaderboard.table(leaderboard.read(folder))
    assert "`ensemble-plain` and `ensemble-weighted` were chosen on" in leaderboard.to_markdown("faces", table)
