"""Ingredients are compared on validation, trained once each, and the test split stays unseen."""

import dataclasses

import pytest

from emotions import ablation, runs, training


@pytest.fixture
def folder(tmp_path, monkeypatch, easy_dataset):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "emotions" / "runs.py"))
    kept = (ablation.FULL, "SGD instead of AdamW")
    monkeypatch.setattr(ablation, "CHANGES", {name: ablation.CHANGES[name] for name in kept})
    blind = dataclasses.replace(easy_dataset, test=None)
    return lambda: ablation.run(blind, epochs=1, verbose=0)


def test_variants_are_trained_once_and_compared_on_validation(folder):
    made = folder()
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.csv")}
    assert len(before) == 4, "a history and validation's predictions each"
    assert folder() == made
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.csv")} == before, "nothing is trained again"
    table = ablation.table(made)
    assert list(table.index) == list(ablation.CHANGES)
    changed = table.iloc[1:]
    assert (changed["difference"] == changed["accuracy"] - table["accuracy"].iloc[0]).all()
    low, middle, high = (changed[f"difference{end}"] for end in ("_low", "", "_high"))
    assert ((low <= middle) & (middle <= high)).all()


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
