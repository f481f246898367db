"""What the user said, in words: begun at each pause, and while they speak at length."""

import asyncio
from collections.abc import Callable
from typing import Any

from localvoice.audio.frames import AudioFrame
from localvoice.conversation.moves import Heard
from localvoice.engines.types import Stt
from localvoice.observability.stopwatch import Stopwatch, now


class Dropped:
    """Tasks that were cancelled. A model leaves its work only after a while, and is not closed before."""

    def __init__(self) -> None:
        self._ending: set[asyncio.Task[Any]] = set()

    def add(self, task: asyncio.Task[Any] | None) -> None:
        """Cancel it, if there is one. If it has failed already, that concerns nobody any more."""
        if task is not None:
            self._ending.add(task)
            task.cancel()
            task.add_done_callback(self._forget)

    async def ended(self) -> None:
        """Wait until all of them have."""
        if self._ending:
            await asyncio.wait(self._ending)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._ending.discard(task)
        if not task.cancelled():
            task.exception()


class Transcriber:
    """The transcriptions of one session."""

    def __init__(
        self,
        stt: Stt,
        on_done: Callable[[asyncio.Task[Heard]], None],
        on_partial: Callable[[str], None] | None,
    ) -> None:
        """`on_done` gets the transcription of a pause that still lasts, also one that failed.

        `on_partial` gets the words of an utterance that goes on; None if nobody wants them.
        """
        self._stt = stt
        self._on_done = on_done
        self._on_partial = on_partial
        self._current: asyncio.Task[Heard] | None = None
        self._partial: asyncio.Task[Heard] | None = None
        self._dropped = Dropped()
        self._running: set[asyncio.Task[Heard]] = set()

    def begin(self, speech: AudioFrame) -> None:
        """The user has stopped, for now, after this speech, at 16 kHz."""
        self._drop_partial()
        self._current = self.transcribe(speech)
        self._current.add_done_callback(self._tell)

    def listen_in(self, speech: AudioFrame) -> None:
        """The user has said this so far, at 16 kHz, and speaks on."""
        if self._partial is None:
            self._follow(self.transcribe(speech))

    def go_on(self) -> None:
        """The user goes on after a pause; what was said before it is a part of the whole."""
        if self._on_partial is None:
            self.drop()
        elif self._current is not None and self._current.done():
            self._give(self._current)
        elif self._current is not None:
            self._drop_partial()
            self._follow(self._current)
        self._current = None

    def is_current(self, transcription: asyncio.Task[Heard]) -> bool:
        """Whether it is that of the pause that the user makes now."""
        return transcription is self._current

    def take(self, speech: AudioFrame) -> asyncio.Task[Heard]:
        """The transcription of a whole utterance, which was begun at its last pause, or is now."""
        self._drop_partial()
        current, self._current = self._current, None
        return current or self.transcribe(speech)

    def drop(self) -> None:
        """Nobody waits for the words any more."""
        self._drop_partial()
        self._dropped.add(self._current)
        self._current = None

    async def close(self) -> None:
        """Drop it, and wait until the model has left it."""
        self.drop()
        await self._dropped.ended()

    def transcribe(self, speech: AudioFrame) -> asyncio.Task[Heard]:
        """The transcription of some speech, at 16 kHz."""
        transcription = asyncio.create_task(self._timed(speech), name="transcription")
        self._running.add(transcription)
        transcription.add_done_callback(self._running.discard)
        return transcription

    def abandon(self) -> None:
        """Nor does anybody wait for the words of utterances that have ended."""
        for transcription in self._running:
            transcription.cancel()

    async def _timed(self, speech: AudioFrame) -> Heard:
        watch = Stopwatch()
        transcript = await self._stt.transcribe(speech)
        return Heard(transcript, watch.timing(), now())

    def _tell(self, transcription: asyncio.Task[Heard]) -> None:
        if transcription is self._current and not transcription.cancelled():
            self._on_done(transcription)

    def _follow(self, transcription: asyncio.Task[Heard]) -> None:
        self._partial = transcription
        transcription.add_done_callback(self._tell_partial)

    def _tell_partial(self, transcription: asyncio.Task[Heard]) -> None:
        if transcription is self._partial:
            self._partial = None
            self._give(transcription)

    def _give(self, transcription: asyncio.Task[Heard]) -> None:
        """What was said so far, if it is known."""
        failed = transcription.cancelled() or transcription.exception() is not None
        if self._on_partial is not None and not failed:
            self._on_partial(transcription.result().transcript.text)

    def _drop_partial(self) -> None:
        self._dropped.add(self._partial)
        self._partial = None
