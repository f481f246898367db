"""Work that nobody waits for any more."""

import asyncio
from typing import Any


class Dropped:
    """Tasks that were cancelled. A model leaves its work only after a while, and is not closed before."""

    def __init__(self) -> None:
        self._ending: set[asyncio.Task[Any]] = set()

    def add(self, task: asyncio.Task[Any] | None) -> None:
        """Cancel it, if there is one. If it has failed already, that concerns nobody any more."""
        if task is not None:
            self._ending.add(task)
            task.cancel()
            task.add_done_callback(self._forget)

    async def ended(self) -> None:
        """Wait until all of them have."""
        if self._ending:
            await asyncio.wait(self._ending)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._ending.discard(task)
        if not task.cancelled():
            task.exception()
