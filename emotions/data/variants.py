"""What `load` may do to training images when asked, and how run names and the command line say so."""

from collections import namedtuple
from collections.abc import Iterable

WITH_DUPLICATES, CLEANED, SOFT_LABELS = "with duplicates", "cleaned", "FER+ labels"  # as run records hold them

Variant = namedtuple("Variant", "suffix argument option help")  # of a run's name, of `load`, of the command line
VARIANTS = {
    WITH_DUPLICATES: Variant("-all", "keep_copies", "--keep-copies", "train with duplicates of test images"),
    CLEANED: Variant("-clean", "clean", "--clean", "leave doubtful images out of training"),
    SOFT_LABELS: Variant("-ferplus", "soft_labels", "--soft-labels", "train on FER+ votes as soft labels"),
}


def suffix(variants: Iterable[str]) -> str:
    """Return what variants add to a run's name: ("with duplicates", "cleaned") -> "-all-clean"."""
    return "".join(VARIANTS[words].suffix for words in variants)


def learned_copies(record: dict) -> bool:
    """Tell from a `metrics.json` whether copies of test images were trained on: only leak-free metrics count."""
    kept = WITH_DUPLICATES in record.get("variants", ())
    return kept or record["dataset"].endswith(("-as-distributed", "-with-copies"))


def own_word(record: dict) -> str:
    """Return what a recorded run's suffix says beyond its variants and its seed: "-all-wide-s1" -> "wide"."""
    rest = record.get("suffix", "").removeprefix(suffix(record.get("variants", ())))
    return rest.removesuffix(f"-s{record['seed']}").removeprefix("-")
