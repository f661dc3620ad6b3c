import contextlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from PIL import Image

from emotions import DEFAULT_MODEL, cli, data, runner
from emotions.data import synthetic

TEXT = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
OURS, PLAIN = (text for language, text in BLOCKS if language == "python")
COMMANDS = [shlex.split(line.removeprefix("EMOTIONS_HOME=elsewhere "), comments=True)
            for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
MODEL = f"models/{DEFAULT_MODEL}.keras"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder with the model that README uses, and images under the names that it uses."""
    (tmp_path / "models").mkdir()
    shutil.copy(REPOSITORY / MODEL, tmp_path / MODEL)
    (tmp_path / "photos").mkdir()
    face = synthetic.render([synthetic.CLASS_NAMES.index("happy")], size=200, difficulty=0)[0]
    Image.fromarray(face).save(tmp_path / "face.jpg")
    Image.fromarray(face).save(tmp_path / "photos" / "one.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_lines_that_use_a_model_run_with_keras_alone(home, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    assert f'"{MODEL}"' in PLAIN, f"README does not use the default model, {MODEL}."
    program = PLAIN + "\nimport sys\nassert not any(name.startswith('emotions') for name in sys.modules)\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    finished = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    found = eval(finished.stdout.splitlines()[-1])
    assert sum(found.values()) == pytest.approx(1, abs=0.01) and list(found) == sorted(found)


def test_the_lines_that_use_our_package_print_a_row_per_face(home):
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(OURS, {})
    row = rf"{re.escape(str(Path('photos') / 'one.jpg'))} +({'|'.join(synthetic.CLASS_NAMES)}) +0\.\d+"
    assert re.search(row, shown.getvalue())


def draw(folder: Path, names: tuple, count: int, seed: int = 0) -> None:
    """Write images of drawn faces into class folders."""
    for code, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number, face in enumerate(synthetic.render([code] * count, size=48, seed=seed + code)):
            Image.fromarray(face).save(folder / name / f"{number}.png")


@pytest.mark.slow
def test_the_commands_run_one_after_the_other(home, monkeypatch, capfd):
    monkeypatch.setenv("EMOTIONS_HOME", str(home))
    monkeypatch.setenv("EMOTIONS_DATA", str(home / "data"))
    shutil.copy(home / "face.jpg", home / "party.jpg")
    draw(home / "photos" / "mine", ("cheerful", "cross", "gloomy"), 15)
    for part, seed in (("train", 10), ("test", 20)):
        draw(home / "data" / "human-emotions" / part, ("angry", "happy", "sad"), 25, seed)
    ours = [words[3:] for words in COMMANDS if words[:3] == ["python", "-m", "emotions"]]
    assert {"data", "run", "evaluate", "predict"} <= {words[0] for words in ours}
    for words in ours:
        short = ["EPOCHS=3"] if "TRAIN=True" in words else []  # a full training takes minutes
        assert cli.main([*words, *short]) == 0, words
        shown = capfd.readouterr().out
        assert shown.strip(), words
        assert "DATASET=photos/mine" not in words or "The test part is small" in shown
    assert (home / "models" / f"champion-from-{DEFAULT_MODEL.removeprefix('champion-')}-mine.keras").is_file()


def test_make_has_what_readme_asks_it_for():
    makefile = (REPOSITORY / "Makefile").read_text()
    for words in COMMANDS:
        known = words[0] == "make" and f"\n{words[1]}:" in makefile
        assert known or words[:3] == ["python", "-m", "emotions"] or words == [".", ".venv/bin/activate"], words


def test_commands_in_the_text_are_ones_that_there_are():
    found = re.findall(r"`python -m emotions ([^`]*)`", TEXT)
    assert found
    for words in map(shlex.split, found):
        cli.parser().parse_args(words)  # exits where a command or an option is unknown


def test_trainings_still_to_be_made_set_parameters_that_their_notebooks_have():
    page = (REPOSITORY / "docs" / "trainings.md").read_text()
    command = r"^(?:EMOTIONS_HOME=elsewhere )?python -m emotions run (\d\d) --script --set (.*)$"
    lines = re.findall(command, page, re.MULTILINE)
    assert lines and len(lines) == page.count("python -m emotions run") - 1  # one stands in the text
    for number, settings in lines:
        (path,) = runner.find([number])
        names = {word.split("=")[0] for word in shlex.split(settings, comments=True)}
        assert names <= set(runner.parameters(path)), (number, names)


def test_names_that_people_know_have_a_run_of_ours():
    """Each is the name that a notebook gives its run."""
    page = (REPOSITORY / "docs" / "names.md").read_text()
    row = r"^\| `([\w.]+\.(?:keras|h5))` \| [^|]+ \| notebook (\d\d),([^|]*) run `([\w-]+)` \|$"
    rows = re.findall(row, page, re.MULTILINE)
    assert {file for file, *_ in rows} == {"EmotionModelBest.keras", "Func_EmotionDetectorModelSaved.keras",
                                           "EfficientNetEmotionModelBest.keras", "best_emotion_model.h5"}
    for _, number, settings, run in rows:
        (path,) = runner.find([number])
        assert set(re.findall(r"`(\w+)=", settings)) <= runner.parameters(path).keys()
        assert run.rsplit("-", 1)[0] in "\n".join(source.lower() for _, source in runner.code_cells(path))
    assert {"human-emotions", "fer2013"} <= set(data.NAMES)


def test_every_link_leads_somewhere():
    headings = {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in
                re.findall(r"^#+ (.*)$", TEXT, flags=re.MULTILINE)}
    for place, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", TEXT):
        assert not place or place.startswith("https://") or (REPOSITORY / place).exists(), place
        assert place or heading in headings, heading
