"""Ingredients are compared on validation, trained once each, and the test split stays unseen."""

import dataclasses
import json

import numpy as np
import pytest

from emotions import ablation, runs
from emotions.evaluation import comparison
from emotions.evaluation import metrics as evaluation
from emotions.evaluation.metrics import Predictions
from emotions.training import fit as training


@pytest.fixture
def folder(tmp_path, monkeypatch, easy_dataset):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "emotions" / "runs.py"))
    kept = (ablation.FULL, "SGD instead of AdamW")
    monkeypatch.setattr(ablation, "CHANGES", {name: ablation.CHANGES[name] for name in kept})

    def run(epochs=1, fewer=0, changes=None, name=ablation.SYSTEM, mixed_precision=None, **choices):
        train = easy_dataset.train.take(np.arange(len(easy_dataset.train) - fewer))
        blind = dataclasses.replace(easy_dataset, train=train, test=None, **choices)
        return ablation.run(
            blind, name, epochs=epochs, changes=changes, mixed_precision=mixed_precision, verbose=0
        )

    return run


def test_variants_are_trained_once_and_compared_on_validation(folder):
    made = folder()
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.csv")}
    assert len(before) == 4, "a history and validation's predictions each"
    assert folder() == made
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.csv")} == before, "nothing is trained again"
    table = ablation.table(made)
    assert list(table.index) == list(ablation.histories(made)) == list(ablation.CHANGES)
    assert all(history["epoch"].tolist() == [1] for history in ablation.histories(made).values())
    changed = table.iloc[1:]
    assert (changed["difference"] == changed["accuracy"] - table["accuracy"].iloc[0]).all()
    low, middle, high = (changed[f"difference{end}"] for end in ("_low", "", "_high"))
    assert ((low <= middle) & (middle <= high)).all()
    found = {name: Predictions.read(ablation._place(made, name) / "predictions_validation.csv") for name in table.index}
    alone = [comparison.compare(found[name], found[ablation.FULL])["mcnemar_p"] for name in changed.index]
    assert changed["p_holm"].tolist() == list(comparison.holm(alone))
    for name, predictions in found.items():
        metrics = evaluation.measure(predictions)
        assert table.loc[name, "macro_f1"] == pytest.approx(100 * metrics["macro_f1"])
        rarest = min(metrics["per_class"].values(), key=lambda figures: figures["support"])
        assert table.loc[name, "rarest_recall"] == pytest.approx(100 * rarest["recall"])
    lead = table["macro_f1"].iloc[1] - table["macro_f1"].iloc[0]
    assert table["macro_f1_difference"].iloc[1] == pytest.approx(lead)


def test_a_few_changes_can_be_chosen(folder):
    made = folder(changes=[ablation.FULL])
    assert list(ablation.table(made).index) == [ablation.FULL]
    made = folder(changes=["SGD instead of AdamW"])
    assert list(ablation.table(made).index) == [ablation.FULL, "SGD instead of AdamW"], "there is something to compare"
    with pytest.raises(ValueError, match="no change named 'without sleep'; there are: full recipe, "):
        folder(changes=["without sleep"])


def test_another_net_has_a_folder_of_its_own(folder):
    small = folder(changes=[ablation.FULL])
    large = folder(changes=[ablation.FULL], name="lenet")
    assert small.name == "ablation" and large.name == "ablation-lenet"
    record = json.loads((large / "full-recipe" / "training.json").read_text(encoding="utf-8"))
    assert record["model"] == "lenet"
    assert record["recipe"]["weight_decay"] == ablation.models.find(ablation.RECIPE).recipe.weight_decay


def test_a_table_of_other_pictures_or_another_recipe_is_not_shown(folder):
    made = folder()
    all_of_them = folder(variants=("copies kept",))
    assert all_of_them.name == "ablation-all" and all_of_them.parent == made.parent
    with pytest.raises(ValueError, match=r"full-recipe .* differs in training pictures: remove .*/ablation to"):
        folder(fewer=10)
    with pytest.raises(ValueError, match="differs in recipe"):
        folder(epochs=2)
    with pytest.raises(ValueError, match="differs in precision"):
        folder(mixed_precision=True)


def test_what_comes_later_has_the_precision_of_what_is_there(folder):
    folder(changes=[ablation.FULL], mixed_precision=True)
    made = folder()
    records = [json.loads(file.read_text(encoding="utf-8")) for file in made.glob("*/training.json")]
    assert [record["precision"] for record in records] == ["mixed_bfloat16"] * 2


def test_a_finished_training_is_not_lost_when_its_predictions_fail(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ablation.evaluation, "predict", lambda *_: (_ for _ in ()).throw(OSError("interrupted")))
        with pytest.raises(OSError, match="interrupted"):
            folder(changes=[ablation.FULL])
    monkeypatch.setattr(training, "fit_phase", lambda *_: pytest.fail("it is trained again"))
    made = folder(changes=[ablation.FULL])
    assert (made / "full-recipe" / "predictions_validation.csv").exists()
    assert not list(made.rglob("checkpoint"))


def test_every_change_changes_the_recipe_and_nothing_else():
    recipe = ablation.models.find(ablation.RECIPE).recipe
    for name, change in ablation.CHANGES.items():
        before, after = dataclasses.asdict(recipe), dataclasses.asdict(change(recipe))
        before |= before.pop("augmentation")
        after |= after.pop("augmentation")
        differing = {key for key in before if before[key] != after[key]}
        assert bool(differing) == (name != ablation.FULL)
        assert len(differing) <= 3, name


@pytest.mark.parametrize("name", ablation.CHANGES)
def test_every_variant_can_be_compiled(name, easy_dataset):
    recipe = ablation.CHANGES[name](ablation.models.find(ablation.RECIPE).recipe)
    model = ablation.models.build("compact", len(easy_dataset.class_names), 16)
    training.compile_for(model, recipe, recipe.phases[0], steps=10)
    assert model.optimizer.weight_decay == recipe.weight_decay
