"""A server in a process of its own, to be ended by signals."""

import asyncio
import os
import re
import signal
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.folders import ROOT, SUPPORT
from tests.support.processes import python_process

AT_ONCE_SECONDS = 1.0


@dataclass
class Server:
    """A process, and what it has printed so far."""

    process: Process
    printed: str = ""
    told: float = field(default=0.0, init=False)

    async def until(self, pattern: str) -> str:
        """Read what it prints until there is this."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            while (found := re.search(pattern, self.printed)) is None:
                more = await self.process.stdout.read(1000)
                assert more, f"it ended before it printed {pattern}: {self.printed}"
                self.printed += more.decode()
        return found[0]

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.told = time.monotonic()

    async def ended(self) -> tuple[int, float]:
        """Its exit code, and the seconds since it was told to end."""
        rest, _ = await asyncio.wait_for(self.process.communicate(), 30)
        took = time.monotonic() - self.told
        self.printed += rest.decode()
        assert "Traceback" not in self.printed, self.printed
        assert self.process.returncode is not None
        return self.process.returncode, took


@asynccontextmanager
async def running(
    *arguments: str, program: Path = SUPPORT / "staged_process.py", environment: dict[str, str] | None = None
) -> AsyncIterator[Server]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    own = kept | {"PYTHONPATH": str(ROOT)} | (environment or {})
    async with python_process(str(program), *arguments, stdout=PIPE, stderr=STDOUT, env=own) as process:
        yield Server(process)
