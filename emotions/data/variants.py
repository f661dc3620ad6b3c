"""What was done to training images when asked, and how run names say so."""

from collections.abc import Iterable

WITH_DUPLICATES = "with duplicates"  # as run records hold it


def suffix(variants: Iterable[str]) -> str:
    """Return what variants add to a run's name: "-all" with duplicates, otherwise nothing."""
    return "-all" if WITH_DUPLICATES in variants else ""


def learned_copies(record: dict) -> bool:
    """Tell from a `metrics.json` whether copies of test images were trained on: only leak-free metrics count."""
    kept = WITH_DUPLICATES in record.get("variants", ())
    return kept or record["dataset"].endswith(("-as-distributed", "-with-copies"))
