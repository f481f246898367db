"""A reply that is begun in a pause, before it is certain that the user has finished.

Most pauses are the end, and then the first words are ready when that is certain. A draft leaves no trace: no
hook, no caption and no history see it, and a tool that it would call is not run. The turn that answers the
pause is given the draft, with its prompt and its splitter, and goes on with it as if it had begun it itself.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import VoiceError
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.history import History
from localvoice.conversation.models import Prepared, Reply, Written, add_user, answers_blind, prepare, written
from localvoice.conversation.phrases import forget_request
from localvoice.conversation.sentences import Pieces
from localvoice.conversation.transcribing import Dropped
from localvoice.observability.stopwatch import now

log = logging.getLogger(__name__)

T = TypeVar("T")


class Draft:
    """The first pass of the LLM over a turn's prompt, and the sound of its first piece, begun early."""

    def __init__(self, agent: Agent, conversation: Conversation, words: str) -> None:
        self._agent = agent
        preparing = prepare(agent, conversation, past_with(agent, conversation, words))
        self._preparing = asyncio.create_task(preparing, name="draft's prompt")
        self.revision = conversation.revision
        """That of the conversation: a draft of a conversation that has changed since is of no use."""
        self.splitter = Pieces()
        """Cuts the reply; the turn goes on with it."""
        self.first_token: float | None = None
        """When the LLM wrote the first text, the event loop's time."""
        self.first_piece: float | None = None
        """When the first piece that can be spoken was whole."""
        self._sound: _Ahead[AudioFrame] | None = None
        self._reply = _Ahead(self._write())
        self.tasks: list[asyncio.Task[Any]] = [self._preparing, self._reply.task]
        """What is done for it."""

    async def prepared(self) -> Prepared:
        """What the LLM is asked. Raises the LLM's `VoiceError`."""
        return await asyncio.shield(self._preparing)

    def items(self) -> Reply:
        """What was written, and what still comes. Hold it in `aclosing()`. Raises the LLM's `VoiceError`."""
        return self._reply.items()

    def take_sound(self) -> AsyncGenerator[AudioFrame, None] | None:
        """The sound of the first piece that the splitter gives, once; None where it was not begun."""
        sound, self._sound = self._sound, None
        return None if sound is None else sound.items()

    async def _write(self) -> Reply:
        request = (await self._preparing).request
        whole = True
        llm = self._agent.engines.llm
        reply = llm.reply(request.messages, request.sampling, request.offer)
        async with aclosing(written(reply, self.splitter)) as items:
            async for item in items:
                if isinstance(item, Written):
                    self.first_token = self.first_token or now()
                    self._speak(item.pieces)
                else:
                    whole = False
                yield item
        if whole:
            self._speak([self.splitter.rest.strip()])

    def _speak(self, pieces: list[str]) -> None:
        if self.first_piece is None and pieces and pieces[0]:
            self.first_piece = now()
            self._sound = _Ahead(self._agent.engines.tts.synthesize(pieces[0]))
            self.tasks.append(self._sound.task)


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
        if _foreseeable(self._agent, conversation, words):
            history = past_with(self._agent, conversation, words)
            self._reading = asyncio.create_task(self._read(conversation, history), name="prompt reading")

    def begin(self, source: object, words: str, conversation: Conversation) -> None:
        """Have the LLM write the answer to these words, and the voice say its first piece.

        `source` is what the words come from: only the turn that answers it gets the draft.
        """
        self.drop()
        if _foreseeable(self._agent, conversation, words):
            self._draft, self._source = Draft(self._agent, conversation, words), source

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

    async def read_ahead(self, conversation: Conversation) -> None:
        """Have the LLM read what its next prompt begins with."""
        await self._read(conversation, conversation.history.copy())

    async def _read(self, conversation: Conversation, history: History) -> None:
        try:
            prepared = await prepare(self._agent, conversation, history)
            await self._agent.engines.llm.prepare(prepared.request.messages, prepared.request.offer)
        except VoiceError as error:
            log.debug("the next prompt was not read ahead: %s", error)  # the turn itself will tell


def past_with(agent: Agent, conversation: Conversation, words: str) -> History:
    """The history as it will be if the user has said this."""
    history = conversation.history.copy()
    add_user(agent.engines.llm, history, words, conversation.attachments)
    return history


def _foreseeable(agent: Agent, conversation: Conversation, words: str) -> bool:
    """Whether it is known what the LLM will be asked if the user has said this."""
    if not words or forget_request(words) is not None or not conversation.director.foreseeable():
        return False
    asked = conversation.confirmation
    if asked is not None and asked.answered(words) is not None:
        return False  # first the call runs, or is refused, or the user is asked again
    return not answers_blind(agent.engines.llm, words, conversation.attachments)


class _Ahead(Generic[T]):
    """Reads items before they are asked for."""

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items
        self._read: asyncio.Queue[_Item[T] | _End] = asyncio.Queue()
        self.task = asyncio.create_task(self._run(), name="draft")

    async def items(self) -> AsyncGenerator[T, None]:
        """What was read, and what still comes. Closing it stops the reading."""
        try:
            while isinstance(next_one := await self._read.get(), _Item):
                yield next_one.value
            if next_one.failure is not None:
                raise next_one.failure
        finally:
            self.task.cancel()
            await asyncio.wait([self.task])

    async def _run(self) -> None:
        failure: Exception | None = None
        try:
            async with aclosing(self._items) as items:
                async for item in items:
                    self._read.put_nowait(_Item(item))
        except Exception as error:  # the reader of the items gets it
            failure = error
        self._read.put_nowait(_End(failure))


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    failure: Exception | None
