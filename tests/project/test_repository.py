"""What GitHub and pre-commit read: it can be parsed, and names what is there."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.folders import ROOT

GITHUB: Final = ROOT / ".github"
FORMS: Final = [GITHUB / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")]


def parsed(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def test_the_workflow_runs_what_ci_runs() -> None:
    (job,) = parsed(GITHUB / "workflows" / "ci.yml")["jobs"].values()
    commands = " ".join(step.get("run", "") for step in job["steps"])
    assert re.search(r"(?<![\w/])\.ci/run\b", commands)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_its_caches_depend_on_files_that_are_there() -> None:
    text = (GITHUB / "workflows" / "ci.yml").read_text()
    named = [
        path for call in re.findall(r"hashFiles\(([^)]*)\)", text) for path in re.findall(r"'([^']+)'", call)
    ]
    assert len(named) >= 3
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_its_actions_are_pinned_to_a_version_and_may_only_read() -> None:
    workflow = parsed(GITHUB / "workflows" / "ci.yml")
    (job,) = workflow["jobs"].values()
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", each) for each in used)
    assert workflow["permissions"] == {"contents": "read"}


def test_pre_commit_runs_programs_of_the_environment_and_fetches_nothing() -> None:
    (repository,) = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    for hook in repository["hooks"]:
        program = re.match(r"\.venv/bin/([\w-]+)", hook["entry"])
        assert program is not None and hook["language"] == "system"
        assert any(re.match(rf"{program[1]}\b", requirement) for requirement in dev)


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_github_takes(form: Path) -> None:
    found = parsed(form)
    assert found["name"] and found["description"]
    inputs = [field for field in found["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in inputs}) == len(inputs) > 1
    assert all(field["type"] in ("input", "textarea") and field["attributes"]["label"] for field in inputs)


def test_vulnerabilities_are_reported_privately_and_to_no_invented_address() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert "Report a vulnerability" in text
    assert not re.search(r"[\w.]+@[\w.]+", text)
