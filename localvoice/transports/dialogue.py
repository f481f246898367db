"""Conversations without a server: turn by turn as fast as the models allow, or live, frame by frame."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from localvoice.application.calls import result_of
from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.playout import Playout
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import (
    ErrorMessage,
    LlmReply,
    ServerMessage,
    TranscriptMessage,
    TurnMetrics,
)
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.session import Session
from localvoice.observability.log_context import failure
from localvoice.transports.inbox import FrameInbox

log = logging.getLogger(__name__)

_RATE: Final = 24_000
"""Hz of the reply: above Piper's own 22,050."""
_READ: Final = _RATE // 50


@dataclass(frozen=True, eq=False)
class Answer:
    """The result of one turn."""

    transcript: str
    """What was understood; empty for silence and for typed words."""
    reply: str
    """The whole reply."""
    sound: AudioFrame
    """The reply as speech, 24 kHz mono; empty if nothing was said."""
    metrics: TurnMetrics | None
    """Where the time went; None if nothing was said."""
    errors: tuple[ErrorMessage, ...]
    """What failed."""
    messages: tuple[ServerMessage, ...]
    """All that a client would have been sent, in order."""


class Dialogue:
    """A conversation with an agent, turn by turn."""

    def __init__(self, session: Session, messages: list[ServerMessage], sound: list[AudioFrame]) -> None:
        self._session = session
        self._messages = messages
        self._sound = sound

    async def say(self, said: AudioFrame | str) -> Answer:
        """Answer an utterance, mono of any rate, or a typed message.

        An utterance has at most `listening.max_utterance_seconds`.

        What fails is in the answer's `errors`, as a client would be told.
        """
        self._messages.clear()
        self._sound.clear()
        if isinstance(said, str):
            self._session.answer_text(said)
        else:
            try:
                self._session.answer_utterance(said)
            except VoiceError as error:
                self._session.report(error)
        await self._session.settle()
        messages = tuple(self._messages)
        return Answer(
            transcript=" ".join(each.text for each in messages if isinstance(each, TranscriptMessage)),
            reply=" ".join(each.text for each in messages if isinstance(each, LlmReply)),
            sound=concatenate(self._sound),
            metrics=next((each for each in messages if isinstance(each, TurnMetrics)), None),
            errors=tuple(each for each in messages if isinstance(each, ErrorMessage)),
            messages=messages,
        )


class Live:
    """A conversation in real time."""

    def __init__(self, inbox: FrameInbox, playout: Playout) -> None:
        self._inbox = inbox
        self._playout = playout

    def hear(self, frame: AudioFrame) -> None:
        """The next of the user's sound, mono, any rate, as it is recorded; 20 ms is usual.

        Never waits. The agent finds the end of speech; speech over its voice interrupts it.
        """
        self._inbox.put(frame)

    def read(self, count: int) -> AudioFrame:
        """The next `count` samples of the agent's voice at the rate asked for; silence while it says nothing.

        Call this at the pace of playing: what has been read counts as heard.
        """
        return AudioFrame(self._playout.read(count), self._playout.rate)


@asynccontextmanager
async def dialogue(agent: Agent) -> AsyncIterator[Dialogue]:
    """A conversation of its own, forgotten when the block is left."""
    messages: list[ServerMessage] = []
    sound: list[AudioFrame] = []
    playout = Playout(_RATE)
    async with _session(agent, playout, messages.append) as session, _running(_collect(playout, sound)):
        yield Dialogue(session, messages, sound)


@asynccontextmanager
async def live(agent: Agent, on_message: Callable[[ServerMessage], None], rate: int) -> AsyncIterator[Live]:
    """A live conversation of its own, forgotten when the block is left; `rate`, in Hz, is for `read`."""
    inbox, playout = FrameInbox(), Playout(rate)

    def emit(message: ServerMessage) -> None:
        try:
            result_of(lambda: on_message(message))
        except Exception as error:
            log.error("%s failed with %s", getattr(on_message, "__qualname__", on_message), failure(error))

    async with _session(agent, playout, emit) as session, _running(session.listen(aiter(inbox))):
        yield Live(inbox, playout)


@asynccontextmanager
async def _session(
    agent: Agent, playout: Playout, emit: Callable[[ServerMessage], None]
) -> AsyncIterator[Session]:
    session_id = secrets.token_urlsafe(16)
    conversation = Conversation(session_id, agent.direct(session_id))
    session = Session(agent, conversation, playout, emit)
    try:
        yield session
    finally:
        await session.close()
        conversation.reminders.close()


@asynccontextmanager
async def _running(listening: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    listener = asyncio.create_task(listening, name="listener")
    try:
        yield
    finally:
        listener.cancel()
        await asyncio.wait([listener])


async def _collect(playout: Playout, sound: list[AudioFrame]) -> None:
    """Read all that is played, at once."""
    while True:
        await playout.sounding()
        while playout.playing:
            sound.append(AudioFrame(np.copy(playout.read(_READ)), playout.rate))
