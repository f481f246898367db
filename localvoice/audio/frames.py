"""Audio frames: mono int16 samples with their rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
"""Mono samples, shape (n,), int16."""

SPEECH_RATE: Final = 16_000
"""Hz. The rate of the VAD, the turn detector and the STT."""

SPEECH_FLOOR_DBFS: Final = -55.0
"""Sound whose loudest 0.1 s is below this holds no speech that the STT can hear. Speech at a microphone is
20 dB above it. End-pointing goes by it, too, so that a voice that is never heard interrupts nothing."""

AUDIBLE: Final = 327
"""Peak, of 32768, from which a sample counts as heard: -40 dBFS, well below speech, above its fade-in."""


@dataclass(frozen=True, eq=False)
class AudioFrame:
    """A stretch of mono sound; any length, from 10 ms off a network to a whole utterance."""

    samples: Samples
    """Shape (n,), int16."""
    rate: int
    """Samples a second."""
    word_ends: tuple[float, ...] = ()
    """Of speech that was made from a text: where its words end, in seconds, as far as the voice knows."""

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate

    @property
    def rms_dbfs(self) -> float:
        """Level in dB relative to full scale; -96 for digital silence."""
        if not len(self.samples):
            return -96.0
        mean_square = float(np.mean(np.square(self.samples, dtype=np.float64)))
        return 10 * float(np.log10(max(mean_square, 0.25))) - 90.31

    @property
    def audible(self) -> npt.NDArray[np.intp]:
        """Where its audible samples are, shape (m,)."""
        return np.flatnonzero(np.abs(self.samples, dtype=np.int32) > AUDIBLE)

    def without_lead_in(self) -> "AudioFrame":
        """From 10 ms before the first audible sample on; a frame without one stays as it is."""
        audible = self.audible
        start = max(0, int(audible[0]) - self.rate // 100) if len(audible) else 0
        ends = tuple(max(0.0, end - start / self.rate) for end in self.word_ends)
        return AudioFrame(self.samples[start:], self.rate, ends)

    def without_tail(self) -> "AudioFrame":
        """Up to 30 ms after the last audible sample; a frame without one stays as it is."""
        audible = self.audible
        end = int(audible[-1]) + 3 * self.rate // 100 if len(audible) else len(self.samples)
        return AudioFrame(self.samples[:end], self.rate, self.word_ends)

    def resampled(self, rate: int) -> "AudioFrame":
        """The same sound at another rate. Whole frames only: a stream needs a `Resampler`."""
        if rate == self.rate:
            return self
        import soxr  # here: it registers a function for the process's exit

        samples = soxr.resample(self.samples, self.rate, rate, quality="HQ")
        return AudioFrame(samples, rate, self.word_ends)

    def as_float(self) -> npt.NDArray[np.float32]:
        """Shape (n,), float32 in [-1, 1): what the models read."""
        return self.samples.astype(np.float32) / 32768.0


def concatenate(frames: Sequence[AudioFrame]) -> AudioFrame:
    """One frame from several of the same rate, with the words' ends; none give an empty frame."""
    if not frames:
        return AudioFrame(np.zeros(0, np.int16), SPEECH_RATE)
    begins = np.cumsum([0.0, *(frame.seconds for frame in frames)])
    ends = [begin + end for begin, frame in zip(begins, frames, strict=False) for end in frame.word_ends]
    samples = np.concatenate([frame.samples for frame in frames])
    return AudioFrame(samples, frames[0].rate, tuple(map(float, ends)))
