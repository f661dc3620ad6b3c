"""The command line, `python -m emotions …`, over the same functions as the notebooks."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys

from emotions.data.variants import VARIANTS

REGISTRY = "an architecture, as lenet, resnet34 or champion; a name that is none lists them all"

def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m emotions", description="Facial emotion recognition: data, training, evaluation, use."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add = commands.add_parser("data", help="load a data set and say what is in it", description=data.__doc__)
    data_options(add, trains=True)
    add.add_argument("--audit", action="store_true", help="look for copies, leakage, conflicting labels, bad pictures")
    add.set_defaults(run=data)

    add = commands.add_parser("train", help="train, evaluate and save a model", description=train.__doc__)
    add.add_argument("model", help=f"{REGISTRY}, or logistic-regression")
    data_options(add, trains=True)
    add.add_argument("--profile", default="full", choices=("full", "quick"), help="quick: seconds, under build/")
    seeds = add.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, help="also names the run, as -s1; default 0, unnamed")
    seeds.add_argument(
        "--seeds",
        type=positive,
        metavar="N",
        help="train with N seeds, those not there yet, for as many epochs each, and average them in an ensemble",
    )
    add.add_argument("--size", type=positive, help="input size in pixels; default: the architecture's")
    add.add_argument(
        "--weights",
        help='"imagenet", a Hugging Face name or folder (for ViT), or a file of weights; default: from scratch',
    )
    add.add_argument("--epochs", type=positive, nargs="+", help="most epochs, one number per phase")
    add.add_argument("--batch-size", type=positive, help="pictures per step; default: the recipe's")
    add.add_argument("--minutes", type=above_zero, help="about how long one training may take: sets its epochs")
    precision_option(add)
    add.add_argument("--suffix", metavar="WORD", help="names the run: lenet --suffix wide becomes lenet-wide")
    add.add_argument("--track", choices=("tensorboard", "wandb"), help="record the training with this tool, too")
    add.add_argument("--log", action="store_true", help="one line per epoch instead of a progress bar")
    add.set_defaults(run=train)

    add = commands.add_parser("ablate", help="what each ingredient gives", description=ablate.__doc__)
    add.add_argument("model", nargs="?", help=REGISTRY + "; default: a small champion")
    data_options(add, trains=True)
    add.add_argument("--profile", default="full", choices=("full", "quick"), help="quick: seconds, under build/")
    add.add_argument("--epochs", type=positive, help="of each training; default: a few")
    add.add_argument("--changes", nargs="+", metavar="CHANGE", help='as "without erasing"; default: all of them')
    precision_option(add)
    add.add_argument("--log", action="store_true", help="one line per epoch instead of a progress bar")
    add.set_defaults(run=ablate)

    add = commands.add_parser("speed", help="how fast training is", description=speed.__doc__)
    add.add_argument("model", help=REGISTRY)
    data_options(add)
    add.add_argument("--size", type=positive, help="input size in pixels; default: the architecture's")
    precision_option(add)
    add.set_defaults(run=speed)

    add = commands.add_parser("evaluate", help="measure a saved model on a data set", description=evaluate.__doc__)
    add.add_argument("model", metavar="NAME_OR_FILE", help="a name in models/, or a .keras file")
    data_options(add, default=None, said="the one it learned from")
    add.add_argument(
        "--out",
        metavar="FOLDER",
        help="write predictions.csv, metrics.json and figures there, and beside it which test pictures are copies",
    )
    add.set_defaults(run=evaluate)

    add = commands.add_parser("peers", help="measure ready-made classifiers like our own", description=peers.__doc__)
    add.add_argument("folder", metavar="FOLDER", help="where their files are, see emotions/peers.py")
    data_options(add, default="fer2013")
    add.set_defaults(run=peers)

    add = commands.add_parser("predict", help="say which emotion each face shows", description=predict.__doc__)
    add.add_argument("paths", nargs="+", metavar="PATH", help="a picture, or a folder with all in it")
    add.add_argument("--model", metavar="NAME_OR_FILE", help="a name in models/, or a file; default: as in README")
    add.add_argument(
        "--classes", metavar="A,B,…", help="for a file without class names: those of its outputs, in order"
    )
    add.add_argument("--no-faces", action="store_true", help="look for no faces: every picture as a whole is one")
    unsure = 'a confidence below P, 0 to 1, becomes "unsure"'
    add.add_argument("--unsure-below", type=share, default=0.0, metavar="P", help=unsure)
    form = add.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, errors included, instead of a table")
    form.add_argument("--annotate", metavar="FOLDER", help="write copies with boxes and emotions, instead of a table")
    add.set_defaults(run=predict)

    add = commands.add_parser("leaderboard", help="compute the leaderboards anew", description=leaderboard.__doc__)
    add.add_argument("--data", help="only this data set's; default: all that have a run")
    add.add_argument("--profile", default="full", choices=("full", "quick"), help="quick: those under build/")
    add.add_argument("--time", action="store_true", help="first time one picture through each network again, in a row")
    add.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is out of date")
    add.set_defaults(run=leaderboard)

    add = commands.add_parser("cards", help="write the models' cards anew", description=cards.__doc__)
    add.add_argument("--profile", default="full", choices=("full", "quick"), help="quick: those under build/")
    add.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is out of date")
    add.set_defaults(run=cards)

    add = commands.add_parser("notebooks", help="run the notebooks", description=notebooks.__doc__)
    add.add_argument("files", nargs="*", metavar="FILE", help="default: all of notebooks/")
    add.add_argument("--data", help="the data set for all of them; default: each notebook's own")
    add.add_argument("--profile", choices=("full", "quick"), help="default: each notebook's own")
    add.add_argument("--in-place", action="store_true", help="write the outputs back, from the saved runs")
    add.set_defaults(run=notebooks)
    return top


def quiet_start() -> None:
    """Start Keras for a command that needs it; what its backend says meanwhile would drown the command's own words."""
    from emotions import notebook

    notebook.start_backend()


