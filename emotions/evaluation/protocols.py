"""How much do copies of test photos raise an accuracy? Human Emotions under both protocols, system by system."""

from pathlib import Path

import numpy as np
import pandas as pd

from emotions import runs
from emotions.evaluation import cards, comparison, ensembles, published
from emotions.evaluation.baseline import NAME as BASELINE
from emotions.evaluation.metrics import majority_class, percent, photos_of, shown

DATASETS = {"As distributed": "human-emotions-as-distributed", "Leak-free": "human-emotions"}
TWINS = ("human-emotions-with-copies", "human-emotions-without-copies")  # with the same test images


def table(home: Path) -> pd.DataFrame:
    """Return one row of text per system whose training has ended under a protocol, seed 0, indexed by "System", the
    highest leak-free accuracy first: networks, logistic regression, and the ensemble that others have published.

    "Published" is what others report for the system, or for the larger system that it stands in for, then with that
    one's name; "Difference" is leak-free minus as distributed, in points; "-" is what has no run."""
    rows, gaps = {}, differences(home)
    for name, row in records(home).iterrows():
        metrics = row.dropna()
        first = metrics.iloc[0]
        shares = {protocol: shown(each["test"], "accuracy") for protocol, each in metrics.items()}
        if reported := published.of(first):
            same, system = reported[0]["models"].split(), reported[0]["system"]
            larger = "" if first.get("architecture", name) in same else f" ({system})"
            shares["Published"] = ", ".join(percent(each["accuracy"]) for each in reported) + larger
        title = cards.display_title(first)
        if title in gaps.index:
            shares["Difference"] = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*gaps.loc[title])
        rows[f"{title} (`{name}`)"] = shares
    board = pd.DataFrame.from_dict(rows, orient="index").rename_axis("System")
    board = board.reindex(columns=["Published", *DATASETS, "Difference"]).fillna("-").astype(str)
    return board.sort_values("Leak-free", ascending=False, kind="stable")


def records(home: Path) -> pd.DataFrame:
    """Return the content of each system's `metrics.json`: a row per run name, a column per protocol, or NaN."""
    rows = [{"name": name, "protocol": protocol, "metrics": run.metrics} for protocol, dataset in DATASETS.items()
            for name, run in runs.all_of(dataset, home).items() if _is_system(run.metrics)]
    table = pd.DataFrame(rows, columns=["name", "protocol", "metrics"])
    return table.pivot(index="name", columns="protocol", values="metrics").reindex(columns=list(DATASETS))


def accuracies(home: Path) -> dict[str, pd.DataFrame]:
    """Return accuracy, low and high, 0-1, of the systems that were trained under both protocols, by protocol."""
    both = records(home).dropna()
    titles = [cards.display_title(metrics) for metrics in both["Leak-free"]]
    tests = {protocol: [metrics["test"] for metrics in both[protocol]] for protocol in DATASETS}
    return {protocol: pd.DataFrame([[test["accuracy"], *test["accuracy_interval"]] for test in tests[protocol]],
                                   index=titles, columns=["accuracy", "low", "high"]) for protocol in DATASETS}


def differences(home: Path) -> pd.DataFrame:
    """Return leak-free minus as distributed, in points, of the systems trained under both protocols, the greatest loss
    first. The 95 % interval, low to high, comes from those of both accuracies (MOVER, Zou & Donner 2008)."""
    fair, leaky = (100 * table for table in reversed(accuracies(home).values()))
    difference = fair["accuracy"] - leaky["accuracy"]
    low = difference - np.hypot(fair["accuracy"] - fair["low"], leaky["high"] - leaky["accuracy"])
    high = difference + np.hypot(fair["high"] - fair["accuracy"], leaky["accuracy"] - leaky["low"])
    return pd.DataFrame({"points": difference, "low": low, "high": high}).sort_values("points")


def copies_alone(home: Path) -> dict[str, dict]:
    """Compare the networks that were trained on both of `TWINS`, which differ in nothing but copies of test photos in
    training: by title, the accuracy `with_copies` and `without` as text, and their paired difference."""
    leaky, fair = (runs.all_of(dataset, home) for dataset in TWINS)
    compared = {}
    for name in (name for name in leaky if name in fair and name != BASELINE and _is_system(leaky[name].metrics)):
        first, second = leaky[name].predictions, fair[name].predictions
        pair = comparison.compare(first, second, photos=photos_of(first, leaky[name].folder.parent))
        metrics = leaky[name].metrics
        compared[f"{metrics['title']} at {metrics['training']['input_size']} pixels"] = {
            "with_copies": percent(metrics["test"]["accuracy"]),
            "without": percent(fair[name].metrics["test"]["accuracy"]), "difference": comparison.points(pair)}
    return compared


def _is_system(metrics: dict, seed: int | None = 0) -> bool:
    own = not {"members", "trained_by"} & set(metrics) and seed in (None, metrics["seed"])
    return (own or metrics["model"] in ensembles.PAIRS) and not cards.unfinished(metrics["training"])


def markdown(home: Path) -> str:
    """Return the table of the systems that were trained under both protocols, for README, and what its columns are."""
    tests, seeds = {}, {}
    for protocol, dataset in DATASETS.items():
        every = {name: run.metrics for name, run in runs.all_of(dataset, home).items()}
        test = next(iter(every.values()))["test"]
        tests[protocol] = (test["n"], *majority_class(test))
        figures = {name: (metrics["test"]["accuracy"], metrics["training"].get("precision"))
                   for name, metrics in every.items() if _is_system(metrics, None)}
        figures = pd.DataFrame.from_dict(figures, orient="index", columns=["accuracy", "precision"])
        seeds[protocol] = comparison.over_seeds(figures, ["accuracy"]).join(figures["accuracy"].rename("seed_0"))
    board, both = table(home), records(home).dropna()
    trained = both.map(lambda metrics: metrics["training"].get("precision") or "float32")
    precisions = {both["Leak-free"][name]["title"]: row for name, row in trained.iterrows() if row.nunique() > 1}
    return cards.render("protocols", table=cards.markdown_table(board[board["Difference"] != "-"]), tests=tests,
                        seeds=seeds, precisions=precisions, differences=differences(home),
                        copies_alone=copies_alone(home))
