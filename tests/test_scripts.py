"""The install path: locks, make targets, finding Python, running steps, keeping llama-cpp-python's wheel."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import build_llama
import install
import steps
from build_llama import Build

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"
LOCKS = ("requirements.lock", "requirements-dev.lock", "llama.lock", "build.lock")


def pins(lock: str) -> dict[str, str]:
    """Name and version of each package in a lock file."""
    text = (SCRIPTS / lock).read_text()
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)", text, re.MULTILINE))


def name_of(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return match[0].lower()


# Locks


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_hashes_and_no_index_address(lock: str) -> None:
    text = (SCRIPTS / lock).read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index" not in text and "--find-links" not in text


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


# make


def checkout(folder: Path) -> Path:
    """A copy of what the Makefile and the installer need."""
    shutil.copytree(SCRIPTS, folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
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


# Finding Python


def fake_python(folder: Path, name: str, version: str, venv: bool = True) -> None:
    """A program that answers find_python.sh's three questions as a Python of this version would."""
    right = version.split(".")[0] == "3" and 11 <= int(version.split(".")[1]) <= 14
    script = folder / name
    script.write_text(
        '#!/bin/sh\ncase "$2" in\n'
        f"*sys.exit*) exit {0 if right else 1} ;;\n"
        f"*ensurepip*) exit {0 if venv else 1} ;;\n"
        f"*) echo {version} ;;\nesac\n"
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


# Running a step


def shell(script: str) -> list[str | Path]:
    return [shutil.which("sh") or "sh", "-c", script]


def test_output_goes_to_the_log_and_the_end_is_told(tmp_path: Path, capsys: Any) -> None:
    log = tmp_path / "log"
    steps.run("packages", shell("echo one; echo two >&2; printf three"), log)
    assert log.read_text().split() == ["one", "two", "three"]
    assert re.search(r"packages: done  0:0\d", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",
            "not the one that the lock",
        ),
        ("WARNING: Retrying after connection broken by NewConnectionError", "Check the network"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "CMAKE_BUILD_PARALLEL_LEVEL=1"),
        ("ERROR: No matching distribution found for ctranslate2==4.8.5", "no build of ctranslate2==4.8.5"),
        ("localvoice 0.1.0 requires soxr, which is not installed.", "make lock"),
    ],
)
def test_a_known_failure_is_told_in_plain_words(said: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(steps.Failed) as failed:
        steps.run("packages", shell(f"echo '{said}'; exit 1"), tmp_path / "log")
    assert advice in str(failed.value)
    assert str(tmp_path / "log") in str(failed.value)


def test_an_unknown_failure_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(steps.Failed, match=r"packages failed(?s:.*)strange thing"):
        steps.run("packages", shell("echo strange thing; exit 3"), tmp_path / "log")


def test_an_early_warning_is_not_taken_for_the_cause(tmp_path: Path) -> None:
    script = "echo 'Retrying: NewConnectionError'; seq 100; echo 'error: no such type'; exit 1"
    with pytest.raises(steps.Failed, match="no such type"):
        steps.run("packages", shell(script), tmp_path / "log")


def test_stopping_ends_the_commands_children(tmp_path: Path) -> None:
    def stop(line: str) -> str | None:
        raise KeyboardInterrupt

    pid_file = tmp_path / "pid"
    with pytest.raises(KeyboardInterrupt):
        steps.run(
            "build", shell(f"sleep 60 & echo $! > {pid_file}; echo up; wait"), tmp_path / "log", status=stop
        )
    child = int(pid_file.read_text())
    for _ in range(100):
        stat = Path(f"/proc/{child}/stat")
        if not stat.exists() or ") Z " in stat.read_text():
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the command's child went on")


def test_progress_counts_packages_and_compiled_files() -> None:
    count = install.PipStatus(3)
    assert count("Ignoring colorama: markers 'sys_platform == \"win32\"' don't match") == "1 of 3  colorama"
    assert count("Collecting annotated-doc==0.0.7 (from -r x.lock)") == "2 of 3  annotated-doc"
    assert count("  Downloading annotated_doc-0.0.7-py3-none-any.whl") is None
    assert count("Processing ./index/av-18.1.0-cp311-cp311-linux_x86_64.whl (from -r x)") == "3 of 3  av"
    assert build_llama._status("  [41/82] /usr/bin/c++ -DGGML -o x.o") == " 50%  file 41 of 82"


def test_pip_keeps_the_users_mirror_and_installs_nowhere_else() -> None:
    env = install.pip_environment(
        {
            "PIP_INDEX_URL": "mirror",
            "HTTPS_PROXY": "proxy",
            "PIP_TARGET": "/x",
            "PYTHONPATH": "/y",
            "PIP_USER": "1",
        }
    )
    assert env["PIP_INDEX_URL"] == "mirror" and env["HTTPS_PROXY"] == "proxy"
    assert "PIP_TARGET" not in env and "PYTHONPATH" not in env
    assert env["PIP_USER"] == "0"


# llama-cpp-python's wheel


def test_the_key_follows_what_changes_the_build() -> None:
    key = Build.key(False, "avx2 fma", {})
    assert key == Build.key(False, "avx2 fma", {"HOME": "/elsewhere"})
    others = [
        Build.key(True, "avx2 fma", {}),
        Build.key(False, "avx2 avx512f fma", {}),
        Build.key(False, "avx2 fma", {"CMAKE_ARGS": "-DGGML_BLAS=ON"}),
        Build.key(False, "avx2 fma", {"CXX": "clang++"}),
    ]
    assert len({key, *others}) == 5


def test_only_instruction_sets_count_as_cpu_features(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "model name\t: X\nflags\t\t: fpu sse4_2 ibrs avx512_vnni md_clear avx2 bmi2\nbugs\t:\n"
    )
    assert build_llama.cpu_features(cpuinfo) == "avx2 avx512_vnni bmi2 sse4_2"
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n")
    assert build_llama.cpu_features(cpuinfo) == "asimd asimddp fp i8mm"


def test_the_cache_lies_outside_the_checkout(tmp_path: Path) -> None:
    assert build_llama.cache_folder({"LOCALVOICE_CACHE": str(tmp_path)}) == tmp_path
    assert build_llama.cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "localvoice"
    assert build_llama.cache_folder({}) == Path.home() / ".cache" / "localvoice"


def test_a_missing_compiler_is_told_with_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with pytest.raises(steps.Failed, match=r"C\+\+ compiler(?s:.*)build-essential(?s:.*)xcode-select"):
        build_llama.check_tools(Build(False, tmp_path / "wheels" / "x"))


def test_a_gpu_build_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_llama, "_compiles", lambda command: True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CUDACXX", raising=False)
    with pytest.raises(steps.Failed, match="NVIDIA driver.*CUDA toolkit.*CUDA=0"):
        build_llama.check_tools(Build(True, tmp_path / "wheels" / "x"))


def test_a_full_disk_is_told_before_compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_llama, "_compiles", lambda command: True)
    monkeypatch.setattr(build_llama, "BUILD_SPACE", 10**18)
    with pytest.raises(steps.Failed, match="LOCALVOICE_CACHE"):
        build_llama.check_tools(Build(False, tmp_path / "wheels" / "x"))


