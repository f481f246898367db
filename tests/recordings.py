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


def recorded(container: str, codec: str, channels: Channels) -> bytes:
    """The sound in such a file."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    interleaved = np.ascontiguousarray(channels.T).reshape(1, -1)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as made:
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
