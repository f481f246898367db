"""From a client's sound to end-pointing events: speech begins, pauses, goes on, ends."""

from collections.abc import Iterator

from localvoice.audio.endpointing import EndpointEvent, Endpointing, Windows, as_model_input
from localvoice.audio.frames import SPEECH_RATE, AudioFrame, Samples
from localvoice.audio.recordings import Resampler
from localvoice.config import ListeningSettings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.types import Vad


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
