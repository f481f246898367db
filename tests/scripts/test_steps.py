"""Running a step of the installation: log, progress, failures in plain words, pip's environment."""

import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import build_llama
import install
import pytest
import steps


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
    count = install.packages_of(3)
    assert count("Ignoring colorama: markers 'sys_platform == \"win32\"' don't match") == "1 of 3  colorama"
    assert count("Collecting annotated-doc==0.0.7 (from -r x.lock)") == "2 of 3  annotated-doc"
    assert count("  Downloading annotated_doc-0.0.7-py3-none-any.whl") is None
    assert count("Processing ./index/av-18.1.0-cp311-cp311-linux_x86_64.whl (from -r x)") == "3 of 3  av"
    assert build_llama.compiling("  [41/82] /usr/bin/c++ -DGGML -o x.o") == " 50%  file 41 of 82"


def test_pip_keeps_the_users_mirror_and_installs_nowhere_else() -> None:
    env = steps.pip_environment(
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
