"""One user's sound, followed to what it means: utterances, pauses, words, and when a turn is over."""

import asyncio
from collections.abc import Callable

from localvoice.application.stopwatch import now
from localvoice.audio import endpointing
from localvoice.audio.endpointing import WINDOW_MS
from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import VoiceError
from localvoice.conversation.agent import Agent
from localvoice.conversation.floor_events import SpeechEnded, SpeechResumed, SpeechStarted
from localvoice.conversation.models import Heard
from localvoice.conversation.speech_detector import SpeechDetector
from localvoice.conversation.transcribing import Transcriber
from localvoice.conversation.turn import Spoken
from localvoice.conversation.turn_taking import TurnTaking

SpeechEvent = SpeechStarted | SpeechResumed | SpeechEnded


class Listening:
    """Listens for one session. Nothing here waits."""

    def __init__(
        self,
        agent: Agent,
        report: Callable[[VoiceError], None],
        on_speech: Callable[[SpeechEvent], None],
        on_words: Callable[[asyncio.Task[Heard]], None],
        on_partial: Callable[[str], None],
    ) -> None:
        """`on_words` gets the transcription of a pause that still lasts, also one that failed.

        `on_partial` gets the words of an utterance that goes on, where the settings want them.
        """
        settings = agent.settings.listening
        self._detector = SpeechDetector(agent.engines.vad, settings)
        self._turn_taking = TurnTaking(agent.engines.turn, self._detector.end_after, settings, report)
        partial = on_partial if settings.partial_ms else None
        self.transcriber = Transcriber(agent.engines.stt, self._on_transcribed, partial)
        """Transcribes what this session's user says, or sends."""
        self._on_speech = on_speech
        self._on_words = on_words

    @property
    def position(self) -> int:
        """Samples heard so far, at 16 kHz."""
        return self._detector.position

    @property
    def voiced_ms(self) -> float:
        """How much of the present utterance is voice, without its pauses."""
        return self._detector.voiced_ms

    def hear(self, frame: AudioFrame) -> None:
        """Take the next stretch of sound, any length and rate. Raises as `SpeechDetector.hear` does."""
        for event in self._detector.hear(frame):
            self._on_endpoint(event)

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
                self._on_speech(SpeechResumed(self.voiced_ms, WINDOW_MS))
            case endpointing.SpeechEnded(speech, voiced_until):
                self._turn_taking.end()
                transcription = self.transcriber.take(speech)
                ended = now() - self._detector.seconds_since(voiced_until)
                self._on_speech(SpeechEnded(Spoken(transcription, speech, ended, now())))

    def _on_transcribed(self, transcription: asyncio.Task[Heard]) -> None:
        self._on_words(transcription)
        if transcription.exception() is None:
            self._turn_taking.on_transcript(transcription.result().transcript)
