"""What was done to training images when asked, and how run names say so."""

from collections.abc import Iterable

WITH_DUPLICATES = "with duplicates"  # as run records hold it
# What each adds to a run's name. Nothing cleans images or takes FER+'s votes here any more; records say so of old runs.
SUFFIXES = {WITH_DUPLICATES: "-all", "cleaned": "-clean", "FER+ labels": "-ferplus"}


def suffix(variants: Iterable[str]) -> str:
    """Return what variants add to a run's name: ("with duplicates", "cleaned") -> "-all-clean"."""
    return "".join(SUFFIXES[words] for words in variants)


def learned_copies(record: dict) -> bool:
    """Tell from a `metrics.json` whether copies of test images were trained on: only leak-free metrics count."""
    kept = WITH_DUPLICATES in record.get("variants", ())
    return kept or record["dataset"].endswith(("-as-distributed", "-with-copies"))
