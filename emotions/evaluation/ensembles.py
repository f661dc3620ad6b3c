"""Are several models better than one? Averages of saved predictions, with members and weights chosen on validation.

`build` writes the record of an ordinary run. Nothing is trained and no model is loaded."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emotions import files, runs
from emotions.data.dataset import WITH_DUPLICATES
from emotions.evaluation.baseline import NAME as BASELINE
from emotions.evaluation.calibration import loss
from emotions.evaluation.comparison import align
from emotions.evaluation.metrics import measure_folder
from emotions.runs import Predictions, Run

PAIRS = {  # the first is a published one; in the second a smaller network stands in
    "ensemble-resnet34-efficientnetb4": ["resnet34", "efficientnetb4-functional"],
    "ensemble-resnet34-efficientnet-lite0": ["resnet34", "efficientnet-lite0-functional"]}
PLAIN, WEIGHTED = CHOSEN = ("ensemble-plain", "ensemble-weighted")  # their members are chosen on validation
ROUNDS = 50  # of greedy selection; weights are multiples of one part in so many


def average(predictions: Mapping[str, Predictions], weights: Mapping[str, float] | None = None) -> Predictions:
    """Return the mean of the probabilities of several runs on the same images, in any order. Weights, by name, are not
    negative; a run without one is left out. By default all weigh the same."""
    weights = dict.fromkeys(predictions, 1.0) if weights is None else weights
    if not weights or min(weights.values()) < 0 or not sum(weights.values()):
        raise ValueError(f"The weights are {dict(weights)}; they must not be negative, and not all zero.")
    members = list(align({name: predictions[name] for name in weights}).values())
    stacked = np.stack([member.probabilities for member in members])
    return replace(members[0], probabilities=np.average(stacked, axis=0, weights=list(weights.values())))


def select(validation: Mapping[str, Predictions], rounds: int = ROUNDS) -> dict[str, float]:
    """Choose members and weights by greedy forward selection with replacement (Caruana et al. 2004, section 2).

    Starting from the best single run, each round adds the run that lowers the log loss of the average most, also one
    that is in already; the weights count how often each was taken, up to the best round. They sum to 1, the largest
    first. The predictions are of the validation split, never of test."""
    members = align(validation)
    labels = next(iter(members.values())).labels
    # Log loss needs no more than the probability of the true class, and averages member by member.
    true = np.stack([member.probabilities[np.arange(len(labels)), labels] for member in members.values()])
    taken, losses, total = [], [], np.zeros(len(labels))
    for size in range(1, rounds + 1):
        candidates = -np.log(np.clip((total + true) / size, np.finfo(float).eps, None)).mean(axis=1)
        taken.append(int(candidates.argmin()))
        losses.append(candidates.min())
        total += true[taken[-1]]
    chosen = taken[: int(np.argmin(losses)) + 1]
    shares = np.bincount(chosen, minlength=len(members)) / len(chosen)
    order = sorted(zip(members, shares.tolist(), strict=True), key=lambda item: -item[1])
    return {name: weight for name, weight in order if weight}


def best_average(validation: Mapping[str, Predictions]) -> list[str]:
    """Return the members of the best plain average on validation: the best k runs by log loss, with the best k > 1."""
    order = sorted(validation, key=lambda name: loss(validation[name]))
    choices = (order[:k] for k in range(2, len(order) + 1))
    return min(choices, key=lambda names: loss(average({name: validation[name] for name in names})))


def candidates(dataset: str, home: Path | None = None) -> dict[str, Run]:
    """Return the runs from which members may be chosen on validation, by name: no ensembles, no third-party models,
    which may have been chosen by these very images, and none trained with duplicates of validation images: beside the
    others they would be flattered. A data set whose own protocol has such copies flatters all alike. Nor is a run that
    learned from FER+'s votes beside the data set's own labels."""
    every = {name: (run, run.metrics) for name, run in runs.all_of(dataset, home).items()}
    return {name: run for name, (run, metrics) in every.items()
            if not ({"members", "trained_by"} & set(metrics) or WITH_DUPLICATES in metrics.get("variants", ())
                    or "voters" in metrics["training"].get("teachers", ()))}


def trained_anew(home: Path, dataset: str = "*") -> list[Path]:
    """Return the folders of runs that have a record and are being trained anew, or were interrupted at it."""
    return [path.parent for path in (home / "results").glob(f"{dataset}/*/checkpoint")
            if (path.parent / "metrics.json").exists()]


def build_all(dataset: str, home: Path | None = None, check: bool = False) -> dict[str, Run]:
    """Build the ensembles that the runs of a data set allow, where they are out of date; return these, by name.

    These are `PAIRS`, plain and weighted; and of the networks among all `candidates`, where there are two or more, the
    best plain average and the weighted one, unless all the weight is on one run. What can no longer be built is
    removed. With `check` nothing is built or removed, nor while a run of the data set is being trained anew."""
    if trained_anew(home or files.home(), dataset):
        return {}
    finished = runs.all_of(dataset, home)
    chosen = {f"{name}{end}": {"members": members, "weighted": bool(end)} for name, members in PAIRS.items()
              for end in ("", "-weighted") if set(members) <= set(finished)}
    validation = {name: run.validation for name, run in candidates(dataset, home).items() if name != BASELINE}
    if len(validation) > 1:
        chosen[PLAIN] = {"members": best_average(validation), "weighted": False}
        if len(select(validation)) > 1:
            chosen[WEIGHTED] = {"members": list(validation), "weighted": True}
    names = (*CHOSEN, *(f"{pair}{end}" for pair in PAIRS for end in ("", "-weighted")))
    outdated = {name: Run(dataset, name, home=home or files.home()) for name in names
                if not _current(finished.get(name), chosen.get(name), finished)}
    for name, run in () if check else outdated.items():
        if name in chosen:
            build(dataset, name, **chosen[name], home=home)
        else:
            shutil.rmtree(run.folder)
    return outdated


def _current(run: Run | None, choice: dict | None, finished: dict[str, Run]) -> bool:
    """Tell whether an ensemble exists exactly if it should, with the weights and the members' predictions of today."""
    if run is None or choice is None:
        return run is choice
    members = [finished[name] for name in choice["members"]]
    metrics, weights = run.metrics, _weights(members, choice["weighted"])
    latest = max(finished[name].metrics["evaluated"] for name in weights)
    return metrics["members"] == weights and latest <= metrics["evaluated"]


