"""Set-up takes versions that were tested together: each package that is asked for is pinned in constraints.txt."""

import re
import tomllib

from conftest import REPOSITORY
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def requirements(text: str) -> dict[str, Requirement]:
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()]
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(one.name): one for one in found}


PINS = requirements((REPOSITORY / "constraints.txt").read_text())
HERE = {"python_version": "3.11", "sys_platform": "linux", "platform_system": "Linux"}


def test_every_package_that_set_up_asks_for_is_pinned_within_its_range():
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    asked = requirements("\n".join([*lines, *EXTRAS["export"], *EXTRAS["heif"], *EXTRAS["test"]]))
    del asked["emotions"]
    asked = {name: one for name, one in asked.items() if not one.marker or one.marker.evaluate(HERE)}
    assert len(asked) > 25
    for name, one in asked.items():
        (pin,) = PINS[name].specifier
        assert pin.operator == "==" and one.specifier.contains(pin.version), name


def test_pins_are_versions_of_packages_for_any_platform():
    assert all(re.fullmatch(r"==[\w.]+", str(one.specifier)) and not one.url for one in PINS.values())
    assert not [name for name in PINS if name.startswith(("nvidia", "triton")) or name == "emotions"]


def test_set_up_takes_the_pins_and_is_done_anew_when_they_change():
    (stamp,) = re.findall(r"^\$\(VENV\)/installed: (.*)\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert {"requirements.txt", "pyproject.toml", "constraints.txt"} == set(stamp[0].split())
    assert "-c constraints.txt -e '.[test]'" in stamp[1]
    (newest,) = re.findall(r"^test-newest:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert "constraints.txt" not in newest and "$(VENV)" not in newest
