"""Deadlines: an engine that takes too long is stopped, and its caller is told why.

Only the time counts in which an engine is awaited and works. Between two items the reader may take as long as
it likes: the playout, for one, takes sound no faster than it is heard. Nor does the time count in which a job
waits for the model's thread behind those of others, unless that is several times as long: otherwise a short
question behind another user's long one would be told that the model is slow.

Past its deadline a model is told to stop. One whose thread hangs in native code doesn't; its worker leaves it
and loads it again.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeVar

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.types import PacedTts, Stt, Transcript, Tts

MOST_WAIT: Final = 4.0
"""How many times as long as the work the whole may take, with the wait for the thread."""


class TooBusy(TimeoutError):
    """The model had too much else to do."""


class Deadline:
    """For one caller, who asks for one thing after the other. To be made on a running event loop."""

    def __init__(self) -> None:
        self.left = 0.0
        """Seconds that were left of it at its end, or when it last stood still."""
        self._loop = asyncio.get_running_loop()
        self._timeout: asyncio.Timeout | None = None  # without a time while it stands still
        self._waits = False

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Inside, models may work for so long. Past it `TimeoutError`; `TooBusy` if they never came to it."""
        token = _deadline.set(self)
        self.left = seconds
        whole = asyncio.timeout(MOST_WAIT * seconds)
        try:
            async with whole, asyncio.timeout(None if self._waits else seconds) as self._timeout:
                yield
        except TimeoutError as error:
            if whole.expired():
                raise TooBusy from error
            raise
        finally:
            self._note_left()
            self._timeout = None
            _deadline.reset(token)

    def tell(self, works: bool) -> None:
        """Whether a job of this caller has its model's thread, or waits for it; from any thread."""
        with suppress(RuntimeError):  # the loop is closed: its callers are gone
            self._loop.call_soon_threadsafe(self._turn, works)

    def _turn(self, works: bool) -> None:
        self._waits = not works
        if self._timeout is None or self._timeout.expired():  # then its caller is on the way out
            return
        self._note_left()
        self._timeout.reschedule(self._loop.time() + self.left if works else None)

    def _note_left(self) -> None:
        end = self._timeout.when() if self._timeout is not None else None
        if end is not None:
            self.left = max(0.0, end - self._loop.time())


_deadline: Final[ContextVar[Deadline | None]] = ContextVar("deadline", default=None)


def current_deadline() -> Deadline | None:
    """The deadline of the caller that makes a job here; None where there is none."""
    return _deadline.get()


T = TypeVar("T")


class DeadlineStt:
    """Speech to text, each utterance within a deadline. Implements `Stt`."""

    def __init__(self, stt: Stt, seconds: float) -> None:
        self.name: Final = stt.name
        self._stt = stt
        self._seconds = seconds

    async def transcribe(self, speech: AudioFrame) -> Transcript:
        """Raises `VoiceError`, STT_TIMEOUT past the deadline."""
        words = f"Speech recognition took longer than {self._seconds:g} s and was stopped."
        late = _Late(ErrorCode.STT_TIMEOUT, Component.STT, words, "stt_seconds")
        async with _within(Deadline(), self._seconds, late):
            return await self._stt.transcribe(speech)

    async def warm_up(self) -> None:
        """Without a deadline: the first run may be slow."""
        await self._stt.warm_up()

    async def close(self) -> None:
        await self._stt.close()


def tts_within(tts: Tts, seconds: float) -> "DeadlineTts":
    """The voice with a deadline; a `PacedTts` stays one."""
    return DeadlinePacedTts(tts, seconds) if isinstance(tts, PacedTts) else DeadlineTts(tts, seconds)


class DeadlineTts:
    """Text to speech, each frame within a deadline. Implements `Tts`."""

    def __init__(self, tts: Tts, seconds: float) -> None:
        self.name: Final = tts.name
        self._tts = tts
        self._seconds = seconds

    def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        """Raises `VoiceError`, TTS_TIMEOUT when a frame, or the end after the last, passes the deadline."""
        return self._within(self._tts.synthesize(text))

    async def _within(self, sound: AsyncGenerator[AudioFrame, None]) -> AsyncGenerator[AudioFrame, None]:
        words = f"Speech synthesis took longer than {self._seconds:g} s for a sentence and was stopped."
        late = _Late(ErrorCode.TTS_TIMEOUT, Component.TTS, words, "tts_seconds")
        deadline = Deadline()
        async with aclosing(sound) as frames:
            while (frame := await _next_within(frames, deadline, self._seconds, late)) is not None:
                yield frame

    async def warm_up(self) -> None:
        """Without a deadline: the first run may be slow."""
        await self._tts.warm_up()

    async def close(self) -> None:
        await self._tts.close()


class DeadlinePacedTts(DeadlineTts):
    """The same of a voice that can speak slower and faster. Implements `PacedTts`."""

    def __init__(self, tts: PacedTts, seconds: float) -> None:
        super().__init__(tts, seconds)
        self._paced = tts

    def synthesize_at(self, text: str, pace: float) -> AsyncGenerator[AudioFrame, None]:
        """Raises as `synthesize` does."""
        return self._within(self._paced.synthesize_at(text, pace))


async def reply_within(
    items: AsyncGenerator[T, None], first_seconds: float, seconds: float
) -> AsyncGenerator[T, None]:
    """An LLM's reply, its first item within one deadline and all of it within another; closes `items`.

    Raises what `items` raises, and `VoiceError` LLM_TIMEOUT past a deadline. Hold it in `aclosing()`.
    """
    limit, late = seconds, unfinished = seconds, _late_reply("finish", seconds, "llm_seconds")
    if first_seconds < seconds:
        limit, late = first_seconds, _late_reply("begin", first_seconds, "llm_first_token_seconds")
    deadline = Deadline()
    left = seconds
    async with aclosing(items):
        while (item := await _next_within(items, deadline, limit, late)) is not None:
            left -= limit - deadline.left
            yield item
            limit, late = left, unfinished


def _late_reply(what: str, seconds: float, setting: str) -> "_Late":
    words = f"The language model didn't {what} its answer within {seconds:g} s and was stopped."
    return _Late(ErrorCode.LLM_TIMEOUT, Component.LLM, words, setting)


@dataclass(frozen=True)
class _Late:
    """What is told when a deadline has passed."""

    code: ErrorCode
    component: Component
    words: str
    setting: str


@asynccontextmanager
async def _within(deadline: Deadline, seconds: float, late: _Late) -> AsyncIterator[None]:
    try:
        async with deadline.within(seconds):
            yield
    except TimeoutError as error:
        busy = "The machine has too much to do and did not come to this."
        advice = (
            f"Close other programs, choose a profile with smaller models, or raise deadlines.{late.setting}. "
            "If it happens with every turn, restart localvoice."
        )
        words = busy if isinstance(error, TooBusy) else late.words
        raise VoiceError(late.code, late.component, f"{words} {advice}") from error


async def _next_within(
    items: AsyncGenerator[T, None], deadline: Deadline, seconds: float, late: _Late
) -> T | None:
    async with _within(deadline, seconds, late):
        return await anext(items, None)
