"""The page in web/ asks nobody else for anything: by its content-security policy, and in its own files."""

import json
import re

import pytest
from conftest import REPOSITORY

WEB = REPOSITORY / "web"
PAGE = (WEB / "index.html").read_text("utf-8")
FILES = sorted([WEB / "index.html", *WEB.glob("*.js"), *WEB.glob("*.css")])


def policy() -> dict[str, set[str]]:
    """The directives of the page's content-security policy and the sources that each allows."""
    (content,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', PAGE)
    directives = [directive.split() for directive in content.split(";")]
    return {name: set(sources) for name, *sources in directives}


def test_what_the_policy_does_not_name_is_forbidden():
    assert policy()["default-src"] == policy()["base-uri"] == policy()["form-action"] == {"'none'"}


def test_the_policy_names_no_other_host_and_no_code_in_the_page():
    allowed = set().union(*policy().values())
    assert allowed == {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:", "data:"}
    assert policy()["script-src"] == {"'self'", "'wasm-unsafe-eval'"}
    assert policy()["connect-src"] == policy()["style-src"] == {"'self'"}
    assert PAGE.index("Content-Security-Policy") < PAGE.index("<link"), "it counts for what comes after it"


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_no_file_of_the_page_names_another_host(file):
    assert not re.findall(r"(?:https?:|wss?:|[\"'(])//\w", file.read_text("utf-8"))


def test_every_package_of_the_page_is_pinned():
    content = json.loads((WEB / "package.json").read_text("utf-8"))
    versions = [*content["dependencies"].values(), *content["devDependencies"].values()]
    assert versions and all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
