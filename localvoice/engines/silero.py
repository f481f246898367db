"""Voice activity detection: Silero VAD v5 and v6 as ONNX, without torch."""

import math
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import SPEECH_RATE
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.onnx import Inputs, OnnxSession, open_session
from localvoice.engines.worker import told

WINDOW: Final = 512
"""Samples at 16 kHz that the model judges at a time: 32 ms."""
CONTEXT: Final = 64
"""Samples before the window that the model reads too. Without them it runs and hears no speech at all."""
_QUIET: Final = 8 / 32768
"""Peak of a window in which there is never speech: at this level the model gives none more than 0.03."""
_SETTLED: Final = 32
"""Quiet windows, 1 s of them, after which more of them change nothing: the model isn't shown those."""
_failure: Final = partial(VoiceError, ErrorCode.VAD_ERROR, Component.VAD)


class SileroVad:
    """The model, shared by all streams. Its constructor reads the file."""

    def __init__(self, model_path: Path) -> None:
        with told(
            _failure, f"The voice activity model {model_path.name} can't be loaded", "Download it again."
        ):
            # One thread: a window takes less time than waking a second one.
            self._session = open_session(model_path, threads=1)

    def stream(self) -> "SileroStream":
        return SileroStream(self._session)


class SileroStream:
    """Speech probability of one audio stream, window after window."""

    def __init__(self, session: OnnxSession) -> None:
        self._session = session
        self._rate = np.array(SPEECH_RATE, np.int64)
        self.reset()

    def reset(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._input = np.zeros((1, CONTEXT + WINDOW), np.float32)
        self._quiet_windows = 0
        self._latest = 0.0

    def __call__(self, window: npt.NDArray[np.float32]) -> float:
        if window.shape != (WINDOW,):
            raise _failure(
                f"The voice activity model takes windows of shape ({WINDOW},), not {window.shape}."
            )
        self._input[0, :CONTEXT] = self._input[0, -CONTEXT:]
        self._input[0, CONTEXT:] = window
        self._quiet_windows = self._quiet_windows + 1 if np.abs(window).max() <= _QUIET else 0
        if self._quiet_windows > _SETTLED:
            return self._latest
        inputs: Inputs = {"input": self._input, "state": self._state, "sr": self._rate}
        advice = "Text still works; if it goes on, restart localvoice."
        with told(_failure, "Voice activity detection failed", advice):
            probability, state = self._session.run(None, inputs)
            # The state goes back in: one that grows would double with each window.
            if probability.size != 1 or state.shape != self._state.shape:
                raise ValueError(f"it gave {probability.size} numbers and a state of shape {state.shape}")
            self._state = state
        self._latest = float(probability.item())
        if not math.isfinite(self._latest):
            self.reset()  # the state is useless too: with it the stream would never hear speech again
            raise _failure(
                "The voice activity model gave no number. Text still works; if it goes on, verify the model "
                "files (`localvoice models verify`)."
            )
        return self._latest
