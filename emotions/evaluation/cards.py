"""What is this model, how far can it be relied on, and what must it not be used for? A card for each saved model.

After Mitchell et al. 2019, "Model Cards for Model Reporting". `models/<model>-<data set>.md` is for people; what a
program needs goes into the `.keras` file itself (`models.CARD`). Neither is typed: both follow from the run's files,
`python -m emotions cards` writes them, `--check` and a test tell when they are out of date.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from emotions.data.variants import learned_copies
from emotions.evaluation import calibration
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions
from emotions.models import registry as models
from emotions.predict import classifier as inference
from emotions.training import fit as training

ANSWERED = (1.0, 0.9, 0.8, 0.7, 0.5)  # shares of validation that a threshold of confidence leaves answered

FER2013 = (
    "Training on FER2013's Training split, the epoch chosen on PublicTest (validation), PrivateTest (test) reported. "
    "48 x 48 grey faces found by web search (Goodfellow et al. 2013, arXiv:1307.0414)."
)
DATA = {
    "fer2013": FER2013,
    "fer2013-3": f"The angry, happy and sad pictures of FER2013. {FER2013}",
    "fer2013-recut": "FER2013 cut anew, across its own splits: figures can't be compared with those on PrivateTest.",
    "human-emotions": "Kaggle's Human Emotions, colour faces, pooled and split anew so that copies of a photo stay on "
    "one side.",
    "human-emotions-as-distributed": "Kaggle's Human Emotions with its own test folder: copies of test photos are in "
    "training, and flatter every figure but the leak-free ones.",
    "synthetic": "Drawn faces with known expressions. A model of drawings: it is for trying things out, not for "
    "photographs.",
}
OTHER_DATA = "Pictures of the user's own."

MUST_NOT = """\
- **At work or in education.** Inferring the emotions of persons there is prohibited in the European Union, but for
  medical or safety reasons: AI Act, Regulation (EU) 2024/1689, Article 5(1)(f).
- **For decisions about people**: hiring, grading, credit, insurance, policing, borders, lie detection, diagnosis,
  security.
- **In secret.** Where emotion recognition is allowed in the European Union it is a high-risk use (Annex III, 1(c)),
  and the persons exposed to it must be told (Article 50(3)).
- **To say what somebody feels.** The model says which label people would give to a picture of a face. An expression
  is not a feeling (Barrett et al. 2019, "Emotional Expressions Reconsidered", doi:10.1177/1529100619832930)."""

LIMITS = """\
- **Who is shown is unknown.** The pictures have no labels of age, sex, skin colour or origin, so how well the model
  does on any group of people has not been measured, and could not be. Expect it to be worse for people who are rare
  in web-scraped photographs.
- **Labels are noisy.** People agree with FER2013's labels on about two thirds of the pictures (Goodfellow et al.
  2013); [notebook 13](../notebooks/13_can_we_trust_it.ipynb) measures how many are in doubt.
- **Posed and picked.** Faces found by searching for names of emotions are exaggerated, mostly frontal, and single
  moments. Everyday faces, profiles, covered faces, video and drawings were not measured.
