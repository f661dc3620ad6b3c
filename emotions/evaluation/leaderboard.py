"""Who is ahead, and is it sure? The leaderboard of a data set, computed from the predictions of its runs.

    print(to_markdown("fer2013", table(read("results/fer2013"))))

`results/<data set>/leaderboard.csv` has every column, `leaderboard.md` and README the main ones. Neither is
typed: `python -m emotions leaderboard` writes them, `--check` and a test tell when they are out of date.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from emotions.data.variants import learned_copies
from emotions.evaluation import comparison, published
from emotions.evaluation.ensembles import CHOSEN
from emotions.evaluation.metrics import commonest, counted, leak_free, measure_folder
from emotions.plots import figures as plots
from emotions.runs import BASELINE
from emotions.training import fit as training

MARKED = re.compile(
    r"(?P<open><!-- leaderboard:(?P<name>\S+) -->\n)(?P<table>.*?)(?P<close><!-- /leaderboard:(?P=name) -->)", re.DOTALL
)


# ------------------------------------------------------------------------------------------------- the table


def read(folder: str | Path) -> list[dict]:
    """The runs of a data set: of each the content of `metrics.json`, with every figure computed anew.

    Args:
        folder: `results/<data set>`; its sub-folders with a `predictions.csv` are the runs.

    Raises:
        FileNotFoundError: a file that evaluation writes is missing.
        ValueError: the runs were not tested on the same pictures.
    """
    folder = Path(folder)
    names = list(comparison.read(folder))
    if names and not (folder / "copied_in_training.csv").exists():
        raise FileNotFoundError(
            f"{folder} has no copied_in_training.csv, which says what is leak-free: evaluate one of its runs again."
        )
    return [_facts(folder / name) | measure_folder(folder / name) for name in names]


def _facts(folder: Path) -> dict:
    file = folder / "metrics.json"
    if not file.exists():
        raise FileNotFoundError(f"{folder} has predictions but no metrics.json: evaluate that run again, or remove it.")
    saved = json.loads(file.read_text(encoding="utf-8"))
    return {key: value for key, value in saved.items() if key.split("_")[0] not in ("validation", "test")}


WHOLE = ("parameters", "training_pictures", "input_size", "epochs", "recipe_epochs", "seed")  # integers, with gaps


def table(found: list[dict], models: str | Path | None = None) -> pd.DataFrame:
    """One row per run, the highest test accuracy first, indexed by the run's name.

    Args:
        found: what `read` returns.
        models: the folder of `<run>-<data set>.keras` files, for their size.

    Returns:
        every column of `leaderboard.csv`. Shares are 0-1; `<figure>_low` and `<figure>_high` are the ends of
        95% intervals; guessing is the accuracy of always saying the most frequent class; log_loss in nats;
        megabytes of 10^6 bytes; None where a run does not have it.
    """
    board = pd.DataFrame([_row(run, models) for run in found]).set_index("model").astype(dict.fromkeys(WHOLE, "Int64"))
    return board.sort_index().sort_values("accuracy", ascending=False, kind="stable")


def _row(run: dict, models: str | Path | None) -> dict:
    test, clean, flipped, training = run["test"], run["test_leak_free"], run.get("test_tta"), run["training"]
    file = Path(models) / f"{run['model']}-{run['dataset']}.keras" if models else None
    elsewhere = published.of(run)
    copies, (label, share) = test["n"] - clean["n"], commonest(test)
    # The baseline keeps no record of its training, and learns from the whole split.
    unrecorded = run["split_sizes"]["train"] if run["model"] == BASELINE else None
    return {
        "model": run["model"],
        "title": run["title"],
        "n": test["n"],
        **_with_interval("accuracy", test),
        "most_frequent": label,
        "guessing": share,
        "n_leak_free": clean["n"],
        **_with_interval("accuracy", clean, "leak_free_"),
        "leak_free_guessing": commonest(clean)[1],
        # All right answers are those on copies and those on the rest.
        "copies_accuracy": (test["n"] * test["accuracy"] - clean["n"] * clean["accuracy"]) / copies if copies else None,
        "flip_averaged_accuracy": flipped and flipped["accuracy"],
        "flip_averaged_leak_free_accuracy": flipped and run["test_leak_free_tta"]["accuracy"],
        "validation_accuracy": run["validation"]["accuracy"],
        **_with_interval("macro_f1", test),
        **_with_interval("mcc", test),
        **_with_interval("log_loss", test),
        **_with_interval("ece", test),
        "top_2": test.get("top_2"),
        "top_3": test.get("top_3"),
        "roc_auc": test["roc_auc"],
        "parameters": run.get("parameters"),
        "megabytes": file.stat().st_size / 1e6 if file and file.exists() else None,
        "milliseconds": run.get("seconds_per_picture") and 1000 * run["seconds_per_picture"],
        "timed_on": run.get("timed_on", run["hardware"]),
        "training_minutes": run.get("training_seconds") and run["training_seconds"] / 60,
        "training_pictures": training.get("training_pictures") or unrecorded,
        "input_size": training.get("input_size"),
        "epochs": training.get("epochs_trained"),
        "recipe_epochs": training.get("recipe_epochs"),
        "variants": ", ".join(run.get("variants", ())) or None,
        "members": " + ".join(run["members"]) if "members" in run else None,
        "trained_by": run.get("trained_by"),
        "seed": run["seed"],
        "hardware": run["hardware"],
        "backend": run["backend"],
        "published_accuracy": elsewhere and elsewhere.accuracy,
        "published_protocol": elsewhere and elsewhere.protocol,
        "published_source": elsewhere and elsewhere.source,
    }


def _with_interval(figure: str, measured: dict, prefix: str = "") -> dict:
    low, high = measured[f"{figure}_interval"]
    return {f"{prefix}{figure}": measured[figure], f"{prefix}{figure}_low": low, f"{prefix}{figure}_high": high}


# --------------------------------------------------------------------------------------------- as text


def to_csv(board: pd.DataFrame) -> str:
    """The whole table; figures have six significant digits, so that machines agree on the last one."""
    return board.to_csv(float_format="%.6g", lineterminator="\n")


def first_place(folder: str | Path, board: pd.DataFrame) -> str:
    """Whether the first of a table is ahead of the second by more than chance, on the leak-free part, in a sentence.

    Args:
        folder: `results/<data set>`.
        board: what `table` returns, with two rows or more.
    """
    first, second = board.index[:2]
    runs = {name: leak_free(run, folder) for name, run in comparison.read(folder, [first, second]).items()}
    found = comparison.compare(runs[first], runs[second])
    verdict = "more than chance" if found["mcnemar_p"] < 0.05 else "within what chance does"
    difference, low, high = (100 * found[f"accuracy_{end}"] for end in ("difference", "low", "high"))
    return (
        f"The first place: `{first}` minus `{second}`, leak-free, {difference:+.1f} points [{low:+.1f}, {high:+.1f}], "
        f"McNemar's p = {found['mcnemar_p']:.2g}: {verdict}."
    )


def to_markdown(
    dataset: str, board: pd.DataFrame, columns: tuple[str, ...] | None = None, first: str | None = None
) -> str:
    """The main columns, for people.

    Args:
        dataset: its name.
        board: what `table` returns.
        columns: some of `COLUMNS`; all by default.
        first: what `first_place` returns, to stand below the table.
    """
    top = board.iloc[0]
    columns = columns or tuple(COLUMNS)
    rows = [[COLUMNS[name](row) for name in columns] for _, row in board.reset_index().iterrows()]
    lines = [
        f"Test split of `{dataset}`, {top['n']:,} pictures; leak-free: the {top['n_leak_free']:,} of them without "
        f"an exact copy in training. In brackets 95% intervals. Always saying “{top['most_frequent']}” would give "
        f"{top['guessing']:.3f}; leak-free {top['leak_free_guessing']:.3f}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "".join("---|" if name in WORDS else "---:|" for name in columns),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        "Single pass, but for the flip-averaged column (mean over each picture and its mirror image)."
        + (" MB: the saved model. ms: one picture alone, on a CPU." if "ms" in columns else ""),
    ]
    if first:
        lines += ["", first]
    if chosen := [f"`{name}`" for name in CHOSEN if name in board.index]:
        both = " and ".join(chosen)
        lines += ["", f"The members of {both} were chosen on validation, from runs without copies of it."]
    if board["trained_by"].notna().any():
        lines += [
            "",
            "A model that others trained may have seen copies of these pictures, or been chosen by these pictures "
            "themselves: its figures flatter it, the leak-free ones too.",
        ]
    if BASELINE not in board.index:
        lines += ["", f"The trivial baseline, `{BASELINE}`, has not been run on this data set yet."]
    figures = {"accuracy": "accuracy", "leak_free_accuracy": "leak-free", "macro_f1": "macro F1"}
    for model, row in comparison.over_seeds(board, figures).iterrows():
        found = (f"{words} {row[f'{name}_mean']:.3f} ± {row[f'{name}_sd']:.3f}" for name, words in figures.items())
        lines += ["", f"`{model}`, {row['seeds']:.0f} seeds, mean ± sd: {', '.join(found)}."]
    if others := published.others(dataset):
        others = [f"{it.system} {it.accuracy:.3f} ({it.protocol}; {it.source})" for it in others]
        lines += ["", f"Published elsewhere, for orientation: {'; '.join(others)}."]
    return "\n".join(lines) + "\n"


def best(dataset: str, board: pd.DataFrame) -> str:
    """The single network of ours that is ahead on validation, in a sentence; not one that learned copies of it."""
    learned = board["variants"].fillna("").map(lambda words: learned_copies({"variants": words, "dataset": dataset}))
    ours = board[board["members"].isna() & board["trained_by"].isna() & ~learned]
    if ours.empty:
        return f"No network of ours has been trained on `{dataset}` yet.\n"
    row = ours.loc[ours["validation_accuracy"].idxmax()]
    trained = f", {_trained(row)}" if pd.notna(row["epochs"]) else ""
    return (
        f"Best single network of ours, chosen on validation: **{row['title']}, "
        f"{_bracketed(row, 'leak_free_accuracy')}** of the "
        f"{row['n_leak_free']:,} leak-free test pictures of `{dataset}` ({row['parameters'] / 1e6:.2f} million "
        f"parameters{trained}); always saying “{row['most_frequent']}”: {row['leak_free_guessing']:.3f}.\n"
    )


def _number(value, form: str) -> str:
    return "-" if pd.isna(value) else format(value, form)


def _bracketed(row: pd.Series, figure: str) -> str:
    return f"{row[figure]:.3f} [{row[f'{figure}_low']:.3f}, {row[f'{figure}_high']:.3f}]"


def _trained(row: pd.Series) -> str:
    """On what and how long: so that a small run is never read as a full one."""
    if pd.notna(row["members"]):
        return f"average of {row['members']}"
    if pd.notna(row["trained_by"]):
        return f"trained by {row['trained_by']}"
    parts = [
        f"{row['training_pictures']:,.0f} pictures" if pd.notna(row["training_pictures"]) else "",
        f"{row['input_size']:.0f} px" if pd.notna(row["input_size"]) else "",
        _epochs(row) if pd.notna(row["epochs"]) else "",
        f"{row['training_minutes']:.0f} min" if pd.notna(row["training_minutes"]) else "",
    ]
    return ", ".join(filter(None, parts)) or "-"


def _epochs(row: pd.Series) -> str:
    """`4 of 30 epochs` where the recipe has more: cut short by a budget, or stopped early."""
    if pd.isna(row["recipe_epochs"]) or row["epochs"] >= row["recipe_epochs"]:
        return counted(row["epochs"], "epoch")
    return f"{row['epochs']:.0f} of {counted(row['recipe_epochs'], 'epoch')}"


def _on_cpu(row: pd.Series) -> bool:
    return all(machine.startswith("CPU") for machine in row["timed_on"].split("; "))


def _published(row: pd.Series) -> str:
    accuracy = _number(row["published_accuracy"], ".3f")
    return accuracy if accuracy == "-" else f"{accuracy} {row['published_protocol']}"


COLUMNS = {
    "Model": lambda row: f"{row['title']} (`{row['model']}`)",
    "Accuracy": lambda row: _bracketed(row, "accuracy"),
    "Leak-free": lambda row: _bracketed(row, "leak_free_accuracy"),
    "Flip-averaged": lambda row: _number(row["flip_averaged_accuracy"], ".3f"),
    "Macro F1": lambda row: _number(row["macro_f1"], ".3f"),
    "Parameters (M)": lambda row: _number(row["parameters"] / 1e6, ".2f"),
    "MB": lambda row: _number(row["megabytes"], ".1f"),
    "ms": lambda row: _number(row["milliseconds"], ".1f") if _on_cpu(row) else "-",
    "Trained on": _trained,
    "Published": _published,
}


WORDS = ("Model", "Trained on", "Published")  # the rest are numbers
IN_README = ("Model", "Accuracy", "Leak-free", "Flip-averaged", "Macro F1", "Parameters (M)", "Trained on")


def side_by_side(found: list[dict], columns: tuple[str, ...] = tuple(COLUMNS)) -> pd.DataFrame:
    """Some runs as the leaderboard shows them, in the order given.

    Args:
        found: contents of `metrics.json`, all of one data set.
        columns: some of `COLUMNS`.
    """
    board = table(found).loc[[run["model"] for run in found]].reset_index()
    rows = [{name: COLUMNS[name](row) for name in columns} for _, row in board.iterrows()]
    return pd.DataFrame(rows).set_index("Model")


def fill(text: str, tables: dict[str, str]) -> str:
    """Put tables between their markers, `<!-- leaderboard:NAME -->` and `<!-- /leaderboard:NAME -->`.

    Args:
        text: Markdown.
        tables: Markdown by name of the data set, or by `<data set>/best`; the others' places stay as they are.

    Raises:
        ValueError: a marker without its other half.
    """
    opened, closed = (sorted(re.findall(rf"<!-- {mark}leaderboard:(\S+) -->", text)) for mark in ("", "/"))
    if opened != closed or len(MARKED.findall(text)) != len(opened):
        raise ValueError(f"Markers for leaderboards do not pair up: opened for {opened}, closed for {closed}.")
    return MARKED.sub(lambda place: place["open"] + tables.get(place["name"], place["table"]) + place["close"], text)


# ------------------------------------------------------------------------------------------------ as files


def contents(root: str | Path, data: str | None = None) -> dict[Path, str]:
    """What the generated files must hold, computed from the predictions.

    Args:
        root: the folder that holds `results/` and `models/`, and README.md where that has places for tables.
        data: only this data set; by default all that have a run.

    Returns:
        text by file: both leaderboards of each data set, and README.md where it shows one of them.
    """
    root = Path(root)
    names = sorted({path.parents[1].name for path in (root / "results").glob("*/*/predictions.csv")})
    if data and data not in names:
        there = ", ".join(names) or "nothing"
        raise FileNotFoundError(f"{root / 'results'} has no run on {data}; there are runs on {there}.")
    files, tables = {}, {}
    for name in [data] if data else names:
        found = read(root / "results" / name)
        board = table(found, root / "models")
        first = first_place(root / "results" / name, board) if len(board) > 1 else None
        tables[name] = to_markdown(name, board, IN_README, first)
        tables[f"{name}/best"] = best(name, board)
        files[root / "results" / name / "leaderboard.csv"] = to_csv(board)
        files[root / "results" / name / "leaderboard.md"] = to_markdown(name, board, first=first)
    readme = root / "README.md"
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        shown = {place["name"] for place in MARKED.finditer(text)}
        if unknown := {place.removesuffix("/best") for place in shown} - set(names):
            raise ValueError(f"{readme} has a place for the leaderboard of {min(unknown)}, on which there is no run.")
        filled = fill(text, tables)
        if shown & set(tables):
            files[readme] = filled
    return files


def write(root: str | Path, data: str | None = None) -> dict[Path, str]:
    """Write what `contents` tells, and return it; files that hold it already stay untouched.

    Beside each new `leaderboard.csv` its figure is drawn, `leaderboard.png`.
    """
    files = contents(root, data)
    outdated = stale(files)
    for path in outdated:
        training.write(path, files[path])
    for path in (path for path in files if path.suffix == ".csv"):
        if path in outdated or not path.with_suffix(".png").exists():
            draw(pd.read_csv(path), path.with_suffix(".png"), path.parent.name)
    return files


def draw(board: pd.DataFrame, path: Path, dataset: str) -> None:
    """The accuracies of a `leaderboard.csv`, with their intervals, and what guessing gives."""
    titles = board["title"] + np.where(board["title"].duplicated(keep=False), " (" + board["model"] + ")", "")
    ends = {"accuracy": "accuracy", "low": "accuracy_low", "high": "accuracy_high"}
    splits = {"all test pictures": "", "leak-free: no exact copy in training": "leak_free_"}
    series = {
        name: pd.DataFrame({end: board[prefix + column].to_numpy() for end, column in ends.items()}, titles)
        for name, prefix in splits.items()
    }
    figure = plots.intervals(series, "accuracy (%), with 95% intervals", f"{dataset}, test, n = {board['n'][0]:,}")
    for prefix, color in zip(splits.values(), plots.SERIES, strict=False):
        share = board[f"{prefix}guessing"][0]
        figure.axes[0].axvline(100 * share, color=color, linestyle=":", zorder=0)
    guessing = f"dotted: always saying “{board['most_frequent'][0]}”"
    figure.axes[0].legend(title=guessing, title_fontsize=9, fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def stale(files: dict[Path, str]) -> list[Path]:
    """Which of the files that `contents` tells are missing or hold something else."""
    return [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
