"""Trainings, evaluations, predictions and exports killed at random moments, and begun again: is anything lost?

`python tests/faults.py` writes results/faults.md. Everything is imported once; each piece of work is a fork of this
process, which has not used TensorFlow yet, so that a kill falls into the work, not into imports.
"""

import os

# One thread each: sums are always taken in the same order, and a fork inherits no half-used pool of threads.
os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OPENBLAS_NUM_THREADS": "1"}

import contextlib
import io
import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import onnxruntime.quantization
import onnxruntime.transformers.float16
import pandas as pd
import tf2onnx
from keras import layers
from PIL import Image

from emotions import cli, evaluation, files, runs, training
from emotions.data import synthetic
from emotions.evaluation import cards
from emotions.models.files import CARD
from emotions.predict import boxes, export
from emotions.training import fitting

IMPORTED = (onnxruntime.quantization, onnxruntime.transformers.float16, tf2onnx, boxes, export)  # not within the work
TABLE = files.REPOSITORY / "results" / "faults.md"
INTRODUCTION = """# Killed at random moments

Written by `python tests/faults.py`: each kind of work, replacing the files of an earlier one, is killed by signal 9 at
moments drawn over its duration until {} kills fell into it; after each kill every file is read, must be the earlier or
the new one (or what a training goes on from), and the same command, called again, must leave the files of an
undisturbed run.
"""
# Of another run, and of a repository in which somebody works meanwhile
MEASURED = ("git_commit", "started", "finished", "evaluated", "seconds", "training_seconds", "seconds_per_picture")
FACES = synthetic.load(train=84, validation=28, test=28, size=32)
NOTHING = lambda: None  # noqa: E731


# The work. Each function is given the folder it works in, and what to call once the work begins.


def train(home: Path, begin: Callable = NOTHING, epochs=(2, 5), **options) -> tuple[keras.Model, runs.Run]:
    """Train in two phases: the last layer alone, then everything with patience."""
    begin()
    fitting.SAVE_SECONDS = 0.0
    run = runs.start("small", FACES, **{"train": True, "title": "Small"} | options)
    image = keras.Input((32, 32, 3))
    convolution = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=2), layers.BatchNormalization()]
    base = keras.Sequential([keras.Input((32, 32, 3)), *convolution], name="base")
    outputs = layers.Dense(len(FACES.class_names), activation="softmax")(layers.GlobalMaxPooling2D()(base(image)))
    model = keras.Model(image, outputs, name="small")
    history = ()
    for last, rate in zip(epochs, (1e-2, 1e-3), strict=False):
        base.trainable = bool(len(history))
        callbacks = [keras.callbacks.EarlyStopping("val_loss", patience=2)] if len(history) else []
        model.compile(keras.optimizers.Adam(rate), loss="categorical_crossentropy", metrics=["accuracy"])
        history = training.fit(model, FACES, run=run, epochs=last, initial_epoch=len(history), batch_size=28,
                               callbacks=callbacks)  # fmt: skip
    return model, run


def evaluate(home: Path, begin: Callable = NOTHING) -> None:
    model, run = train(home, train=False)
    begin()
    evaluation.evaluate(model, FACES, run)


def predict(home: Path, begin: Callable = NOTHING) -> None:
    begin()
    os.chdir(home)  # what is printed names the files
    photos = ["predict", "photos", "--model", "models/small-synthetic.keras"]
    command([*photos, "--annotate", str(home / "copies")])
    with (home / "printed.json").open("w") as file, contextlib.redirect_stdout(file):  # as a shell's > does
        command([*photos, "--json"])


def convert(home: Path, begin: Callable = NOTHING) -> None:
    begin()
    model = home / "models" / "small-synthetic.keras"
    command(["export", str(model), "--to", "onnx", "--folder", str(home / "exported")])


def command(words: list[str]) -> None:
    if status := cli.main(words):
        raise SystemExit(status)


WORK = {"training": train, "evaluation": evaluate, "prediction": predict, "export": convert}


def earlier(home: Path, begin: Callable = NOTHING) -> None:
    """Make the files of an earlier record, of one epoch, with copies of the photos and an exported file."""
    for name, image in zip(FACES.train.ids[:40], FACES.train.images, strict=False):
        file = home / "photos" / name[-3:] / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    model, run = train(home, epochs=(1,))
    evaluation.evaluate(model, FACES, run)
    predict(home)
    convert(home)


