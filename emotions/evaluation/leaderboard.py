"""Which model is best, and is the difference significant? The leaderboard of a data set, from its runs' records."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from emotions import DEFAULT_MODEL, files, runs
from emotions.evaluation import cards, comparison, ensembles, protocols, published
from emotions.evaluation.baseline import NAME as BASELINE
from emotions.evaluation.metrics import in_words, leak_free, majority_class, percent, photos_of, resampled
from emotions.runs import Predictions, Run, trained_with_duplicates

LEAST_LEAK_FREE = 100  # images: fewer say too little to be shown
WHOLE = ("parameters", "training_pictures", "input_size", "epochs", "recipe_epochs", "seed")  # integers, with gaps
COLAB = "https://colab.research.google.com/github"


def read(dataset: str, home: Path) -> tuple[list[dict], dict[str, Predictions]]:
    """Read the runs on a data set: the content of each `metrics.json`; the leak-free test predictions, by run.
    ValueError: they were not tested on the same images."""
    finished = runs.all_of(dataset, home)
    clean = {name: leak_free(run.predictions, run.folder.parent) for name, run in finished.items()}
    try:
        return [run.metrics for run in finished.values()], comparison.align(clean)
    except ValueError as reason:
        raise ValueError(f"{home / 'results' / dataset}: {reason} Train the older one again, or remove it.") from reason


def table(records: Iterable[dict], home: Path | None = None) -> pd.DataFrame:
    """Return a table of contents of `metrics.json`, indexed by the run's name, the highest test accuracy first.

    It has every column of `leaderboard.csv`. Shares are 0-1; `<figure>_low` and `<figure>_high` are the ends of 95%
    intervals; guessing is the accuracy of the majority-class baseline, of class `most_frequent`; flip_averaged means
    test-time augmentation; log_loss in nats; megabytes of 10^6 bytes; unfinished: a training was cut short."""
    board = pd.DataFrame([_row(metrics, home or files.home()) for metrics in records]).set_index("model")
    cut = set(board.index[board["unfinished"]])
    board["unfinished"] |= board["members"].fillna("").map(lambda names: bool(cut & set(names.split(" + "))))
    board = board.astype(dict.fromkeys(WHOLE, "Int64"))
    return board.sort_index().sort_values("accuracy", ascending=False, kind="stable")


def _row(metrics: dict, home: Path) -> dict:
    test, clean, training = metrics["test"], metrics["test_leak_free"], metrics["training"]
    file = Run(metrics["dataset"], metrics["model"], home=home).file
    copies, reported = test["n"] - clean["n"], next(iter(published.of(metrics)), {})
    # The baseline keeps no record of its training, and is trained on the whole split.
    unrecorded = metrics["split_sizes"]["train"] if metrics["model"] == BASELINE else None

    def with_interval(figure: str, measured: dict = test, prefix: str = "") -> dict:
        ends = zip(("", "_low", "_high"), (measured[figure], *measured[f"{figure}_interval"]), strict=True)
        return {f"{prefix}{figure}{end}": value for end, value in ends}

    return {
        "model": metrics["model"], "title": cards.display_title(metrics),
        "n": test["n"], **with_interval("accuracy"),
        **dict(zip(("most_frequent", "guessing"), majority_class(test), strict=True)),
        "n_leak_free": clean["n"], **with_interval("accuracy", clean, "leak_free_"),
        "leak_free_guessing": majority_class(clean)[1],
        # All correct answers are those on copies and those on the rest.
        "copies_accuracy": (test["n"] * test["accuracy"] - clean["n"] * clean["accuracy"]) / copies if copies else None,
        "flip_averaged_accuracy": metrics.get("test_tta", {}).get("accuracy"),
        "flip_averaged_leak_free_accuracy": metrics.get("test_leak_free_tta", {}).get("accuracy"),
        "validation_accuracy": metrics["validation"]["accuracy"],
        **with_interval("macro_f1"), **with_interval("mcc"), **with_interval("log_loss"), **with_interval("ece"),
        **{figure: test.get(figure) for figure in ("top_2", "top_3", "roc_auc")},
        "parameters": metrics.get("parameters"),
        "megabytes": file.stat().st_size / 1e6 if file.exists() else None,
        "milliseconds": metrics.get("seconds_per_picture") and 1000 * metrics["seconds_per_picture"],
        "timed_on": metrics.get("timed_on", metrics["hardware"]),
        "training_minutes": metrics.get("training_seconds") and metrics["training_seconds"] / 60,
        "training_pictures": training.get("training_pictures", unrecorded), "input_size": training.get("input_size"),
        "precision": training.get("precision"),
        "epochs": training.get("epochs_trained"), "recipe_epochs": training.get("recipe_epochs"),
        "variants": ", ".join(metrics.get("variants", ())) or None,
        "members": " + ".join(metrics.get("members", ())) or None,
        "teachers": " + ".join(training.get("teachers", ())) or None,
        "started_from": ", ".join(each["dataset"] for each in metrics.get("ancestors", ())) or None,
        **{fact: metrics.get(fact) for fact in ("trained_by", "seed", "hardware", "backend")},
        **{f"published_{part}": reported.get(part) for part in ("accuracy", "protocol", "source")},
        "unfinished": cards.unfinished(training), "with_duplicates": trained_with_duplicates(metrics),
    }


def _interval(row: pd.Series, figure: str) -> str:
    return in_words(*row[[figure, f"{figure}_low", f"{figure}_high"]])


def _trained_on(row: pd.Series) -> str:
    if pd.notna(row["members"]):
        return f"average of {row['members']}"
    if pd.notna(row["trained_by"]):
        return f"trained by {row['trained_by'].replace('pictures', 'images')}"
    planned = f" of {row['recipe_epochs']}" if row["unfinished"] else ""
    forms = {"training_pictures": "{:,} images", "input_size": "{} px", "epochs": f"{{}}{planned} epochs"}
    facts = [form.format(row[name]) for name, form in forms.items() if pd.notna(row[name])]
    if pd.notna(row["started_from"]):
        facts.append(f"after {row['started_from']}")
    if pd.notna(row["teachers"]):
        facts.append(f"taught by {row['teachers']}")
    return ", ".join(facts) or "-"


def _with_best_in_bold(rows: pd.DataFrame) -> str:
    """Return the main columns of a leaderboard as Markdown, that of leak-free accuracy only where it says something of
    its own; the highest value of each column of shares is bold."""
    with_copies = ((rows["n"] > rows["n_leak_free"]) & (rows["n_leak_free"] >= LEAST_LEAK_FREE)).any()
    texts = pd.DataFrame([{
        "Model": f"{row['title']} (`{name}`)",
        "Accuracy": _interval(row, "accuracy"),
        **({"Leak-free accuracy": _interval(row, "leak_free_accuracy")} if with_copies else {}),
        "Macro F1": percent(row["macro_f1"]),
        "Parameters, training": ("" if pd.isna(row["parameters"]) else f"{row['parameters'] / 1e6:.2f} M; ")
        + _trained_on(row),
    } for name, row in rows.iterrows()]).set_index("Model")
    shares = {"Accuracy": "accuracy", "Leak-free accuracy": "leak_free_accuracy", "Macro F1": "macro_f1"}
    for name in texts.columns.intersection(shares) if len(texts) > 1 else ():
        best = rows[shares[name]].to_numpy() == rows[shares[name]].max()
        texts[name] = np.where(best, "**" + texts[name].str.replace(" %", " %**", n=1), texts[name])
    return cards.markdown_table(texts)


def to_markdown(dataset: str, board: pd.DataFrame, first: dict | None = None, seeds: pd.DataFrame | None = None,
                with_unfinished: bool = True) -> str:
    """Return the main columns: our finished runs, third-party models and, on request, unfinished runs. `board` comes
    from `table`, `first` from `first_place`, `seeds` from `seed_means`."""
    ours, reported = _ours(board), published.on(dataset)
    return cards.render(
        "leaderboard", dataset=dataset, top=board.iloc[0], ours=ours, first=first, least=LEAST_LEAK_FREE,
        third_party=board[board["trained_by"].notna()], unfinished=board[board["unfinished"] & with_unfinished],
        seeds=pd.DataFrame() if seeds is None else seeds,
        published=reported[reported["models"] == ""].to_dict("records"), table=_with_best_in_bold,
        points=comparison.points, verdict=comparison.verdict)


def _ours(board: pd.DataFrame) -> pd.DataFrame:
    return board[board["trained_by"].isna() & ~board["unfinished"]]


def first_place(board: pd.DataFrame, clean: dict[str, Predictions], folder: Path) -> dict | None:
    """Compare our first finished run with the first other single network, by `clean` of `read`, or on all of test
    where few images are clean; None where there are not two."""
    ours = _ours(board).drop(index=BASELINE, errors="ignore")
    top, singles = ours.index[:1], ours.index[ours["members"].isna()]
    names = [*top, *singles.difference(top, sort=False)[:1]]
    if len(names) < 2:
        return None
    enough = board["n_leak_free"].iloc[0] >= LEAST_LEAK_FREE
    first, second = (clean[name] if enough else Run(folder.name, name, home=folder.parents[1]).predictions
                     for name in names)
    result = comparison.compare(first, second, photos=photos_of(first, folder))
    return {"first": names[0], "second": names[1], **result}


def seed_means(board: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return `comparison.over_seeds` of our finished runs, with low and high, the 95% interval of the mean accuracy."""
    ours = _ours(board)
    means = comparison.over_seeds(ours, ["accuracy", "leak_free_accuracy", "macro_f1"])
    for model in means.index:
        names = ours.index[ours.index.str.fullmatch(rf"{re.escape(model)}(-s\d+)?")]
        tested = comparison.align({name: Run(folder.name, name, home=folder.parents[1]).predictions for name in names})
        samples = [resampled(run, photos=photos_of(run, folder))["accuracy"] for run in tested.values()]
        means.loc[model, ["low", "high"]] = np.percentile(np.mean(samples, axis=0), [2.5, 97.5])
    return means


