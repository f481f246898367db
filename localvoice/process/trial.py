"""A process of its own in which a model is tried: what crashes or hangs there is a message here.

It runs `python -m MODULE`. The first line on its standard input is the request, and each line on its standard
output an answer. It ends with its parent, whatever it hangs in.
"""

import asyncio
import os
import resource
import signal
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

import localvoice
from localvoice.machine import memory_limit


@asynccontextmanager
async def trial(module: str, request: bytes) -> AsyncIterator[Process]:
    """The process, with its request; it has ended when the block is left."""
    home = str(Path(localvoice.__file__).parents[1])
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", module),  # -P: nothing is imported from the user's folder
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert child.stdin is not None
    try:
        child.stdin.write(request + b"\n")
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        child.stdin.close()


def how_it_ended(status: int) -> str:
    """The exit status of a process in words."""
    if status >= 0:
        return f"exit code {status:#x}" if status > 0xFF else f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {-status}"


def begin_trial() -> tuple[TextIO, bytes]:
    """In that process: where the answers go, and the request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core dump of gigabytes
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what native code prints is no answer
    request = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return answers, request


def limit_memory(more: int | None) -> None:
    """In that process: let it take so many bytes on top of what it has, and never more than the machine has.

    The limit counts what is written to, not files that are mapped. What a GPU's driver reserves counts too,
    and is a multiple of what is used: None is for there, where only the machine's memory limits.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = min(machine, memory_limit() or machine)
    if more is not None:
        most = min(most, _memory_now() + more)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or most <= hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _memory_now() -> int:
    """Bytes of this process that the limit counts; 0 where the system doesn't tell."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line[:7] == "VmData:"), 0)


def _end_with_parent() -> None:
    """The parent never writes a second line, so anything that comes is its end."""
    sys.stdin.buffer.read(1)
    os._exit(1)
