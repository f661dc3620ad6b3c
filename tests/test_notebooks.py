"""Every notebook runs from start to end at its smallest scale, and is committed in the form that readers expect."""

import base64
import io
import re
import shutil
import subprocess

import nbformat
import numpy as np
import pytest
import synthetic_runs
from conftest import REPOSITORY
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from emotions import cli, runs
from emotions import notebooks as execute


def committed(pattern: str = "*") -> list:
    """Files that git knows; in a copy without git's records, none."""
    listed = subprocess.run(["git", "ls-files", "-z", pattern], cwd=REPOSITORY, capture_output=True, text=True)
    return [REPOSITORY / name for name in filter(None, listed.stdout.split("\0"))]


NOTEBOOKS = committed("notebooks/*.ipynb") or sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def outputs(book) -> list:
    return [output for cell in code(book) for output in cell.outputs]


def tagged(book, tag: str) -> list:
    return [cell for cell in book.cells if tag in cell.metadata.get("tags", [])]


def texts(book):
    """All that a reader can see, pictures aside."""
    for cell in book.cells:
        yield cell.source
    for output in outputs(book):
        yield output.get("text", "")
        for kind, content in output.get("data", {}).items():
            if not kind.startswith("image/") or kind == "image/svg+xml":
                yield str(content)


def assert_ran(book):
    """Every code cell ran, in order, in one go, without an error."""
    assert [cell.execution_count for cell in code(book)] == list(range(1, len(code(book)) + 1))
    errors = [f"{output.ename}: {output.evalue}" for output in outputs(book) if output.output_type == "error"]
    assert not errors


# They run


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The package and its notebooks elsewhere, so that nothing here is overwritten; later notebooks find there what
    earlier ones made."""
    home = tmp_path_factory.mktemp("clone")
    shutil.copytree(REPOSITORY / "emotions", home / "emotions", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "notebooks").mkdir()
    for path in NOTEBOOKS:
        shutil.copy(path, home / "notebooks")
    return home


def state(home) -> dict:
    """Time and size of all files but those that may change."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in home.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.relative_to(home).parts[0] != "build"}


@pytest.mark.slow
@every_notebook
def test_it_runs_on_drawn_faces_in_the_quick_profile(path, clone, monkeypatch):
    monkeypatch.setattr(runs, "__file__", str(clone / "emotions" / "runs.py"))
    before = state(clone)
    (executed,) = execute.execute([clone / "notebooks" / path.name], "synthetic", "quick")
    assert executed == clone / "build" / "notebooks" / path.name
    book = read(executed)
    assert_ran(book)
    (injected,) = tagged(book, "injected-parameters")
    assert 'DATASET = "synthetic"' in injected.source and 'PROFILE = "quick"' in injected.source
    assert state(clone) == before, "quick must write under build/ only"


# They are committed as they should be


@every_notebook
def test_it_was_run_from_start_to_end(path):
    assert_ran(read(path))


@every_notebook
def test_it_renders_where_it_is_read(path):
    """Widgets without their state keep GitHub from rendering a notebook, and so does size."""
    book = read(path)
    assert "widgets" not in book.metadata
    assert not [kind for output in outputs(book) for kind in output.get("data", {}) if "widget" in kind]
    assert path.stat().st_size < 1.5e6


@every_notebook
def test_it_says_what_it_will_do_and_what_was_found(path):
    book = read(path)
    prose = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    assert book.cells[0].cell_type == "markdown"
    assert re.match(r"# \S", book.cells[0].source)
    assert re.search(r"In this notebook\s+we\s+will", book.cells[0].source)
    assert any(re.search(r"^## What we found", text, re.MULTILINE) for text in prose)


@every_notebook
def test_its_parameters_stand_in_one_cell_and_are_those_of_the_real_run(path):
    (cell,) = tagged(read(path), "parameters")
    assert re.search(r'^DATASET = "', cell.source, re.MULTILINE)
    assert re.search(r'^PROFILE = "full"', cell.source, re.MULTILINE)
    for name in ("SHOW_FACES", "TRAIN"):  # single faces stay private; what is shown is the saved run
        assert not re.search(rf"^{name} = (?!False\b)", cell.source, re.MULTILINE)
    assert not tagged(read(path), "injected-parameters")


@every_notebook
def test_it_names_no_place_on_anybodys_machine(path):
    place = re.compile(r"(?<![\w.:/])/(?:home|root|work|tmp|Users|mnt|opt)/|\b[A-Z]:\\\w")
    assert not [f"…{text[max(0, found.start() - 30):found.end() + 30]}…"
                for text in texts(read(path)) if (found := place.search(text))]


