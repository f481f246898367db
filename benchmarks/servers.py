"""Servers in processes of their own: one as a user starts it, and others of this repository."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SCRIPTED: Final = "tests.support.fake_server"
"""Serves with scripted engines."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
"""Of the CPU clock in a second."""


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    address: str
    """As it printed it: http://…"""
    pid: int

    def cpu_seconds(self) -> float | None:
        """CPU time that the process has taken so far; None where the system has no /proc."""
        stat = Path(f"/proc/{self.pid}/stat")
        return cpu_seconds(stat.read_text()) if stat.exists() else None

    def peak_memory_mb(self) -> float | None:
        """The largest resident size so far; None where the system has no /proc."""
        status = Path(f"/proc/{self.pid}/status")
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
        return round(int(found[1]) / 1000, 1) if found else None


def cpu_seconds(stat: str) -> float:
    """User and system time of a line of /proc/<pid>/stat, in seconds."""
    # The second field is the program's name in brackets, and may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@asynccontextmanager
async def server(profile: str, **environment: str) -> AsyncIterator[Server]:
    """A server that is ready to talk, ended when the block is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "localvoice.cli", "serve", "--profile", profile, "--port", "0"),
        *("--log-level", "warning"),
        stdout=PIPE,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            if found := re.search(rb"http://\S+", line):
                yield Server(found[0].decode(), process.pid)
                break
        else:
            sys.exit("The server did not start; its message is above.")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@asynccontextmanager
async def program(module: str, *arguments: str, quiet: bool = False) -> AsyncIterator[tuple[Process, str]]:
    """A module of this repository as a program, and the first line that it prints; ended with the block.

    The standard error of a `quiet` one isn't shown. Ends this program if the other ends by itself.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL if quiet else None,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        first = (await process.stdout.readline()).decode().strip()
        yield process, first or sys.exit(f"{module} ended by itself. Run `python -m {module}` to see why.")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
