"""The evaluation panel, the same in all notebooks, the figures kept beside a run's numbers, curves of its training."""

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from emotions import files
from emotions.evaluation.cards import display_title
from emotions.evaluation.metrics import majority_class, percent, shown
from emotions.plots.evaluation import confusion_matrix, roc_curves
from emotions.plots.faces import mistakes
from emotions.plots.style import TRAIN, VALIDATION, grid


def panel(run, faces) -> None:
    """Display how good a run is on test: report per class, curves, confusion matrix, ROC curves and mistakes, as
    composites of the test images of `faces`. Writes figures that its folder lacks: `evaluate` removes earlier ones."""
    test = run.metrics["test"]
    about = f"{display_title(run.metrics)}, {run.metrics['dataset']}, test, n = {test['n']:,}"
    figures = (f"accuracy {shown(test)}, macro F1 {percent(test['macro_f1'])}; "
               f"majority-class baseline: accuracy {percent(majority_class(test)[1])}")
    display(Markdown(f"**{about}**: {figures}"), report(test))
    for figure in (overview(run), mistakes(run.predictions, faces.test, title=f"Mistakes: {about}")):
        display(figure)
        plt.close(figure)
    draw = {"confusion_matrix.png": lambda: confusion_matrix(test, about)}
    if (run.folder / "history.csv").exists():
        draw["training_accuracy_loss.png"] = lambda: training_curves(run.history, about.partition(", test, ")[0])
    for path in (run.folder / name for name in draw):
        if not path.exists():
            with files.written(path, ".png") as temporary:
                (figure := draw[path.name]()).savefig(temporary, dpi=120)
            plt.close(figure)


def report(metrics: dict) -> pd.DataFrame:
    """Return precision, recall and F1 in per cent, and n, by class, of one split of a `metrics.json`."""
    table = pd.DataFrame.from_dict(metrics["per_class"], orient="index")
    shares = {f"{name} (%)": (100 * table[name.lower()]).map("{:.1f}".format) for name in ("precision", "recall", "F1")}
    return pd.DataFrame({**shares, "n": table["support"]})


def overview(run) -> plt.Figure:
    """Draw training curves (where the run has a history), confusion matrix and ROC curves on test in one figure."""
    heights = {"Training": 4.4} if (run.folder / "history.csv").exists() else {}
    heights[f"Test, n = {run.metrics['test']['n']:,}"] = 6.2
    figure = plt.figure(figsize=(13, sum(heights.values())), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=list(heights.values()), squeeze=False)[:, 0]
    for part, title in zip(parts, heights, strict=True):
        part.suptitle(title, fontsize=14)
    if len(parts) > 1:
        training_curves(run.history, axes=parts[0].subplots(1, 2))
    left, right = parts[-1].subplots(1, 2)
    confusion_matrix(run.metrics["test"], "confusion matrix: counts, and % of the true class", axis=left)
    roc_curves(run.predictions, "ROC, each class against the others", axis=right)
    return figure


def training_curves(history: pd.DataFrame, title: str = "", axes=None) -> plt.Figure:
    """Plot accuracy and loss by epoch, with the kept epoch and the beginning of fine-tuning marked, on two `axes` or a
    new figure. `history` is as in `history.csv`.

    The loss is what training minimises: with the recipe's label smoothing, weight penalties and class weights."""
    axes = grid(1, 2, (11, 4.2), title)[1][0] if axes is None else axes
    best = history["epoch"][history["val_accuracy"].idxmax()]
    starts = history.groupby("phase")["epoch"].min().iloc[1:]
    for axis, (name, unit, scale) in zip(axes, (("accuracy", "%", 100), ("loss", "nats", 1)), strict=True):
        axis.plot(history["epoch"], scale * history[name], color=TRAIN, marker=".", label="training (augmented)")
        axis.plot(history["epoch"], scale * history[f"val_{name}"], color=VALIDATION, marker=".", label="validation")
        axis.axvline(best, color="black", linewidth=0.9, linestyle=":", label=f"kept: epoch {best}")
        for start in starts:
            axis.axvline(start - 0.5, color="black", linewidth=0.9, label="fine-tuning begins")
        axis.set(xlabel="epoch", ylabel=f"{name} ({unit})")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=9)
    return axes[0].figure
