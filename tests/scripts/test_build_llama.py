"""llama-cpp-python's wheel: built, kept and installed."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import build_llama
import install
import pytest
import steps
from build_llama import Build


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


def test_the_key_follows_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    key = Build.key(False, "avx2 fma", {})
    monkeypatch.setattr(build_llama, "LEAN_OPTIONS", ("-DLLAVA_BUILD=OFF",))
    assert Build.key(False, "avx2 fma", {}) != key


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
    assert len(installs) == 2 and all(
        {"--require-hashes", "--no-deps"} <= set(command) for command in installs
    )
    assert fake_pip[2][0][-1] == "check", "what the lock lacks is told before minutes of compiling"
    compiled = fake_pip[-1][1]
    options = {"-DGGML_CUDA=ON", "-DLLAVA_BUILD=ON", "-DMTMD_VIDEO=OFF"}
    assert options <= set(compiled["SKBUILD_CMAKE_ARGS"].split(";"))
    assert compiled["PATH"].endswith("/env/bin:/bin")


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty stand-in for .venv."""
    folder = tmp_path / "venv"
    folder.mkdir()
    monkeypatch.setattr(install, "INSTALLED_BUILD", folder / ".llama-build")
    monkeypatch.setattr(install, "LOG", folder / "log")
    return folder


def test_the_old_name_of_the_distribution_is_removed_once(
    tmp_path: Path, fake_pip: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "VENV", tmp_path)
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "localvoice_agent-0.2.0.dist-info").mkdir(parents=True)
    install.drop_old_name({})
    assert fake_pip == []
    (packages / "localvoice-0.2.0.dist-info").mkdir()
    install.drop_old_name({})
    ((command, _),) = fake_pip
    assert command[-3:] == ["uninstall", "--yes", "localvoice"]


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


def test_a_build_without_the_library_for_images_does_not_pass(tmp_path: Path) -> None:
    package = tmp_path / "llama_cpp"
    package.mkdir()
    (package / "__init__.py").write_text(
        "def llama_backend_init(): pass\ndef llama_print_system_info(): return b''\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert "mtmd_cpp" in (build_llama.probe(Path(sys.executable), False, env) or "")
    (package / "mtmd_cpp.py").write_text("def mtmd_default_marker(): pass\n")
    assert build_llama.probe(Path(sys.executable), False, env) is None


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
