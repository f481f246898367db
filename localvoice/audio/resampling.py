"""A stream of sound at another rate.

In a file of its own: the library takes 50 ms to import, and a command that hears nothing needs none of it.
"""

import av
import numpy as np

from localvoice.audio.frames import AudioFrame, Samples


class Resampler:
    """Turns a stream of frames at changing rates into one stream at `rate`, without seams."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._source_rate = rate
        self._stream: av.AudioResampler | None = None

    def __call__(self, frame: AudioFrame) -> Samples:
        """The samples that are ready, shape (n,), int16; n may be 0 while the filter fills.

        From 48 to 16 kHz it holds back 1 ms; what soxr offers holds back 11 ms or more, or lets in aliases.
        """
        if frame.rate != self._source_rate:
            self._stream = None if frame.rate == self._rate else av.AudioResampler("s16", "mono", self._rate)
            self._source_rate = frame.rate
        if self._stream is None:
            return frame.samples
        if not len(frame.samples):
            return frame.samples
        given = av.AudioFrame.from_ndarray(np.ascontiguousarray(frame.samples)[np.newaxis], "s16", "mono")
        given.sample_rate = frame.rate
        ready = [each.to_ndarray()[0] for each in self._stream.resample(given)]
        return np.concatenate(ready) if ready else np.zeros(0, np.int16)
