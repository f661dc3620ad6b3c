"""Killed, on a full disk, in a folder that is only read: the work of `faults.py`, which says more."""

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

KINDS = {"training", "evaluation", "prediction", "export"}


def rows(markdown: str) -> list[list[str]]:
    """Return the cells of a table's rows, below its heading."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def run(*arguments) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "tests/faults.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_the_table_tells_of_twenty_kills_of_each_kind_after_which_nothing_was_lost():
    table = rows((REPOSITORY / "results" / "faults.md").read_text())
    assert {row[0] for row in table} == KINDS
    assert all(int(kills) >= 20 and rest == ["20", "20", "0"] for _, kills, *rest in table), table


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each piece of work is a fork")
def test_killed_work_is_begun_again_and_ends_with_the_same_files(tmp_path):
    run(2, tmp_path / "faults.md")
    table = rows((tmp_path / "faults.md").read_text())
    assert {row[0] for row in table} == KINDS
    assert all(int(kills) >= 2 and rest == ["2", "2", "0"] for _, kills, *rest in table), table


def can_mount(place) -> bool:
    """Tell whether this process may mount a disk in memory, as root on Linux usually may."""
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True, capture_output=True)
        subprocess.run(["umount", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@pytest.mark.slow
def test_a_full_disk_and_a_folder_that_is_only_read_are_one_sentence_and_nothing_is_lost(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("this process may not mount a disk in memory")
    run("refusals", tmp_path / "refusals.json")
    found = json.loads((tmp_path / "refusals.json").read_text())
    assert {row["kind"] for row in found} == KINDS and len(found) == 2 * len(KINDS)
    for row in found:
        assert row["status"] in (1, 2), row
        told = "Read-only file system" if row["obstacle"] == "read-only" else "No space left on device"
        assert row["said"].startswith("emotions: ") and told in row["said"] and row["said"].count("\n") == 1, row
        assert [row[name] for name in ("left", "lost", "wrong", "differing")] == [[], [], [], []], row
