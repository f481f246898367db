"""Several channels to one."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import Samples

_LOST: Final = 0.1
"""Share of the loudest channel's energy that the mean of all keeps at least. One voice on one of two channels
keeps a quarter."""
_BLOCK: Final = 1 << 20


def mixed_down(samples: npt.NDArray[Any], channels: int) -> Samples:
    """Interleaved samples, shape (n * channels,), int16, as mono: the mean of the channels.

    Where they cancel out (a microphone with one of its two wires reversed), or most are silent, it is the
    loudest of them.
    """
    if channels == 1:
        return samples.astype(np.int16)
    # Not a mean of all at once, which would take four times the file.
    total = np.zeros(len(samples) // channels, np.int32)
    for channel in range(channels):
        total += samples[channel::channels]
    mean = (total / channels).astype(np.int16)
    energies = [_energy(samples[channel::channels]) for channel in range(channels)]
    if _energy(mean) >= _LOST * max(energies):
        return mean
    return samples[int(np.argmax(energies)) :: channels].astype(np.int16)


def _energy(samples: npt.NDArray[Any]) -> float:
    blocks = (samples[at : at + _BLOCK].astype(np.float32) for at in range(0, len(samples), _BLOCK))
    return sum(float(np.dot(block, block)) for block in blocks)