def data_options(
    command: argparse.ArgumentParser, *, trains: bool = False, default: str | None = "synthetic", said: str = ""
) -> None:
    """Which data; for a command that uses the training pictures, also what is to be done to them.

    Args:
        default: None where only the command can know, and says in its help what `said` tells.
    """
    words = f"a data set's name, or folder:PATH; default: {said or default}"
    command.add_argument("--data", default=default, help=words)
    command.add_argument("--path", help="where the data are, if not in EMOTIONS_DATA or data/")
    for variant in VARIANTS.values() if trains else ():
        words = f"{variant.help}; names the run {variant.suffix}"
        command.add_argument(variant.option, action="store_true", help=words)


def precision_option(command: argparse.ArgumentParser) -> None:
    """Whether to compute in bfloat16: yes, no, or as `backend.mixed_precision` would."""
    words = "bfloat16, or float32; default: bfloat16 on accelerators that have it, float32 elsewhere"
    command.add_argument("--mixed-precision", action=argparse.BooleanOptionalAction, help=words)


def load_data(options: argparse.Namespace):
    """The data set that the options name; prints what loading found."""
    from emotions.data import datasets

    arguments = [variant.argument for variant in VARIANTS.values()]
    chosen = {argument: getattr(options, argument) for argument in arguments if hasattr(options, argument)}
    dataset = datasets.load(options.data, options.path, **chosen)
    for note in dataset.notes:
        print(note)
    return dataset


