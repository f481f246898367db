"""make's targets, and when they install first."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.folders import ROOT

SCRIPTS = ROOT / "scripts"


def checkout(folder: Path) -> Path:
    """A copy of what the Makefile and the installer need."""
    shutil.copytree(SCRIPTS, folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    types = Path("tests/support/page_types")
    shutil.copytree(ROOT / types, folder / types)
    return folder


def make(*arguments: str, cwd: Path = ROOT) -> str:
    # What a `make test PROFILE=...` around this test hands down must not reach the make under test.
    passed_down = ("MAKE", "MFLAGS", "PROFILE", "CUDA", "ARGS", "PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(passed_down)}
    done = subprocess.run(["make", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_help_is_the_default_and_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    listed = re.findall(r"^  make ([a-z-]+) +\S", make(), re.MULTILINE)
    assert set(listed) == set(phony[1].split()) - {"FORCE"}


@pytest.mark.parametrize("target", ["run", "talk", "test", "test-unit", "lint", "types", "bench"])
def test_a_fresh_checkout_installs_first(target: str, tmp_path: Path) -> None:
    lines = make("-n", target, cwd=checkout(tmp_path)).splitlines()
    assert any("scripts/install.py" in line for line in lines[:2])


def stamp(folder: Path, *names: str) -> None:
    """Leave what a finished installation leaves."""
    (folder / ".venv").mkdir()
    (folder / ".venv" / ".checkout").write_text(f"{folder}\n")
    for name in names:
        (folder / ".venv" / name).touch()


def test_an_installed_checkout_does_not_install_again(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    stamp(folder, ".installed")
    assert "install.py" not in make("-n", "run", cwd=folder)
    assert "install.py --dev" in make("-n", "lint", cwd=folder)
    assert "install.py  --cuda" in make("-n", "run", "PROFILE=gpu", cwd=folder)


def test_a_changed_lock_or_a_moved_folder_installs_again(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "old")
    stamp(folder, ".installed")
    later = time.time() + 5
    os.utime(folder / "scripts" / "llama.lock", (later, later))
    assert "install.py" in make("-n", "run", cwd=folder)
    (folder / ".venv" / ".installed").unlink()
    (folder / ".venv" / ".installed").touch()
    os.utime(folder / ".venv" / ".installed", (later + 5, later + 5))
    assert "install.py" not in make("-n", "run", cwd=folder)
    moved = folder.rename(tmp_path / "new")
    assert "install.py" in make("-n", "run", cwd=moved)