def build(dataset: str, name: str, members: Sequence[str], weighted: bool = False, home: Path | None = None) -> Run:
    """Average saved runs into a new run, "ensemble-…": predictions of validation and test, and `metrics.json`.

    Members weigh the same or, `weighted`, as `select` says, which leaves some out; predictions with test-time
    augmentation get the same weights. The metrics hold `members`, the weights by name. Parameters and times are sums
    over the members, since each of them has to run."""
    finished = runs.all_of(dataset, home)
    weights = _weights([finished[member] for member in members], weighted)
    run, parts = Run(dataset, name, home=home or files.home()), [finished[member] for member in weights]
    run.folder.mkdir(exist_ok=True)
    for file in (f"predictions{split}{end}.csv" for end in ("", "_tta") for split in ("_validation", "")):
        if all((part.folder / file).exists() for part in parts):
            average({part.name: part.predictions_of(file) for part in parts}, weights).save(run.folder / file)
        else:
            (run.folder / file).unlink(missing_ok=True)
    run.record(_record(run, weights, [part.metrics for part in parts], weighted))
    return run


def _weights(members: list[Run], weighted: bool) -> dict[str, float]:
    if weighted:
        return select({run.name: run.validation for run in members})
    return {run.name: 1 / len(members) for run in members}


def _record(run: Run, weights: dict[str, float], members: list[dict], weighted: bool) -> dict:
    """Return `metrics.json` in the form of `evaluate.report`, with facts drawn from the members'."""

    def total(fact: str) -> float | None:
        values = [member.get(fact) for member in members]
        return None if None in values else sum(values)

    together = {fact: "; ".join(dict.fromkeys(member[fact] for member in members if fact in member))
                for fact in ("backend", "hardware", "timed_on")}
    variants = [WITH_DUPLICATES] if any(WITH_DUPLICATES in member.get("variants", ()) for member in members) else []
    names = " and ".join(member["title"].split()[0] for member in members)  # "ResNet-34 from scratch": the first word
    named = run.name.removesuffix("-weighted") in PAIRS
    title = f"{'Weighted' if weighted else 'Plain'} average of {names if named else len(weights)}"
    return {
        **{fact: members[0][fact] for fact in ("dataset", "class_names", "split_sizes")},
        "model": run.name, "title": ", ".join([title, *variants]), "seed": None,
        "git_commit": files.git_commit(), "evaluated": files.now(), "variants": variants,
        **together,
        **{fact: total(fact) for fact in ("training_seconds", "parameters", "seconds_per_picture")},
        "members": weights, "command": runs.command(),
        **measure_folder(run.folder),
        "training": {},
    }