- **It always answers.** A face that shows none of its classes, and a picture that shows no face, get one of them all
  the same."""

DRAWN = "It has seen drawings only, and has not been measured on any photograph."

EXTRAS = ("weight_decay", "label_smoothing", "class_weights", "ema")  # parts of a recipe, named if used

USES = "Research, teaching, and comparing methods, on pictures whose owners agree."


# -------------------------------------------------------------------------------------- how far to rely on it


def reliance(validation: Predictions, test: Predictions) -> dict:
    """What a user needs to read probabilities: chosen on validation, and what that does on test.

    Returns:
        `temperature`, which divides the logits (Guo et al. 2017, section 4.2), and `abstention`: for each share of
        `ANSWERED` the `threshold` of calibrated confidence that leaves this share of validation answered, with the
        share `answered` and its `accuracy` on test.
    """
    temperature = round(calibration.fit_temperature(validation), 4)
    chosen = calibration.coverage(calibration.temper(validation, temperature))
    measured = calibration.temper(test, temperature)
    confidence, right = measured.probabilities.max(axis=1), measured.predicted == measured.labels
    rows = []
    for share in ANSWERED:
        enough = chosen["threshold"][chosen["coverage"] >= share - 1e-12].iloc[0]
        threshold = 0.0 if share == 1 else int(enough * 1000) / 1000  # rounded down: no fewer are answered
        answered = confidence >= threshold
        rows.append(
            {
                "validation_answered": share,
                "threshold": threshold,
                "answered": round(float(answered.mean()), 4),
                "accuracy": round(float(right[answered].mean()), 4) if answered.any() else None,
            }
        )
    return {"temperature": temperature, "abstention": rows}


def for_programs(folder: str | Path) -> dict:
    """What goes into the `.keras` file of a run: see `evaluation.card` and `reliance`. `counts` names the split whose
    figures count, where that is not `test`."""
    found = _metrics(folder)
    relied, counts = reliance(*_predictions(folder)), _counts(found)
    card = evaluation.card(found, relied["temperature"], counts) | relied
    return card if counts == "test" else card | {"counts": counts}


def _counts(found: dict) -> str:
    """The test split, or of a model that learned copies of its pictures the part without these."""
    return "test_leak_free" if learned_copies(found) else "test"


def _metrics(folder: str | Path) -> dict:
    return json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))


def _predictions(folder: str | Path) -> tuple[Predictions, Predictions]:
    """Of validation, and of what `_counts`."""
    folder = Path(folder)
    validation, test = (Predictions.read(folder / f"predictions{end}.csv") for end in ("_validation", ""))
    return validation, evaluation.leak_free(test, folder.parent) if learned_copies(_metrics(folder)) else test


# -------------------------------------------------------------------------------------------------- for people


def for_people(folder: str | Path) -> str:
    """The card in Markdown, from the files of a run folder `results/<data set>/<model>`."""
    found = _metrics(folder)
    validation, test = _predictions(folder)
    relied, scaled = reliance(validation, test), calibration.calibrate(validation, test)
    dataset, name, names = found["dataset"], found["model"], found["class_names"]
    counted = found[_counts(found)]
    sizes = found["split_sizes"]
    sections = {
        f"# {name}-{dataset}: {found['title']}": [
            f"`models/{name}-{dataset}.keras`. Written by `python -m emotions cards` from the files in "
            f"`results/{dataset}/{name}/`.",
            "**Takes** RGB pictures of one upright face, of any size, values 0-255. **Gives** the probabilities of "
            f"{', '.join(names)}. {found['parameters']:,} parameters; "
            f"architecture after {models.find(found['architecture']).source}.",
            f"**For** {USES[0].lower()}{USES[1:]}",
        ],
        "## It must not be used": [MUST_NOT],
        "## Data and protocol": [
            DATA.get(dataset, OTHER_DATA),
            _trained(found),
            _recipe(found["training"]["recipe"]),
            f"It began with pretrained weights, `{found['weights']}`." if found.get("weights") else "",
            f"Pictures: {sizes['train']:,} to train on, {sizes['validation']:,} for validation, {sizes['test']:,} for "
            f"test, of which {found['test']['n'] - found['test_leak_free']['n']:,} have an exact copy in the training "
            f"split as distributed; *leak-free* leaves those out. {_copies(found)}",
        ],
        "## How good it is": [
            "In brackets 95% intervals, bootstrap over pictures; one training, one seed. " + _guessing(counted),
            _markdown(evaluation.summary(found), "figure"),
            _flipped(found),
            "Per class, on test:",
            _markdown(_per_class(counted), "class"),
        ],
        "## Whether its probabilities can be believed": [
            f"Temperature, fitted on validation: {relied['temperature']:.3f} ({_confident(relied['temperature'])}). "
            "`emotions.inference` divides the logits by it. On test it takes the calibration error from "
            f"{scaled['ece_before']:.3f} to {scaled['ece_after']:.3f} and the log loss from "
            f"{scaled['log_loss_before']:.3f} to {scaled['log_loss_after']:.3f} nats.",
            "To be right more often, answer only from some confidence on. The thresholds were chosen on validation, so "
            "that the share in the first column is answered there:",
            _markdown(_abstention(relied["abstention"]), "answered, validation"),
        ],
        "## Licence": [_licence(dataset, found.get("weights"))],
        "## Limits": [DRAWN if dataset.startswith("synthetic") else LIMITS],
    }
    return "\n\n".join("\n\n".join([title, *filter(None, parts)]) for title, parts in sections.items()) + "\n"


def _trained(found: dict) -> str:
    record = found["training"]
    return (
        f"Trained on {record['training_pictures']:,} pictures at {record['input_size']} px for "
        f"{evaluation.counted(record['epochs_trained'], 'epoch')}, of which the one best on validation was kept "
        f"(epoch {record['best_epoch']}); seed {record['seed']}, {record['seconds'] / 60:.0f} minutes on "
        f"{record['hardware']} with {record['backend']} in {record.get('precision', 'float32')}, finished "
        f"{record['finished'][:10]}."
    )


def _recipe(recipe: dict) -> str:
    """How it was trained, in a sentence; what the recipe leaves out is left out."""
    rate = max(phase["learning_rate"] for phase in recipe["phases"])
    used = [name for name in EXTRAS if recipe[name]] + [name for name, value in recipe["augmentation"].items() if value]
    return (
        f"Recipe: {recipe['optimizer']}, learning rate up to {rate:g} ({recipe['schedule']} schedule), batches of "
        f"{recipe['batch_size']}; {', '.join(used).replace('_', ' ') or 'no augmentation'}."
    )


def _licence(dataset: str, weights: str | None) -> str:
    line = "The code is under the MIT licence."
    if not dataset.startswith("synthetic"):
        line += " That does not reach the pictures it learned from, for which their owners' terms hold: data/README.md."
    return line + (f" It began with `{weights}`, whose own licence holds as well." if weights else "")


def _copies(found: dict) -> str:
    return (
        "Copies of validation and test pictures **were trained on**: only the leak-free figures count, and what is "
        "said of test below the first table is said of the leak-free part. The temperature was fitted on validation, "
        "whose copies make it come out too low."
        if learned_copies(found)
        else "Copies of validation and test pictures were left out of training."
    )


def _guessing(test: dict) -> str:
    name, share = evaluation.commonest(test)
    line = f"Always saying *{name}* would be right on {share:.3f} of the test pictures."
    if (verdict := evaluation.against_guessing(test)) != "significantly better":
        line += f" **This model is {verdict} than that: it is here to be looked into, not to be used.**"
    return line


def _flipped(found: dict) -> str:
    if (split := f"{_counts(found)}_tta") not in found:
        return ""
    test, low, high = (found[split]["accuracy"], *found[split]["accuracy_interval"])
    return f"Averaged over each picture and its mirror image, accuracy on test is {test:.3f} [{low:.3f}, {high:.3f}]."


def _per_class(test: dict) -> pd.DataFrame:
    table = pd.DataFrame(test["per_class"]).T
    support = table["support"].map("{:,.0f}".format)
    figures = table[["precision", "recall", "f1", "roc_auc"]].rename(columns={"f1": "F1", "roc_auc": "ROC-AUC"})
    return figures.astype(float).map("{:.3f}".format).assign(pictures=support)


def _confident(temperature: float) -> str:
    if abs(temperature - 1) < 0.1:
        return "close to 1: little to correct"
    return "above 1: the model was overconfident" if temperature > 1 else "below 1: the model was too cautious"


def _abstention(rows: list[dict]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    return pd.DataFrame(
        {
            "calibrated confidence from": table["threshold"].map("{:.3f}".format),
            "answered, test": table["answered"].map("{:.1%}".format),
            "accuracy on those": table["accuracy"].astype(float).map("{:.3f}".format),
        }
    ).set_index(table["validation_answered"].map("{:.0%}".format))


def _markdown(table: pd.DataFrame, corner: str) -> str:
    rows = [[corner, *table.columns], ["---", *["---:"] * len(table.columns)]]
    rows += [[str(name), *row] for name, row in zip(table.index, table.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# --------------------------------------------------------------------------------------------------- as files


def contents(root: str | Path) -> dict[Path, str | dict]:
    """What the cards of all models below `root` must hold.

    Returns:
        Markdown by `.md` file, and what goes into it by `.keras` file, in the order of their names.

    Raises:
        FileNotFoundError: a model was not evaluated, or its run is not there.
    """
    root, found = Path(root), {}
    for file in sorted((root / "models").glob("*.keras")):
        own = models.read_card(file)
        folder = root / "results" / own.get("dataset", "-") / own.get("model", "-")
        if not (folder / "metrics.json").exists():
            raise FileNotFoundError(f"{file} has no run in {root / 'results'}: train it again, or remove it.")
        found |= of(file, folder)
    readme = root / "README.md"
    if found and readme.exists() and LISTED.search(text := readme.read_text(encoding="utf-8")):
        rows = _rows({path: card for path, card in found.items() if isinstance(card, dict)})
        found[readme] = LISTED.sub(lambda place: place[1] + rows + place[2], text)
    return found


def _pictures(dataset: str) -> str:
    return "drawn faces: not for photographs" if dataset.startswith("synthetic") else f"`{dataset}`"


LISTED = re.compile(r"(<!-- models -->\n).*?(<!-- /models -->)", re.DOTALL)


def _rows(found: dict[Path, dict]) -> str:
    """README's list of models: the default first, then by data set, the best first."""
    figures = {file: card[card.get("counts", "test")] for file, card in found.items()}
    order = sorted(found, key=lambda file: (found[file]["dataset"], -figures[file]["accuracy"]))
    order.sort(key=lambda file: file.stem != inference.DEFAULT)
    lines = [
        "| Model, with its card | Learned from | Tells apart | Accuracy, test | Guessing | On the surest half | MB |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for file in order:
        card, name, (low, high) = found[file], file.stem, figures[file]["accuracy_interval"]
        aside = " (to be looked into, not used)" if low <= card["guessing"] else ""
        lines.append(
            f"| [`{name}`](models/{name}.md){' (the default)' if name == inference.DEFAULT else aside} "
            f"| {_pictures(card['dataset'])} | {', '.join(card['class_names'])} "
            f"| {figures[file]['accuracy']:.3f} [{low:.3f}, {high:.3f}]{_part(card)} | {card['guessing']:.3f} "
            f"| {card['abstention'][-1]['accuracy']:.3f} | {file.stat().st_size / 1e6:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _part(card: dict) -> str:
    return " (leak-free)" if "counts" in card else ""


def of(file: Path, folder: str | Path) -> dict[Path, str | dict]:
    """What `contents` tells of one model, from its run folder."""
    return {file.with_suffix(".md"): for_people(folder), file: for_programs(folder)}


def stale(files: dict[Path, str | dict]) -> list[Path]:
    """Which of the files that `contents` tells are missing or hold something else."""
    return [path for path, content in files.items() if not path.exists() or _held(path) != content]


def _held(path: Path) -> str | dict:
    return models.read_card(path) if path.suffix == ".keras" else path.read_text(encoding="utf-8")


def write(files: dict[Path, str | dict]) -> None:
    """Write what `contents` tells."""
    for path, content in files.items():
        if path.suffix == ".keras":
            models.write_card(path, content)
        else:
            training.write(path, content)
