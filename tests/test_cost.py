"""What a step costs is measured in another process, and kept in a file."""

import json

import pytest

from emotions import cost


@pytest.fixture
def measured(monkeypatch):
    """`cost.step` without the work; returns what it was asked for."""
    asked = []

    def step(**case):
        asked.append(case)
        return {"model": case["name"], "seconds": 1.5}

    monkeypatch.setattr(cost, "step", step)
    return asked


def test_a_step_of_a_real_model_is_timed_and_weighed():
    found = cost.step("custom-vit-48", batch_size=2, accumulate=2, classes=3)
    assert found["model"] == "custom-vit-48"
    assert (found["input_size"], found["batch_size"], found["accumulate"]) == (48, 2, 2)
    assert found["parameters"] > 800_000
    assert found["seconds"] > 0
    # Weights and two moments are float32, and gradients are needed on the way.
    assert found["peak_bytes"] - found["bytes_before"] > 4 * 3 * found["parameters"]
    json.dumps(found)


def test_a_step_of_a_recipe_with_mixup_and_averaged_weights_is_measured():
    """In this process, where the other one's coverage would not reach."""
    assert cost._step("champion-large", 16, 2, 1, 3)["model"] == "champion-large"


def test_an_unknown_model_is_named_from_the_other_process():
    with pytest.raises(ValueError, match="no model named 'custom-vat'"):
        cost.step("custom-vat")


def test_steps_are_measured_once_and_then_read(measured, tmp_path):
    file = tmp_path / "results" / "steps.json"
    cases = [{"name": "one"}, {"name": "other", "batch_size": 2}]
    first = cost.steps(file, cases)
    assert list(first["model"]) == ["one", "other"]
    assert cost.steps(file, cases).equals(first)
    assert measured == cases
    cost.steps(file, cases, again=True)
    assert measured == 2 * cases


def test_a_process_that_is_killed_is_a_lack_of_memory(monkeypatch):
    class Broken:
        def __init__(self, *arguments, **options):
            pass

        def __enter__(self):
            raise cost.BrokenProcessPool("terminated abruptly")

        def __exit__(self, *error):
            return False

    monkeypatch.setattr(cost, "ProcessPoolExecutor", Broken)
    with pytest.raises(MemoryError, match="lower batch_size"):
        cost.step("lenet", batch_size=512)
