"""How loud sound is made, without clipping."""

from typing import Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import AudioFrame

PEAK: Final = 0.99
"""Of full scale; no sample goes beyond it."""
_KNEE: Final = 0.8
"""Of full scale; peaks beyond are rounded."""


def rounded(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same, changed in place, with nothing beyond `PEAK`; up to the knee it stays as it is.

    Shape (n,), 1 is full scale.
    """
    room = np.float32(PEAK - _KNEE)
    beyond = np.maximum(np.abs(sound) - np.float32(_KNEE), 0)
    np.clip(sound, -_KNEE, _KNEE, out=sound)
    sound += np.sign(sound) * room * np.tanh(beyond / room)
    return sound


def amplified(frame: AudioFrame, gain: float) -> AudioFrame:
    """The frame, so many times as loud; its peaks are rounded where there is no more room."""
    sound = rounded(frame.as_float() * np.float32(gain))
    return AudioFrame((sound * 32767).astype(np.int16), frame.rate, frame.word_ends)
