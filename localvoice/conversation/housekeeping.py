"""Between turns: what was said is saved, what doesn't fit is noted, the next prompt is read ahead, stages run
out of time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import Forgotten
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation, note_room
from localvoice.conversation.moves import FloorTransition, State
from localvoice.conversation.phrases.forgetting import ForgetRequest, outcome
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.speculation import Speculation
from localvoice.languages.templates import forget_utterances

log = logging.getLogger(__name__)


class Housekeeping:
    """What a session does for one conversation while no one speaks."""

    def __init__(
        self,
        agent: Agent,
        conversation: Conversation,
        reporter: Reporter,
        speculation: Speculation,
        save: Callable[[Conversation], Awaitable[bool]] | None,
    ) -> None:
        """`save` puts the conversation away for a restart of the process, and says whether it could."""
        self._agent = agent
        self._conversation = conversation
        self._reporter = reporter
        self._speculation = speculation
        self._save = save
        self._tidying: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """A turn has ended, or the session has begun. The next turn may follow at once."""
        if self._tidying is not None:
            self._tidying.cancel()
        # Now, not when the disk has answered: then the next turn may wait for its tools.
        limit = self._agent.settings.agent.history_messages
        self._conversation.history.make_room(limit, note_room(self._agent))
        self._tidying = asyncio.create_task(self._tidy(), name="preparation")

    def follow(self, transition: FloorTransition) -> None:
        """A stage's time runs out only while the floor is idle: what is asked in it is answered in it."""
        if self._watching is not None:
            self._watching.cancel()
        if transition.target is State.IDLE:
            self.watch()

    def watch(self) -> None:
        self._watching = asyncio.create_task(self._watch_stage(), name="stage timeout")

    async def save(self) -> bool:
        """Put the conversation away; whether that could be done, where it is to be."""
        return self._save is None or await self._save(self._conversation)

    async def forget(self, wanted: ForgetRequest) -> str:
        """Forget it in the history, on disk, in recordings and in the LLM; what to say then."""
        agent, conversation = self._agent, self._conversation
        count = conversation.forget(wanted.everything)
        # What still reads or sums up the past ends first, or it would have the LLM read it again.
        await self.close()
        await self._speculation.close()
        saved = await self.save()
        if wanted.everything and agent.delete_recordings is not None:
            saved = await agent.delete_recordings(conversation.id) and saved
        await agent.engines.llm.forget()
        self._reporter.emit(Forgotten(count, wanted.everything, wanted.said))
        return outcome(wanted, count, saved, logged=agent.settings.monitor.transcripts)

    async def close(self) -> None:
        forget_utterances()
        tasks = [task for task in (self._tidying, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _tidy(self) -> None:
        await self.save()
        try:
            await self._conversation.make_room(self._agent)
        except VoiceError as error:
            log.debug("no room was made for the next words: %s", error)  # the turn itself will tell
        await self._speculation.read_ahead(self._conversation)

    async def _watch_stage(self) -> None:
        director = self._conversation.director
        while (seconds := director.seconds_left()) is not None:
            await asyncio.sleep(seconds)
            change = await director.on_timeout()
            self._reporter.tell_judgement(self._conversation, change)
            if change is None:
                return
            if change.say:
                self._conversation.announce(change.say)
