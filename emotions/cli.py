"""The command line, `python -m emotions …`, over the same functions as the notebooks."""

from __future__ import annotations

import argparse
import dataclasses
import sys


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m emotions", description="Facial emotion recognition: data, training, evaluation, use.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add = commands.add_parser("train", help="train, evaluate and save a model", description=train.__doc__)
    add.add_argument("model", help="a name of the registry, or logistic-regression")
    data_options(add)
    add.add_argument("--profile", default="full", choices=("full", "quick"), help="quick: seconds, under build/")
    add.add_argument("--seed", type=int, help="also names the run, as -s1; default 0, unnamed")
    add.add_argument("--size", type=int, help="input size in pixels; default: the architecture's")
    add.add_argument("--weights", help='"imagenet", a file of pretrained weights, or nothing: from scratch')
    add.add_argument("--epochs", type=int, nargs="+", help="most epochs, one number per phase")
    add.add_argument("--batch-size", type=int)
    add.add_argument("--minutes", type=float, help="time budget that sets the number of epochs")
    add.add_argument("--suffix", default="", help="added to the name of the run")
    add.add_argument("--log", action="store_true", help="one line per epoch instead of a progress bar")
    add.set_defaults(run=train)

    add = commands.add_parser("leaderboard", help="compute the leaderboards anew", description=leaderboard.__doc__)
    add.add_argument("--data", help="only this data set's; default: all that have a run")
    add.add_argument("--profile", default="full", choices=("full", "quick"), help="quick: those under build/")
    add.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is out of date")
    add.set_defaults(run=leaderboard)
    return top


def data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", default="synthetic", help="a data set's name, or folder:PATH; default: synthetic")
    command.add_argument("--path", help="where the data are, if not in EMOTIONS_DATA or data/")
    command.add_argument("--keep-copies", action="store_true", help="train on copies of test pictures too; names the run -all")
    command.add_argument("--clean", action="store_true", help="drop doubtful training pictures; names the run -clean")
    command.add_argument("--soft-labels", action="store_true", help="FER+ votes as labels for training; names the run -ferplus")


def train(options: argparse.Namespace) -> None:
    """Train, evaluate and save a model: results/<data set>/<model>/ and models/<model>-<data set>.keras."""
    from emotions import datasets, models, runs

    dataset = datasets.load(
        options.data, options.path, keep_copies=options.keep_copies, clean=options.clean, soft_labels=options.soft_labels)
    for note in dataset.notes:
        print(note)
    names = {"-all": options.keep_copies, "-clean": options.clean, "-ferplus": options.soft_labels, options.suffix: options.suffix,
             f"-s{options.seed}": options.seed is not None}
    suffix = "".join(name for name, given in names.items() if given)
    recipe = None
    if options.model != runs.BASELINE:
        recipe = models.find(options.model).recipe
        if options.epochs:
            phases = [dataclasses.replace(phase, epochs=n) for phase, n in zip(recipe.phases, options.epochs, strict=True)]
            recipe = dataclasses.replace(recipe, phases=tuple(phases))
        if options.batch_size:
            recipe = dataclasses.replace(recipe, batch_size=options.batch_size)
    found = runs.run(
        options.model, dataset, profile=options.profile, suffix=suffix, size=options.size, weights=options.weights,
        recipe=recipe, seed=options.seed or 0, minutes=options.minutes, verbose=2 if options.log else "auto",
    )
    low, high = found["test"]["accuracy_interval"]
    print(f"{found['title']} on {dataset.name}: test accuracy {found['test']['accuracy']:.3f} "
          f"(95 % interval {low:.3f} to {high:.3f}, n = {found['test']['n']:,})")


def leaderboard(options: argparse.Namespace) -> int:
    """Compute results/<data set>/leaderboard.{csv,md} and README's tables from the runs' predictions."""
    from emotions import leaderboard, runs, training

    files = leaderboard.contents(runs.root(options.profile), options.data)
    if not files:
        raise FileNotFoundError(f"{runs.root(options.profile) / 'results'} has no run yet: train a model first.")
    outdated = leaderboard.stale(files)
    if options.check:
        for path in outdated:
            print(f"{path} is out of date: run python -m emotions leaderboard", file=sys.stderr)
        return int(bool(outdated))
    for path in outdated:
        training.write(path, files[path])
    for path, text in files.items():
        print(text if path.name == "leaderboard.md" else path)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a command; a mistake of the user's is one sentence on standard error, and exit status 2."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except (ValueError, FileNotFoundError) as error:
        print(f"emotions: {error}", file=sys.stderr)
        return 2
