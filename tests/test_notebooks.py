"""The notebooks are committed in the form that readers expect, and run with parameters."""

import base64
import io
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from emotions import cli, files, runner
from emotions.evaluation import leaderboard
from emotions.runs import Run


def committed(pattern: str = "*") -> list:
    """Files that git knows; in a copy without git's records, none."""
    listed = subprocess.run(["git", "ls-files", "-z", pattern], cwd=REPOSITORY, capture_output=True, text=True)
    return [REPOSITORY / name for name in filter(None, listed.stdout.split("\0"))]


NOTEBOOKS = committed("notebooks/*.ipynb") or sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
MODELLING = [path for path in NOTEBOOKS if "02" <= path.name[:2] <= "10"]
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
every_modelling_notebook = pytest.mark.parametrize("path", MODELLING, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def outputs(book) -> list:
    return [output for cell in code(book) for output in cell.outputs]


def text_of(output) -> str:
    data = output.get("data", {})
    return output.get("text", "") + "".join(str(data.get(kind, "")) for kind in ("text/plain", "text/markdown"))


def texts(book):
    """All that a reader can see, images aside."""
    for cell in book.cells:
        yield cell.source
    for output in outputs(book):
        yield output.get("text", "")
        for kind, content in output.get("data", {}).items():
            if not kind.startswith("image/") or kind == "image/svg+xml":
                yield str(content)


# Their form


@every_notebook
def test_it_was_executed_from_start_to_end(path):
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for output in outputs(read(path)) if output.output_type == "error"]


@every_notebook
def test_its_thumbnail_is_of_the_figure_that_is_tagged(path, tmp_path):
    runner.save_thumbnail(path, tmp_path)
    fresh, kept = (Image.open(folder / f"{path.name[:2]}.png").convert("RGB")
                   for folder in (tmp_path, REPOSITORY / "results" / "thumbnails"))
    assert fresh.size == (320, 200)
    assert np.abs(np.asarray(fresh, float) - np.asarray(kept)).mean() < 1


def test_a_thumbnail_keeps_the_colour_of_a_few_pixels_among_many_others(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 100, (200, 320, 3), np.uint8)
    pixels[50:54, 50:54] = (0, 255, 0)
    Image.fromarray(pixels).save(encoded := io.BytesIO(), "png")
    data = {"image/png": base64.b64encode(encoded.getvalue()).decode()}
    cell = new_code_cell("", metadata={"tags": ["thumbnail"]}, outputs=[new_output("display_data", data)])
    nbformat.write(new_notebook(cells=[cell]), path := tmp_path / "01_small.ipynb")
    runner.save_thumbnail(path, tmp_path)
    red, green, blue = Image.open(tmp_path / "01.png").convert("RGB").getpixel((52, 52))
    assert green > 240 and max(red, blue) < 50


@every_notebook
def test_it_renders_on_the_web(path):
    """Widgets without their state keep GitHub from rendering a notebook, and so does size."""
    book = read(path)
    assert "widgets" not in book.metadata
    assert not [kind for output in outputs(book) for kind in output.get("data", {}) if "widget" in kind]
    assert path.stat().st_size < 1.3e6


@every_notebook
def test_it_says_what_it_does_and_what_was_found(path):
    prose = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert re.match(r"# \S", prose[0]) and re.search(r"In this notebook\s+we\s+will", prose[0])
    assert any(re.search(r"^## (\d+\. )?What we found", text, re.MULTILINE) for text in prose)


