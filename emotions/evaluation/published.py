"""What did others report? Figures from elsewhere that stand beside ours, each with its protocol: `published.csv`."""

from pathlib import Path

import pandas as pd

from emotions.runs import variant_suffix

# system, accuracy (0-1), protocol, source; our data sets beside which it is shown; our models that are the same system,
# and those that are smaller and stand in for it.
FIGURES = pd.read_csv(Path(__file__).with_suffix(".csv"), keep_default_na=False)


def on(dataset: str) -> pd.DataFrame:
    """Return the figures that are shown beside a data set."""
    return FIGURES[[dataset in names.split() for names in FIGURES["datasets"]]]


def of(metrics: dict) -> list[dict]:
    """Return the rows of `FIGURES` on the system of a `metrics.json`, the highest accuracy first; another seed or
    duplicates do not make another system."""
    known = variant_suffix(metrics.get("variants", ())) + (f"-s{metrics['seed']}" if metrics["seed"] else "")
    if metrics.get("suffix", "") != known:
        return []
    system, rows = metrics.get("architecture") or metrics["model"], on(metrics["dataset"]).to_dict("records")
    same = [row for row in rows if system in f"{row['models']} {row['smaller']}".split()]
    return sorted(same, key=lambda row: -row["accuracy"])
