"""What is this model, how reliable is it, and what must it not be used for? A card for each saved model.

After Mitchell et al. 2019, "Model Cards for Model Reporting": `models/<run>-<dataset>.md` is for people, the card
inside the `.keras` file for programs. Both follow from the run's record."""

from dataclasses import replace
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from emotions import files
from emotions.evaluation import calibration
from emotions.evaluation import metrics as measures
from emotions.evaluation.metrics import PHOTOS, beats_majority_class, leak_free, majority_class, percent, shown, summary
from emotions.models.files import add_card, read_card
from emotions.runs import Predictions, Run, all_of, trained_with_duplicates

TEMPLATES = Path(__file__).parent
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)  # of validation, for which a threshold of confidence is chosen
EXPLANATIONS = {
    "input": "RGB images of faces, N x H x W x 3, any size, values 0-255",
    "calibration": "The model's own probabilities p are not calibrated; softmax(log(p) / temperature) are, with "
    "the temperature fitted on validation. The figures here are of the model's own.",
}
WEB_PHOTOS = "Posed and web-scraped faces, many disputed labels, none of who is shown: not for decisions about people."
OTHER_IMAGES = "Measured only on images like those it was trained on: not for decisions about people."


def for_programs(run: Run, metrics: dict) -> dict:
    """Return what goes into the `.keras` file: class names, headline figures, and what reading probabilities takes.
    `guessing` is the accuracy of the majority-class baseline; `temperature` and `abstention`: see `reliance`; `counts`
    names the split whose figures count, where that is not `test`."""
    split, training = counted(metrics), metrics["training"]
    figures = ("accuracy", "accuracy_interval", "macro_f1", "n")
    names = ("class_names", "model", "title", "dataset", "images", "split_sizes", "ancestors")
    card = {name: metrics[name] for name in names if name in metrics}
    for name in ("validation", "test", "test_leak_free"):
        card[name] = {figure: metrics[name][figure] for figure in figures}
    card["guessing"] = round(majority_class(metrics[split])[1], 4)
    card["training"] = {name: training.get(name) for name in ("seed", "epochs_trained", "input_size", "finished")}
    card["versions"] = {"backend": metrics["backend"], "keras": training.get("keras")}
    web = metrics["dataset"].startswith(("fer2013", "ferplus", "human-emotions")) and "images" not in metrics
    card |= EXPLANATIONS | reliance(run.validation, _test(run, metrics))
    card["limits"] = WEB_PHOTOS if web else OTHER_IMAGES
    return card if split == "test" else card | {"counts": split}


def counted(metrics: dict) -> str:
    """Return the split whose figures count: of a model trained with duplicates of test images, the leak-free part."""
    return "test_leak_free" if trained_with_duplicates(metrics) else "test"


def _test(run: Run, metrics: dict) -> Predictions:
    return leak_free(run.predictions, run.folder.parent) if trained_with_duplicates(metrics) else run.predictions


def reliance(validation: Predictions, test: Predictions) -> dict:
    """Return what a user needs to read probabilities: chosen on validation, measured on test. `temperature` divides the
    logits; `abstention` has for each of `COVERAGES` the `threshold` of calibrated confidence that leaves this share of
    validation answered, with the share `answered` and its `accuracy` on test."""
    temperature = round(calibration.fit_temperature(validation), 4)
    curve = calibration.coverage(calibration.temperature_scale(validation, temperature))
    scaled = calibration.temperature_scale(test, temperature)
    confidence, correct = scaled.probabilities.max(axis=1), scaled.predicted == scaled.labels
    rows = []
    for share in COVERAGES:
        enough = curve["threshold"][curve["coverage"] >= share - 1e-12].iloc[0]
        threshold = 0.0 if share == 1 else int(enough * 1000) / 1000  # rounded down: no fewer are answered
        answered = confidence >= threshold
        accuracy = round(float(correct[answered].mean()), 4) if answered.any() else None
        rows.append({"validation_answered": share, "threshold": threshold,
                     "answered": round(float(answered.mean()), 4), "accuracy": accuracy})
    return {"temperature": temperature, "abstention": rows}


def by_fer2013_labels(run: Run) -> Predictions | None:
    """Return what a model of FER+ predicts for its test images, with FER2013's labels: of those whose votes have a
    majority for one of FER2013's classes. None for other models, and without a run on FER2013 that has the labels."""
    others = all_of("fer2013", run.home) if run.dataset == "ferplus" else {}
    own = run.predictions
    theirs = next((one for other in others.values() if np.isin(own.ids, (one := other.predictions).ids).all()), None)
    if theirs is None:  # none, or FER2013 as folders, whose images have other ids
        return None
    own = own.take(np.isin(np.array(own.class_names)[own.labels], theirs.class_names))
    labels = pd.Series(np.array(theirs.class_names)[theirs.labels], theirs.ids)[own.ids]
    return replace(own, labels=pd.Index(own.class_names).get_indexer(labels))


