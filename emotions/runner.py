"""Run the notebooks with parameters: in Jupyter's kernel, or their training cells as a plain script."""

import ast
import base64
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from bisect import bisect
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageOps

from emotions import files
from emotions.notebook import native_messages_off

KEPT_METADATA = ("kernelspec", "language_info")
THUMBNAIL = (320, 200)  # pixels
QUICK_HOME = files.REPOSITORY / "build" / "quick"
STAGES = ("03", "11")  # from these notebooks on, the results of all before are looked at


def find(names: list[str]) -> list[Path]:
    """Return the notebooks of these numbers or paths; without any, all of them in order."""
    every = sorted((files.REPOSITORY / "notebooks").glob("*.ipynb"))
    if not names:
        return every
    chosen = []
    for name in names:
        matches = [path for path in every if path.name.startswith(f"{name:0>2}_") or path.stem == name] or [Path(name)]
        if not matches[0].is_file():
            raise FileNotFoundError(f"There is no notebook {name}; there are {', '.join(p.stem for p in every)}.")
        chosen += matches
    return chosen


def code_cells(path: Path) -> list[tuple[set, str]]:
    """Return the tags and the source of each code cell."""
    cells = files.read_json(path)["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return [(set(cell["metadata"].get("tags", ())), "".join(cell["source"])) for cell in code]


def parameters(path: Path) -> dict:
    """Return the values in the cell tagged "parameters", by name."""
    source = next((source for tags, source in code_cells(path) if "parameters" in tags), "")
    assigned = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in assigned}


def chosen(path: Path, settings: dict, quick: bool) -> dict:
    """Return the parameters to set in a notebook: `settings`, and for a quick run its QUICK values with TRAIN = True.
    ValueError: the notebook has no such parameter, names the most similar one; or a switch is neither on nor off."""
    known = parameters(path)
    for name in settings:
        if name not in known:
            hint = files.nearest(name, known)
            raise ValueError(f'{path.name} has no parameter "{name}"{hint} It has {", ".join(known)}.')
        if isinstance(known[name], bool) and not isinstance(settings[name], bool):
            raise ValueError(f"{name} is True or False, not {settings[name]!r}.")
    values = known.get("QUICK", {}) | ({"TRAIN": True} if "TRAIN" in known else {}) if quick else {}
    for name, value in settings.items():  # a notebook runs in its own folder: paths below the current one are resolved
        is_path = isinstance(value, str) and (value.startswith("folder:") or "/" in value)
        place = Path(value.removeprefix("folder:")) if is_path else None
        values[name] = str(place.resolve()) if place and place.exists() else value
    return values


def environment(quick: bool) -> dict[str, str]:
    """Return the environment variables of a notebook's process: the command to record, and where results go."""
    values = {"EMOTIONS_COMMAND": shlex.join(["python", "-m", "emotions", *sys.argv[1:]])}
    for name in ("EMOTIONS_HOME", "EMOTIONS_DATA", "EMOTIONS_CACHE"):  # the process runs in the notebook's folder
        if named := os.environ.get(name):
            entries = [files.expanded(entry).resolve() for entry in named.split(os.pathsep) if entry]
            values[name] = os.pathsep.join(map(str, entries))
    return values | ({"EMOTIONS_HOME": str(QUICK_HOME)} if quick else {})


def as_script(path: Path, values: dict, quick: bool = False) -> None:
    """Run a notebook's cells tagged "train" as a plain Python script, without Jupyter, or raise RuntimeError."""
    chosen_values = "".join(f"\n{name} = {value!r}" for name, value in values.items())
    parts = ["import sys\nfrom emotions import files\nsys.excepthook = files.refused"]  # a full disk, a misspelt name
    parts += [source + (chosen_values if "parameters" in tags else "")
              for tags, source in code_cells(path) if tags & {"train", "parameters"}]
    command = [sys.executable, "-c", "\n\n".join(parts)]
    done = subprocess.run(command, cwd=path.parent, env=os.environ | environment(quick))
    if done.returncode == 2:
        raise SystemExit(2)  # it has said why
    if done.returncode:
        raise RuntimeError(f"{path.name} failed as a script, with exit status {done.returncode}.")


