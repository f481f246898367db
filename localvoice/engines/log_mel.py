"""The spectrogram that Whisper's encoder was trained on: log-mel, 80 bands, 100 frames a second. Numpy alone.

The mel scale is Slaney's: linear up to 1 kHz, logarithmic above, each filter of the same area.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from localvoice.audio.frames import SPEECH_RATE

BANDS: Final = 80
HOP: Final = 160
"""Samples from one frame to the next: 10 ms."""

_FFT: Final = 400
"""Samples of a frame: 25 ms."""
_FLOOR: Final = 1e-10
_RANGE: Final = 8.0
"""Decades below the loudest that are kept."""

_KNEE_HZ: Final = 1000.0
"""Where the mel scale turns from linear to logarithmic."""
_HZ_A_MEL: Final = 200.0 / 3
"""Below the knee."""
_KNEE_MEL: Final = _KNEE_HZ / _HZ_A_MEL
_LOG_STEP: Final = np.log(6.4) / 27
"""Above the knee, 27 mels are a factor of 6.4."""


def log_mel(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Features of mono sound at 16 kHz, shape (80, samples / 160), about -1 to 1.5. At least 400 samples."""
    padded = np.pad(sound, _FFT // 2, mode="reflect")
    frames = sliding_window_view(padded, _FFT)[::HOP][: len(sound) // HOP]
    spectrum = np.fft.rfft(frames * _window())
    power = spectrum.real**2 + spectrum.imag**2
    bands = np.log10(np.maximum(_filters() @ power.T, _FLOOR))
    result = (np.maximum(bands, bands.max() - _RANGE) + 4) / 4
    return np.asarray(result, np.float32)


@cache
def _window() -> npt.NDArray[np.float32]:
    """Hann's, periodic."""
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)


@cache
def _filters() -> npt.NDArray[np.float32]:
    """Triangles, shape (bands, frequencies)."""
    frequencies = np.linspace(0, SPEECH_RATE / 2, _FFT // 2 + 1)
    edges = _hertz(np.linspace(0, _mel(SPEECH_RATE / 2), BANDS + 2))
    left, top, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - left) / (top - left), (right - frequencies) / (right - top)
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)
    return np.asarray(triangles, np.float32)


def _mel(hertz: float) -> float:
    """For frequencies above the knee."""
    return float(_KNEE_MEL + np.log(hertz / _KNEE_HZ) / _LOG_STEP)


def _hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = _KNEE_HZ * np.exp(_LOG_STEP * (mels - _KNEE_MEL))
    return np.where(mels < _KNEE_MEL, mels * _HZ_A_MEL, above)
