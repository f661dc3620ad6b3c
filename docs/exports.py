"""Export all models of models/ in all forms: `python docs/exports.py` writes results/exports.csv and .md.

`python docs/exports.py NAME …` does some models anew and keeps the rows of the others."""

import itertools
import sys
import tempfile
from pathlib import Path

import pandas as pd

from emotions import backend, files
from emotions.evaluation import cards
from emotions.predict import export, load

TEXT = """# Exported models

Written by `python docs/exports.py`. The largest difference of a probability from the Keras model's is over 256
validation images, at batch sizes 1 and 32; a file is refused above 1e-4 (float32) or 1e-2 (float16, int8), and
exports.csv says by how much it differs. ms: one face alone, the fastest of 30, without resizing; {}. A
`.keras` file holds float16 weights and computes in float32. Accuracy is on all validation images, resized and
rounded to whole grey values first, as `emotions.predict` does. The cards measure the model's own resizing: by up
to a point more.
"""
COLUMNS = ["model", "format", "precision", "mb", "difference", "accuracy", "ms", "refused"]
SHOWN = {"mb": "{:.1f}", "difference": "{:.0e}", "accuracy": "{:.1%}", "ms": "{:.1f}"}


def rows_of(model: Path):
    """Yield a row for the Keras model, then one for each form: what `export` returns, or why there is no such file."""
    loaded = load(model)
    images, labels, _ = export.faces_for(loaded)
    own = export.measure(loaded, loaded.model.predict_on_batch, images, labels)
    yield {"format": "Keras", "precision": "float32", "mb": model.stat().st_size / 1e6, **own}
    for to, precision in itertools.product(export.FORMATS, export.TOLERANCES):
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = export.export(model, to, precision, folder)
            except ValueError as reason:
                row = {"refused": str(reason)}
        yield {"format": export.FORMATS[to], "precision": precision, **row}


def write(home: Path, names: list[str]) -> Path:
    """Write both files; return the one for people."""
    file = home / "results" / "exports.csv"
    every = sorted((home / "models").glob("*.keras"))
    chosen = [model for model in every if not names or model.stem in names]
    new = [{"model": model.stem, **row} for model in chosen for row in rows_of(model)]
    kept = pd.read_csv(file) if names and file.exists() else pd.DataFrame(columns=COLUMNS)
    table = pd.concat([kept[~kept["model"].isin(names)], pd.DataFrame(new, columns=COLUMNS)])
    table = table[table["model"].isin([model.stem for model in every])]
    table = table.sort_values("model", kind="stable", ignore_index=True)
    files.write(file, table.to_csv(index=False, float_format="%.4g", lineterminator="\n"))
    shown = table[["format", "precision"]].set_index(table["model"].rename("Model"))
    for name, form in SHOWN.items():
        numbers = table[name].astype(float)
        shown[name] = [form.format(number).replace("%", " %") if number == number else "" for number in numbers]
    shown.loc[table["refused"].notna().to_numpy(), "difference"] = "refused"
    shown.columns = ["Format", "Precision", "MB", "Largest difference", "Validation accuracy", "ms"]
    files.write(file.with_suffix(".md"), f"{TEXT.format(backend.hardware())}\n{cards.markdown_table(shown)}\n")
    return file.with_suffix(".md")


if __name__ == "__main__":
    print(write(files.home(), sys.argv[1:]))
