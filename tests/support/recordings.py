"""Recordings as a browser's MediaRecorder makes them, and others."""

import io
from typing import Any

import av
import numpy as np

RATE = 48_000
Channels = Any
"""Shape (channels, n), int16."""


def tone(seconds: float, level: float = 8_000) -> Channels:
    """A tone in one channel."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 220 * times)).astype(np.int16)[np.newaxis]


LIVE = {"live": "1"}
"""For `recorded`: a WebM as a browser writes it, who doesn't know yet how long it will be."""
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "100000"}
"""The same of an MP4."""


class _Pipe:
    """A file without a way back."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self.write = self._file.write
        self.getvalue = self._file.getvalue


def recorded(container: str, codec: str, channels: Channels, options: dict[str, str] | None = None) -> bytes:
    """The sound in such a file; with muxer's options, as it is written into a pipe."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    interleaved = np.ascontiguousarray(channels.T).reshape(1, -1)
    file = io.BytesIO() if options is None else _Pipe()
    with av.open(file, "w", format=container, options=options) as made:
        stream: Any = made.add_stream(codec, rate=RATE)
        stream.layout = layout
        resampler = av.AudioResampler(stream.codec_context.format, layout, RATE)
        sound = av.AudioFrame.from_ndarray(interleaved, "s16", layout)
        sound.sample_rate = RATE
        fifo = av.AudioFifo()
        for frame in resampler.resample(sound):
            fifo.write(frame)
        while (part := fifo.read(stream.codec_context.frame_size or 960, partial=True)) is not None:
            made.mux(stream.encode(part))
        made.mux(stream.encode(None))
    return file.getvalue()
