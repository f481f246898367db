"""When nobody waits for the models: the time for work that may wait."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from localvoice.conversation.floor_events import State, Transition


class Quiet:
    """Shared by all sessions of a process, since they share the models."""

    def __init__(self) -> None:
        self._busy: set[object] = set()
        self._background: set[asyncio.Task[Any]] = set()

    def disturb(self, who: object) -> None:
        """A user speaks, or waits for an answer: work in the background is cancelled."""
        self._busy.add(who)
        for task in self._background:
            task.cancel()

    def follow(self, who: object, transition: Transition) -> None:
        """A session's floor is idle, or isn't."""
        if transition.target is State.IDLE:
            self.calm(who)
        else:
            self.disturb(who)

    def calm(self, who: object) -> None:
        """This one needs nothing any more."""
        self._busy.discard(who)

    async def use(self, work: Coroutine[Any, Any, object]) -> bool:
        """Do this while it is quiet. False if somebody needed the models: it was cancelled or not begun."""
        if self._busy:
            work.close()
            return False
        task = asyncio.create_task(work, name="background")
        self._background.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._background.discard(task)
            task.cancel()
            await asyncio.wait([task])  # also when we are cancelled: nothing is left running
        if task.cancelled():
            return False
        task.result()
        return True