@every_notebook
def test_its_parameters_are_those_of_the_saved_run(path):
    book = read(path)
    assert len([cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]) == 1
    assert not [cell for cell in book.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    values = runner.parameters(path)
    assert values["QUICK"].keys() <= values.keys() and not values.get("TRAIN")


@every_notebook
def test_it_names_no_place_on_anybodys_machine(path):
    place = re.compile(r"(?<![\w.:/])/(?:home|root|work|tmp|Users|mnt|opt)/|\b[A-Z]:\\\w")
    matches = [(text, match) for text in texts(read(path)) if (match := place.search(text))]
    assert not [f"…{text[max(0, match.start() - 30) : match.end() + 30]}…" for text, match in matches]


@every_notebook
def test_its_cells_are_short(path):
    assert max(cell.source.count("\n") + 1 for cell in code(read(path))) <= 40


def test_all_begin_with_the_same_four_lines():
    (first,) = {code(read(path))[0].source for path in NOTEBOOKS}
    lines = [line for line in first.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 4


@every_modelling_notebook
def test_model_and_training_are_written_out(path):
    source = "\n".join(cell.source for cell in code(read(path)))
    for words in (".compile(", "training.fit(", "keras.Model(", "assert ", "evaluation.evaluate(", "load_model("):
        assert words in source, words
    assert len(re.findall(r"^def \w+\(", source, re.MULTILINE)) >= 1


@every_modelling_notebook
def test_a_training_from_the_shell_says_what_loading_did(path):
    run = [source for tags, source in runner.code_cells(path) if "train" in tags]
    assert any("print(*faces.notes" in source for source in run)


NUMBER = re.compile(r"\d[\d,]*\.\d+|\d[\d,]*(?= %)|\d{1,3}(?:,\d{3})+")


@every_notebook
def test_numbers_in_the_conclusion_stand_in_the_table_beside_it(path):
    """Of "What we found": every figure in the prose is one of the output of the cell before it."""
    book = read(path)
    start = next(k for k, cell in enumerate(book.cells) if re.search("## (\\d+\\. )?What we found", cell.source))
    table = "\n".join(text_of(output) for cell in book.cells[start:] for output in cell.get("outputs", []))
    prose = "\n".join(cell.source for cell in book.cells[start:] if cell.cell_type == "markdown")
    assert prose.count("\n") >= 3, "a conclusion of a few sentences"
    assert not sorted(set(NUMBER.findall(prose)) - set(NUMBER.findall(table)))


@every_notebook
def test_its_paired_tests_resample_photos(path):
    """Images of one photo are one observation."""
    source = "\n".join(cell.source for cell in code(read(path)))
    compared = re.findall(r"\bcompare(?:_all)?\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", source)
    assert not [call for call in compared if "photos=" not in call]


def test_the_learning_curve_follows_from_its_file():
    """Notebook 15 shows the accuracies that the predicted classes of each training give."""
    folder = REPOSITORY / "results" / "human-emotions"
    trainings = pd.read_csv(folder / "learning_curve.csv", dtype={"predicted": str})
    labels = Run("human-emotions", "lenet").predictions.labels
    correct = [np.mean(np.array(list(predicted), int) == labels) for predicted in trainings["predicted"]]
    accuracies = trainings.assign(accuracy=correct).groupby(["start", "trained", "photos"])["accuracy"].mean()
    book = read(REPOSITORY / "notebooks" / "15_how_many_photos.ipynb")
    table = next(text_of(cell.outputs[-1]) for cell in code(book) if cell.source.endswith("\nlearning_curve"))
    assert len(accuracies) > 20 and not [share for share in accuracies if f"{100 * share:.1f} % [" not in table]


def test_committed_files_stay_light():
    sizes = {path: path.stat().st_size for path in committed() if path.exists()}
    if not sizes:
        pytest.skip("this copy has no records of git")
    assert not {path: size for path, size in sizes.items() if size > 50e6}
    assert sum(size for path, size in sizes.items() if path.is_relative_to(REPOSITORY / "models")) <= 120e6


# How they are run


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(files, "REPOSITORY", tmp_path)
    monkeypatch.setattr(runner, "QUICK_HOME", tmp_path / "build" / "quick")
    return tmp_path


PARAMETERS = 'DATASET = "own"\nSEED = 0\nQUICK = {"DATASET": "drawn"}'


def write_notebook(home, *sources, name="01_small.ipynb", parameters=PARAMETERS):
    """A notebook with parameters and a code cell of each source, tagged as training."""
    parameters = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    cells = [new_code_cell(source, metadata={"tags": ["train"]}) for source in sources]
    book = new_notebook(cells=[new_markdown_cell("# Title"), parameters, *cells])
    book.metadata.update(kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"}, widgets={})
    nbformat.write(book, path := home / "notebooks" / name)
    return path


SHOW = """import os
from pathlib import Path
print(DATASET, SEED, os.environ.get('EMOTIONS_HOME', 'here'), Path.cwd().name)"""


def test_a_notebook_runs_with_parameters_and_its_source_stays_as_it_is(home, capsys):
    source = write_notebook(home, SHOW)
    before = source.read_bytes()
    assert cli.main(["run", "01_small", "--set", "DATASET=fer2013", "--set", "SEED=3"]) == 0
    book = read(home / "build/notebooks/01_small.ipynb")
    assert outputs(book)[-1].text == "fer2013 3 here notebooks\n"
    assert source.read_bytes() == before
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert re.search(r"\[1/1\] 01_small … \d+ s", capsys.readouterr().out)


def test_relative_places_are_those_of_the_command_and_not_of_the_notebook(home, monkeypatch):
    path = write_notebook(home, "")
    (home / "mine").mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("EMOTIONS_HOME", "elsewhere")
    assert runner.environment(quick=False)["EMOTIONS_HOME"] == str(home / "elsewhere")
    monkeypatch.setenv("EMOTIONS_HOME", "~/elsewhere")
    assert runner.environment(quick=False)["EMOTIONS_HOME"] == str(Path("~/elsewhere").expanduser())
    for place in ("folder:mine", "folder:./mine", "./mine"):
        assert runner.chosen(path, {"DATASET": place}, quick=False) == {"DATASET": str(home / "mine")}


def test_quick_takes_the_notebooks_own_quick_values_and_writes_below_build(home):
    path = write_notebook(home, SHOW)
    values = runner.chosen(path, {"SEED": 2}, quick=True)
    book = read(runner.execute(path, values, quick=True))
    assert outputs(book)[-1].text == f"drawn 2 {home / 'build' / 'quick'} notebooks\n"


def test_a_misspelt_parameter_names_the_nearest(home, capsys):
    write_notebook(home, SHOW)
    assert cli.main(["run", "01", "--set", "SEDE=3"]) == 2
    message = 'emotions: 01_small.ipynb has no parameter "SEDE"; did you mean "SEED"? It has DATASET, SEED, QUICK.\n'
    assert capsys.readouterr().err == message
    assert cli.main(["run", "07"]) == 2 and "There is no notebook 07" in capsys.readouterr().err


def test_a_switch_that_is_neither_on_nor_off_is_refused(home, capsys):
    write_notebook(home, "print(TRAIN)", parameters="TRAIN = False")
    assert cli.main(["run", "01", "--set", "TRAIN=false"]) == 2
    assert capsys.readouterr().err == "emotions: TRAIN is True or False, not 'false'.\n"


@pytest.mark.parametrize("options", [["--set", "SEED=3"], ["--quick"]])
def test_in_place_a_notebook_keeps_its_own_parameters(home, options, capsys):
    before = write_notebook(home, SHOW).read_bytes()
    assert cli.main(["run", "01", "--in-place", *options]) == 2
    assert "takes the parameters that are written in the notebooks" in capsys.readouterr().err
    assert (home / "notebooks" / "01_small.ipynb").read_bytes() == before


def test_the_training_cells_run_as_a_script_without_jupyter(home, capfd):
    write_notebook(home, SHOW, "import sys\nprint('IPython' in sys.modules, os.environ['EMOTIONS_COMMAND'])")
    path = runner.find(["01"])[0]
    runner.as_script(path, {"SEED": 5})
    shown = capfd.readouterr().out
    assert shown.startswith("own 5 here notebooks\nFalse python -m emotions")
    write_notebook(home, "1 / 0")
    with pytest.raises(RuntimeError, match=r"01_small.ipynb failed as a script, with exit status 1"):
        runner.as_script(path, {})


@pytest.mark.slow
def test_the_champion_learns_from_teachers_that_saw_no_copies(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(runner, "QUICK_HOME", tmp_path)
    (path,) = runner.find(["10"])
    values = runner.chosen(path, {"EPOCHS": 1, "TRAIN": True}, quick=True)
    distilled = values | {"TEACHERS": "champion"}
    runner.as_script(path, values, quick=True)
    runner.as_script(path, distilled, quick=True)
    teacher, student = (Run("synthetic-quick", name, home=tmp_path) for name in ("champion", "champion-distilled"))
    # The same start, images and augmentation: only the targets differ.
    assert student.history["loss"][0] != pytest.approx(teacher.history["loss"][0], rel=1e-3)
    assert student.metrics["title"].endswith(", distilled")
    teacher.record(teacher.metrics | {"variants": ["with duplicates"]})
    capfd.readouterr()
    with pytest.raises(RuntimeError, match="exit status 1"):
        runner.as_script(path, distilled, quick=True)
    assert "champion was trained with duplicates" in capfd.readouterr().err
    assert student.training["teachers"] == ["champion"]


def test_a_command_that_is_ended_ends_the_training_it_started(home):
    path = write_notebook(home, "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(99)")
    command = [sys.executable, "-m", "emotions", "run", str(path), "--script"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    while not path.with_name("begun").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    # The training has this pipe too, which is at its end only where both have ended.
    assert process.communicate(timeout=30)[1] == "emotions: interrupted.\n" and process.returncode == 130


def test_a_notebook_is_found_by_its_number_with_or_without_a_zero(home):
    path = write_notebook(home, SHOW)
    assert runner.find(["1"]) == runner.find(["01"]) == [path]


def test_what_the_machine_refuses_is_one_sentence_in_a_script(home, capfd):
    write_notebook(home, "open('nowhere/a.txt', 'w')")
    with pytest.raises(SystemExit) as end:
        runner.as_script(runner.find(["01"])[0], {})
    assert end.value.code == 2
    assert capfd.readouterr().err == "emotions: nowhere/a.txt: No such file or directory.\n"


def test_an_unknown_data_set_is_one_sentence_in_a_script_and_a_mistake_in_its_code_is_shown_whole(home, capfd):
    path = write_notebook(home, "from emotions.data import load\nload(DATASET)")
    with pytest.raises(SystemExit, match="2"):
        runner.as_script(path, {"DATASET": "nosuch"})
    assert re.fullmatch('emotions: Unknown data set "nosuch".*\n', capfd.readouterr().err)
    write_notebook(home, "int(DATASET)")
    with pytest.raises(RuntimeError, match="exit status 1"):
        runner.as_script(path, {"DATASET": "nosuch"})
    assert "Traceback" in capfd.readouterr().err


def test_in_place_the_outputs_land_in_the_source(home):
    source = write_notebook(home, "print(DATASET)")
    assert cli.main(["run", "--in-place"]) == 0
    book = read(source)
    assert outputs(book)[-1].text == "own\n" and "widgets" not in book.metadata
    assert not [cell for cell in book.cells if "injected-parameters" in cell.metadata.get("tags", [])]


def test_the_gallery_opens_notebooks_in_colab_once_the_address_is_known(home):
    write_notebook(home, "1")
    (home / "CITATION.cff").write_text("title: Faces\n")
    plain = leaderboard.gallery(home)
    assert plain.splitlines()[1] == "| :---: | :---: | :---: | :---: |" and "](notebooks/01_small.ipynb)" in plain
    assert "colab" not in plain
    (home / "CITATION.cff").write_text("repository-code: https://github.com/someone/faces\n")
    address = "https://colab.research.google.com/github/someone/faces/blob/main/notebooks/01_small.ipynb"
    assert f"[Colab]({address})" in leaderboard.gallery(home)


def test_a_cell_that_fails_is_named_and_the_source_is_not_replaced(home):
    source = write_notebook(home, "print('so far')", "1 / 0", "print('never')")
    before = source.read_bytes()
    with pytest.raises(RuntimeError, match=r"01_small\.ipynb failed in cell 3: ZeroDivisionError: division by zero"):
        runner.execute(source, {}, in_place=True)
    assert source.read_bytes() == before
    kept = [output.get("text") for output in outputs(read(home / "build/notebooks/01_small.ipynb"))]
    assert "so far\n" in kept and "never\n" not in kept


def test_progress_bars_are_not_kept_but_warnings_are(home):
    bar = "from tqdm import tqdm\nfor _ in tqdm(range(3), 'Reading'):\n    pass"
    source = write_notebook(home, bar, "import warnings\nwarnings.warn('odd')")
    (shown,) = outputs(read(runner.execute(source, {})))
    assert shown["name"] == "stderr" and "UserWarning: odd" in "".join(shown["text"])


def test_large_images_are_stored_light():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
    smooth = noise.resize((30, 30)).resize((900, 900))
    smooth.save(large := io.BytesIO(), "png")
    large = base64.b64encode(large.getvalue()).decode()
    ((kind, light),) = runner.lighter(large).items()
    assert kind == "image/jpeg" and len(light) < 0.6 * len(large)
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(light))), int)
    assert np.abs(decoded - np.asarray(smooth)).mean() < 4
    assert runner.lighter(large[:1000]) == {"image/png": large[:1000]}  # a small one stays as it is
