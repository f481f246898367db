"""A reply that is begun in a pause, before it is certain that the user has finished.

Most pauses are the end, and then the first words are ready when that is certain. A draft leaves no trace: no
hook, no caption and no history see it, and a tool that it would call is not run. The turn that answers the
pause is given the draft, with its prompt and its splitter, and goes on with it as if it had begun it itself.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Set
from contextlib import aclosing
from typing import Any, TypeVar

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import VoiceError
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.gates import Gate
from localvoice.conversation.history import History
from localvoice.conversation.listening import Dropped
from localvoice.conversation.manner import spoken
from localvoice.conversation.sentences import Reply, Splitter, Written, written
from localvoice.engines.chat import Thinking
from localvoice.observability.stopwatch import now

log = logging.getLogger(__name__)

T = TypeVar("T")


class Draft:
    """The first pass of the LLM over a turn's prompt, and the sound of its first piece, begun early."""

    def __init__(
        self,
        agent: Agent,
        conversation: Conversation,
        history: History,
        passed: Set[Gate] = frozenset(),
    ) -> None:
        self._agent, self._conversation, self._history, self._passed = agent, conversation, history, passed
        self._manner = conversation.manner
        self.revision = conversation.revision
        """That of the conversation: a draft of a conversation that has changed since is of no use."""
        preparing = conversation.prepare(agent, history, passed=passed)
        self.prepared = asyncio.create_task(preparing, name="draft's prompt")
        """What the LLM is asked. Raises its `VoiceError`."""
        self.splitter = Splitter()  # cuts the reply; the turn goes on with it
        self.first_token: float | None = None  # when the LLM wrote the first text, the event loop's time
        self.first_piece: float | None = None  # when the first piece that can be spoken was whole
        self.sound: AsyncGenerator[AudioFrame, None] | None = None
        """Of the first piece that the splitter gives, once it was begun."""
        self.next: Draft | None = None
        """The pass after this one, where this one asked something apart, and nothing came of it."""
        self._tasks: list[asyncio.Task[Any]] = [self.prepared]  # what is done for it
        self.reply: Reply = self._ahead(self._write())
        """What was written, and what still comes. Hold it in `aclosing()`. Raises the LLM's `VoiceError`."""

    async def _write(self) -> Reply:
        whole = nothing = True
        prepared = await self.prepared
        reply = prepared.asked(self._agent.engines.llm)
        async with aclosing(written(reply, self.splitter)) as items:
            async for item in items:
                nothing = False
                if isinstance(item, Written):
                    self.first_token = self.first_token or now()
                    self._speak(item.pieces)
                else:
                    whole = False
                yield item
        if nothing and prepared.gate is not None:
            passed = self._passed | {prepared.gate}
            self.next = Draft(self._agent, self._conversation, self._history, passed)
        elif whole and self.first_piece is None:
            self._speak([self.splitter.rest.strip()])

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """What is done for it, and for what comes after it."""
        return self._tasks if self.next is None else [*self._tasks, *self.next.tasks]

    def _speak(self, pieces: list[str]) -> None:
        if self.first_piece is None and pieces and pieces[0]:
            self.first_piece = now()
            self.sound = self._ahead(spoken(self._agent.engines.tts, pieces[0], self._manner))

    def _ahead(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """The same items, read before they are asked for. Closing it stops the reading."""
        read: asyncio.Queue[T | None] = asyncio.Queue()
        task = asyncio.create_task(_read(items, read), name="draft")
        self._tasks.append(task)
        return _given(read, task)


async def _read(items: AsyncGenerator[T, None], into: asyncio.Queue[T | None]) -> None:
    try:
        async with aclosing(items):
            async for item in items:
                into.put_nowait(item)
    finally:
        into.put_nowait(None)


async def _given(read: asyncio.Queue[T | None], task: asyncio.Task[None]) -> AsyncGenerator[T, None]:
    try:
        while (item := await read.get()) is not None:
            if isinstance(item, Thinking) and not read.empty():
                continue  # that is over: the listener need not be told any more
            yield item
        await task  # raises what the items raised
    finally:
        task.cancel()
        await asyncio.wait([task])


class Speculation:
    """The drafts of one session, one at a time."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._draft: Draft | None = None
        self._source: object = None
        self._reading: asyncio.Task[None] | None = None
        self._dropped = Dropped()

    def foresee(self, words: str, conversation: Conversation) -> None:
        """Have the LLM read what it will be asked if the user says this, while they still say more."""
        self.drop()
        if (history := conversation.history_with(self._agent, words)) is not None:
            reading = self.read_ahead(conversation, history)
            self._reading = asyncio.create_task(reading, name="prompt reading")

    def begin(self, source: object, words: str, conversation: Conversation) -> None:
        """Have the LLM write the answer to these words, and the voice say its first piece.

        `source` is what the words come from: only the turn that answers it gets the draft.
        """
        self.drop()
        if (history := conversation.history_with(self._agent, words)) is not None:
            self._draft, self._source = Draft(self._agent, conversation, history), source

    def take(self, source: object) -> Draft | None:
        """The draft that answers this, if there is one; to be given to `drop_draft` in the end."""
        if self._draft is None or self._source is not source:
            return None
        draft, self._draft = self._draft, None
        return draft

    def drop(self) -> None:
        """Forget what was begun and not taken: the models stop at once."""
        self.drop_draft(self._draft)
        self._dropped.add(self._reading)
        self._draft = self._source = self._reading = None

    def drop_draft(self, draft: Draft | None) -> None:
        """What is left of a draft isn't needed any more."""
        for task in () if draft is None else draft.tasks:
            self._dropped.add(task)

    async def close(self) -> None:
        """Drop it, and wait until the models have left it."""
        self.drop()
        await self._dropped.ended()

    async def read_ahead(self, conversation: Conversation, history: History | None = None) -> None:
        """Have the LLM read what its next prompt begins with, with this history or that of now."""
        llm = self._agent.engines.llm
        try:
            request = (await conversation.prepare(self._agent, history)).request
            await llm.prepare(request.messages, request.offer)
        except VoiceError as error:
            log.debug("the next prompt was not read ahead: %s", error)  # the turn itself will tell
