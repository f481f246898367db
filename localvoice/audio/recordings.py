"""Sound through FFmpeg: streams at another rate, and recordings as browsers and recorders make them.

Recordings come from strangers. So the file decides nothing but its sound: what it is follows from its first
bytes, it opens no other file, only a few codecs are used, and what comes out is bounded while it is decoded.

The library takes long to import, and a command that hears nothing needs none of it.
"""

import io
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn

import av
import av.filter
import numpy as np
from av.audio.stream import AudioStream

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, Samples, mixed_down
from localvoice.audio.wav import MAX_CHANNELS, RATES, OtherCoding, invalid_audio, read_wav
from localvoice.contract.errors import VoiceError

_CONTAINERS: Final = (
    ("wav", 0, b"RIFF"),
    ("matroska", 0, b"\x1aE\xdf\xa3"),
    ("ogg", 0, b"OggS"),
    ("mov", 4, b"ftyp"),
)
"""FFmpeg's name of each, and the bytes by which it is known."""
_CODECS: Final = (
    *("opus", "vorbis", "aac", "mp3", "mp3float", "flac", "alac"),
    *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_mulaw", "pcm_alaw"),
)
_OPTIONS: Final = {
    "codec_whitelist": ",".join(_CODECS),  # a video that comes along isn't looked at, not even for its size
    "protocol_whitelist": "none",
    "max_streams": "8",
}
_PACKETS_A_SECOND: Final = 400  # Opus' shortest last 2.5 ms
_MOST_SECONDS: Final = 5.0
"""Of processor time for one recording. A minute takes some tenths."""
SEND_INSTEAD: Final = "Send a WAV of 16-bit PCM, or what a browser's MediaRecorder makes: WebM, Ogg or MP4."


