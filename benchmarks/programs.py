"""Programs in processes of their own, each of which prints its address once it is ready."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
READY_SECONDS: Final = 180.0
END_SECONDS: Final = 20.0
_TAIL: Final = 25
"""Lines of a log that are shown of a program that failed."""


class ProgramFailed(RuntimeError):
    """A program that ended by itself or was never ready; the message holds the end of its log."""


@dataclass
class Program:
    process: Process
    log: Path | None
    """What it writes to its standard error; None if that is shown at once."""
    address: str = ""
    """As it printed it: http://…"""
    printed: list[str] = field(default_factory=list)
    """Its lines before the address."""

    async def line(self) -> bytes:
        """The next line that it prints; empty at its end."""
        assert self.process.stdout is not None
        return await self.process.stdout.readline()

    def check(self) -> None:
        """Raise `ProgramFailed` if it has ended."""
        if self.process.returncode is not None:
            raise self.failure(f"A program ended with code {self.process.returncode}.")

    def failure(self, what: str) -> ProgramFailed:
        log = self.log.read_text(errors="replace").splitlines() if self.log else ["(its log is above)"]
        return ProgramFailed("\n".join([f"{what} The end of what it said:", *[*self.printed, *log][-_TAIL:]]))

    def cpu_seconds(self) -> float | None:
        """CPU time that it has taken so far; None where the system has no /proc."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        return cpu_seconds(stat.read_text()) if stat.exists() else None

    def peak_memory_mb(self) -> float | None:
        """The largest resident size so far; None where the system has no /proc."""
        status = Path(f"/proc/{self.process.pid}/status")
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
        return round(int(found[1]) / 1000, 1) if found else None


def cpu_seconds(stat: str) -> float:
    """User and system time of a line of /proc/<pid>/stat, in seconds."""
    # The second field is the program's name in brackets, and may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running(
    *command: str, environment: Mapping[str, str] = os.environ, log: Path | None = None
) -> AsyncIterator[Program]:
    """A program that is ready, ended with the block. Raises `ProgramFailed`."""
    with log.open("wb") if log else nullcontext() as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=errors, env=environment, start_new_session=True
        )
    program = Program(process, log)
    try:
        try:
            async with asyncio.timeout(READY_SECONDS):
                program.address = await _address(program)
        except TimeoutError as late:
            raise program.failure(f"It wasn't ready after {READY_SECONDS:.0f} s.") from late
        yield program
    finally:
        await _end(process)


async def _address(program: Program) -> str:
    while line := await program.line():
        if found := re.search(rb"http://\S+", line):
            return found[0].decode()
        program.printed.append(line.decode(errors="replace").rstrip())
    raise program.failure(f"A program ended with code {await program.process.wait()}.")


async def _end(process: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            # Its group: strace lets go of what it watches when it alone is told to end.
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.communicate(), END_SECONDS)
            return


def serve(profile: str) -> tuple[str, ...]:
    """The command of our server as a user starts it, on a free port."""
    return (sys.executable, "-m", "localvoice.cli", "serve", "--profile", profile, "--port", "0")