def best(dataset: str, board: pd.DataFrame) -> str:
    """Return a sentence on our single network with the highest validation accuracy; none that is unfinished or was
    trained with duplicates of validation images."""
    networks = _ours(board).drop(index=BASELINE, errors="ignore")
    networks = networks[networks["members"].isna() & ~networks["with_duplicates"]]
    # By name first: where two are equal on validation, the test images must not choose.
    row = None if networks.empty else networks.loc[networks["validation_accuracy"].sort_index().idxmax()]
    return cards.render("best", dataset=dataset, row=row, interval=_interval, trained_on=_trained_on,
                        third_party=board[board["trained_by"].notna()])


def model_list(home: Path, saved: dict[Path, str | dict]) -> str:
    """Return README's list of the finished models: the default, then by data set, the best first."""
    models = []
    for file in (file for file in saved if file.suffix == ".keras"):
        metrics = Run(saved[file]["dataset"], saved[file]["model"], home=home).metrics
        if not cards.unfinished(metrics["training"]):
            models.append({"name": file.stem, "card": saved[file], "megabytes": file.stat().st_size / 1e6,
                           "test": metrics[cards.counted(metrics)]})
    models.sort(key=lambda model: (model["name"] != DEFAULT_MODEL, model["card"]["dataset"],
                                   -model["test"]["accuracy"]))
    elsewhere = _default_elsewhere(home, saved.get(home / "models" / f"{DEFAULT_MODEL}.keras"))
    return cards.render("models", models=models, default=DEFAULT_MODEL, **elsewhere)


