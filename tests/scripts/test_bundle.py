"""The air-gap bundle: made, installed and used with the network off, and refused when it is damaged."""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bundle
import pytest
from build_llama import Build
from locked import locked
from steps import Failed

from benchmarks.clips import QUESTIONS, spoken
from localvoice.audio.wav import wav_bytes
from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from tests.support.loopback import NotPossible, loopback_only
from tests.support.small_wheel import write_wheel

COMMAND = "import os, sys\ndef main(): print(os.environ['LOCALVOICE_PROFILE'], *sys.argv[1:])\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A bundle like the real one, with one small package and one small model."""
    folder = tmp_path / "a bundle"
    (folder / "wheels").mkdir(parents=True)
    (folder / "models" / "voice").mkdir(parents=True)
    (folder / "models" / "voice" / "voice.onnx").write_bytes(b"weights")
    write_wheel(folder / "wheels", "localvoice", COMMAND)
    bundle.seal(folder, "tiny")
    return folder


def install(folder: Path, target: Path, *prefix: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the bundle's installer as a user on a fresh machine would."""
    return run(*prefix, "sh", str(folder / "install.sh"), str(target), **environment)


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    away = ("PYTHONPATH", "CI")
    inherited = {name: value for name, value in os.environ.items() if name not in away}
    env = inherited | {"PYTHON": sys.executable} | environment
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_bundle_installs_and_says_how_to_start_it(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "in here"
    done = install(small, target)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"Installed. Start it: {target}/localvoice serve"
    assert (target / "models" / "voice" / "voice.onnx").read_bytes() == b"weights"
    assert run(str(target / "localvoice"), "serve").stdout == "tiny serve\n"
    assert run(str(target / "localvoice"), LOCALVOICE_PROFILE="mine").stdout == "mine\n"


@pytest.mark.parametrize(
    "name", ["models/voice/voice.onnx", "wheels/localvoice-1.0-py3-none-any.whl", "requirements.txt"]
)
@pytest.mark.parametrize("missing", [False, True], ids=["damaged", "missing"])
def test_a_damaged_file_is_refused_by_name(small: Path, tmp_path: Path, name: str, missing: bool) -> None:
    if missing:
        (small / name).unlink()
    else:
        (small / name).write_bytes((small / name).read_bytes() + b"x")
    target = tmp_path / "in here"
    done = install(small, target)
    assert done.returncode == 1
    assert name in done.stderr and "damaged" in done.stderr
    assert not target.exists()


def test_a_package_that_the_requirements_do_not_name_so_is_refused(small: Path, tmp_path: Path) -> None:
    """An attacker alters a wheel and its line in the sums."""
    changed = write_wheel(small / "wheels", "localvoice", COMMAND + "# altered\n")
    sums = small / bundle.SUMS
    lines = [line for line in sums.read_text().splitlines() if changed.name not in line]
    lines.append(f"{hashlib.sha256(changed.read_bytes()).hexdigest()}  wheels/{changed.name}")
    sums.write_text("\n".join(lines) + "\n")
    done = install(small, tmp_path / "in here")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "in here" / "localvoice").exists()


def test_another_python_or_machine_is_refused(small: Path, tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 3.9\n")
    old.chmod(0o755)
    done = install(small, tmp_path / "in here", PYTHON=str(old))
    assert done.returncode == 1 and "is 3.9" in done.stderr and "PYTHON=..." in done.stderr
    script = small / "install.sh"
    script.write_text(script.read_text().replace("-x86_64", "-vax").replace("-aarch64", "-vax"))
    done = install(small, tmp_path / "in here")
    assert done.returncode == 1 and "This bundle is for Linux-vax" in done.stderr


def test_the_licences_of_all_packages_go_along(tmp_path: Path) -> None:
    bundle.put_licences("tiny", tmp_path / "licences")
    texts = (tmp_path / "licences" / "piper-tts").rglob("COPYING*")
    assert "GNU GENERAL PUBLIC LICENSE" in next(texts).read_text()
    lines = (tmp_path / "licences" / "LICENCES.txt").read_text().splitlines()
    assert "whisper-tiny.en: MIT" in lines
    assert {line.partition(" ")[0] for line in lines} >= {package.name for package in locked()}
    bare = {line.partition(" ")[0] for line in lines if "holds no licence file" in line}
    with_files = {path.name for path in (tmp_path / "licences").iterdir() if path.is_dir()}
    assert {package.name for package in locked()} == bare | with_files
    assert not bare & with_files


def test_without_a_compiled_llama_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALVOICE_CACHE", str(tmp_path))
    with pytest.raises(Failed, match="make install"):
        bundle.put_wheels(tmp_path / "wheels", False, tmp_path / "log")


@pytest.fixture
def prefix() -> list[str]:
    """For commands with the network off; skips where the real bundle can't be made."""
    try:
        ready(load_catalog(), "tiny", models_folder())
        found = loopback_only()
    except (NotPossible, ModelFilesError) as reason:
        pytest.skip(str(reason))
    if Build.here(False).wheel is None:
        pytest.skip("llama-cpp-python has not been compiled here: make install")
    return found


@pytest.fixture
def question(prefix: list[str], tmp_path: Path) -> Path:
    """A spoken question, as a file."""
    (clip,) = asyncio.run(spoken("tiny", QUESTIONS[:1]))
    path = tmp_path / "question.wav"
    path.write_bytes(wav_bytes(clip))
    return path


@pytest.mark.integration
def test_the_real_bundle_talks_with_the_network_off(
    prefix: list[str], question: Path, tmp_path: Path
) -> None:
    try:
        folder = bundle.bundle("tiny", False, tmp_path / "dist")
    except Failed as failure:
        if "index could not be reached" in str(failure):
            pytest.skip(str(failure))
        raise
    assert [path.name for path in (tmp_path / "dist").iterdir()] == [folder.name]
    assert folder.name.startswith("localvoice-") and "-tiny-" in folder.name
    licences = {path.name for path in (folder / "licences").iterdir()}
    assert {"LICENSE", "LICENCES.txt", "piper-tts", "aiortc", "llama-cpp-python"} <= licences
    assert (folder / "sbom-tiny.cdx.json").is_file()
    target, home = tmp_path / "installed", tmp_path / "home"
    done = install(folder, target, *prefix, HOME=str(home))
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(tmp_path / "dist")  # what was installed needs the bundle no more
    command = [*prefix, str(target / "localvoice")]
    listed = run(*command, "models", "list", HOME=str(home), COLUMNS="200")
    assert listed.returncode == 0 and str(target / "models") in listed.stdout, listed.stderr
    answered = run(*command, "turn", str(question), HOME=str(home), LOCALVOICE_AGENT_MAX_TOKENS="20")
    assert answered.returncode == 0, answered.stdout + answered.stderr
    assert "You said:  What is the capital of France?" in answered.stdout
    assert "Reply:" in answered.stdout and "first sound" in answered.stdout
    shutil.rmtree(target)  # pytest keeps the folders of some runs, and this one holds a gigabyte