def execute(path: Path, values: dict, quick: bool = False, in_place: bool = False) -> Path:
    """Execute a notebook with parameters; the copy lands in `build/notebooks/`, or replaces the notebook. If a cell
    fails, RuntimeError names the notebook, the cell and the error. What was executed is kept."""
    from unittest.mock import patch

    import papermill
    from papermill.exceptions import PapermillExecutionError

    output = files.REPOSITORY / "build" / "notebooks" / path.name
    output.parent.mkdir(parents=True, exist_ok=True)
    variables = environment(quick) | {"TQDM_DISABLE": "1"}  # no progress bars among the outputs
    with patch.dict(os.environ, variables), native_messages_off():  # what kernels print as they start
        try:
            # In the notebook's own folder, as Jupyter does.
            papermill.execute_notebook(str(path), str(output), parameters=values, cwd=str(path.parent),
                                       kernel_name="python3", progress_bar=False)
        except PapermillExecutionError as error:
            raise RuntimeError(f"{path.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue} "
                               f"(see {output})") from error
    tidy(output)
    if in_place:
        output.replace(path)
        save_thumbnail(path, files.REPOSITORY / "results" / "thumbnails")
        return path
    return output


def run_all(paths: list[Path], settings: dict, quick: bool = False, in_place: bool = False) -> None:
    """Execute notebooks, with a line for each as it ends: name, seconds, what was learned."""
    tasks = {path: (path, chosen(path, settings, quick), quick, in_place) for path in paths}  # tells misspelt names
    began = time.time()
    for number, line in enumerate(_two_at_a_time(tasks) if quick else (_timed(*task) for task in tasks.values()), 1):
        print(f"[{number}/{len(paths)}] {line}", flush=True)
    print(f"{len(paths)} notebooks in {(time.time() - began) / 60:.1f} minutes.")


def _two_at_a_time(tasks: dict[Path, tuple]) -> Iterator[str]:
    """Yield what `_timed` returns, stage by stage; of a stage the later notebooks, which take longest, come first."""
    pool = ProcessPoolExecutor(2)
    try:
        for _, stage in groupby(tasks, lambda path: bisect(STAGES, path.name)):
            running = [pool.submit(_timed, *tasks[path]) for path in reversed(list(stage))]
            yield from (task.result() for task in as_completed(running))
    finally:
        pool.shutdown(cancel_futures=True)


def _timed(path: Path, *options) -> str:
    """Execute a notebook; return its name, the seconds it took, and the accuracies that it printed."""
    began = time.time()
    cells = files.read_json(execute(path, *options))["cells"]
    printed = "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", ()))
    learned = re.findall(r"^(.+?)(?:, [\d,]+ parameters)?, test: ([\d.]+ %)", printed, re.MULTILINE)
    words = "".join(f". {title}: accuracy {accuracy}" for title, accuracy in learned)
    return f"{path.stem} … {time.time() - began:.0f} s{words}"


def tidy(path: Path) -> None:
    """Remove what papermill and the kernel leave behind: timings, paths of this machine, widgets."""
    book = json.loads(path.read_text(encoding="utf-8"))
    book["metadata"] = {name: value for name, value in book["metadata"].items() if name in KEPT_METADATA}
    for cell in book["cells"]:
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output["metadata"] = {}
            if png := output.get("data", {}).pop("image/png", None):
                output["data"] |= lighter("".join(png))
    files.write(path, json.dumps(book, indent=1, ensure_ascii=False) + "\n")


def save_thumbnail(path: Path, folder: Path) -> None:
    """Save the first image of a notebook's cell tagged "thumbnail", if it has one, as `<number>.png`, 320 x 200."""
    tagged = [cell for cell in files.read_json(path)["cells"] if "thumbnail" in cell["metadata"].get("tags", ())]
    shown = [item for cell in tagged for output in cell["outputs"] for item in output.get("data", {}).items()]
    if images := ["".join(data) for kind, data in shown if kind.startswith("image/")]:
        image = Image.open(io.BytesIO(base64.b64decode(images[0]))).convert("RGB")
        folder.mkdir(parents=True, exist_ok=True)
        small = ImageOps.pad(image, THUMBNAIL, color="white")
        small = small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)  # the median cut loses rare colours
        small.save(folder / f"{path.name[:2]}.png", optimize=True)


def lighter(png: str) -> dict[str, str]:
    """Return an image in base64 by its type: a large one as JPEG where that is smaller, to keep notebooks light."""
    jpeg = io.BytesIO()
    if len(png) >= 50_000:
        image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
        image.save(jpeg, "jpeg", quality=90, subsampling=0, optimize=True)
    coded = base64.b64encode(jpeg.getvalue()).decode()
    return {"image/jpeg": coded} if 0 < len(coded) < len(png) else {"image/png": png}
