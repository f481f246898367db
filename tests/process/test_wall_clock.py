"""The wall clock is moved by an hour under a real process: only what is shown of the time changes."""

import ast
import asyncio
import os
import shutil
import struct
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest

from tests.support.folders import ROOT, SUPPORT
from tests.support.own_modules import MODULES, PACKAGE
from tests.support.processes import python_process
from tests.support.server_site import Client, Site

HOUR = 3600

SHOWN_OR_KEPT = {
    "observability/stopwatch.py": "hooks get the time of day",
    "conversation/reporting.py": "for people",
    "conversation/conversations.py": "what is on disk outlives every other clock",
    "tools/builtin/wall.py": "what the user asks for",
    "tools/reminders.py": "an alarm is for a time of day",
    "server/certificate.py": "certificates hold dates",
}
"""Files that may look at the wall clock, and why."""
WALL = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "now", "utcnow", "today"}


def looks_at_the_wall_clock(source: str) -> bool:
    """Whether anything of `time` or `datetime` that tells the time of day is used or imported by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in WALL and isinstance(node.value, ast.Name):
            if node.value.id in ("time", "datetime", "date"):
                return True
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            if WALL & {alias.name for alias in node.names}:
                return True
    return False


def test_only_these_files_look_at_the_wall_clock() -> None:
    looking = {
        module.relative_to(PACKAGE).as_posix()
        for module in MODULES
        if looks_at_the_wall_clock(module.read_text())
    }
    assert looking == set(SHOWN_OR_KEPT)


@pytest.mark.parametrize(
    "source", ["import time\ntime.time()", "from time import time_ns", "clock = datetime.now", "date.today()"]
)
def test_a_look_at_the_wall_clock_would_be_seen(source: str) -> None:
    assert looks_at_the_wall_clock(source)
    assert not looks_at_the_wall_clock("import time\ntime.monotonic()\nloop.time()\nnow()")


class Clock:
    """The wall clock of child processes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.move_to(0)
        library = folder / "shim.so"
        compiler = shutil.which("cc")
        if sys.platform != "linux" or compiler is None:
            pytest.skip("needs Linux and a C compiler, to give a process another clock")
        source = SUPPORT / "clock_shim.c"
        subprocess.run([compiler, "-shared", "-fPIC", "-O", str(source), "-o", str(library)], check=True)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._file)}

    def move_to(self, seconds: int) -> None:
        """So far from the true time."""
        if not self._file.exists():
            self._file.write_bytes(bytes(8))
        with self._file.open("r+b") as file:  # the same file: it is mapped
            file.write(struct.pack("=q", seconds))


@asynccontextmanager
async def server(folder: Path, clock: Clock) -> AsyncIterator[Site]:
    paths = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(folder.parent)}
    script = SUPPORT / "moved_clock_server.py"
    own = paths | clock.environment
    async with python_process(str(script), str(folder), stdin=PIPE, stdout=PIPE, env=own) as process:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            url = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession() as http:
            yield Site(url, http)
        async with asyncio.timeout(10):
            await process.communicate(b"end\n")
        assert process.returncode == 0


async def seconds_ahead(site: Site) -> float:
    async with site.http.get(site.url + "/health") as response:
        return parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()


async def answered(client: Client, text: str) -> None:
    await client.send("text", text=text)
    await client.expect("tts-complete")
    await client.sync()


async def keep_pinging(client: Client) -> None:
    """It is let go after 3 s without."""
    while True:
        await client.send("ping", timestamp=0)
        await asyncio.sleep(0.3)


async def test_moved_amid_a_conversation(tmp_path: Path) -> None:
    clock, folder = Clock(tmp_path), tmp_path / "sessions"
    async with server(folder, clock) as site:
        async with site.client() as client:
            pings = asyncio.create_task(keep_pinging(client))
            for moved in (HOUR, -HOUR):
                await answered(client, "Set a timer of two seconds.")
                begun = time.monotonic()
                clock.move_to(moved)
                reply = await client.expect("llm")
                assert "timer of 2 seconds is up" in reply["text"]
                assert time.monotonic() - begun > 0.5, "the timer keeps its time"
                await client.expect("tts-complete")
                assert client.errors() == [] and abs(await seconds_ahead(site) - moved) < 5
            pings.cancel()
        await site.until_alone()
        async with site.client() as again:
            await again.send("reconnect", sessionId=client.received[0]["id"])
            assert (await again.expect("reconnect-ack"))["historyRecovered"] is True

    # Across a restart the wall clock has to do: put right meanwhile, it makes the session an hour too old.
    clock.move_to(0)
    async with server(folder, clock) as site, site.client() as after:
        await after.send("reconnect", sessionId=client.received[0]["id"])
        assert (await after.expect("reconnect-ack"))["success"] is False
        assert after.errors() == ["SESSION_EXPIRED"]
