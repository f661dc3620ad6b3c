"""Predictions with Ray: the rows of the plain table, each once, whatever is killed and begun again."""

import os
import runpy
import shutil
import signal
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from test_predict import colour_model, file, patch, write  # noqa: F401  file is a fixture

from emotions import cli, predict
from emotions.data import synthetic
from emotions.models.files import add_card, read_card


@pytest.fixture(scope="module")
def many():
    """The module, on two workers."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    from emotions.predict import many

    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield many
    ray.shutdown()


@pytest.fixture
def photos(tmp_path):
    """Sixteen small images, and a file that is none."""
    for i in range(16):
        write(tmp_path / "photos" / f"{i % 3}" / f"{i:02d}.png", patch(["red", "green", "blue"][i % 3], 40, 30 + i))
    (tmp_path / "photos" / "bad.jpg").write_text("not an image")
    write(tmp_path / "photos" / ".hidden" / "a.png", patch("red"))
    return tmp_path / "photos"


def rows(output) -> pd.DataFrame:
    return pd.read_parquet(output).sort_values(["image", "x"], ignore_index=True)


@pytest.mark.slow
def test_the_rows_are_those_of_the_plain_table_and_a_bad_file_costs_one(many, photos, file, tmp_path, capsys):  # noqa: F811
    output = tmp_path / "answers"
    assert cli.main(["predict", str(photos), "--model", str(file), "--ray", str(output)]) == 1
    assert f"Images: 17, without an answer: 1. The rows are in {output}." in capsys.readouterr().out
    found, plain = rows(output), predict.load(file).predict(photos)
    wanted = plain.sort_values(["image", "x"], ignore_index=True).fillna(np.nan)  # as Parquet gives what is missing
    assert list(found) == list(wanted)
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False, atol=1e-5)
    assert found["error"].notna().sum() == 1 and "bad.jpg cannot be read as an image" in found["error"].dropna().item()


@pytest.mark.slow
def test_a_name_that_begins_with_a_tilde_is_no_home_directory(many, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert many._absolute("~photos") == str(tmp_path / "~photos")


@pytest.mark.slow
def test_a_second_call_goes_on_where_the_first_stopped(many, photos, file, tmp_path):  # noqa: F811
    output, some = tmp_path / "answers", tmp_path / "some.txt"
    images = sorted(photos.rglob("[0-9]*.png"))
    some.write_text("\n".join(map(str, [*images[:5], tmp_path / "missing.png"])))
    assert many.predict_many([str(some)], str(output), file)["images"] == 6
    written = {path: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    told = many.predict_many([str(photos), "file://" + str(images[0])], f"file://{output}", file)
    assert told["images"] == 17 - 5 + 1 and told["errors"] == 1  # the address is another name of an image
    inside = photos / "answers"  # what is written there is none of the photos
    assert [many.predict_many([str(photos)], str(inside), file)["images"] for _ in range(2)] == [17, 0]
    shutil.rmtree(inside)
    assert many.predict_many([str(photos)], str(output), file) == {"images": 0, "errors": 0, "core_seconds": 0}
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())
    table = rows(output)
    assert table["image"].is_unique and len(table) == 17 + 2
    assert table.set_index("image")["emotion"]["file://" + str(images[0])] == "red"
    with pytest.raises(ValueError, match="made with other choices"):
        many.predict_many([str(photos)], str(output), file, faces=False)
    another = tmp_path / "another.keras"
    shutil.copy(file, another)
    add_card(file, read_card(file) | {"temperature": 2.0})  # trained anew, say, under the same name
    with pytest.raises(ValueError, match="made with other choices"):
        many.predict_many([str(photos)], str(output), file)
    shutil.copy(another, file)


@pytest.mark.slow
def test_a_killed_worker_loses_no_row_and_writes_none_twice(many, file, tmp_path):  # noqa: F811
    import psutil  # comes with Ray

    for i, image in enumerate(synthetic.render(np.arange(120) % 7, size=256)):
        write(tmp_path / "photos" / f"{i:03d}.png", image)
    killed = []

    def kill():
        """End one of the two processes once both have loaded the model and some blocks are written."""
        while not list((tmp_path / "answers").glob("*.parquet")):
            time.sleep(0.05)
        workers = [child for child in psutil.Process().children(recursive=True) if "MapWorker" in child.name()]
        os.kill(workers[0].pid, signal.SIGKILL)
        killed.extend(worker.pid for worker in workers)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert many.predict_many([str(tmp_path / "photos")], str(tmp_path / "answers"), file)["images"] == 120
    thread.join(10)
    assert killed
    table = rows(tmp_path / "answers")
    assert set(table["image"]) == {str(path) for path in (tmp_path / "photos").iterdir()}
    assert not table.duplicated(["image", "x", "y"]).any()


@pytest.mark.slow
def test_an_image_that_kills_its_process_again_and_again_costs_its_block(
    many, photos, file, tmp_path, monkeypatch,  # noqa: F811
):
    class Dies(many.Worker):
        def __call__(self, block):
            if any("07.png" in path for path in block["path"].to_pylist()):
                os._exit(1)
            return super().__call__(block)

    monkeypatch.setattr(many, "Worker", Dies)
    with pytest.raises(RuntimeError, match="2 images have no row"):
        many.predict_many([str(photos)], str(tmp_path / "answers"), file)
    found = rows(tmp_path / "answers")["image"]
    assert found.is_unique and len(found) == 17 - 2 and not found.str.contains("07.png").any()


def test_without_ray_the_command_says_what_to_install(photos, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "emotions.predict.many", raising=False)
    assert cli.main(["predict", str(photos), "--ray", "answers"]) == 2
    assert "pip install -e '.[ray]'" in capsys.readouterr().err


def test_the_page_has_the_measured_numbers():
    page, script = REPOSITORY / "docs" / "many_images.md", runpy.run_path(REPOSITORY / "docs" / "many_images.py")
    lines = script["lines"](pd.read_csv(script["TABLE"]))
    assert "\n".join(["| --- | ---: | ---: | ---: |", *lines, ""]) in page.read_text()


def test_sources_are_folders_lists_tables_and_addresses(many, photos, tmp_path):
    images = [str(path) for path in sorted(photos.rglob("*.*")) if path.is_file() and ".hidden" not in str(path)]
    assert sorted(many.paths_of(str(photos))) == images
    assert many.paths_of(f"file://{photos}") == ["file://" + path for path in many.paths_of(str(photos))]
    pd.DataFrame({"path": images}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text("\n\n".join(images))  # blank lines name nothing
    for source in ("a.parquet", "a.txt"):
        assert many.paths_of(str(tmp_path / source)) == images
    with pytest.raises(FileNotFoundError, match="There is no file"):
        many.paths_of(str(tmp_path / "none"))
    shutil.rmtree(photos / "0")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="There are no files in"):
        many.paths_of(str(tmp_path / "empty"))
