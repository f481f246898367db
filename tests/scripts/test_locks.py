"""The lock files: pins with hashes, for what pyproject.toml names and for the tests' stock client."""

import json
import re
import tomllib

import pytest

from tests.support.folders import ROOT, SUPPORT

SCRIPTS = ROOT / "scripts"
LOCKS = ("requirements.lock", "requirements-dev.lock", "llama.lock", "build.lock", "peers/requirements.lock")


def pins(lock: str) -> dict[str, str]:
    """Name and version of each package in a lock file."""
    text = (SCRIPTS / lock).read_text()
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)", text, re.MULTILINE))


def name_of(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return match[0].lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_hashes_and_no_index_address(lock: str) -> None:
    text = (SCRIPTS / lock).read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index" not in text and "--find-links" not in text


@pytest.mark.parametrize("folder", ["stock_client", "page_types"])
def test_npms_locks_pin_with_hashes_and_name_no_registry(folder: str) -> None:
    for entry in npm_pins(folder).values():
        assert entry["integrity"].startswith("sha512-")
        assert "resolved" not in entry, "omit-lockfile-registry-resolved"


def npm_pins(folder: str) -> dict[str, dict[str, str]]:
    lock = json.loads((SUPPORT / folder / "package-lock.json").read_text())
    return {path: entry for path, entry in lock["packages"].items() if path}


def test_the_stock_client_is_the_release_that_the_contract_names() -> None:
    packages = npm_pins("stock_client")
    assert packages["node_modules/@llmrtc/llmrtc-web-client"]["version"] == "1.2.0"
    assert packages["node_modules/@llmrtc/llmrtc-core"]["version"] == "1.3.0"


def test_locks_hold_what_pyproject_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = {name_of(each) for each in project["project"]["dependencies"]}
    dev = {name_of(each) for each in project["dependency-groups"]["dev"]}
    llama = {"llama-cpp-python"}
    assert runtime - llama <= pins("requirements.lock").keys(), "run `make lock`"
    assert (runtime | dev) - llama <= pins("requirements-dev.lock").keys(), "run `make lock`"
    assert pins("llama.lock").keys() == llama
    assert not llama & pins("requirements.lock").keys()
    assert f"llama-cpp-python=={pins('llama.lock')['llama-cpp-python']}" in project["project"]["dependencies"]


def test_developers_run_the_users_versions() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


def test_no_tool_makes_every_process_slow_to_start() -> None:
    """jsonschema loads it wherever it is, and its grammars take longer than all else that is imported."""
    assert "rfc3987-syntax" not in pins("requirements-dev.lock")