def elsewhere(run: Run) -> pd.DataFrame:
    """Return what notebook 16 measured of this model on photos unlike those it has seen: rows of `results/across.csv`,
    as far as their answers are there, which `evaluate` removes with the model."""
    results = run.home / "results"
    if not (results / "across.csv").exists():
        return pd.DataFrame(columns=["tested_on"])
    rows = pd.read_csv(results / "across.csv").loc[lambda table: table["model"] == run.file.stem]
    other = [row.tested_on[:3] not in row.trained_on  # FER+ and FER2013 are the same photos
             and (results / row.tested_on / "across" / f"{run.file.stem}.csv").exists() for row in rows.itertuples()]
    return rows[other]


def for_people(run: Run, card: dict) -> str:
    """Return the card as Markdown, from that of `for_programs`, with the metadata of a Hugging Face card in front."""
    metrics, split, task = run.metrics, counted(run.metrics), "image-classification"
    results = [EvalResult(task, run.dataset, run.dataset, "accuracy", card[name]["accuracy"], dataset_split=name)
               for name in ("test", "test_leak_free")]
    data = ModelCardData(license="mit", library_name="keras", pipeline_tag=task, tags=["emotion-recognition"],
                         model_name=run.file.stem, eval_results=results)
    text = ModelCard.from_template(
        data, template_path=str(TEMPLATES / "card_template.md"), card=card, metrics=metrics, percent=percent,
        shown=shown, title=display_title(metrics), test=metrics[split], augmented=metrics.get(f"{split}_tta"),
        majority=majority_class(metrics[split]), useful=beats_majority_class(metrics[split]),
        with_duplicates=split != "test", unfinished=unfinished(metrics["training"]),
        unit="source photos" if (run.folder.parent / PHOTOS).exists() else "images",
        by_fer2013=(own := by_fer2013_labels(run)) and measures.measure(own),
        elsewhere=elsewhere(run).to_dict("records"),
        summary=markdown_table(summary(metrics).rename_axis("figure")),
        scaled=calibration.calibrate(_test(run, metrics), card["temperature"]))
    return f"{text.content.rstrip()}\n"


def render(name: str, **values) -> str:
    """Return the text that a template of this folder makes of values, with one line feed at its end."""
    template = jinja2.Template((TEMPLATES / f"{name}_template.md").read_text(encoding="utf-8"))
    return template.render(percent=percent, shown=shown, **values).rstrip("\n") + "\n"


def display_title(metrics: dict) -> str:
    """Return a run's title with its seed, if that is not 0."""
    return metrics["title"] + (f", seed {metrics['seed']}" if metrics.get("seed") else "")


def unfinished(training: dict) -> bool:
    """Tell from a `training.json` whether a training had fewer epochs than planned, and not by EarlyStopping."""
    trained, planned = training.get("epochs_trained", 0), training.get("recipe_epochs") or 0
    return trained < planned and not training.get("stopped_early")


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table of text as Markdown, its index as the first column; numbers are aligned to the right."""
    right = [table[name].str.contains(r"^(?:\*\*)?[\d.]+(?: [%M]|$)(?!;)").any() for name in table.columns]
    rows = [[table.index.name, *table.columns], ["---", *("---:" if numbers else "---" for numbers in right)]]
    rows += [[str(name), *row] for name, row in zip(table.index, table.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def contents(home: Path) -> dict[Path, str | dict]:
    """Return what the cards of all models must hold: Markdown by `.md` file, `for_programs` by `.keras` file. A model
    without a run raises FileNotFoundError."""
    cards = {}
    for file in sorted((home / "models").glob("*.keras")):
        saved = read_card(file)
        run = Run(saved.get("dataset", "-"), saved.get("model", "-"), home=home)
        if not run.finished:
            raise FileNotFoundError(f"{file} has no run in {home / 'results'}: train it again, or remove it.")
        cards[file] = for_programs(run, run.metrics)
        cards[file.with_suffix(".md")] = for_people(run, cards[file])
    return cards


def write_outdated(contents: dict[Path, str | dict], check: bool = False) -> list[Path]:
    """Write the files that are missing or hold something else, or only `check` them; return their paths. The
    explanations inside a model's file don't count."""
    present = {path: read_card(path) | EXPLANATIONS if path.suffix == ".keras" else
               path.read_text(encoding="utf-8") if path.exists() else None for path in contents}
    outdated = [path for path, content in contents.items() if present[path] != content]
    for path in () if check else outdated:
        write = add_card if path.suffix == ".keras" else files.write
        write(path, contents[path])
    return outdated
