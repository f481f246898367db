"""A lock file is installed as it stands: pip resolves nothing, so no release of today can stop it."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from steps import LOCKED

from tests.support.folders import ROOT
from tests.support.small_wheel import write_wheel


def pin(wheel: Path) -> str:
    name, version, *_ = wheel.name.split("-")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder of packages: `shell` needs an extra of `core`, which has a release since the lock."""
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(folder, "shell", metadata=["Requires-Dist: core[mail]>=1"])
    write_wheel(folder, "core", metadata=["Provides-Extra: mail"])
    write_wheel(folder, "core", version="2.0", metadata=["Provides-Extra: mail"])
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the rule for pipecat's environment needs, with an environment that counts as installed."""
    folder = tmp_path / "checkout"
    (folder / "scripts" / "peers").mkdir(parents=True)
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    names = "install.py build_llama.py steps.py lean.cmake requirements.lock requirements-dev.lock llama.lock"
    for name in [*names.split(), "build.lock"]:
        (folder / "scripts" / name).touch()
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".checkout").write_text(f"{folder}\n")
    (folder / ".venv" / ".installed").touch()
    return folder


def make_peers(checkout: Path, index: Path) -> subprocess.CompletedProcess[str]:
    away = ("PIP_", "MAKE", "MFLAGS", "PYTHONPATH", "PROFILE", "CUDA", "ARGS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(away)}
    env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    command = ["make", ".venv-peers/.installed"]
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)


def test_a_newer_release_does_not_stop_a_locked_install(checkout: Path, index: Path) -> None:
    lock = checkout / "scripts" / "peers" / "requirements.lock"
    lock.write_text("".join(pin(index / f"{name}-1.0-py3-none-any.whl") for name in ("core", "shell")))
    done = make_peers(checkout, index)
    assert done.returncode == 0, done.stderr
    installed = {path.name for path in (checkout / ".venv-peers").rglob("*.dist-info")}
    assert {"core-1.0.dist-info", "shell-1.0.dist-info"} <= installed


def test_nothing_that_reads_a_lock_file_lets_pip_resolve() -> None:
    assert {"--no-deps", "--require-hashes"} < set(LOCKED)
    files = [ROOT / "Makefile", *(ROOT / "scripts").glob("*.sh"), *(ROOT / "scripts").rglob("*.py")]
    files += (ROOT / "benchmarks").rglob("*.py")
    commands = 0
    for file in files:
        text = file.read_text("utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if re.search(r"pip (install|download|wheel)\b.* -r\b", line):
                commands += 1
                assert "--no-deps" in line and "--require-hashes" in line, f"{file.name}: {line.strip()}"
                assert "pip check" in text.partition(line)[2], f"{file.name} doesn't look what its lock lacks"
            # Python code takes the words from LOCKED. pip-audit, with --disable-pip, resolves nothing either.
            elif "--require-hashes" in line and file.suffix == ".py":
                assert line.startswith("LOCKED = ") or "--disable-pip" in line, f"{file.name}: {line.strip()}"
    assert commands == 2, "the Makefile's and the bundle's installer"
