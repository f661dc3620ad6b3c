"""Run the notebooks, in order, with progress: copies under build/, or in place before a commit."""

from __future__ import annotations

import base64
import io
import os
import time
from pathlib import Path

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError
from PIL import Image

from emotions import runs
from emotions.data import datasets
from emotions.evaluation import leaderboard

KEPT_METADATA = ("kernelspec", "language_info")


def execute(
    notebooks: list[Path], dataset: str | None = None, profile: str | None = None, in_place: bool = False
) -> list[Path]:
    """Execute notebooks with a data set and profile; the copies land in `build/notebooks/`.

    Args:
        notebooks: in reading order.
        dataset, profile: parameters; None leaves the notebook's own.
        in_place: write the executed notebook over the source, once all of it has run.

    Returns:
        the executed files.

    Raises:
        RuntimeError: a cell failed; names the notebook, the cell and the error. What ran is kept.
    """
    if dataset is not None and (place := datasets.place_of(dataset)[1]):
        dataset = f"folder:{place}"  # wherever the notebooks lie
    wanted = {"DATASET": dataset, "PROFILE": profile}
    parameters = {name: value for name, value in wanted.items() if value is not None}
    target = runs.root() / "build" / "notebooks"
    target.mkdir(parents=True, exist_ok=True)
    done = []
    for number, notebook in enumerate(notebooks, start=1):
        notebook = Path(notebook)
        print(f"[{number}/{len(notebooks)}] {notebook.name}", flush=True)
        started = time.perf_counter()
        output = target / notebook.name
        try:
            # From the notebook's own folder, as Jupyter does; the kernel's progress bars stay in the file.
            papermill.execute_notebook(
                str(notebook),
                str(output),
                parameters=accepted(notebook, parameters),
                cwd=str(notebook.parent),
                kernel_name="python3",
                progress_bar=os.isatty(2),
            )
        except PapermillExecutionError as error:
            raise RuntimeError(
                f"{notebook.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue} (see {output})"
            ) from error
        tidy(output)
        if in_place:
            output.replace(notebook)
            output = notebook
        print(f"    {time.perf_counter() - started:.0f} s, {output.stat().st_size / 1e6:.2f} MB", flush=True)
        done.append(output)
    return done


def accepted(notebook: Path, parameters: dict) -> dict:
    """Those of the parameters that the notebook's tagged cell defines."""
    known = papermill.inspect_notebook(str(notebook))
    return {name: value for name, value in parameters.items() if name in known}


def tidy(path: Path) -> None:
    """Take out what papermill and the kernel leave behind: timings, paths of this machine, state of widgets."""
    book = nbformat.read(path, as_version=4)
    book.metadata = {name: value for name, value in book.metadata.items() if name in KEPT_METADATA}
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            for output in cell.outputs:
                output.get("metadata", {}).clear()
                if png := output.get("data", {}).pop("image/png", None):
                    output["data"] |= lighter(png)
    nbformat.write(book, path)


def lighter(png: str, heavy: int = 200_000) -> dict[str, str]:
    """A picture by its type, base64: a large one as JPEG where that is smaller, for notebooks that must stay light."""
    jpeg = io.BytesIO()
    if len(png) >= heavy:
        picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
        picture.save(jpeg, "jpeg", quality=90, subsampling=0, optimize=True)
    coded = base64.b64encode(jpeg.getvalue()).decode()
    return {"image/jpeg": coded} if 0 < len(coded) < len(png) else {"image/png": png}


def summary(dataset: str, profile: str) -> str:
    """The leaderboard, if the data set has a run, and where everything lies."""
    dataset, _ = datasets.place_of(dataset)
    home = runs.root(profile)
    results = home / "results" / dataset
    places = {"Results": results, "Models": home / "models", "Notebooks": runs.root() / "build" / "notebooks"}
    lines = [f"{name}: {place}" for name, place in places.items()]
    if any(results.glob("*/predictions.csv")):
        lines.insert(0, leaderboard.write(home, dataset)[results / "leaderboard.md"])
    return "\n".join(lines)
