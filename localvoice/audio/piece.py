"""The sound of one piece of speech that comes in several frames, trimmed and resampled as if it were one."""

from typing import Final

import numpy as np
import soxr

from localvoice.audio.frames import AudioFrame, Samples, concatenate

_NOTHING: Final = np.zeros(0, np.int16)


class PieceSound:
    """Takes the frames of one piece, all at one rate; what it gives in turn is the piece, without a seam."""

    def __init__(self, rate: int, cut_lead_in: bool, cut_tail: bool) -> None:
        """`rate`: samples a second that are wanted; whether to leave out the silence before and after it."""
        self._rate = rate
        self._cut_lead_in = cut_lead_in
        self._cut_tail = cut_tail
        self._held: AudioFrame | None = None
        """Silence that may be left out."""
        self._stream: soxr.ResampleStream | None = None
        self._taken = self._given = 0
        self._ends: list[float] = []
        """Where words end whose sound is still in the resampler, in seconds of the piece."""

    def feed(self, frame: AudioFrame) -> AudioFrame:
        """The next frame; what can be played now: nothing while all may be silence to leave out."""
        frame = frame if self._held is None else concatenate([self._held, frame])
        self._held = None
        if not len(frame.audible) and (self._cut_lead_in or self._cut_tail):
            self._held = frame
            return AudioFrame(_NOTHING, self._rate)
        if self._cut_lead_in:
            frame, self._cut_lead_in = frame.without_lead_in(), False
        if self._cut_tail:
            # Amid the piece it is a pause, and played before what comes after it.
            cut = frame.without_tail()
            self._held = AudioFrame(frame.samples[len(cut.samples) :], frame.rate)
            frame = cut
        return self._resampled(frame)

    def end(self) -> AudioFrame:
        """There are no more; what is left to play. A piece without an audible sample is played as it is."""
        rest = self._held or AudioFrame(_NOTHING, self._rate)
        if self._taken:
            # Left out but for a sample if a word is said to end in it: the sound that tells of it.
            rest = AudioFrame(rest.samples[: bool(rest.word_ends)], rest.rate, rest.word_ends)
        return self._resampled(rest, last=True)

    def _resampled(self, frame: AudioFrame, last: bool = False) -> AudioFrame:
        begun = self._taken / frame.rate
        self._ends += [begun + min(end, frame.seconds) for end in frame.word_ends]
        self._taken += len(frame.samples)
        samples = self._in_stream(frame, last)
        begin, self._given = self._given / self._rate, self._given + len(samples)
        told = [end for end in self._ends if last or end <= (self._given + 1) / self._rate]
        del self._ends[: len(told)]
        return AudioFrame(samples, self._rate, tuple(max(0.0, end - begin) for end in told))

    def _in_stream(self, frame: AudioFrame, last: bool) -> Samples:
        if self._stream is None:
            if frame.rate == self._rate:
                return frame.samples
            self._stream = soxr.ResampleStream(frame.rate, self._rate, 1, dtype="int16", quality="HQ")
        samples: Samples = self._stream.resample_chunk(frame.samples, last=last)
        return samples
