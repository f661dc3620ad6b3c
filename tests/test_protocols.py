"""Accuracies under both protocols, and the interval of their difference."""

import pandas as pd
import pytest
from synthetic_runs import TRAINING, write_run

from emotions.evaluation import comparison, protocols


def test_the_interval_of_a_difference_is_the_published_one(monkeypatch):
    """56 of 70 against 48 of 80: Newcombe 1998, Interval estimation for the difference, Table II, method 10."""
    shares = {"As distributed": (56, 70), "Leak-free": (48, 80)}
    tables = {
        protocol: pd.DataFrame([[k / n, *comparison.wilson(k, n)]], index=["net"], columns=["accuracy", "low", "high"])
        for protocol, (k, n) in shares.items()
    }
    monkeypatch.setattr(protocols, "accuracies", lambda home: tables)
    points, low, high = protocols.differences(None).loc["net"]
    assert points == pytest.approx(-20)
    assert (low, high) == pytest.approx((-33.39, -5.24), abs=0.01)


def test_copies_alone_are_compared_where_a_network_has_both_runs(tmp_path):
    for dataset, skill in zip(protocols.TWINS, (3.0, 1.0), strict=True):
        write_run(tmp_path / "results" / dataset / "lenet", skill=skill, title="LeNet", variants=[])
        write_run(tmp_path / "results" / dataset / "cut-short", training=TRAINING | {"recipe_epochs": 30})
    write_run(tmp_path / "results" / protocols.TWINS[0] / "alone", variants=[])
    ((title, pair),) = protocols.copies_alone(tmp_path).items()
    assert title == "LeNet at 64 pixels"
    gain = float(pair["with_copies"][:-2]) - float(pair["without"][:-2])
    assert gain > 5 and pair["difference"].startswith(f"+{gain:.1f} points [")


def test_the_table_has_networks_the_baseline_and_the_published_ensemble(tmp_path):
    for dataset in protocols.DATASETS.values():
        folder = tmp_path / "results" / dataset
        for name in ("resnet34", "logistic-regression", "theirs", "net-s1"):
            extra = {"trained_by": "others"} if name == "theirs" else {}
            write_run(folder / name, title=name, architecture=name, variants=[], seed=int(name == "net-s1"), **extra)
        for name in (pair := "ensemble-resnet34-efficientnet-lite0", "ensemble-plain"):
            write_run(folder / name, title=name, members={"resnet34": 1.0})
    table = protocols.table(tmp_path)
    assert {label.split("`")[1] for label in table.index} == {"resnet34", "logistic-regression", pair}
    assert table.filter(like=pair, axis=0)["Published"].item() == "84.0 % (ResNet-34 + EfficientNetB4)"


@pytest.mark.parametrize("seeds", [(1, 2), ()])
def test_without_seed_0_there_is_no_row(tmp_path, seeds):
    for dataset in protocols.DATASETS.values():
        write_run(tmp_path / "results" / dataset / "logistic-regression")
        for seed in seeds:
            write_run(tmp_path / "results" / dataset / f"net-s{seed}", seed=seed, suffix=f"-s{seed}", variants=[],
                      architecture="net")  # fmt: skip
    text = protocols.markdown(tmp_path)
    for protocol in ("leak-free", "as distributed"):
        assert (f"`net`, {protocol}, mean of 2 seeds" in text) == bool(seeds)
