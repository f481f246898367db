"""One turn's life: what the user said, the reply, its sound, and what of it was heard."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from localvoice.agent.history import History
from localvoice.agent.sentences import Pieces
from localvoice.audio.playout import Playout
from localvoice.config import AgentSettings
from localvoice.contract.errors import Component, VoiceError
from localvoice.contract.messages import (
    LlmChunk,
    LlmReply,
    ReplyHeard,
    ServerMessage,
    TranscriptMessage,
    TtsCancelled,
    TtsComplete,
    TtsStart,
    TurnMetrics,
)
from localvoice.engines.protocols import ChatMessage, Engines, Sampling, Transcript

log = logging.getLogger(__name__)

_PIECES_AHEAD: Final = 16
"""Pieces that may wait to be spoken. The LLM writes faster than the voice speaks; past this it waits, so
that an interrupted reply was not written in full for nothing."""
_TEMPLATE_TOKENS: Final = 8
"""What a chat template puts round a message: its role and its marks; five for the models at hand."""


class AgentState(StrEnum):
    """What the agent is doing."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"


@dataclass(frozen=True)
class Surroundings:
    """What a turn works with; the same for all turns of a session."""

    engines: Engines
    settings: AgentSettings
    history: History
    playout: Playout
    emit: Callable[[ServerMessage], None]
    """Sends a message to the client."""
    enter: Callable[[AgentState], None]
    """Says what the agent is doing now."""

    def prompt(self) -> list[ChatMessage]:
        """What the LLM is asked: as much of the past as its context holds beside the reply."""
        settings, llm = self.settings, self.engines.llm
        room = llm.context_tokens - settings.max_tokens

        def fits(messages: list[ChatMessage]) -> bool:
            return sum(_TEMPLATE_TOKENS + llm.count_tokens(each.content) for each in messages) <= room

        return self.history.for_llm(settings.system_prompt, settings.history_messages, fits)


@dataclass(frozen=True)
class Heard:
    """What the user said, with the time that it took to know it."""

    transcript: Transcript
    stt_seconds: float | None
    """The transcription alone; None for a typed message."""


@dataclass
class _Clock:
    """The event loop's time at each step of a turn."""

    speech_ended: float
    endpoint: float | None = None
    asked: float | None = None
    first_token: float | None = None
    stt_seconds: float | None = None

    def metrics(self, first_audio: float) -> TurnMetrics:
        return TurnMetrics(
            voice_to_voice_ms=_milliseconds(self.speech_ended, first_audio),
            endpoint_ms=_milliseconds(self.speech_ended, self.endpoint),
            stt_ms=None if self.stt_seconds is None else round(1000 * self.stt_seconds, 1),
            first_token_ms=_milliseconds(self.asked, self.first_token),
            first_audio_ms=_milliseconds(self.first_token, first_audio),
        )


class Turn:
    """Runs once. Whoever ends it calls `interrupt()` first."""

    def __init__(
        self, around: Surroundings, heard: asyncio.Future[Heard], speech_ended: float, endpoint: float | None
    ) -> None:
        """`heard` may still be under way. Times are the event loop's; a typed message has no end-point."""
        self._around = around
        self._heard = heard
        self._clock = _Clock(speech_ended, endpoint)
        self._reply = ""
        self._sounding = False
        self._answering = False
        self._interrupted = False
        self._failure: VoiceError | None = None

    async def run(self) -> None:
        """Answer. Raises `VoiceError` if a part of it failed; what was said before that still counts."""
        words = self._note(await self._heard)
        if not words or self._interrupted:
            return  # silence, a cough, a door: no error, no reply
        self._around.playout.begin()
        self._answering = True
        finished = False
        try:
            await self._think_and_speak()
            finished = True
        finally:
            self._answering = False
            self._remember(finished)
        if self._failure is not None:
            raise self._failure

    def interrupt(self) -> bool:
        """Silence at once; history keeps what was heard. True if whoever runs the turn must cancel it now.

        Before the answer there is nothing to cancel: what the user said is still noted, in its order.
        """
        cuts_answer = self._answering and not self._interrupted
        self._interrupted = True
        if cuts_answer:
            self._around.playout.stop()
            if self._sounding:
                self._around.emit(TtsCancelled())
        return cuts_answer

    def _note(self, heard: Heard) -> str:
        words = heard.transcript.text
        self._clock.stt_seconds = heard.stt_seconds
        if words:
            if heard.stt_seconds is not None:
                self._around.emit(TranscriptMessage(words))
            self._around.history.add_user(words)
        return words

    async def _think_and_speak(self) -> None:
        pieces: asyncio.Queue[str | None] = asyncio.Queue(_PIECES_AHEAD)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._think(pieces))
                group.create_task(self._speak(pieces))
                group.create_task(self._measure())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _think(self, pieces: asyncio.Queue[str | None]) -> None:
        """The reply, piece by piece. A failure is kept: what was written before it is still spoken."""
        around, settings = self._around, self._around.settings
        sampling = Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            repeat_penalty=settings.repeat_penalty,
            max_tokens=settings.max_tokens,
        )
        splitter = Pieces()
        self._clock.asked = _now()
        try:
            async with aclosing(around.engines.llm.reply(around.prompt(), sampling)) as deltas:
                async for delta in deltas:
                    if self._clock.first_token is None:
                        self._clock.first_token = _now()
                    self._reply += delta
                    around.emit(LlmChunk(delta))
                    for piece in splitter.feed(delta):
                        await pieces.put(piece)
        except VoiceError as error:
            self._failure = error
        if self._interrupted:
            return  # the LLM failed while it was being cancelled; nobody takes pieces any more
        for piece in splitter.flush():
            await pieces.put(piece)
        if self._reply:
            around.emit(LlmChunk("", done=True))
            around.emit(LlmReply(self._reply))
        await pieces.put(None)

    async def _speak(self, pieces: asyncio.Queue[str | None]) -> None:
        """The sound of the reply. After a failure the rest is still read, so that all its text is sent."""
        playout = self._around.playout
        while (piece := await pieces.get()) is not None:
            if self._failure is None or self._failure.component is not Component.TTS:
                await self._say(piece)
        playout.complete()
        await playout.finished()
        if self._sounding and not self._interrupted:
            self._around.emit(TtsComplete())

    async def _say(self, piece: str) -> None:
        try:
            async with aclosing(self._around.engines.tts.synthesize(piece)) as frames:
                text = piece
                async for frame in frames:
                    if not self._sounding:
                        self._sounding = True
                        self._around.emit(TtsStart())
                        self._around.enter(AgentState.SPEAKING)
                        frame = frame.without_lead_in()  # the voice begins with 50 ms of nothing
                    await self._around.playout.write(text, frame)
                    text = ""
        except VoiceError as error:
            self._failure = error

    async def _measure(self) -> None:
        first_audio = await self._around.playout.started()
        if first_audio is not None:
            self._around.emit(self._clock.metrics(first_audio))

    def _remember(self, finished: bool) -> None:
        """A reply that wasn't cut short stays as it was written, so that the LLM's cache still fits it."""
        around = self._around
        around.playout.stop()
        kept = self._reply if finished else around.playout.heard()
        if self._sounding and not finished:
            around.emit(ReplyHeard(kept))
        if kept.strip():
            around.history.add_assistant(kept)
        log.info("turn ended: finished=%s, %d characters kept", finished, len(kept))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _milliseconds(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(1000 * (end - start), 1)
