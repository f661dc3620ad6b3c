"""The command line, `python -m emotions …`, over the same functions as the notebooks."""

import argparse
import ast
import contextlib
import json
import os
import sys
from dataclasses import replace
from functools import reduce
from pathlib import Path

from emotions import DEFAULT_MODEL, notebook

DATA_HELP = "a data set's name, or folder:PATH; default: {}"
MODEL_HELP = "a name in models/, or a file"
CLASSES = {"type": lambda names: [name.strip() for name in names.split(",")], "metavar": "A,B,…",
           "help": "class names of a file that holds none, in order"}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m emotions", description="Facial emotion recognition: data, training, evaluation, prediction.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(function, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(function.__name__, help=help, description=function.__doc__)
        added.set_defaults(run=function)
        return added

    add = command(data, "load a data set and describe it")
    add.add_argument("--data", default="synthetic", help=DATA_HELP.format("synthetic, drawn faces"))
    add.add_argument("--audit", action="store_true", help="look for duplicates, leakage, conflicting labels")

    add = command(run, "run notebooks with parameters: training, evaluation, figures")
    add.add_argument("notebooks", nargs="*", metavar="NN", help="numbers or files of notebooks; default: all")
    add.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
                     help="parameters, as TRAIN=True SEED=1")
    add.add_argument("--quick", action="store_true", help="small trainings on drawn faces, written under build/")
    add.add_argument("--in-place", action="store_true", help="write the outputs into the notebooks themselves")
    add.add_argument("--script", action="store_true", help="only the training cells, as a script without Jupyter")

    add = command(evaluate, "measure a saved model on a data set")
    add.add_argument("model", metavar="NAME_OR_FILE", help=MODEL_HELP)
    add.add_argument("--data", help=DATA_HELP.format("the known one that it was trained on"))
    add.add_argument("--classes", **CLASSES)

    add = command(predict, "predict the emotion of each face")
    add.add_argument("paths", nargs="*", metavar="PATH", help="images, folders with all images in them, or videos")
    add.add_argument("--camera", action="store_true", help="show the camera's live picture; --annotate records it")
    add.add_argument("--every", type=count, default=1, metavar="N", help="of a video, look at every Nth frame")
    add.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME_OR_FILE",
                     help=f"{MODEL_HELP}; default: {DEFAULT_MODEL}")
    add.add_argument("--classes", **CLASSES)
    add.add_argument("--no-faces", action="store_true", help="detect no faces: every image as a whole is one")
    add.add_argument("--unsure-below", type=share, default=0.0, metavar="P",
                     help='a confidence below P, 0 to 1, becomes "unsure"')
    form = add.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, errors included, instead of a table")
    form.add_argument("--annotate", metavar="FOLDER", help="write copies with boxes and emotions, instead of a table")
    form.add_argument("--ray", metavar="OUTPUT", help="write Parquet there, with Ray: for millions of images")
    add.add_argument("--ray-address", default="local", metavar="ADDRESS", help="a Ray cluster; default: this machine")

    add = command(export, "convert a saved model to ONNX or LiteRT")
    add.add_argument("model", metavar="NAME_OR_FILE", help=MODEL_HELP)
    add.add_argument("--to", choices=("onnx", "litert"), default="litert", help="default: litert")
    add.add_argument("--precision", choices=("float32", "float16", "int8"), default="float32",
                     help="of the weights; default: float32")
    add.add_argument("--classes", **CLASSES)
    add.add_argument("--folder", default=".", help="where the file goes; default: the current one")

    add = command(leaderboard, "compute leaderboards, ensembles and model cards anew")
    add.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is out of date")
    return top


def share(text: str) -> float:
    """Return a number from 0 to 1, for argparse."""
    with contextlib.suppress(ValueError):
        if 0 <= (number := float(text)) <= 1:
            return number
    raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")


def count(text: str) -> int:
    """Return a whole number from 1 on, for argparse."""
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")


def data(options: argparse.Namespace) -> None:
    """Load a data set; print its classes, splits and what loading did, with --audit what is wrong with it."""
    from emotions.data import audit, load

    faces = load(options.data, keep_copies=options.audit)  # judged as it is distributed
    print(*faces.notes, faces.describe().to_string(), sep="\n")
    if options.audit:
        print(audit.audit(faces))


