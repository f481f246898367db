"""A reply that is begun in a pause, before it is certain that the user has finished.

Most pauses are the end, and then the first words are ready when that is certain. Nobody sees a draft: no
hook, no caption, no history, and a tool that it would call is not run. The turn asks for its reply and its
voice as always, and is given what was drafted if it asks for just that; otherwise the draft is dropped.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from localvoice.application.hooks import LlmRequest
from localvoice.application.stopwatch import now
from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import VoiceError
from localvoice.conversation.dropping import Dropped
from localvoice.conversation.sentences import Pieces
from localvoice.engines.types import ChatMessage, CutOff, Engines, ReplyItem, ToolCall, ToolOffer

log = logging.getLogger(__name__)

T = TypeVar("T")


class Draft:
    """The draft of one session, and the way of its turns to the LLM and the voice."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._request: LlmRequest | None = None
        self._reply: _Ahead[ReplyItem] | None = None
        self._piece = ""
        self._voice: _Ahead[AudioFrame] | None = None
        self.first_token: float | None = None
        """When the LLM wrote the first text of this turn, drafted or not; the event loop's time."""
        self.first_piece: float | None = None
        """When the first piece that can be spoken was whole."""
        self._reading: asyncio.Task[None] | None = None
        self._dropped = Dropped()

    def foresee(self, request: LlmRequest) -> None:
        """Have the LLM read this, while the user still says more."""
        self.drop()
        reading = self.read(request.messages, request.offer)
        self._reading = asyncio.create_task(reading, name="prompt reading")

    def begin(self, request: LlmRequest) -> None:
        """Have the LLM write, and the voice say the first piece."""
        self.drop()
        self._request = request
        self._reply = _Ahead(self._ask(request), partial(self._on_item, request, Pieces()))

    def reply(self, request: LlmRequest) -> AsyncGenerator[ReplyItem, None]:
        """The LLM's answer to this request. Hold it in `aclosing()`. Raises the LLM's `VoiceError`."""
        if self._reply is not None and request == self._request:
            reply, self._reply = self._reply, None
            return reply.items()
        self.drop()
        return self._ask(request)

    def voice(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        """The sound of this text. Hold it in `aclosing()`. Raises the voice's `VoiceError`."""
        if self.first_piece is None:
            self.first_piece = now()
        if self._voice is not None and text == self._piece:
            voice, self._voice = self._voice, None
            return voice.items()
        return self._engines.tts.synthesize(text)

    def drop(self) -> None:
        """Forget what was drafted and not asked for; the models stop at once."""
        for ahead in (self._reply, self._voice):
            if ahead is not None:
                self._dropped.add(ahead.task)
        self._dropped.add(self._reading)
        self._reading = self._request = self._reply = self._voice = None
        self._piece = ""
        self.first_token = self.first_piece = None

    async def close(self) -> None:
        """Drop it, and wait until the models have left it."""
        self.drop()
        await self._dropped.ended()

    async def read(self, messages: Sequence[ChatMessage], offer: ToolOffer | None) -> None:
        """Have the LLM read what its next prompt begins with, while nobody waits for it."""
        try:
            await self._engines.llm.prepare(messages, offer)
        except VoiceError as error:
            log.debug("the next prompt was not read ahead: %s", error)  # the turn itself will tell

    async def _ask(self, request: LlmRequest) -> AsyncGenerator[ReplyItem, None]:
        reply = self._engines.llm.reply(request.messages, request.sampling, request.offer)
        async with aclosing(reply) as items:
            async for item in items:
                if self.first_token is None and isinstance(item, str):
                    self.first_token = now()
                yield item

    def _on_item(self, request: LlmRequest, splitter: Pieces, item: ReplyItem | None) -> None:
        """The LLM wrote this; None is the end. The first piece that is whole is spoken ahead."""
        if request is not self._request or self._piece or isinstance(item, ToolCall | CutOff):
            return
        pieces = splitter.flush() if item is None else splitter.feed(item)
        if pieces:
            self._piece = pieces[0]
            self.first_piece = now()
            self._voice = _Ahead(self._engines.tts.synthesize(pieces[0]), lambda _: None)


class _Ahead(Generic[T]):
    """Reads items before anybody asks for them."""

    def __init__(self, items: AsyncGenerator[T, None], on_item: Callable[[T | None], None]) -> None:
        self._items = items
        self._on_item = on_item
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
                    self._on_item(item)
            self._on_item(None)
        except Exception as error:  # whoever asks for the items gets it
            failure = error
        self._read.put_nowait(_End(failure))


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    failure: Exception | None
