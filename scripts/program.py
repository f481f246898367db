"""Programs of ours that run beside a measurement, each in a process of its own."""

import os
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

SCRIPTS: Final = Path(__file__).parent
TESTS: Final = SCRIPTS.parent / "tests"
FAKE_SERVER: Final = TESTS / "e2e" / "fake_server.py"
"""Serves with scripted engines, and prints its address."""


@asynccontextmanager
async def program(path: Path, *arguments: str, quiet: bool = False) -> AsyncIterator[tuple[Process, str]]:
    """The program and the first line that it prints; ended when the block is left.

    What a `quiet` one complains of isn't shown. Ends this program if the other ends by itself.
    """
    process = await create_subprocess_exec(
        *(sys.executable, str(path), *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL if quiet else None,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (SCRIPTS, TESTS, TESTS.parent)))},
    )
    assert process.stdout is not None
    try:
        first = (await process.stdout.readline()).decode().strip()
        yield process, first or sys.exit(f"{path.name} ended by itself: run it by hand to see why.")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
