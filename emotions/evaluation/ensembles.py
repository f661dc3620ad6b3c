"""Are several models better than one? Averages of saved predictions, with members and weights chosen on validation.

    build("results/fer2013", "ensemble-resnet34-efficientnetb4", ["resnet34", "efficientnetb4-functional"])

writes an ordinary run folder. Nothing is trained and no model is loaded.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss

from emotions.data.variants import VARIANTS, learned_copies
from emotions.evaluation import comparison
from emotions.evaluation.metrics import Predictions, measure_folder
from emotions.training.fit import git_commit, now, write

FIRST = ("resnet34", "efficientnetb4-functional")  # the pair that is reported for Human Emotions
PAIR, PLAIN, WEIGHTED = "ensemble-resnet34-efficientnetb4", "ensemble-plain", "ensemble-weighted"
CHOSEN = (PLAIN, WEIGHTED)  # their members are chosen on validation; any other ensemble's are told when it is built
ROUNDS = 50  # of greedy selection; weights are multiples of one part in so many


def average(runs: Mapping[str, Predictions], weights: Mapping[str, float] | None = None) -> Predictions:
    """The mean of the runs' probabilities.

    Args:
        runs: on the same pictures, in any order.
        weights: by the runs' names, not negative; runs without a weight are left out. By default all weigh the same.
    """
    weights = dict.fromkeys(runs, 1.0) if weights is None else weights
    if unknown := set(weights) - set(runs):
        raise ValueError(f"There is a weight for {sorted(unknown)[0]}, which is none of the runs {', '.join(runs)}.")
    if not weights or min(weights.values()) < 0 or not sum(weights.values()):
        raise ValueError(f"The weights are {dict(weights)}; they must not be negative, and not all zero.")
    runs = comparison.align({name: runs[name] for name in weights})
    stacked = np.stack([run.probabilities for run in runs.values()])
    return replace(next(iter(runs.values())), probabilities=np.average(stacked, axis=0, weights=list(weights.values())))


def select(validation: Mapping[str, Predictions], rounds: int = ROUNDS) -> dict[str, float]:
    """Choose members and weights by greedy forward selection with replacement (Caruana et al. 2004, section 2).

    Starting from the best single run, each round adds the run that lowers the log loss of the average most,
    also one that is in already; the weights count how often each was taken, up to the best round.

    Args:
        validation: predictions for the validation split, never for test.

    Returns:
        the weights of the chosen runs, the largest first; they sum to 1.
    """
    runs = comparison.align(validation)
    labels = next(iter(runs.values())).labels
    # Log loss needs no more than the probability of the true class, and averages member by member.
    true = np.stack([run.probabilities[np.arange(len(labels)), labels] for run in runs.values()])
    taken, losses, total = [], [], np.zeros(len(labels))
    for size in range(1, rounds + 1):
        candidates = -np.log(np.clip((total + true) / size, np.finfo(float).eps, None)).mean(axis=1)
        taken.append(int(candidates.argmin()))
        losses.append(candidates.min())
        total += true[taken[-1]]
    kept = taken[: int(np.argmin(losses)) + 1]
    counts = np.bincount(kept, minlength=len(runs)) / len(kept)
    order = sorted(zip(runs, counts.tolist(), strict=True), key=lambda item: -item[1])
    return {name: weight for name, weight in order if weight}


def candidates(folder: str | Path) -> list[str]:
    """The runs of a data set from which members may be chosen on validation.

    Left out are ensembles; what others trained, since they may have chosen it by these very pictures; and what
    was trained on copies of validation pictures.
    """
    found = [_metrics(path.parent) for path in sorted(Path(folder).glob("*/metrics.json"))]
    return [
        run["model"]
        for run in found
        if "members" not in run and "trained_by" not in run and not learned_copies(run)
    ]


def best(validation: Mapping[str, Predictions]) -> list[str]:
    """Members of a plain average: the k runs of least log loss, with the k, two or more, whose average has the least.

    Args:
        validation: predictions for the validation split, never for test.
    """
    order = sorted(validation, key=lambda name: _loss(validation[name]))
    return min(
        (order[:k] for k in range(2, len(order) + 1)),
        key=lambda names: _loss(average({name: validation[name] for name in names})),
    )


def _loss(run: Predictions) -> float:
    return log_loss(run.labels, run.probabilities, labels=range(len(run.class_names)))


def build_all(folder: str | Path) -> dict[str, dict]:
    """The ensembles that a data set's runs allow: of `FIRST` where both are there, those that were built before of
    members that were told, the best plain average, and the weighted one, the last two of all `candidates`. There is
    neither of these where there is but one candidate, and no weighted one where all the weight is on one run.

    Returns:
        what `build` returns, by name.
    """
    names = candidates(folder)
    pair = {PAIR: {"members": FIRST}} if set(FIRST) <= set(names) else {}
    built = {name: build(folder, name, **choices) for name, choices in (pair | _told(folder)).items()}
    validation = comparison.read(folder, names, "predictions_validation.csv")
    if len(names) > 1:
        built[PLAIN] = build(folder, PLAIN, best(validation))
    if len(names) > 1 and len(select(validation)) > 1:
        built[WEIGHTED] = build(folder, WEIGHTED, names, weighted=True)
    for name in set(CHOSEN) - set(built):
        shutil.rmtree(Path(folder) / name, ignore_errors=True)
    return built


def _told(folder: str | Path) -> dict[str, dict]:
    """The ensembles there whose members were told, not chosen, and are all there still; what `build` needs, by name."""
    folder = Path(folder)
    there = {path.parent.name: _metrics(path.parent) for path in sorted(folder.glob("*/metrics.json"))}
    told = {}
    for name, found in there.items():
        if name not in CHOSEN and "told" in found and set(found["told"]["members"]) <= set(there):
            told[name] = found["told"]
    return told


def outdated(folder: str | Path) -> bool:
    """Whether one of a data set's ensembles was built before one of its members was evaluated; of those whose members
    are chosen, before one of the `candidates` was, or of a run that is none any more, or not yet."""
    folder = Path(folder)
    names = candidates(folder)
    if len(names) > 1 and not (folder / PLAIN / "metrics.json").exists():
        return True
    chosen = {name: names for name in CHOSEN if (folder / name / "metrics.json").exists()}
    if any(set(_metrics(folder / name)["members"]) - set(names) for name in chosen):
        return True
    return any(
        _metrics(folder / name)["evaluated"] < _metrics(folder / member)["evaluated"]
        for name, members in (chosen | {name: told["members"] for name, told in _told(folder).items()}).items()
        for member in members
    )


def _metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def build(
    folder: str | Path, name: str, members: Sequence[str], *, weighted: bool = False, title: str | None = None
) -> dict:
    """Average saved runs into a new run folder: predictions of validation and test, and `metrics.json`.

    Args:
        folder: `results/<data set>`, which holds the members.
        name: of the new run, "ensemble-…".
        members: names of runs. Plain: each weighs the same. Weighted: the candidates of `select`, which leaves
            some out; flip-averaged predictions get the same weights.
        title: for tables and figures.

    Returns:
        the content of `metrics.json`: as of any run, with `members`, the weights by name. Parameters and
        times are sums over the members, since each of them has to run.
    """
    folder = Path(folder)
    if not name.startswith("ensemble-"):
        raise ValueError(f'The ensemble is named {name!r}; let its name begin with "ensemble-".')
    if len(set(members)) < 2 or name in members:
        raise ValueError(
            f"An ensemble needs two other runs or more, and its members are {', '.join(members) or 'none'}."
        )
    validation = comparison.read(folder, members, "predictions_validation.csv")
    weights = select(validation) if weighted else dict.fromkeys(members, 1 / len(members))
    target = folder / name
    target.mkdir(exist_ok=True)
    for end in ("", "_tta"):
        for file in (f"predictions_validation{end}.csv", f"predictions{end}.csv"):
            if end and not all((folder / member / file).exists() for member in weights):
                (target / file).unlink(missing_ok=True)
            else:
                average(comparison.read(folder, weights, file), weights).save(target / file)
    told = {"members": list(members), "weighted": weighted, "title": title}
    usual = f"{'Weighted' if weighted else 'Plain'} average of {len(weights)}"
    return _report(target, weights, title or usual, told)


def _report(folder: Path, weights: dict[str, float], title: str, told: dict) -> dict:
    """Write `metrics.json` in the form of `evaluation.report`, with facts drawn from the members', and what `build` was
    told, to build it again."""
    members = [_metrics(folder.parent / name) for name in weights]

    def together(fact: str) -> str:
        return "; ".join(dict.fromkeys(member[fact] for member in members if fact in member))

    def total(fact: str) -> float | None:
        values = [member.get(fact) for member in members]
        return None if None in values else sum(values)

    variants = [words for words in VARIANTS if any(words in member.get("variants", ()) for member in members)]
    found = {
        "dataset": members[0]["dataset"],
        "model": folder.name,
        "class_names": members[0]["class_names"],
        "split_sizes": members[0]["split_sizes"],
        "seed": None,
        "backend": together("backend"),
        "hardware": together("hardware"),
        "training_seconds": total("training_seconds"),
        "git_commit": git_commit(),
        "evaluated": now(),
        "title": ", ".join([title, *variants]),
        "variants": variants,
        "parameters": total("parameters"),
        "seconds_per_picture": total("seconds_per_picture"),
        "timed_on": together("timed_on"),
        "members": weights,
        "told": told,
        **measure_folder(folder),
        "training": {},
    }
    write(folder / "metrics.json", json.dumps(found, indent=2) + "\n")
    return found
