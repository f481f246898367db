"""Processes that end with the test that started them."""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def python_process(*arguments: str, **options: Any) -> AsyncIterator[Process]:
    """Python with these arguments; killed at the end of the block if it hasn't ended by then."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
