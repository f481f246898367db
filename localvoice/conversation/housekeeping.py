"""Between turns: old messages are summed up, the next prompt is read ahead, stages run out of time."""

import asyncio
from collections.abc import Awaitable, Callable

from localvoice.conversation.compression import compress
from localvoice.conversation.director import StageChange
from localvoice.conversation.surroundings import Surroundings


class BetweenTurns:
    """What a session does while nobody waits for it."""

    def __init__(
        self,
        around: Surroundings,
        save: Callable[[], Awaitable[None]],
        on_stage_change: Callable[[StageChange], None],
    ) -> None:
        self._around = around
        self._save = save
        self._on_stage_change = on_stage_change
        self._tidying: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """A turn has ended, or the session has begun. The next turn may follow at once."""
        if self._tidying is not None:
            self._tidying.cancel()
        # Now, not when the disk has answered: then the next turn may wait for its tools.
        settings = self._around.agent.settings.agent
        self._around.conversation.history.make_room(settings.history_messages, settings.summarise)
        self._tidying = asyncio.create_task(self._tidy(), name="preparation")

    def watch(self) -> None:
        """The user doesn't speak and no turn runs: now the stage's time may run out."""
        self.unwatch()
        self._watching = asyncio.create_task(self._watch_stage(), name="stage timeout")

    def unwatch(self) -> None:
        """The user speaks, or a turn begins: the stage stays at least until that is answered."""
        if self._watching is not None:
            self._watching.cancel()

    async def close(self) -> None:
        """End all of it."""
        tasks = [task for task in (self._tidying, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _tidy(self) -> None:
        agent, conversation = self._around.agent, self._around.conversation
        limit = agent.settings.agent.history_messages
        await self._save()
        await self.read_ahead()  # first: the user may speak at once
        if agent.settings.agent.summarise and conversation.history.passage(limit) is not None:
            await agent.quiet.use(compress(conversation.history, agent.engines.llm, limit))
            await self.read_ahead()

    async def read_ahead(self) -> None:
        """Have the LLM read what its next prompt begins with, while nobody waits for it."""
        brief = self._around.conversation.director.brief()
        offer = brief.offer()
        await self._around.draft.read(self._around.prompt(brief, offer), offer)

    async def _watch_stage(self) -> None:
        director = self._around.conversation.director
        while (seconds := director.seconds_left()) is not None:
            await asyncio.sleep(seconds)
            change = await director.on_timeout()
            for problem in director.take_problems():
                self._around.report(problem, None)
            if change is None:
                return
            self._on_stage_change(change)
