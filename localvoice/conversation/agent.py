"""An agent: what all conversations of a process share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from localvoice.application.hooks import Hooks
from localvoice.config import Settings
from localvoice.contract.metrics import Metrics, NoMetrics
from localvoice.conversation.director import Director, DirectorMaker, PlainDirector
from localvoice.conversation.moves import State, Transition
from localvoice.engines.types import ChatMessage, Engines
from localvoice.tools import ToolRegistry


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
        """Do this while no session needs the models. False if one did, and it was cancelled or not begun."""
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


@dataclass(frozen=True)
class Agent:
    """Models, settings, and all that an application brings along."""

    settings: Settings
    """Every setting of the process."""
    engines: Engines
    """The loaded models."""
    hooks: Hooks = field(default_factory=Hooks)
    """The application's own code at each step."""
    metrics: Metrics = field(default_factory=NoMetrics)
    """Where figures go."""
    tools: ToolRegistry = field(default_factory=ToolRegistry)
    """What the LLM may call; a playbook's stages pick from them."""
    make_director: DirectorMaker | None = None
    """Makes the director of each conversation; None if the system prompt and all tools always apply."""
    delete_recordings: Callable[[str], Awaitable[bool]] | None = None
    """Deletes the sound that was saved of the session with this id, and says whether it could."""
    quiet: Quiet = field(default_factory=Quiet)
    """Knows when no session needs the models."""

    def direct(self, session_id: str) -> Director:
        """The director of a new conversation."""
        return self._plain_director if self.make_director is None else self.make_director(session_id)

    @cached_property
    def _plain_director(self) -> PlainDirector:
        return PlainDirector(self.settings.agent, self.tools)

    async def warm_up(self) -> None:
        """Have the LLM read what every conversation begins with. Raises its `VoiceError`."""
        brief = self.direct("warm-up").brief()
        await self.engines.llm.prepare([ChatMessage("system", brief.system_prompt)], brief.offer())
