"""End of turn by intonation: Smart Turn v3, which judges the sound itself and knows no words."""

import math
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.log_mel import log_mel
from localvoice.engines.onnx import Session, open_session, run_stoppable
from localvoice.engines.worker import Stop, Stopped, Worker

SECONDS: Final = 8
"""Of sound that the model reads: the last ones."""


class SmartTurn:
    """One Smart Turn model in a worker of its own. Made by `load`."""

    def __init__(self, name: str, worker: Worker, session: Session) -> None:
        self._name = name
        self._worker = worker
        self._session = session

    @classmethod
    async def load(cls, name: str, path: Path) -> "SmartTurn":
        """Load the ONNX file, in its worker. Raises `VoiceError` VAD_ERROR naming the file."""
        worker = Worker("turn")
        # One thread: it runs beside Whisper, which has been planned the other cores.
        make = partial(open_session, path, threads=1, keep_memory=False)
        try:
            session = await worker.run(make)
        except BaseException as error:
            await worker.close()
            if not isinstance(error, Exception):
                raise
            raise _failure(
                f"The turn detection model {path.name} can't be loaded ({error}). Download it again."
            ) from error
        turn = cls(name, worker, session)
        worker.renew = lambda: setattr(turn, "_session", make())
        return turn

    @property
    def name(self) -> str:
        """The model's catalogue name."""
        return self._name

    async def complete(self, speech: AudioFrame) -> float:
        """Probability, 0 to 1, that the speaker has finished; at 16 kHz, any length, with some silence last.

        Raises `VoiceError` VAD_ERROR.
        """
        if speech.rate != SPEECH_RATE:
            raise _failure(f"Turn detection takes sound at {SPEECH_RATE} Hz, not {speech.rate} Hz.")
        stop = Stop()
        try:
            return await self._worker.run(lambda: _judge(self._session, speech, stop), stop=stop)
        except Stopped as error:
            raise _failure("Turn detection was shut down while it was listening.") from error
        except Exception as error:
            raise _failure(
                f"Turn detection failed ({error}). Until it works again, the length of a silence decides; "
                "restart localvoice if it goes on."
            ) from error

    async def warm_up(self) -> None:
        """Judge a second of faint noise."""
        noise = np.random.default_rng(0).normal(0, 300, SPEECH_RATE).astype(np.int16)
        await self.complete(AudioFrame(noise, SPEECH_RATE))

    async def close(self) -> None:
        """End the worker."""
        await self._worker.close()


def features(speech: AudioFrame) -> npt.NDArray[np.float32]:
    """What the model reads, shape (1, 80, 800): the last 8 s at even loudness, shorter ones after silence."""
    wanted = SECONDS * SPEECH_RATE
    sound = speech.as_float()[-wanted:]
    sound = np.pad(sound, (wanted - len(sound), 0))
    even = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    return log_mel(even.astype(np.float32))[None]


def _judge(session: Session, speech: AudioFrame, stop: Stop) -> float:
    probability = float(run_stoppable(session, {"input_features": features(speech)}, stop)[0].item())
    if not math.isfinite(probability):
        raise ValueError("the model gave no number")
    return probability


def _failure(message: str) -> VoiceError:
    return VoiceError(ErrorCode.VAD_ERROR, Component.VAD, message)
