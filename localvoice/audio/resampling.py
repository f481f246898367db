"""A stream of sound at another rate.

In a file of its own: the library takes 50 ms to import, and a command that hears nothing needs none of it.
"""

from collections.abc import Iterator
from contextlib import suppress

import av
import av.filter
import numpy as np

from localvoice.audio.frames import AudioFrame, Samples


class Resampler:
    """Turns a stream of frames at changing rates into one stream at `rate`, without seams."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._source_rate = rate
        self._graph: av.filter.Graph | None = None

    def __call__(self, frame: AudioFrame) -> Samples:
        """The samples that are ready, shape (n,), int16; n may be 0 while the filter fills.

        From 48 to 16 kHz it holds back 1 ms; what soxr offers holds back 11 ms or more, or lets in aliases.
        """
        if frame.rate != self._source_rate:
            self._graph = None if frame.rate == self._rate else _graph(frame.rate, self._rate)
            self._source_rate = frame.rate
        if self._graph is None or not len(frame.samples):
            return frame.samples
        given = av.AudioFrame.from_ndarray(np.ascontiguousarray(frame.samples)[np.newaxis], "s16", "mono")
        given.sample_rate = frame.rate
        self._graph.push(given)
        ready = [each.to_ndarray()[0] for each in _pulled(self._graph)]
        return np.concatenate(ready) if ready else np.zeros(0, np.int16)


def _graph(source_rate: int, rate: int) -> av.filter.Graph:
    """What PyAV's own resampler is, on the caller's thread.

    That one starts as many threads as there are cores for each stream, and they live until Python collects
    its garbage: a hundred of them after some dozens of connections on two cores.
    """
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add("abuffer", sample_rate=str(source_rate), sample_fmt="s16", channel_layout="mono")
    wanted = graph.add("aformat", sample_rates=str(rate), sample_fmts="s16", channel_layouts="mono")
    graph.link_nodes(source, wanted, graph.add("abuffersink")).configure()
    return graph


def _pulled(graph: av.filter.Graph) -> Iterator[av.AudioFrame]:
    """All that is ready."""
    with suppress(BlockingIOError):  # that is how it says that it wants more
        while True:
            frame = graph.pull()
            assert isinstance(frame, av.AudioFrame)
            yield frame
