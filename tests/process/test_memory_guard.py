"""A server that crashes leaves no memory behind, and no other program of the user's looks into it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localvoice import LocalVoice, Settings, cli
from localvoice.process import configure

CHILD = """
import os, resource, sys
if hasattr(resource, "RLIMIT_CORE"):  # as generous as the system lets it be
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
import localvoice.api, localvoice.cli, localvoice.process.memory
if "guarded" in sys.argv:
    localvoice.process.memory.guard_memory()
secret = "plum" * 1000
print("ready", flush=True)
sys.stdin.readline()
os.abort()
"""


def child(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def crash(process: "subprocess.Popen[str]") -> int:
    """Let it abort; how it ended, as the system tells it."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -os.WTERMSIG(status)
    return status


def test_a_crash_leaves_no_core_file(tmp_path: Path) -> None:
    status = crash(child("guarded", folder=tmp_path))
    assert os.WIFSIGNALED(status) and not os.WCOREDUMP(status), "the kernel says that it dumped nothing"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")
def test_the_memory_belongs_to_nobody_else_and_the_figures_are_readable(tmp_path: Path) -> None:
    process = child("guarded", folder=tmp_path)
    files = Path(f"/proc/{process.pid}")
    try:
        assert (files / "limits").read_text().split("Max core file size")[1].split()[:2] == ["0", "0"]
        assert (files / "mem").stat().st_uid == 0, "the kernel gives what is not dumpable to root"
        if os.getuid():
            with pytest.raises(PermissionError):
                (files / "mem").open("rb")
        # benchmarks/programs.py reads these.
        assert (files / "stat").read_text() and "VmHWM" in (files / "status").read_text()
    finally:
        crash(process)


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")
def test_an_application_that_imports_the_library_decides_for_itself(tmp_path: Path) -> None:
    process = child(folder=tmp_path)
    try:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        soft, hard = limits.split("Max core file size")[1].split()[:2]
        assert soft == hard, "nothing was forbidden"
    finally:
        process.kill()
        process.communicate()


class _Guarded(Exception):
    """Raised in place of guarding the process of these tests."""


@pytest.mark.parametrize("begin", [cli.main, LocalVoice(Settings()).run])
def test_the_command_line_and_run_are_guarded_before_anything_else(
    begin: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def guard() -> None:
        raise _Guarded

    monkeypatch.setattr(configure, "guard_memory", guard)
    monkeypatch.setattr(cli, "app", lambda: pytest.fail("it is too late"))
    with pytest.raises(_Guarded):
        begin()
