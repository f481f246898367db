"""From one user's sound to what it means: utterances, pauses, words, and when a turn is over."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from localvoice.audio import endpointing
from localvoice.audio.end_of_turn import Hint, judge_words, silence_ms
from localvoice.audio.endpointing import WINDOW_MS, EndpointEvent, Endpointing, Windows
from localvoice.audio.frames import SPEECH_RATE, AudioFrame, Samples
from localvoice.audio.recordings import Resampler
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.conversation import moves
from localvoice.conversation.agent import Agent
from localvoice.conversation.moves import Heard, Spoken
from localvoice.conversation.reporting import Reporter
from localvoice.engines.types import Stt, Transcript, TurnDetector
from localvoice.observability.stopwatch import Stopwatch, now

log = logging.getLogger(__name__)

SpeechEvent = moves.SpeechStarted | moves.SpeechResumed | moves.SpeechLasts | moves.SpeechEnded


class Dropped:
    """Tasks that were cancelled. A model leaves its work only after a while, and is not closed before."""

    def __init__(self) -> None:
        self._ending: set[asyncio.Task[Any]] = set()

    def add(self, task: asyncio.Task[Any] | None) -> None:
        """Cancel it, if there is one. What it raises does not matter any more."""
        if task is not None:
            self._ending.add(task)
            task.cancel()
            task.add_done_callback(self._forget)

    async def ended(self) -> None:
        if self._ending:
            await asyncio.wait(self._ending)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._ending.discard(task)
        if not task.cancelled():
            task.exception()


class Listening:
    """Listens for one session. Nothing here waits.

    Each pause is judged when the turn detector has answered, and again when the words are there. Without a
    detector, until its answer is there and when it fails, the silence of the settings decides.
    """

    def __init__(
        self,
        agent: Agent,
        reporter: Reporter,
        on_speech: Callable[[SpeechEvent], None],
        on_words: Callable[[asyncio.Task[Heard]], None],
        on_partial: Callable[[str], None],
    ) -> None:
        """`on_words` gets the transcription of a pause that still lasts, also one that failed.

        `on_partial` gets the words of an utterance that goes on, where the settings want them.
        """
        engines, self._settings = agent.engines, agent.settings.listening
        self._reporter = reporter
        self._on_speech = on_speech
        self._on_words = on_words
        self._vad = engines.vad.stream()
        self._resample = Resampler(SPEECH_RATE)
        self._windows = Windows()
        self._endpointing = Endpointing(self._settings)
        self._dropped = Dropped()
        partial = on_partial if self._settings.partial_ms else None
        self.transcriber = Transcriber(engines.stt, self._on_transcribed, partial, self._dropped)
        self._detector = engines.turn
        self._detector_fails = False
        self._judging: asyncio.Task[None] | None = None
        self._probability: float | None = None  # that the turn is over with the present pause
        self._transcript: Transcript | None = None  # what was said until then
        self._dictation: Transcript | None = None  # what was dictated of this turn, before the latest pause

    async def listen(self, frames: AsyncIterator[AudioFrame]) -> None:
        """Hear frames until they end. A failure is reported, that of a VAD that stays broken only once."""
        failing = False
        async for frame in frames:
            position = self._endpointing.position
            try:
                self.hear(frame)
                failing = failing and self._endpointing.position == position  # too short to tell
            except Exception as error:
                if not failing:
                    self._reporter.report_any(error)
                failing = True

    def hear(self, frame: AudioFrame) -> None:
        """Take the next stretch of sound, any length and rate.

        Raises `VoiceError` AUDIO_PROCESSING_ERROR or VAD_ERROR; the stretch is lost then, not the stream.
        """
        for window in self._cut(frame):
            event = self._endpointing(window, self._probability_of(window))
            if event is not None and (speech := self._take(event)) is not None:
                self._on_speech(speech)
        if voiced_ms := self._endpointing.voiced_ms:
            self._on_speech(moves.SpeechLasts(voiced_ms))

    async def close(self) -> None:
        """Drop all work, and wait until the models have left it."""
        self.transcriber.drop()
        self._drop_judgement()
        await self._dropped.ended()

    def _cut(self, frame: AudioFrame) -> list[Samples]:
        try:
            return self._windows(self._resample(frame))
        except Exception as error:
            why = f"The sound can't be processed ({type(error).__name__}: {error})."
            words = f"{why} Check the microphone's format."
            raise VoiceError(ErrorCode.AUDIO_PROCESSING_ERROR, Component.SERVER, words) from error

    def _probability_of(self, window: Samples) -> float:
        try:
            return self._vad(AudioFrame(window, SPEECH_RATE).as_float())
        except VoiceError:
            raise
        except Exception as error:
            why = f"Voice activity detection failed ({type(error).__name__}: {error})."
            raise VoiceError(ErrorCode.VAD_ERROR, Component.VAD, f"{why} Restart the server.") from error

    def _take(self, event: EndpointEvent) -> SpeechEvent | None:
        """Do what an event asks for; what of it the session is to know."""
        match event:
            case endpointing.UtteranceStarted(position):
                return moves.SpeechStarted(1000 * self._seconds_since(position))
            case endpointing.Continued(speech):
                self.transcriber.listen_in(speech)
            case endpointing.Paused(speech):
                # Most pauses are the end: the transcript and the first words of the reply are ready, or
                # nearly, when that is certain.
                self._drop_judgement()
                if self._detector is not None:
                    judging = self._judge(self._detector, speech)
                    self._judging = asyncio.create_task(judging, name="turn detection")
                self.transcriber.begin(speech)
            case endpointing.Resumed():
                self._drop_judgement()
                return moves.SpeechResumed(self._endpointing.voiced_ms, WINDOW_MS)
            case endpointing.UtteranceEnded(speech, voiced_until):
                self._drop_judgement()
                self._dictation = None
                ended = now() - self._seconds_since(voiced_until)
                return moves.SpeechEnded(Spoken(self.transcriber.take(speech), speech, ended, now()))
        return None

    def _seconds_since(self, position: int) -> float:
        return (self._endpointing.position - position) / SPEECH_RATE

    # --- whether a pause is the end of the turn ---

    def _on_transcribed(self, transcription: asyncio.Task[Heard]) -> None:
        self._on_words(transcription)
        if transcription.exception() is None:
            said = self._transcript = transcription.result().transcript
            self._dictation = said if judge_words(said.text, said.language) is Hint.DICTATED else None
            self._decide()

    async def _judge(self, detector: TurnDetector, speech: AudioFrame) -> None:
        try:
            self._probability = await detector.complete(speech)
        except Exception as error:  # an application's own detector may raise anything
            if not self._detector_fails:  # one that stays broken is told once, not at each pause
                self._reporter.report_any(error)
            self._detector_fails = True
        else:
            self._detector_fails = False
            self._decide()

    def _decide(self) -> None:
        if self._probability is None:
            return
        # The next group of a number may sound like the end before its digits are known.
        said = self._transcript or self._dictation
        text, language = (None, "") if said is None else (said.text, said.language)
        wait = silence_ms(self._probability, text, language, self._settings.eagerness)
        log.debug("complete with a probability of %.2f: a silence of %d ms ends it", self._probability, wait)
        self._endpointing.end_after(wait)

    def _drop_judgement(self) -> None:
        self._dropped.add(self._judging)
        self._judging = self._probability = self._transcript = None


class Transcriber:
    """The transcriptions of one session: begun at each pause, and while its user speaks at length."""

    def __init__(
        self,
        stt: Stt,
        on_done: Callable[[asyncio.Task[Heard]], None],
        on_partial: Callable[[str], None] | None,
        dropped: Dropped,
    ) -> None:
        self._stt = stt
        self._on_done = on_done
        self._on_partial = on_partial
        self.current: asyncio.Task[Heard] | None = None  # of the pause that the user makes now
        self._partial: asyncio.Task[Heard] | None = None
        self._dropped = dropped
        self._running: set[asyncio.Task[Heard]] = set()

    def begin(self, speech: AudioFrame) -> None:
        """The user has stopped, for now, after this speech, at 16 kHz."""
        self._drop_partial()
        self.current = self.transcribe(speech)
        self.current.add_done_callback(self._tell)

    def listen_in(self, speech: AudioFrame) -> None:
        """The user has said this so far, at 16 kHz, and speaks on."""
        if self._partial is None:
            self._follow(self.transcribe(speech))

    def go_on(self) -> None:
        """The user goes on after a pause; what was said before it is a part of the whole."""
        current, self.current = self.current, None
        if self._on_partial is None:
            self._dropped.add(current)
        elif current is not None and current.done():
            self._give(current)
        elif current is not None:
            self._drop_partial()
            self._follow(current)

    def take(self, speech: AudioFrame) -> asyncio.Task[Heard]:
        """The transcription of a whole utterance, which was begun at its last pause, or is now."""
        self._drop_partial()
        current, self.current = self.current, None
        return current or self.transcribe(speech)

    def transcribe(self, speech: AudioFrame) -> asyncio.Task[Heard]:
        """The transcription of some speech, at 16 kHz."""
        transcription = asyncio.create_task(self._timed(speech), name="transcription")
        self._running.add(transcription)
        transcription.add_done_callback(self._running.discard)
        return transcription

    def drop(self) -> None:
        """The words of the utterance that goes on are not waited for any more."""
        self._drop_partial()
        self._dropped.add(self.current)
        self.current = None

    def abandon(self) -> None:
        """Nor are those of utterances that have ended."""
        for transcription in self._running:
            transcription.cancel()

    async def _timed(self, speech: AudioFrame) -> Heard:
        watch = Stopwatch()
        transcript = await self._stt.transcribe(speech)
        return Heard(transcript, watch.timing(), now())

    def _tell(self, transcription: asyncio.Task[Heard]) -> None:
        if transcription is self.current and not transcription.cancelled():
            self._on_done(transcription)

    def _follow(self, transcription: asyncio.Task[Heard]) -> None:
        self._partial = transcription
        transcription.add_done_callback(self._tell_partial)

    def _tell_partial(self, transcription: asyncio.Task[Heard]) -> None:
        if transcription is self._partial:
            self._partial = None
            self._give(transcription)

    def _give(self, transcription: asyncio.Task[Heard]) -> None:
        failed = transcription.cancelled() or transcription.exception() is not None
        if self._on_partial is not None and not failed:
            self._on_partial(transcription.result().transcript.text)

    def _drop_partial(self) -> None:
        self._dropped.add(self._partial)
        self._partial = None
