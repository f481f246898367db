"""Whisper's log-mel spectrogram in numpy alone, for models that read it without Whisper's own library."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import SPEECH_RATE

BANDS: Final = 80
"""Mel bands from 0 Hz to 8 kHz."""
HOP: Final = 160
"""Samples from one frame to the next: 10 ms."""

_FFT: Final = 400
"""Samples a frame: 25 ms."""
_AT_ONCE: Final = 100
"""Frames: all 8 s that a model reads would take 10 MB, at the moment when Whisper takes most."""
_RANGE: Final = 8.0
"""Powers of ten below the loudest that are told apart."""
_LINEAR_BELOW: Final = 1000.0
"""Hz. Slaney's mel scale is linear up to here, and logarithmic above."""
_HZ_PER_MEL: Final = 200 / 3
_LOG_STEP: Final = np.log(6.4) / 27


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
    mels: npt.NDArray[np.float32] = _filters() @ power.T
    return mels


@cache
def _filters() -> npt.NDArray[np.float32]:
    """Triangles of equal area, shape (80, 201): the share of each frequency in each band."""
    frequencies = np.linspace(0, SPEECH_RATE / 2, _FFT // 2 + 1)
    edges = _hertz(np.linspace(0, _mel(SPEECH_RATE / 2), BANDS + 2))
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - lower) / (centre - lower)
    falling = (upper - frequencies) / (upper - centre)
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (upper - lower)
    return triangles.astype(np.float32)


def _mel(hertz: float) -> float:
    """Of a frequency above `_LINEAR_BELOW`."""
    return float(_LINEAR_BELOW / _HZ_PER_MEL + np.log(hertz / _LINEAR_BELOW) / _LOG_STEP)


def _hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = mels * _HZ_PER_MEL
    beyond = np.maximum(0, mels - _LINEAR_BELOW / _HZ_PER_MEL)
    return np.where(beyond > 0, _LINEAR_BELOW * np.exp(_LOG_STEP * beyond), linear)
