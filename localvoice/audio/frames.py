"""Mono int16 frames with their rate, channels mixed down to one, and the frames of one piece of speech."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    # What uses these imports them: short commands need no numpy, which takes longest of all that `localvoice`
    # loads, and soxr registers a function for the process's exit.
    import numpy as np
    import numpy.typing as npt
    import soxr

Samples: TypeAlias = "npt.NDArray[np.int16]"
"""Mono samples, shape (n,), int16."""

SPEECH_RATE: Final = 16_000
"""Hz. The rate of the VAD, the turn detector and the STT."""

SPEECH_FLOOR_DBFS: Final = -55.0
"""Sound whose loudest 0.1 s is below this holds no speech that the STT can hear. Speech at a microphone is
20 dB above it. End-pointing goes by it, too, so that a voice that is never heard interrupts nothing."""

AUDIBLE: Final = 327
"""Peak, of 32768, from which a sample counts as heard: -40 dBFS, well below speech, above its fade-in."""
_LOST: Final = 0.1
"""Share of the loudest channel's energy that the mean of all keeps at least. One voice on one of two channels
keeps a quarter."""
_BLOCK: Final = 1 << 20


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
        mean_square = float((self.samples.astype("float64") ** 2).mean())
        return 10 * math.log10(max(mean_square, 0.25)) - 90.31

    @property
    def audible(self) -> "npt.NDArray[np.intp]":
        """Where its audible samples are, shape (m,)."""
        return (abs(self.samples.astype("int32")) > AUDIBLE).nonzero()[0]

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
        import soxr

        samples = soxr.resample(self.samples, self.rate, rate, quality="HQ")
        return AudioFrame(samples, rate, self.word_ends)

    def as_float(self) -> "npt.NDArray[np.float32]":
        """Shape (n,), float32 in [-1, 1): what the models read."""
        sound: npt.NDArray[np.float32] = self.samples.astype("float32")
        sound /= 32768.0
        return sound


def concatenate(frames: Sequence[AudioFrame]) -> AudioFrame:
    """One frame from several of the same rate, with the words' ends; none give an empty frame."""
    import numpy as np

    if not frames:
        return _nothing(SPEECH_RATE)
    begins = accumulate((frame.seconds for frame in frames), initial=0.0)
    ends = [begin + end for begin, frame in zip(begins, frames, strict=False) for end in frame.word_ends]
    return AudioFrame(np.concatenate([frame.samples for frame in frames]), frames[0].rate, tuple(ends))


def _nothing(rate: int) -> AudioFrame:
    import numpy as np

    return AudioFrame(np.zeros(0, np.int16), rate)


def mixed_down(samples: "npt.NDArray[Any]", channels: int) -> Samples:
    """Interleaved samples, shape (n * channels,), int16, as mono: the mean of the channels.

    Where they cancel out (a microphone with one of its two wires reversed), or most are silent, it is the
    loudest of them.
    """
    if channels == 1:
        return samples.astype("int16")
    # Not a mean of all at once, which would take four times the file.
    total = samples[::channels].astype("int32")
    for channel in range(1, channels):
        total += samples[channel::channels]
    mean = (total / channels).astype("int16")
    energies = [_energy(samples[channel::channels]) for channel in range(channels)]
    if _energy(mean) >= _LOST * max(energies):
        return mean
    loudest = energies.index(max(energies))
    return samples[loudest::channels].astype("int16")


def _energy(samples: "npt.NDArray[Any]") -> float:
    blocks = (samples[at : at + _BLOCK].astype("float32") for at in range(0, len(samples), _BLOCK))
    return sum(float(block @ block) for block in blocks)


class PieceSound:
    """Takes the frames of one piece, all at one rate; what it gives in turn is the piece, without a seam."""

    def __init__(self, rate: int, cut_lead_in: bool, cut_tail: bool) -> None:
        """`rate`: samples a second that are wanted; whether to leave out the silence before and after it."""
        self._rate = rate
        self._cut_lead_in = cut_lead_in
        self._cut_tail = cut_tail
        self._held: AudioFrame | None = None  # silence that may be left out
        self._stream: soxr.ResampleStream | None = None
        self._taken = self._given = 0
        # Where words end whose sound is still in the resampler, in seconds of the piece.
        self._ends: list[float] = []

    def feed(self, frame: AudioFrame) -> AudioFrame:
        """The next frame; what can be played now: nothing while all may be silence to leave out."""
        frame = frame if self._held is None else concatenate([self._held, frame])
        self._held = None
        if not len(frame.audible) and (self._cut_lead_in or self._cut_tail):
            self._held = frame
            return _nothing(self._rate)
        if self._cut_lead_in:
            frame, self._cut_lead_in = frame.without_lead_in(), False
        if self._cut_tail:
            # Within the piece it is a pause, and played before what comes after it.
            whole, frame = frame, frame.without_tail()
            self._held = AudioFrame(whole.samples[len(frame.samples) :], frame.rate)
        return self._resampled(frame)

    def end(self) -> AudioFrame:
        """There are no more; what is left to play. A piece without an audible sample is played as it is."""
        rest = self._held or _nothing(self._rate)
        if self._taken:
            # Left out except for a sample if a word is said to end in it: the sound that tells of it.
            rest = AudioFrame(rest.samples[: bool(rest.word_ends)], rest.rate, rest.word_ends)
        return self._resampled(rest, last=True)

    def _resampled(self, frame: AudioFrame, last: bool = False) -> AudioFrame:
        if self._stream is None and frame.rate != self._rate:
            import soxr

            self._stream = soxr.ResampleStream(frame.rate, self._rate, 1, dtype="int16", quality="HQ")
        samples = frame.samples
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples, last=last)
        taken, given = self._taken / frame.rate, self._given / self._rate
        self._taken += len(frame.samples)
        self._given += len(samples)
        self._ends += [taken + min(end, frame.seconds) for end in frame.word_ends]
        told = [end for end in self._ends if last or end <= (self._given + 1) / self._rate]
        del self._ends[: len(told)]
        return AudioFrame(samples, self._rate, tuple(max(0.0, end - given) for end in told))