def again(home: Path, begin: Callable = NOTHING) -> None:
    """Train and evaluate anew: prediction and export then have another model than before."""
    model, run = train(home)
    evaluation.evaluate(model, FACES, run)


def prepared(folder: Path) -> dict[str, Path]:
    """Return a folder for each kind of work, in which it can begin."""
    places = {kind: folder / f"{kind}-before" for kind in WORK}
    finish(earlier, places["training"])
    for kind, work in {"evaluation": train, "prediction": again}.items():
        shutil.copytree(places["training"], places[kind])
        finish(work, places[kind])
    shutil.copytree(places["prediction"], places["export"])
    return places


# Processes


def as_command(work: Callable, home: Path, begin: Callable) -> int:
    """Do some work as one of the commands, in a process of its own; return the exit status."""

    def leaderboard(options):
        work(home, begin)

    cli.leaderboard = leaderboard
    return cli.main(["leaderboard"])


def start(work: Callable, home: Path) -> int:
    """Fork a process that does some work, and return its number once the work begins."""
    waiting, begin = os.pipe()
    if number := os.fork():
        os.close(begin)
        os.read(waiting, 1)  # until the other side is closed
        os.close(waiting)
        return number
    status = 1
    try:
        os.environ["EMOTIONS_HOME"] = str(home)
        home.mkdir(parents=True, exist_ok=True)
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  until the process ends
        sys.stderr = home.with_name(f"{home.name}.txt").open("w")
        work(home, lambda: os.close(begin))
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)  # nothing of the parent's is to be cleaned up here


def finish(work: Callable, home: Path) -> float:
    """Do some work to its end, and return the seconds it took."""
    number = start(work, home)
    began = time.perf_counter()
    if os.waitpid(number, 0)[1]:
        raise RuntimeError(home.with_name(f"{home.name}.txt").read_text()[-3000:])
    return time.perf_counter() - began


def killed(work: Callable, home: Path, moment: float) -> bool:
    """Kill some work after so many seconds; tell whether it had not ended by then."""
    number = start(work, home)
    time.sleep(moment)
    os.kill(number, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(number, 0)[1])


# Files


def content(file: Path):
    """Return all that a file holds, but for what is measured anew each time. One that is not whole raises."""
    data = file.read_bytes()
    readers = {".json": lambda: without_measured(json.loads(data)), ".csv": lambda: table(data.decode()),
               ".h5": lambda: arrays(data), ".keras": lambda: model(data), ".onnx": lambda: exported(data),
               ".jpg": lambda: np.asarray(Image.open(io.BytesIO(data))).tobytes()}  # fmt: skip
    return readers.get(file.suffix, lambda: data)()


def without_measured(value):
    if isinstance(value, dict):
        return {name: without_measured(part) for name, part in value.items() if name not in MEASURED}
    return [without_measured(part) for part in value] if isinstance(value, list) else value


def table(text: str) -> dict:
    if not text.endswith("\n"):
        raise ValueError("a table without its last line feed")
    return pd.read_csv(io.StringIO(text)).drop(columns="seconds", errors="ignore").to_dict("list")


def arrays(data: bytes) -> dict:
    found = {}
    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "dtype") else {}))
    return found


def model(data: bytes) -> list:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        card = without_measured(json.loads(archive.read(CARD))) if CARD in archive.namelist() else None
        return [card, json.loads(archive.read("config.json")), arrays(archive.read("model.weights.h5"))]


def exported(data: bytes) -> bytes:
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    return data


def contents(home: Path) -> dict:
    return {str(path.relative_to(home)): content(path) for path in sorted(home.rglob("*")) if path.is_file()}


def half_written(home: Path, old: dict, new: dict) -> list[str]:
    """Return the files that are neither whole, nor under a temporary name."""
    wrong = []
    for path in sorted(home.rglob("*")):
        name = str(path.relative_to(home))
        if path.is_dir() or ".writing" in name or name == "printed.json":  # which the shell writes, not this package
            continue
        try:
            found = content(path)
        except Exception as reason:  # a damaged file raises nearly anything
            wrong.append(f"{name}: {reason}")
            continue
        going_on = "checkpoint" in path.parts or path.name in ("history.csv", "training.json")
        if not going_on and not any(name in files and files[name] == found for files in (old, new)):
            wrong.append(f"{name}: neither the earlier nor the new one")
    return wrong