def settings(pairs: list[str]) -> dict:
    """Return parameters given as NAME=VALUE; a value that is no Python literal is a string."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair} sets no parameter: write NAME=VALUE, as SEED=1.")
        values[name] = text
        with contextlib.suppress(ValueError, SyntaxError):
            values[name] = ast.literal_eval(text)
    return values


def run(options: argparse.Namespace) -> None:
    """Run notebooks in order. Executed copies go to build/notebooks/, results and models to results/ and models/.

    One training per call: `run 02 --set TRAIN=True SEED=1`. Interrupted, the same command goes on."""
    from emotions import files, runner

    paths, values = runner.find(options.notebooks), settings(options.set)
    if options.in_place and (values or options.quick):
        raise ValueError("--in-place takes the parameters that are written in the notebooks: no --set, no --quick.")
    if options.script:
        for path in paths:
            runner.as_script(path, runner.chosen(path, values, options.quick), options.quick)
        return
    runner.run_all(paths, values, options.quick, options.in_place)
    if options.quick:
        notebook.start_backend()
        from emotions.evaluation import leaderboard as boards

        print(*boards.refresh(runner.QUICK_HOME), sep="\n")
        print(f"To look at: {files.REPOSITORY / 'build' / 'notebooks'}")
        print("Next, on real data (data/README.md): python -m emotions run 02 --set TRAIN=True")


def evaluate(options: argparse.Namespace) -> None:
    """Measure a saved model on a test split (one that was trained with copies: on images without), or on all images of
    a folder that it was not trained on, with a sub-folder for each class. Every image is taken for one face: crop
    photographs first. Writes nothing."""
    from emotions import evaluation
    from emotions import predict as prediction
    from emotions.data import load
    from emotions.runs import Predictions

    classifier = prediction.load(options.model, options.classes)
    names, card = tuple(classifier.class_names), classifier.card
    own = card.get("dataset")
    faces = load(options.data or own or "synthetic")
    for note in faces.notes:
        print(note)
    if not set(faces.class_names) <= set(names):
        raise ValueError(f"{options.model} has the classes {', '.join(names)}; {faces.name} has "
                         f"{', '.join(faces.class_names)}.")
    parts, words = [faces.test], "test"
    if own != faces.name and faces.digest is not None:
        parts, words = [*faces.splits().values()], "all images"
    elif "counts" in card:
        parts, words = [faces.test.take([name not in faces.copied for name in faces.test.ids])], "test, leak-free"
    if own and (own, card.get("images")) != (faces.name, faces.digest):
        print(f"This model was trained on {own}, not on this split of {faces.name}: images that it was trained on may "
              "be among those measured.")
    uncalibrated, resize = replace(classifier, card={}), any(classifier.model.input_shape[1:3])
    answers = reduce(Predictions.join, (Predictions(names, part.ids, part.labels, uncalibrated.probabilities(
        [classifier.resize(image) if resize else image for image in part.images])) for part in parts))
    if len(faces.class_names) < len(names):
        print(f"Of its probabilities, those of {', '.join(faces.class_names)} count, scaled so that they sum to 1.")
    chosen = answers.probabilities[:, [names.index(name) for name in faces.class_names]]
    answers = Predictions(faces.class_names, answers.ids, answers.labels, chosen / chosen.sum(axis=1, keepdims=True))
    metrics = evaluation.measure(answers, photos=parts[0].groups if faces.by_photo else None)
    print(f"{faces.name}, {words}, n = {metrics['n']:,}, accuracy {evaluation.shown(metrics)}")
    print("Before temperature scaling:")
    for name in ("macro_f1", "mcc", "log_loss", "ece"):
        print(f"{name:9} {evaluation.shown(metrics, name)}")


def predict(options: argparse.Namespace) -> int:
    """Say which emotion each face shows: a table, JSON, or annotated copies. Exit status 1: some images have no answer,
    also where no face was found; 2: wrong usage, or the model cannot be used."""
    from emotions import predict
    from emotions.predict.inputs import VIDEOS

    if options.camera == bool(options.paths) or (options.camera and options.ray):
        raise ValueError("Give files and folders, or --camera (without --ray).")
    if options.camera and (options.json or options.no_faces or options.every > 1):
        raise ValueError("--camera takes --model, --classes, --annotate and --unsure-below only.")
    if options.ray:
        from emotions.predict.many import predict_many

        totals = predict_many(options.paths, options.ray, options.model, class_names=options.classes,
                              faces=not options.no_faces, unsure_below=options.unsure_below,
                              address=options.ray_address)
        print("Images: {images:,}, without an answer: {errors:,}.".format(**totals), f"The rows are in {options.ray}.")
        return int(totals["errors"] > 0)
    classifier = predict.load(options.model, options.classes)
    if options.camera:
        recording = Path(options.annotate) / "camera.annotated.mp4" if options.annotate else ""
        return predict.watch(classifier, recording, options.unsure_below)
    if all(Path(path).suffix.lower() in VIDEOS for path in options.paths):
        return predict_videos(classifier, options)
    return show_answers(predict_images(classifier, options), options)


def predict_images(classifier, options: argparse.Namespace):
    """Return the table of all faces; with --annotate, write a copy of each image that has an answer."""
    from tqdm import tqdm

    from emotions import files
    from emotions.predict.boxes import save_copy
    from emotions.predict.inputs import single_images

    images = list(single_images(options.paths))
    base = os.path.commonpath([files.expanded(name).parent.resolve() for name, _ in images]) if options.annotate else ""
    rows, stream = [], classifier.rows(iter(images), (ValueError, OSError), faces=not options.no_faces,
                                       unsure_below=options.unsure_below)
    for faces in tqdm(stream, total=len(images), unit="image", disable=None):  # a bar on standard error, if a terminal
        rows += faces
        if options.annotate and not faces[0]["error"]:
            save_copy(faces[0]["image"], classifier.table(faces), options.annotate, base)
    return classifier.table(rows)


def show_answers(table, options: argparse.Namespace) -> int:
    """Print the answers in the form asked for, and on standard error what failed; return the exit status."""
    failed = table["error"].notna()
    if options.json:
        records = table.round(5).astype(object).where(table.notna(), None).to_dict("records")
        print(json.dumps(records, indent=2, ensure_ascii=False))
    elif options.annotate:
        if copies := table["image"][~failed].nunique():
            words = "A copy of 1 image is" if copies == 1 else f"Copies of {copies:,} images are"
            print(f"{words} in {options.annotate}.")
    elif not failed.all():
        shown = table[~failed].drop(columns=["detected", "note", "error"])
        print(shown.to_string(index=False, float_format="{:.2f}".format))
    for image, note in table[["image", "note"]].dropna().drop_duplicates().itertuples(index=False):
        say(f"{image}: {note}")
    for error in table["error"][failed]:
        say(error)
    return int(failed.any())


def say(sentence: str) -> None:
    """Print a sentence to standard error, on one line, though names of files may have several."""
    print("emotions: " + sentence.replace("\n", "\\n"), file=sys.stderr)


def predict_videos(classifier, options: argparse.Namespace) -> int:
    """Say which emotion each face of a video shows, frame by frame. Exit status 1: some videos failed."""
    from emotions import files
    from emotions.predict.video import predict_video

    if options.no_faces:
        raise ValueError("--no-faces is for images: in a video faces are always searched for.")
    if options.annotate and len({Path(path).name for path in options.paths}) < len(options.paths):
        raise ValueError("Two of the videos have the same name, and their copies would too: take them one by one.")
    failed, rows = 0, []
    for path in options.paths:
        copy = str(Path(options.annotate) / f"{Path(path).name}.annotated.mp4") if options.annotate else ""
        try:
            table = predict_video(classifier, path, options.every, copy, options.unsure_below)
        except (OSError, ValueError) as reason:
            failed = 1
            say(files.sentence(reason))
            continue
        if table["face"].isna().all():
            failed = 1
            say(f"No face was detected in {path}.")
        if options.json:
            records = json.loads(table.to_json(orient="records", double_precision=5))
            rows += [record | {"video": path} for record in records]  # a name that is not UTF-8 is none for `to_json`
        else:
            if len(options.paths) > 1:
                print(f"{path}:")
            print(f"The copy is {copy}." if copy else table.to_string(index=False, float_format="{:.2f}".format))
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
    return failed


def export(options: argparse.Namespace) -> None:
    """Convert a saved model to ONNX or LiteRT, and keep the file only if it agrees with the Keras model."""
    from emotions.predict import export as exports

    row = exports.export(options.model, options.to, options.precision, options.folder, options.classes)
    accuracy = "" if row["accuracy"] is None else f", accuracy {row['accuracy']:.3f}"
    print(f"{row['file']}: {row['mb']:.1f} MB, {row['ms']:.2f} ms for one face. On {row['images']} probabilities "
          f"differ from the Keras model's by at most {row['difference']:.1e}{accuracy}.")


def leaderboard(options: argparse.Namespace) -> int:
    """Compute results/<data set>/leaderboard.{csv,md}, model cards and README's tables from the runs' predictions.
    Ensembles are built, and built again where a run has come since."""
    from emotions.evaluation import leaderboard as boards

    outdated = boards.refresh(check=options.check)
    for path in outdated:
        print(f"{path} is out of date: run python -m emotions leaderboard" if options.check else path)
    return int(options.check and bool(outdated))


def main(arguments: list[str] | None = None) -> int:
    """Run a command; a mistake of the user's is one sentence on standard error, and exit status 2. So is what the
    machine refuses (OSError): a file that is not there or not allowed, a full disk, a hub out of reach."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments or ["--help"])
    from emotions import files  # takes half a second, which --help need not wait for

    try:
        if options.run is not run:  # that starts processes of its own
            notebook.start_backend()
        return options.run(options) or 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"emotions: {files.sentence(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("emotions: interrupted.", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        extras = {"export": ("ai_edge_litert", "flatbuffers", "onnx", "onnxruntime", "tf2onnx"),
                  "jax": ("jax",), "ray": ("fsspec", "pyarrow", "ray"), "torch": ("torch",)}
        needed = [f"'.[{extra}]'" for extra, parts in extras.items() if error.name.split(".")[0] in parts]
        print(f"emotions: the package {error.name} is missing: pip install -e {needed[0] if needed else '.'} in the "
              "clone.", file=sys.stderr)
    return 2