def _default_elsewhere(home: Path, card: dict | None) -> dict:
    """Return how the default model does where it was not trained: `other`, on Human Emotions, and `corrupted`, on its
    own test images under the corruption that costs it most. Empty before notebook 16 has measured both."""
    if card is None:
        return {}
    run = Run(card["dataset"], card["model"], home=home)
    rows, robustness = cards.elsewhere(run).query("tested_on == 'human-emotions'"), run.folder / "robustness.csv"
    if rows.empty or not robustness.exists():
        return {}
    corrupted = pd.read_csv(robustness)
    return {"own": card["test"], "other": rows.iloc[0], "corrupted": corrupted.loc[corrupted["accuracy"].idxmin()]}


def fill(text: str, parts: dict[str, str]) -> str:
    """Put generated parts, by name, between their markers, `<!-- NAME -->` and `<!-- /NAME -->`. A marker without its
    other half, or with a name that is not in `parts`, raises ValueError."""
    opened, closed = (sorted(re.findall(rf"^<!-- {slash}([^/\s]\S*) -->$", text, re.MULTILINE)) for slash in ("", "/"))
    if opened != closed:
        raise ValueError(f"Markers do not pair up: opened are {opened}, closed {closed}.")
    if unknown := set(opened) - set(parts):
        raise ValueError(f"There is a place for {min(unknown)}, and only {', '.join(sorted(parts))} to fill in.")
    place = re.compile(r"^(<!-- (\S+) -->\n).*?^(<!-- /\2 -->)$", re.DOTALL | re.MULTILINE)
    return place.sub(lambda match: match[1] + parts[match[2]] + match[3], text)


