"""What may be done to a data set's training pictures, and how runs, the command line and tables say so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

COPIES_KEPT, CLEANED, SOFT_LABELS = "copies kept", "cleaned", "FER+ labels"  # as titles say it


@dataclass(frozen=True)
class Variant:
    """How a run says what was done.

    Attributes:
        suffix: what it adds to the run's name.
        option: of the command line; of `datasets.load` the same with underscores.
        help: of the option.
    """

    suffix: str
    option: str
    help: str

    @property
    def argument(self) -> str:
        """The option's name in `datasets.load`."""
        return self.option.removeprefix("--").replace("-", "_")


VARIANTS = {
    COPIES_KEPT: Variant("-all", "--keep-copies", "train on copies of test pictures too"),
    CLEANED: Variant("-clean", "--clean", "drop doubtful training pictures"),
    SOFT_LABELS: Variant("-ferplus", "--soft-labels", "FER+ votes as labels for training"),
}


def suffix(variants: Iterable[str]) -> str:
    """What variants add to a run's name: ("copies kept", "cleaned") -> "-all-clean"."""
    return "".join(VARIANTS[words].suffix for words in variants)


def learned_copies(record: dict) -> bool:
    """Whether a model was trained on copies of validation and test pictures, so that only leak-free figures count.

    Args:
        record: the content of a `metrics.json`.
    """
    return COPIES_KEPT in record.get("variants", ()) or record["dataset"].endswith("-as-distributed")


def own_word(record: dict) -> str:
    """What the suffix of a run's name says beyond its variants and its seed: "-all-wide-s1" -> "wide".

    Args:
        record: the content of a `metrics.json` or `training.json`.
    """
    rest = record.get("suffix", "").removeprefix(suffix(record.get("variants", ())))
    return rest.removesuffix(f"-s{record['seed']}").removeprefix("-")
