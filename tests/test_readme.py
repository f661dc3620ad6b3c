import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from PIL import Image

from emotions import cli, synthetic

TEXT = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def test_the_lines_that_use_a_model_run_with_keras_alone(tmp_path):
    (program,) = [text for language, text in BLOCKS if language == "python"]
    (model,) = re.findall(r'"(models/.*?\.keras)"', program)
    assert (REPOSITORY / model).exists(), f"README uses {model}, which is not in the repository."
    (tmp_path / "models").mkdir()
    shutil.copy(REPOSITORY / model, tmp_path / model)
    face = synthetic.render([synthetic.CLASS_NAMES.index("happy")], size=120, difficulty=0)[0]
    Image.fromarray(face).save(tmp_path / "face.jpg")
    program += "\nimport sys\nassert not any(name.startswith('emotions') for name in sys.modules)\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    found = eval(finished.stdout.splitlines()[-1])
    assert sum(found.values()) == pytest.approx(1, abs=0.01) and list(found) == sorted(found)


def test_the_commands_are_ones_that_there_are():
    lines = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
    assert any(line.startswith("python -m emotions") for line in lines)
    makefile = (REPOSITORY / "Makefile").read_text()
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "emotions"]:
            cli.parser().parse_args(words[3:])  # exits where a command or an option is unknown
        else:
            assert words[0] == "make" and f"\n{words[1]}:" in makefile, line


def test_every_link_leads_somewhere():
    for place in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert place.startswith("https://") or (REPOSITORY / place).exists(), place