def contents(home: Path, saved: dict[Path, str | dict]) -> dict[Path, str]:
    """Return what the leaderboards and README must hold, by file; `saved` comes from `cards.contents`."""
    texts, parts = {}, {"models": model_list(home, saved)} if saved else {}
    for dataset in datasets(home):
        records, clean = read(dataset, home)
        board, folder = table(records, home), home / "results" / dataset
        first, seeds = first_place(board, clean, folder), seed_means(board, folder)
        # Six significant digits, so that machines agree on the last one.
        texts[folder / "leaderboard.csv"] = board.to_csv(float_format="%.6g", lineterminator="\n")
        texts[folder / "leaderboard.md"] = to_markdown(dataset, board, first, seeds)
        parts[f"leaderboard:{dataset}"] = to_markdown(dataset, board, first, seeds, with_unfinished=False)
        parts[f"leaderboard:{dataset}/best"] = best(dataset, board)
    if set(protocols.DATASETS.values()) <= set(datasets(home)):
        parts["leaderboard:human-emotions/protocols"] = protocols.markdown(home)
    if (home / "CITATION.cff").exists():
        parts["notebooks"] = gallery(home)
    if (readme := home / "README.md").exists():
        texts[readme] = fill(readme.read_text(encoding="utf-8"), parts)
    return texts


def gallery(home: Path) -> str:
    """Return README's table of the notebooks: a thumbnail, the title and, where CITATION.cff names the repository's
    address as `repository-code`, a link that opens the notebook in Colab."""
    citation = (home / "CITATION.cff").read_text(encoding="utf-8")
    address = re.search(r"^repository-code: .*github\.com/([\w.-]+/[\w.-]+)", citation, re.MULTILINE)
    cells = []
    for path in sorted((home / "notebooks").glob("*.ipynb")):
        title = "".join(files.read_json(path)["cells"][0]["source"]).split("\n")[0].removeprefix("# ")
        link = f"notebooks/{path.name}"
        image = f'<img src="results/thumbnails/{path.name[:2]}.png" alt="" width="200">'
        colab = f" · [Colab]({COLAB}/{address[1]}/blob/main/{link})" if address else ""
        cells.append(f"[{image}]({link})<br>[{title}]({link}){colab}")
    cells += [""] * (-len(cells) % 4)
    lines = [[" "] * 4, [":---:"] * 4, *(cells[start:start + 4] for start in range(0, len(cells), 4))]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"


def datasets(home: Path) -> list[str]:
    """Return the names of the data sets that have a run."""
    return sorted({path.parents[1].name for path in (home / "results").glob("*/*/metrics.json")})


def refresh(home: Path | None = None, check: bool = False) -> list[Path]:
    """Write ensembles, model cards, leaderboards and README's generated parts where they are out of date.
    Returns the files under `home` that were out of date, of ensembles the folders. With `check` nothing is written."""
    home = home or files.home()
    if not (names := datasets(home)):
        raise FileNotFoundError(f"{home / 'results'} has no run yet: train a model first.")
    if again := ensembles.trained_anew(home):
        raise FileNotFoundError(f"{again[0]} is being trained anew, by a command that has not ended: finish it first.")
    saved = cards.contents(home)
    outdated = [run.folder for dataset in names for run in ensembles.build_all(dataset, home, check).values()]
    outdated += cards.write_outdated(saved, check)  # before the leaderboards, which tell the sizes of these files
    return outdated + cards.write_outdated(contents(home, saved), check)
