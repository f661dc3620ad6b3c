"""What did others report? Figures from elsewhere that stand beside ours, each with the protocol it was counted by."""

from __future__ import annotations

from dataclasses import dataclass

from emotions.data.variants import COPIES_KEPT, own_word


@dataclass(frozen=True)
class Figure:
    """A published accuracy.

    Attributes:
        system: what was measured.
        accuracy: as a share.
        protocol: on what, and how it was counted.
        source: who says so.
        datasets: names of ours beside which it is shown.
        models: names of ours that are the same system; none where there is no such.
        also: other figures reported with it.
    """

    system: str
    accuracy: float
    protocol: str
    source: str
    datasets: tuple[str, ...]
    models: tuple[str, ...] = ()
    also: str = ""


# "fer2013-3" stands in for Human Emotions, so its systems are the same; the protocol tells that the pictures are not.
THREE = ("human-emotions", "human-emotions-as-distributed", "fer2013-3")
SEVEN = ("fer2013", "fer2013-recut")
B4 = ("efficientnetb4-functional", "efficientnetb4-sequential")
AUTHORS = "a public project, as its author reports"
ONE_SET = "Human Emotions, one set for validation and test"
FIGURES = (
    Figure("LeNet variant", 0.787, "Human Emotions, validation", AUTHORS, THREE, ("lenet",), "loss 0.553"),
    Figure("EfficientNetB4, transfer", 0.817, "Human Emotions, validation", AUTHORS, THREE, B4, "loss 0.48"),
    Figure("ResNet-34", 0.52, ONE_SET, AUTHORS, THREE, ("resnet34",)),
    Figure("ResNet-34 + EfficientNetB4", 0.84, ONE_SET, AUTHORS, THREE, ("ensemble-resnet34-efficientnetb4",)),
    Figure("Vision Transformer by hand", 0.44, ONE_SET, AUTHORS, THREE, ("custom-vit",)),
    Figure("ViT-Base, pretrained", 0.969, ONE_SET, AUTHORS, THREE, ("hf-vit-base",)),
    Figure(
        "EfficientNet",
        0.67,
        "FER2013, the 7,066 of the re-cut",
        AUTHORS,
        SEVEN,
        ("efficientnetb0",),
        "top-3 93%, macro F1 0.67, Matthews correlation 0.60, log loss 0.96, area under ROC 0.92",
    ),
    Figure(
        "ResNet50V2, two phases", 0.6708, "FER2013, merged 7,178", AUTHORS, SEVEN, ("resnet50v2",), "loss 1.2117"
    ),
    Figure(
        "mini-Xception", 0.66, "FER2013, as claimed", "Arriaga et al. 2017, arXiv:1710.07557", SEVEN, ("mini-xception",)
    ),
    Figure("deepface", 0.57, "as claimed", "its documentation", ("fer2013",)),
    Figure("people", 0.65, "± 0.05", "Goodfellow et al. 2013, arXiv:1307.0414", ("fer2013",)),
    Figure("a strong single net", 0.7328, "PrivateTest", "Khaireddin & Chen 2021, arXiv:2105.03588", ("fer2013",)),
    Figure("a strong ensemble", 0.752, "PrivateTest", "Pramerdorfer & Kampel 2016, arXiv:1612.02903", ("fer2013",)),
)


def of(run: dict) -> Figure | None:
    """The figure of the same system; another seed or kept copies do not make another system.

    Args:
        run: the content of a `metrics.json`.
    """
    if set(run.get("variants", ())) - {COPIES_KEPT} or own_word(run):
        return None
    return on(run["dataset"], run.get("architecture") or run["model"])


def on(dataset: str, system: str) -> Figure | None:
    """The figure of one of our architectures, or of an ensemble, on a data set."""
    return next((figure for figure in FIGURES if dataset in figure.datasets and system in figure.models), None)


def others(dataset: str) -> list[Figure]:
    """The figures on a data set that no model of ours corresponds to."""
    return [figure for figure in FIGURES if dataset in figure.datasets and not figure.models]
