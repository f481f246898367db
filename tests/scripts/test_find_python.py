"""Finding a Python that fits."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.folders import ROOT

SCRIPTS = ROOT / "scripts"


def fake_python(folder: Path, name: str, version: str, venv: bool = True) -> None:
    """A program that answers find_python.sh's questions as a Python of this version would."""
    script = folder / name
    script.write_text(
        f'#!/bin/sh\ncase "$2" in\n*ensurepip*) exit {0 if venv else 1} ;;\n*) echo {version} ;;\nesac\n'
    )
    script.chmod(0o755)


def find_python(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (path / "cat").symlink_to(shutil.which("cat") or "cat")
    command = [shutil.which("sh") or "sh", str(SCRIPTS / "find_python.sh"), *arguments]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False)


def test_too_old_a_python3_is_passed_over(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", "3.9")
    fake_python(tmp_path, "python3.12", "3.12")
    found = find_python(tmp_path)
    assert (found.returncode, found.stdout.strip()) == (0, str(tmp_path / "python3.12"))


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.15"])
def test_a_wrong_python_is_named_with_what_to_do(version: str, tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", version)
    found = find_python(tmp_path)
    assert found.returncode == 1
    assert f"python3 is {version}" in found.stderr
    for system in ("Debian", "Fedora", "macOS"):
        assert system in found.stderr


def test_a_named_python_is_the_only_one_tried(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", "3.12")
    found = find_python(tmp_path, "/nowhere/python")
    assert found.returncode == 1
    assert "none was found at /nowhere/python" in found.stderr


def test_a_missing_venv_module_names_its_package(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", "3.12", venv=False)
    found = find_python(tmp_path)
    assert found.returncode == 1
    assert "apt install python3.12-venv" in found.stderr
