"""From one user's sound to what it means: utterances, pauses, words, and when a turn is over."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator

from localvoice.audio import endpointing
from localvoice.audio.end_of_turn import Hint, judge_words, silence_ms
from localvoice.audio.endpointing import WINDOW_MS, EndpointEvent, Endpointing, Windows, as_model_input
from localvoice.audio.frames import SPEECH_RATE, AudioFrame, Samples
from localvoice.audio.recordings import Resampler
from localvoice.config import ListeningSettings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.conversation.agent import Agent
from localvoice.conversation.moves import (
    Heard,
    SpeechEnded,
    SpeechLasts,
    SpeechResumed,
    SpeechStarted,
    Spoken,
)
from localvoice.conversation.reporting import Reporter
from localvoice.conversation.transcribing import Dropped, Transcriber
from localvoice.engines.types import Transcript, TurnDetector, Vad
from localvoice.observability.stopwatch import now

log = logging.getLogger(__name__)


class SpeechDetector:
    """Listens to one stream, in its own pace. Nothing here waits."""

    def __init__(self, vad: Vad, settings: ListeningSettings) -> None:
        self._vad = vad.stream()
        self._resample = Resampler(SPEECH_RATE)
        self._windows = Windows()
        self._endpointing = Endpointing(settings)

    @property
    def speaking(self) -> bool:
        """Whether the user is speaking now."""
        return self._endpointing.speaking

    @property
    def position(self) -> int:
        """Samples heard so far, at 16 kHz."""
        return self._endpointing.position

    @property
    def voiced_ms(self) -> float:
        """How much of the present utterance is voice, without its pauses."""
        return self._endpointing.voiced_ms

    def seconds_since(self, position: int) -> float:
        """Seconds of sound between a position of the past and now."""
        return (self._endpointing.position - position) / SPEECH_RATE

    def end_after(self, milliseconds: int) -> None:
        """How long the present pause, if there is one, has to be to end the turn."""
        self._endpointing.end_after(milliseconds)

    def hear(self, frame: AudioFrame) -> Iterator[EndpointEvent]:
        """Take the next stretch of sound, any length and rate, and give what it changed.

        Raises `VoiceError` AUDIO_PROCESSING_ERROR or VAD_ERROR; the stretch is lost then, not the stream.
        """
        for window in self._cut(frame):
            event = self._endpointing(window, self._probability(window))
            if event is not None:
                yield event

    def _cut(self, frame: AudioFrame) -> list[Samples]:
        try:
            return self._windows(self._resample(frame))
        except Exception as error:
            raise VoiceError(
                ErrorCode.AUDIO_PROCESSING_ERROR,
                Component.SERVER,
                f"The sound can't be processed ({type(error).__name__}: {error}). Check the microphone's "
                "format.",
            ) from error

    def _probability(self, window: Samples) -> float:
        try:
            return self._vad(as_model_input(window))
        except VoiceError:
            raise
        except Exception as error:
            raise VoiceError(
                ErrorCode.VAD_ERROR,
                Component.VAD,
                f"Voice activity detection failed ({type(error).__name__}: {error}). Restart the server.",
            ) from error


class TurnTaking:
    """Judges the pauses of one session when the detector has answered, and again when the words are there.

    Without a detector, until its answer is there and when it fails, the silence of the settings decides.
    """

    def __init__(
        self,
        detector: TurnDetector | None,
        end_after: Callable[[int], None],
        settings: ListeningSettings,
        report: Callable[[VoiceError], None],
    ) -> None:
        """`end_after` is told how many milliseconds of silence end the turn, if the pause lasts so long."""
        self._detector = detector
        self._end_after = end_after
        self._settings = settings
        self._report = report
        self._failing = False
        self._judging: asyncio.Task[None] | None = None
        self._dropped = Dropped()
        self._probability: float | None = None
        self._transcript: Transcript | None = None
        self._dictation: Transcript | None = None  # what was dictated of this turn, before its latest pause

    def on_pause(self, speech: AudioFrame) -> None:
        """The user has stopped, for now, after this speech, at 16 kHz."""
        self.drop()
        if self._detector is not None:
            self._judging = asyncio.create_task(self._judge(self._detector, speech), name="turn detection")

    def on_transcript(self, transcript: Transcript) -> None:
        """This is what was said until the present pause."""
        self._transcript = transcript
        dictated = judge_words(transcript.text, transcript.language) is Hint.DICTATED
        self._dictation = transcript if dictated else None
        self._decide()

    def drop(self) -> None:
        """The pause is over: the user went on."""
        self._dropped.add(self._judging)
        self._judging = self._probability = self._transcript = None

    def end(self) -> None:
        """The turn has ended."""
        self.drop()
        self._dictation = None

    async def close(self) -> None:
        """Drop it, and wait until the detector has been left."""
        self.drop()
        await self._dropped.ended()

    async def _judge(self, detector: TurnDetector, speech: AudioFrame) -> None:
        try:
            self._probability = await detector.complete(speech)
        except VoiceError as error:
            if not self._failing:  # a detector that stays broken is told once, not at each pause
                self._report(error)
            self._failing = True
        else:
            self._failing = False
            self._decide()

    def _decide(self) -> None:
        if self._probability is None:
            return
        # The next group of a number may sound like the end before its digits are known.
        said = self._transcript or self._dictation
        text, language = (None, "") if said is None else (said.text, said.language)
        wait = silence_ms(self._probability, text, language, self._settings.eagerness)
        log.debug("complete with a probability of %.2f: a silence of %d ms ends it", self._probability, wait)
        self._end_after(wait)


SpeechEvent = SpeechStarted | SpeechResumed | SpeechLasts | SpeechEnded


class Listening:
    """Listens for one session. Nothing here waits."""

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
        settings = agent.settings.listening
        self._detector = SpeechDetector(agent.engines.vad, settings)
        self._turn_taking = TurnTaking(
            agent.engines.turn, self._detector.end_after, settings, reporter.report
        )
        partial = on_partial if settings.partial_ms else None
        self.transcriber = Transcriber(agent.engines.stt, self._on_transcribed, partial)
        """Transcribes what this session's user says, or sends."""
        self._reporter = reporter
        self._on_speech = on_speech
        self._on_words = on_words

    async def listen(self, frames: AsyncIterator[AudioFrame]) -> None:
        """Hear frames until they end. A failure is reported, that of a VAD that stays broken only once."""
        failing = False
        async for frame in frames:
            position = self._detector.position
            try:
                self.hear(frame)
                failing = failing and self._detector.position == position  # too short to tell
            except Exception as error:
                if not failing:
                    self._reporter.report_any(error)
                failing = True

    def hear(self, frame: AudioFrame) -> None:
        """Take the next stretch of sound, any length and rate. Raises as `SpeechDetector.hear` does."""
        for event in self._detector.hear(frame):
            self._on_endpoint(event)
        if self._detector.speaking:
            self._on_speech(SpeechLasts(self._detector.voiced_ms))

    async def close(self) -> None:
        """Drop all work, and wait until the models have left it."""
        await self.transcriber.close()
        await self._turn_taking.close()

    def _on_endpoint(self, event: endpointing.EndpointEvent) -> None:
        match event:
            case endpointing.SpeechStarted(position):
                self._on_speech(SpeechStarted(1000 * self._detector.seconds_since(position)))
            case endpointing.Continued(speech):
                self.transcriber.listen_in(speech)
            case endpointing.Paused(speech):
                self._turn_taking.on_pause(speech)
                # Most pauses are the end: the transcript and the first words of the reply are ready, or
                # nearly, when that is certain.
                self.transcriber.begin(speech)
            case endpointing.Resumed():
                self._turn_taking.drop()
                self._on_speech(SpeechResumed(self._detector.voiced_ms, WINDOW_MS))
            case endpointing.SpeechEnded(speech, voiced_until):
                self._turn_taking.end()
                transcription = self.transcriber.take(speech)
                ended = now() - self._detector.seconds_since(voiced_until)
                self._on_speech(SpeechEnded(Spoken(transcription, speech, ended, now())))

    def _on_transcribed(self, transcription: asyncio.Task[Heard]) -> None:
        self._on_words(transcription)
        if transcription.exception() is None:
            self._turn_taking.on_transcript(transcription.result().transcript)
