"""What notebooks say in words comes from figures."""

from emotions import notebook
from emotions.evaluation import published
from emotions.models import registry as models
from emotions.training.recipes import Phase, Recipe


def test_scores_differences_and_recalls_in_words():
    metrics = {
        "accuracy": 0.6256,
        "accuracy_interval": [0.605, 0.6471],
        "n": 1964,
        "per_class": {"angry": {"recall": 0.512}, "happy": {"recall": 0.7}},
    }
    assert notebook.scored(metrics) == "62.6% [60.5, 64.7] of 1,964 pictures"
    assert notebook.recalls(metrics) == "angry 51%, happy 70%"
    compared = {"accuracy_difference": -0.0123, "accuracy_low": -0.03, "accuracy_high": 0.004}
    assert notebook.points(compared) == "-1.2 points [-3.0, +0.4]"


def test_a_recipe_is_a_table_for_people():
    table = notebook.recipe_table(models.find("champion").recipe)["choice"]
    assert table["phase 1: epochs"] == "36" and table["phase 1: learning rate"] == "0.002"
    assert table["optimizer"] == "adamw" and table["class weights"] == "False"
    used = {name for name in table.index if name.startswith("augmentation")}
    assert used == {f"augmentation: {name}" for name in ("flip", "rotation", "shift", "zoom", "erasing")}
    table = notebook.recipe_table(Recipe(phases=(Phase(1, 0.1), Phase(2, 0.2, "head"))))["choice"]
    assert table["phase 2: trainable"] == "head" and not table.index.str.startswith("augmentation").any()


def test_what_others_report_names_its_protocol():
    figure = published.on("fer2013", "resnet50v2")
    sentence = notebook.reported("fer2013", "resnet50v2")
    assert f"{100 * figure.accuracy:.1f}%" in sentence and figure.protocol in sentence and figure.source in sentence
    assert notebook.reported("fer2013", "logistic-regression") == ""
