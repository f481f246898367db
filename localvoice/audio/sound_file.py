"""Recordings as browsers and recorders make them: decoded by FFmpeg, and held within narrow limits.

They come from strangers. So the file decides nothing but its sound: what it is follows from its first bytes,
it opens no other file, only a few codecs are used, and what comes out is bounded while it is decoded.
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

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.mixing import mixed_down
from localvoice.audio.wav import MAX_CHANNELS, RATES, OtherCoding, read_wav
from localvoice.contract.errors import Component, ErrorCode, VoiceError

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
_PACKETS_A_SECOND: Final = 400
"""Opus' shortest last 2.5 ms."""
_MOST_SECONDS: Final = 5.0
"""Of processor time for one recording. A minute takes some tenths."""
SEND_INSTEAD: Final = "Send a WAV of 16-bit PCM, or what a browser's MediaRecorder makes: WebM, Ogg or MP4."


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
    return VoiceError(
        ErrorCode.INVALID_AUDIO_FORMAT,
        Component.SERVER,
        f"The audio is longer than the {most:g} s that one utterance may have. Send it in parts.",
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
        if codec is None or codec.name not in _CODECS:
            raise _bad(f"its sound is coded as {'nothing known' if codec is None else codec.name}")
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
    form: tuple[int, str, str] | None = None
    for frame in frames:
        if graph is None:
            form, graph = _form(frame), _graph(frame, channels)
        if _form(frame) != form:
            raise _bad("its format changes in the middle")
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)  # the rest of it
        yield from _pulled(graph)


def _form(frame: av.AudioFrame) -> tuple[int, str, str]:
    # From a rate that no microphone has, FFmpeg's filter takes seconds to compute and gigabytes.
    if frame.sample_rate not in RATES or frame.layout.nb_channels > MAX_CHANNELS:
        raise _bad(f"it has {frame.layout.nb_channels} channels of {frame.sample_rate} Hz")
    return frame.sample_rate, frame.format.name, frame.layout.name


def _graph(first: av.AudioFrame, channels: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add(
        "abuffer",
        sample_rate=str(first.sample_rate),
        sample_fmt=first.format.name,
        channel_layout=first.layout.name,
        time_base=str(first.time_base or f"1/{first.sample_rate}"),
    )
    layout = "mono" if channels == 1 else "stereo"
    wanted = graph.add("aformat", sample_rates=str(SPEECH_RATE), sample_fmts="s16", channel_layouts=layout)
    graph.link_nodes(source, wanted, graph.add("abuffersink")).configure()
    return graph


def _pulled(graph: av.filter.Graph) -> Iterator[Any]:
    with suppress(BlockingIOError, EOFError):  # it wants more, or had the last
        while True:
            frame = graph.pull()
            assert isinstance(frame, av.AudioFrame)
            yield frame.to_ndarray()[0]


def _open_nothing(*_: Any, **__: Any) -> NoReturn:
    """A recording may name other files, which are not opened."""
    raise ValueError("it refers to another file")


def _bad(reason: str) -> VoiceError:
    return VoiceError(
        ErrorCode.INVALID_AUDIO_FORMAT,
        Component.SERVER,
        f"This recording can't be used: {reason}. {SEND_INSTEAD}",
    )