class Resampler:
    """Turns a stream of frames at changing rates into one stream at `rate`, without seams."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._source_rate = rate
        self._graph: av.filter.Graph | None = None

    def __call__(self, frame: AudioFrame) -> Samples:
        """The samples that are ready, shape (n,), int16; n may be 0 while the filter fills.

        It holds back about a millisecond. What soxr offers holds back more, or lets in aliases.
        """
        if frame.rate != self._source_rate:
            source = {"sample_rate": str(frame.rate), "sample_fmt": "s16", "channel_layout": "mono"}
            self._graph = None if frame.rate == self._rate else _graph(self._rate, "mono", **source)
            self._source_rate = frame.rate
        if self._graph is None or not len(frame.samples):
            return frame.samples
        given = av.AudioFrame.from_ndarray(np.ascontiguousarray(frame.samples)[np.newaxis], "s16", "mono")
        given.sample_rate = frame.rate
        self._graph.push(given)
        ready = list(_pulled(self._graph))
        return np.concatenate(ready) if ready else np.zeros(0, np.int16)


def read_sound(data: bytes, most: float) -> AudioFrame:
    """A recording as mono: WAV, WebM or Matroska, Ogg, MP4; at most so many seconds.

    Raises `VoiceError` INVALID_AUDIO_FORMAT, which says what is wrong and what to send. It computes for some
    tenths of a second: call it in a thread.
    """
    container = next((name for name, at, head in _CONTAINERS if data.startswith(head, at)), None)
    if container is None:
        raise _bad("it is neither WAV nor WebM, Ogg or MP4")
    if container == "wav":
        with suppress(OtherCoding):
            sound = read_wav(data)
            if sound.seconds > most:
                raise too_long(most)
            return sound
    try:
        return _decoded(data, container, most)
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _bad(f"it is damaged ({reason})") from error


def too_long(most: float) -> VoiceError:
    """The refusal of an utterance of more seconds."""
    return invalid_audio(
        f"The audio is longer than the {most:g} s that one utterance may have. Send it in parts."
    )


def _decoded(data: bytes, container: str, most: float) -> AudioFrame:
    file = io.BytesIO(data)
    with av.open(
        file, "r", container, options=_OPTIONS, metadata_errors="replace", io_open=_open_nothing
    ) as opened:
        if not opened.streams.audio:
            raise _bad("it holds no sound")
        stream = opened.streams.audio[0]
        codec: Any = stream.codec_context  # None where FFmpeg doesn't know it
        name = "nothing known" if codec is None else codec.name
        if name not in _CODECS:
            raise _bad(f"its sound is coded as {name}")
        codec.thread_count = 1
        channels = min(2, codec.channels)
        most_samples = round(most * SPEECH_RATE) * channels
        parts: list[Any] = []
        count = 0
        for part in _converted(_frames(opened, stream, most), channels):
            parts.append(part)
            count += len(part)
            if count > most_samples:
                raise too_long(most)
    if not count:
        raise _bad("it holds no sound")
    return AudioFrame(mixed_down(np.concatenate(parts), channels), SPEECH_RATE)


def _frames(opened: Any, stream: AudioStream, most: float) -> Iterator[av.AudioFrame]:
    """What the packets hold; their number and the time are bounded, for some hold nothing."""
    begun = time.thread_time()
    for number, packet in enumerate(opened.demux(stream)):
        if number > _PACKETS_A_SECOND * most:
            raise too_long(most)
        if time.thread_time() - begun > _MOST_SECONDS:
            raise _bad("it takes too long to decode")
        yield from packet.decode()


def _converted(frames: Iterator[av.AudioFrame], channels: int) -> Iterator[Any]:
    """The same at 16 kHz in one or two channels: interleaved samples, shape (n * channels,), int16."""
    graph: av.filter.Graph | None = None
    form: dict[str, str] = {}
    for frame in frames:
        if graph is None:
            form = _form(frame)
            time_base = str(frame.time_base or f"1/{frame.sample_rate}")
            layout = "mono" if channels == 1 else "stereo"
            graph = _graph(SPEECH_RATE, layout, **form, time_base=time_base)
        if _form(frame) != form:
            raise _bad("its format changes in the middle")
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)  # the rest of it
        yield from _pulled(graph)


def _form(frame: av.AudioFrame) -> dict[str, str]:
    """As FFmpeg's `abuffer` is told of it."""
    # From a rate that no microphone has, FFmpeg's filter takes seconds to compute and gigabytes.
    if frame.sample_rate not in RATES or frame.layout.nb_channels > MAX_CHANNELS:
        raise _bad(f"it has {frame.layout.nb_channels} channels of {frame.sample_rate} Hz")
    return {
        "sample_rate": str(frame.sample_rate),
        "sample_fmt": frame.format.name,
        "channel_layout": frame.layout.name,
    }


def _graph(rate: int, layout: str, **source: str) -> av.filter.Graph:
    """Converts sound of this form to int16 at this rate, on the caller's thread.

    PyAV's own resampler starts as many threads as there are cores for each stream, and they live until Python
    collects its garbage: a hundred of them after some dozens of connections on two cores.
    """
    graph = av.filter.Graph()
    graph.threads = 1
    given = graph.add("abuffer", **source)
    wanted = graph.add("aformat", sample_rates=str(rate), sample_fmts="s16", channel_layouts=layout)
    graph.link_nodes(given, wanted, graph.add("abuffersink")).configure()
    return graph


def _pulled(graph: av.filter.Graph) -> Iterator[Any]:
    """All samples that are ready: of each frame those of all channels, interleaved."""
    with suppress(BlockingIOError, EOFError):  # it wants more, or gave the last
        while True:
            frame = graph.pull()
            assert isinstance(frame, av.AudioFrame)
            yield frame.to_ndarray()[0]


def _open_nothing(*_: Any, **__: Any) -> NoReturn:
    """A recording may name other files, which are not opened."""
    raise ValueError("it refers to another file")


def _bad(reason: str) -> VoiceError:
    return invalid_audio(f"This recording can't be used: {reason}. {SEND_INSTEAD}")
