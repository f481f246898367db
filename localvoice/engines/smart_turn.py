"""End of turn by intonation: Smart Turn v3, which judges the sound itself and knows no words."""

import math
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.jobs import Stop
from localvoice.engines.onnx import OnnxSession, open_session, run_stoppable
from localvoice.engines.whisper import mel_filters
from localvoice.engines.worker import Worker, told

SECONDS: Final = 8
"""Of sound that the model reads: the last ones."""
BANDS: Final = 80
"""Mel bands from 0 Hz to 8 kHz."""
HOP: Final = 160
"""Samples from one frame to the next: 10 ms."""
_FFT: Final = 400
"""Samples a frame: 25 ms."""
_AT_ONCE: Final = 100
"""Frames: all at once would take most memory at the moment when Whisper does."""
_RANGE: Final = 8.0
"""Powers of ten below the loudest that are told apart."""
_failure: Final = partial(VoiceError, ErrorCode.VAD_ERROR, Component.VAD)


class SmartTurn:
    """One Smart Turn model in a worker of its own. Made by `load`."""

    def __init__(self, name: str, worker: Worker, model: OnnxSession) -> None:
        self.name: Final = name
        self._worker = worker
        self._model = model

    @classmethod
    async def load(cls, name: str, path: Path) -> "SmartTurn":
        """Load the ONNX file, in its worker. Raises `VoiceError` VAD_ERROR naming the file."""
        # One thread: it runs while Whisper does, which has the other cores.
        load = partial(open_session, path, 1, False)
        with told(_failure, f"The turn detection model {path.name} can't be loaded", "Download it again."):
            return await Worker.loaded("turn", load, partial(cls, name))

    async def complete(self, speech: AudioFrame) -> float:
        """Probability, 0 to 1, that the speaker has finished; at 16 kHz, any length, with some silence last.

        Raises `VoiceError` VAD_ERROR.
        """
        if speech.rate != SPEECH_RATE:
            raise _failure(f"Turn detection takes sound at {SPEECH_RATE} Hz, not {speech.rate} Hz.")
        stop = Stop()
        advice = "Until it works again, the length of a silence decides; restart localvoice if it goes on."
        ended = _failure("Turn detection was shut down while it was listening.")
        with told(_failure, "Turn detection failed", advice, ended):
            return await self._worker.run(lambda: _judge(self._model, speech, stop), stop=stop)

    async def warm_up(self) -> None:
        noise = np.random.default_rng(0).normal(0, 300, SPEECH_RATE).astype(np.int16)
        await self.complete(AudioFrame(noise, SPEECH_RATE))

    async def close(self) -> None:
        await self._worker.close()


def features(speech: AudioFrame) -> npt.NDArray[np.float32]:
    """What the model reads, shape (1, 80, 800): the last 8 s at even loudness, shorter ones after silence."""
    wanted = SECONDS * SPEECH_RATE
    sound = speech.as_float()[-wanted:]
    sound = np.pad(sound, (wanted - len(sound), 0))
    even = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    return log_mel(even.astype(np.float32))[None]


def _judge(session: OnnxSession, speech: AudioFrame, stop: Stop) -> float:
    probability = float(run_stoppable(session, {"input_features": features(speech)}, stop)[0].item())
    if not math.isfinite(probability):
        raise ValueError("the model gave no number")
    return probability


def log_mel(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log-mel features of sound at 16 kHz, shape (n,) to (80, n // 160), as Whisper's encoder reads them."""
    padded = np.pad(sound, _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP][: len(sound) // HOP]
    mels = np.concatenate([_mels(frames[n : n + _AT_ONCE]) for n in range(0, len(frames), _AT_ONCE)], axis=1)
    logarithms = np.log10(np.maximum(mels, 1e-10))
    clipped = np.maximum(logarithms, logarithms.max() - _RANGE)
    scaled: npt.NDArray[np.float32] = ((clipped + 4.0) / 4.0).astype(np.float32)
    return scaled


def _mels(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The power in each band, shape (n, 400) to (80, n)."""
    window = np.hanning(_FFT + 1)[:-1].astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames * window)))
    mels: npt.NDArray[np.float32] = mel_filters(BANDS, _FFT) @ power.T
    return mels