def data(options: argparse.Namespace) -> None:
    """Load a data set, and print what loading found, its classes and splits, and with --audit what is wrong with it."""
    quiet_start()
    from emotions.data import audit

    dataset = load_data(options)
    print(dataset.describe().to_string())
    if options.audit:
        print(audit.audit(dataset))


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def above_zero(text: str) -> float:
    """A number above 0, for argparse."""
    if not (number := float(text)) > 0:
        raise ValueError
    return number


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    if not 0 <= (number := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def chosen_recipe(options: argparse.Namespace):
    """The model's recipe with the epochs and batch size that the options name; None for the baseline."""
    from emotions import runs
    from emotions.models import registry as models

    if options.model == runs.BASELINE:
        return None
    recipe = models.find(options.model).recipe_with(options.weights)
    if options.epochs:
        if len(options.epochs) != len(recipe.phases):
            raise ValueError(
                f"--epochs has {len(options.epochs)} numbers; {options.model} trains in "
                f"{len(recipe.phases)} phases: give one number for each."
            )
        recipe = with_epochs(recipe, options.epochs)
    if options.batch_size:
        recipe = dataclasses.replace(recipe, batch_size=options.batch_size)
    return recipe


def with_epochs(recipe, epochs: list[int]):
    """The recipe with other numbers of epochs, one for each phase."""
    phases = [dataclasses.replace(phase, epochs=n) for phase, n in zip(recipe.phases, epochs, strict=True)]
    return dataclasses.replace(recipe, phases=tuple(phases))


def train(options: argparse.Namespace) -> None:
    """Train, evaluate and save a model: results/<data set>/<model>/ and models/<model>-<data set>.keras.

    Interrupted, the same command goes on. With --seeds 5, `<model>-s0` to `-s4` are trained, but for those that are
    there already, and averaged in `ensemble-<model>`.
    """
    quiet_start()
    import keras

    from emotions import runs
    from emotions.data import variants
    from emotions.evaluation import ensembles

    recipe = chosen_recipe(options)
    dataset = load_data(options)
    suffix = variants.suffix(dataset.variants)
    suffix += f"-{options.suffix.removeprefix('-')}" if options.suffix else ""
    seeds = range(options.seeds) if options.seeds else [options.seed]
    names = [suffix if seed is None else f"{suffix}-s{seed}" for seed in seeds]
    if options.seeds and recipe is None:
        raise ValueError(f"{options.model} has nothing random, so --seeds would train the same again.")
    minutes = options.minutes
    for seed, name in zip(seeds, names, strict=True):
        folder = runs.run_folder(dataset.name, options.model + name, options.profile)
        if options.seeds and runs.Run(folder, folder).finished:
            print(f"{options.model + name} is there already.")
        found = runs.run(
            options.model,
            dataset,
            profile=options.profile,
            suffix=name,
            size=options.size,
            weights=options.weights,
            recipe=recipe,
            seed=seed or 0,
            minutes=minutes,
            again=not options.seeds,
            mixed_precision=options.mixed_precision,
            track=options.track,
            verbose=2 if options.log else "auto",
        )
        say(found)
        keras.backend.clear_session()
        if minutes:  # what the first seed had time for, all get: they are to differ in the seed alone
            recipe, minutes = with_epochs(recipe, found["training"]["epochs"]), None
    if len(names) > 1:
        members = [options.model + name for name in names]
        say(ensembles.build(folder.parent, f"ensemble-{options.model}{suffix}", members))


def say(found: dict) -> None:
    """Print the accuracy of a run; of one that learned copies of test pictures, on the others too."""
    from emotions.data.variants import learned_copies

    splits = {"test": "test"} | ({"test_leak_free": "leak-free"} if learned_copies(found) else {})
    for split, words in splits.items():
        low, high = found[split]["accuracy_interval"]
        print(
            f"{found['title']} on {found['dataset']}: {words} accuracy {found[split]['accuracy']:.3f} "
            f"(95% interval {low:.3f} to {high:.3f}, n = {found[split]['n']:,})"
        )


def ablate(options: argparse.Namespace) -> None:
    """Train with one ingredient of the champion's recipe changed at a time, and compare on validation.

    Writes results/<data set>/ablation/ (of another net ablation-champion/ and the like, of data trained on otherwise
    ablation-all/); interrupted, the same command goes on. The test split is not looked at.
    """
    quiet_start()
    from emotions import ablation

    folder = ablation.run(
        load_data(options),
        options.model or ablation.SYSTEM,
        profile=options.profile,
        epochs=options.epochs or ablation.EPOCHS,
        changes=options.changes,
        mixed_precision=options.mixed_precision,
        verbose=2 if options.log else "auto",
    )
    forms = dict.fromkeys(("accuracy", "macro_f1", "rarest_recall"), "{:.1f}".format) | {"p_holm": "{:.2g}".format}
    print(ablation.table(folder).to_string(float_format="{:+.1f}".format, formatters=forms))


def speed(options: argparse.Namespace) -> None:
    """Measure training: pictures per second, fed and from one batch in memory; writes results/<data set>/speed.csv."""
    quiet_start()
    from emotions import backend
    from emotions import speed as speeds

    dataset = load_data(options)
    with backend.mixed_precision(options.mixed_precision):
        found = speeds.measure(options.model, dataset, size=options.size)
    print(found.to_string(index=False))
    print(speeds.keep(found, dataset.name))


def evaluate(options: argparse.Namespace) -> None:
    """Measure a saved model on the test split of a data set; writes nothing unless told where."""
    quiet_start()
    from emotions.evaluation import metrics as evaluation
    from emotions.plots import figures as plots
    from emotions.predict import classifier as inference

    classifier = inference.load(options.model)
    options.data = options.data or classifier.card.get("dataset", "synthetic")
    dataset = load_data(options)
    if tuple(classifier.class_names) != tuple(dataset.class_names):
        raise ValueError(
            f"{options.model} knows {', '.join(classifier.class_names)}; "
            f"{dataset.name} has {', '.join(dataset.class_names)}."
        )
    if (own := classifier.card.get("dataset", dataset.name)) != dataset.name:
        print(
            f"This model was trained on {own}: pictures of {dataset.name} may have been among its training pictures, "
            "which would flatter it; “leak-free” does not tell."
        )
    if options.out:
        found = evaluation.evaluate(classifier.model, dataset, options.out)
        plots.draw_run(options.out)
        found = found["test"]
    else:
        found = evaluation.measure(evaluation.predict(classifier.model, dataset.test, dataset.class_names))
    print(f"{dataset.name}, test, n = {found['n']:,}")
    for name in ("accuracy", "macro_f1", "mcc", "log_loss", "ece"):
        low, high = found[f"{name}_interval"]
        print(f"{name:9} {found[name]:.3f} (95% interval {low:.3f} to {high:.3f})")


def peers(options: argparse.Namespace) -> None:
    """Measure the ready-made classifiers of Arriaga et al. on FER2013 into results/, beside our own models."""
    quiet_start()
    from emotions.evaluation import third_party as peers

    for found in peers.evaluate(options.folder, load_data(options)):
        say(found)


def notebooks(options: argparse.Namespace) -> None:
    """Run notebooks in order; executed copies land in build/notebooks/, or with --in-place where they were."""
    quiet_start()
    from emotions import notebooks as execute
    from emotions import runs

    if options.in_place and (options.data or options.profile):
        raise ValueError(
            "--in-place runs every notebook with its own data set and profile; leave out --data and --profile."
        )
    files = options.files or sorted((runs.root() / "notebooks").glob("*.ipynb"))
    if not files:
        raise FileNotFoundError(f"There are no notebooks in {runs.root() / 'notebooks'}: name files.")
    execute.execute(files, options.data, options.profile, in_place=options.in_place)
    if options.data and options.profile:
        print(execute.summary(options.data, options.profile))


def leaderboard(options: argparse.Namespace) -> int:
    """Compute results/<data set>/leaderboard.{csv,md} and README's tables from the runs' predictions.

    Ensembles are built, and built again where a run has come since.
    """
    quiet_start()
    from emotions import runs
    from emotions.evaluation import ensembles, leaderboard

    root = runs.root(options.profile)
    if not options.check:
        for folder in sorted((root / "results").glob(options.data or "*")):
            if options.time:
                runs.time_again(folder)
            if ensembles.outdated(folder) or (options.time and any(folder.glob("ensemble-*"))):
                ensembles.build_all(folder)
    files = (leaderboard.contents if options.check else leaderboard.write)(root, options.data)
    if not files:
        raise FileNotFoundError(f"{root / 'results'} has no run yet: train a model first.")
    if options.check:
        outdated = leaderboard.stale(files)
        for path in outdated:
            print(f"{path} is out of date: run python -m emotions leaderboard", file=sys.stderr)
        return int(bool(outdated))
    for path, text in files.items():
        print(text if path.name == "leaderboard.md" else path)
    return 0


def cards(options: argparse.Namespace) -> int:
    """Write the model card beside every model, what a program needs of it into the model's file, and README's list."""
    quiet_start()
    from emotions import runs
    from emotions.evaluation import cards

    files = cards.contents(runs.root(options.profile))
    if not files:
        raise FileNotFoundError(f"{runs.root(options.profile) / 'models'} has no model yet: train one first.")
    outdated = cards.stale(files)
    if options.check:
        for path in outdated:
            print(f"{path} is out of date: run python -m emotions cards", file=sys.stderr)
        return int(bool(outdated))
    cards.write({path: files[path] for path in outdated})
    print(*files, sep="\n")
    return 0


def predict(options: argparse.Namespace) -> int:
    """Say which emotion each face shows: a table, JSON, or annotated copies. Exit status 1: some pictures failed."""
    quiet_start()
    import keras

    from emotions.predict import classifier as inference

    classifier = inference.load(options.model or inference.DEFAULT, options.classes and options.classes.split(","))
    names = [name for name, _ in inference.listed(options.paths)]
    copies = inference.places_for_copies(names, options.annotate) if options.annotate else {}
    rows = []
    with contextlib.redirect_stdout(sys.stderr):  # the progress bar; results alone go to standard output
        bar = keras.utils.Progbar(len(names), unit_name="picture", verbose=int(sys.stderr.isatty()))
        for found in classifier.stream(options.paths, faces=not options.no_faces, unsure_below=options.unsure_below):
            rows += found
            if options.annotate and not found[0]["error"]:
                inference.save_copy(found[0]["picture"], classifier.table(found), copies[found[0]["picture"]])
            bar.add(1)
    table = classifier.table(rows)
    failed = table["error"].notna()
    if options.json:
        print(json.dumps(json.loads(table.to_json(orient="records", double_precision=5)), indent=2, ensure_ascii=False))
    elif options.annotate:
        print(f"Copies of {table['picture'][~failed].nunique()} pictures are in {options.annotate}.")
    elif not failed.all():
        print(table[~failed].drop(columns=["detected", "error"]).to_string(index=False, float_format="{:.2f}".format))
    for error in table["error"][failed]:
        print(f"emotions: {error}", file=sys.stderr)
    return int(failed.any())


def main(arguments: list[str] | None = None) -> int:
    """Run a command; a mistake of the user's is one sentence on standard error, and exit status 2.

    So is what the machine refuses (OSError): a file that is not there or not allowed, a full disk, a hub out of reach.
    """
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"emotions: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"emotions: the package {error.name} is missing: pip install -e . in the clone.", file=sys.stderr)
    return 2
