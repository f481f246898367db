"""make's targets, and when they install first."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.__main__ import COMMANDS
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
    passed_down = ("MAKE", "MFLAGS", "PROFILE", "CUDA", "ARGS", "PYTHON", "WHAT")
    env = {name: value for name, value in os.environ.items() if not name.startswith(passed_down)}
    done = subprocess.run(["make", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_help_is_the_default_and_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    rows = re.findall(r"^  make ([a-z -]+?)  +\S", make(), re.MULTILINE)
    assert sorted(" ".join(rows).split()) == sorted(set(phony[1].split()) - {"FORCE"})


def test_help_fits_a_screen() -> None:
    lines = make("help").splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("target", "module"),
    [
        ("bench", "latency"),
        *(("bench", each) for each in ("words", "tools", "caches", "soak", "trace")),
        ("prove", "offline"),
    ],
)
def test_what_is_measured_or_proven_is_a_command_of_the_benchmarks(target: str, module: str) -> None:
    chosen = [] if module in ("latency", "offline") else [f"WHAT={module}"]
    lines = make("-n", target, *chosen).splitlines()
    assert f".venv/bin/python -m benchmarks {module} " in lines[-1]
    assert module in COMMANDS


@pytest.mark.parametrize("what", ["faults", "fuzz", "injections"])
def test_what_is_proven_by_tests_names_tests_that_exist(what: str) -> None:
    *_, command = make("-n", "prove", f"WHAT={what}").splitlines()
    files = re.findall(r"tests/\S+\.py", command)
    assert files and all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize("target", ["run", "talk", "download-models"])
def test_what_is_used_has_the_best_profile_for_the_machine(target: str) -> None:
    assert "models download --profile auto" in make("-n", target)
    assert "models download --profile tiny" in make("-n", target, "PROFILE=tiny")


@pytest.mark.parametrize("target", ["bench", "bench-mind", "bench-peers", "licences", "sbom", "bundle"])
def test_what_is_measured_listed_or_packed_has_the_same_profile_everywhere(target: str) -> None:
    for given in ([], ["PROFILE=auto"]):
        assert "--profile base" in make("-n", target, *given)
    assert "--profile quality" in make("-n", target, "PROFILE=quality")


def test_cuda_is_compiled_where_the_best_profile_can_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shutil.which("make")
    assert program is not None
    for name in ("make", "nvidia-smi", "nvcc"):
        (tmp_path / name).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "CUDA=0|1 (now 1)" in make("help")
    assert "CUDA=0|1 (now 0)" in make("help", "PROFILE=base")
    assert "CUDA=0|1 (now 0)" in make("help", "CUDA=0")
    (tmp_path / "nvcc").unlink()
    assert "CUDA=0|1 (now 0)" in make("help")


def test_an_unknown_thing_to_measure_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        make("-n", "bench", "WHAT=speed")
    assert "There is no WHAT=speed" in failed.value.stderr and "latency words" in failed.value.stderr


@pytest.mark.parametrize(
    "target", ["run", "talk", "test", "test-unit", "lint", "types", "bench", "bench-mind", "prove"]
)
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