def test_all_begin_with_the_same_cell():
    first = {path.name: code(read(path))[0].source for path in NOTEBOOKS}
    assert len(set(first.values())) == 1, first
    assert next(iter(first.values())).startswith("# Setup")


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
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "emotions" / "runs.py"))
    return tmp_path


def write_notebook(home, *sources):
    """A notebook with a parameter DATASET, and a code cell of each source."""
    parameters = new_code_cell('DATASET = "own"', metadata={"tags": ["parameters"]})
    book = new_notebook(cells=[new_markdown_cell("# Title"), parameters, *map(new_code_cell, sources)])
    book.metadata.update(kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"}, widgets={})
    nbformat.write(book, path := home / "notebooks" / "01_small.ipynb")
    return path


def test_only_known_parameters_are_set_and_the_source_stays_as_it_is(home):
    source = write_notebook(home, "import pathlib\nprint(DATASET, 'PROFILE' in globals(), pathlib.Path.cwd().name)")
    before = source.read_bytes()
    (executed,) = execute.execute([source], "synthetic", "quick")
    assert executed == home / "build/notebooks/01_small.ipynb"
    assert source.read_bytes() == before
    book = read(executed)
    assert outputs(book)[-1].text == "synthetic False notebooks\n"
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert [set(cell.metadata) - {"tags"} for cell in book.cells] == [set()] * len(book.cells)
    assert len(tagged(book, "parameters")) == 1


def test_a_folder_of_ones_own_is_found_from_wherever_the_notebook_lies(home, monkeypatch):
    source = write_notebook(home, "print(DATASET)")
    (home / "mine").mkdir()
    monkeypatch.chdir(home)
    (executed,) = execute.execute([source], "folder:mine", "quick")
    assert outputs(read(executed))[-1].text == f"folder:{home / 'mine'}\n"
    synthetic_runs.write_run(home / "build/quick/results/mine/lenet")
    synthetic_runs.write_run(home / "build/quick/results/mine/logistic-regression", skill=0.5)
    assert "Test split of `mine`" in execute.summary("folder:mine", "quick")
    with pytest.raises(FileNotFoundError, match="There is no folder elsewhere"):
        execute.execute([source], "folder:elsewhere")


def test_notebooks_that_train_nothing_end_well_and_say_where_they_lie(home, capsys):
    write_notebook(home, "print(DATASET)")
    assert cli.main(["notebooks", "--data", "synthetic", "--profile", "quick"]) == 0
    shown = capsys.readouterr()
    assert f"Notebooks: {home / 'build/notebooks'}" in shown.out.splitlines()
    assert f"Results: {home / 'build/quick/results/synthetic'}" in shown.out.splitlines()
    assert "leaderboard" not in shown.out and "emotions: " not in shown.err


def test_in_place_the_outputs_of_its_own_parameters_land_in_the_source(home, capsys):
    source = write_notebook(home, "print(DATASET)")
    assert cli.main(["notebooks", "--in-place"]) == 0
    assert "[1/1] 01_small.ipynb" in capsys.readouterr().out
    book = read(source)
    assert_ran(book)
    assert outputs(book)[-1].text == "own\n"
    assert not tagged(book, "injected-parameters")
    assert "widgets" not in book.metadata


def test_large_pictures_are_stored_light():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
    smooth = noise.resize((30, 30)).resize((900, 900))
    smooth.save(large := io.BytesIO(), "png")
    large = base64.b64encode(large.getvalue()).decode()
    ((kind, light),) = execute.lighter(large).items()
    assert kind == "image/jpeg" and len(light) < 0.6 * len(large)
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(light))), int)
    assert np.abs(found - np.asarray(smooth)).mean() < 4
    assert execute.lighter(large[:1000]) == {"image/png": large[:1000]}  # a small one stays as it is


def test_a_cell_that_fails_is_named_and_the_source_is_not_replaced(home):
    source = write_notebook(home, "print('so far')", "1 / 0", "print('never')")
    before = source.read_bytes()
    with pytest.raises(RuntimeError, match=r"01_small\.ipynb failed in cell 3: ZeroDivisionError: division by zero"):
        execute.execute([source], in_place=True)
    assert source.read_bytes() == before
    kept = read(home / "build/notebooks/01_small.ipynb")
    assert "so far\n" in [output.get("text") for output in outputs(kept)]
    assert "never\n" not in [output.get("text") for output in outputs(kept)]