Recorded = list[tuple[list[str], Mapping[str, str]]]


@pytest.fixture
def fake_pip(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Every command of a build, recorded instead of run; `pip wheel` leaves a wheel."""
    commands: Recorded = []

    def run(
        title: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None, *_: Any
    ) -> None:
        words = [str(part) for part in command]
        commands.append((words, env or {}))
        if "wheel" in words:
            folder = Path(words[words.index("-w") + 1])
            folder.mkdir()
            (folder / "llama_cpp_python-0-py3-none-any.whl").write_text("new")

    monkeypatch.setattr(build_llama, "run", run)
    monkeypatch.setattr(install, "run", run)
    return commands


def test_a_wheel_is_built_from_locked_sources_and_kept(tmp_path: Path, fake_pip: Recorded) -> None:
    build = Build(True, tmp_path / "wheels" / "build")
    assert build.wheel is None
    made = build_llama.make_wheel(build, {"PATH": "/bin"}, tmp_path / "log")
    assert build.wheel == made and made.read_text() == "new"
    assert [each.name for each in build.folder.parent.iterdir()] == ["build"], "scratch is left behind"
    installs = [command for command, _ in fake_pip if {"install", "wheel"} & set(command)]
    assert len(installs) == 2 and all("--require-hashes" in command for command in installs)
    compiled = fake_pip[-1][1]
    assert "-DGGML_CUDA=ON" in compiled["SKBUILD_CMAKE_ARGS"].split(";")
    assert compiled["PATH"].endswith("/env/bin:/bin")


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty stand-in for .venv."""
    folder = tmp_path / "venv"
    folder.mkdir()
    monkeypatch.setattr(install, "INSTALLED_BUILD", folder / ".llama-build")
    monkeypatch.setattr(install, "LOG", folder / "log")
    return folder


def kept_build(folder: Path) -> Build:
    build = Build(False, folder / "wheels" / "build")
    build.folder.mkdir(parents=True)
    (build.folder / "llama_cpp_python-0-py3-none-any.whl").write_text("old")
    return build


def test_a_kept_wheel_is_not_compiled_again(
    tmp_path: Path, venv: Path, fake_pip: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "probe", lambda *_: None)
    build = kept_build(tmp_path)
    install.install_llama(build, {})
    assert [command for command, _ in fake_pip if "wheel" in command] == []
    assert fake_pip[-1][0][-1] == str(build.wheel)
    fake_pip.clear()
    install.install_llama(build, {})
    assert fake_pip == [], "an installed build is not installed again"


def test_a_kept_wheel_that_does_not_load_is_compiled_again(
    tmp_path: Path, venv: Path, fake_pip: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter(["killed by signal 4", None])
    monkeypatch.setattr(install, "probe", lambda *_: next(faults))
    monkeypatch.setattr(install, "check_tools", lambda build: None)
    build = kept_build(tmp_path)
    install.install_llama(build, {"PATH": "/bin"})
    assert build.wheel is not None and build.wheel.read_text() == "new"


def test_a_new_wheel_that_does_not_load_is_an_error(
    tmp_path: Path, venv: Path, fake_pip: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "probe", lambda *_: "killed by signal 4")
    with pytest.raises(steps.Failed, match="does not load: killed by signal 4"):
        install.install_llama(Build(False, tmp_path / "wheels" / "build"), {"PATH": "/bin"})
    assert not install.INSTALLED_BUILD.exists()


def test_the_probe_survives_a_library_that_kills_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = Path(sys.executable)
    monkeypatch.setattr(build_llama, "PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    assert build_llama.probe(python, False, os.environ) == "killed by signal 4"
    monkeypatch.setattr(build_llama, "PROBE", "import no_such_library")
    assert "no_such_library" in (build_llama.probe(python, False, os.environ) or "")
    monkeypatch.setattr(build_llama, "PROBE", "pass")
    assert build_llama.probe(python, False, os.environ) is None