# Kills


def trial(kind: str, before: Path, kills: int, seed: int) -> dict:
    """Kill one kind of work until so many kills fell into it; return what came of it."""
    home, random = before.with_name(kind), np.random.default_rng(seed)
    old = contents(before)
    shutil.copytree(before, home)
    seconds = finish(WORK[kind], home)
    new = contents(home)
    row = {"kind": kind, "kills": 0, "fell into the work": 0, "ended with the same files": 0, "half-written files": 0}
    while row["fell into the work"] < kills:
        shutil.rmtree(home)
        shutil.copytree(before, home)
        moment = random.uniform(0, seconds)
        row["kills"] += 1
        if not killed(WORK[kind], home, moment):
            continue
        row["fell into the work"] += 1
        wrong = half_written(home, old, new)
        row["half-written files"] += len(wrong)
        differing = restarted(kind, home, new)
        row["ended with the same files"] += not differing
        print(f"{kind}, killed after {moment:.2f} of {seconds:.2f} s", *wrong, *differing, sep="\n  ", flush=True)
    return row


def restarted(kind: str, home: Path, new: dict) -> list[str]:
    """Call the same work again; return how its files differ from those of an undisturbed run."""
    try:
        finish(WORK[kind], home)
        found = contents(home)
    except Exception as reason:  # of whatever kind: the row of the table tells that it happened
        return [f"failed: {reason}"]
    return [f"differs: {name}" for name in sorted(new.keys() | found.keys()) if new.get(name) != found.get(name)]


# A full disk, a folder that is only read


@contextlib.contextmanager
def disk(place: Path, megabytes: int):
    """Mount a small disk in memory."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def refusal(kind: str, before: Path, obstacle: str, new: dict) -> dict:
    """Do some work on a disk with so many bytes left, or "read-only"; then, without the obstacle, once more."""
    old, home = contents(before), before.with_name(f"{kind}-{obstacle}")
    with disk(home, 4):
        shutil.copytree(before, home, dirs_exist_ok=True)
        if obstacle == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", home], check=True)
        else:
            (home / "ballast").write_bytes(bytes(shutil.disk_usage(home).free - int(obstacle)))
        number = start(lambda home, begin: sys.exit(as_command(WORK[kind], home, begin)), home)
        status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        said = home.with_name(f"{home.name}.txt").read_text()
        subprocess.run(["mount", "-o", "remount,rw", home], check=True)
        (home / "ballast").unlink(missing_ok=True)
        left = [str(path.relative_to(home)) for path in home.rglob("*.writing*")]
        lost = [name for name in old if not (home / name).exists()]
        wrong = half_written(home, old, {} if obstacle == "read-only" else new)
        return {"kind": kind, "obstacle": obstacle, "status": status, "said": said, "left": left, "lost": lost,
                "wrong": wrong, "differing": restarted(kind, home, new)}  # fmt: skip


def refusals(file: Path) -> None:
    """Write what came of each kind of work on a disk that is full, soon full, or only read."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, before in prepared(Path(folder).resolve()).items():
            whole = before.with_name(kind)
            shutil.copytree(before, whole)
            finish(WORK[kind], whole)
            for obstacle in ("0" if kind == "export" else "5000", "read-only"):  # the exported file is small
                rows.append(refusal(kind, before, obstacle, contents(whole)))
                files.write_json(file, rows)  # a test that is cut short leaves what it found


def main(kills: int = 20, file: Path = TABLE) -> None:
    with tempfile.TemporaryDirectory() as folder:
        places = prepared(Path(folder).resolve())
        tasks = [(kind, places[kind], kills, seed) for seed, kind in enumerate(WORK)]
        with multiprocessing.get_context("fork").Pool(2) as pool:  # two at a time: the moments are random anyway
            rows = pool.starmap(trial, tasks, chunksize=1)
    shown = pd.DataFrame(rows).astype(str).set_index("kind")
    files.write(Path(file), f"{INTRODUCTION.format(kills)}\n{cards.markdown_table(shown)}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["refusals"]:
        refusals(Path(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
