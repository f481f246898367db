"""WAV files: read strictly, because strangers send them, and written.

The standard library's reader takes what we must not: it believes sizes, walks any number of chunks and reads
sample formats by the hint of others. Here a file is 16-bit PCM whose chunks fit into it, or it is refused.
"""

import struct
from pathlib import Path
from typing import Final

from localvoice.audio.frames import AudioFrame, mixed_down
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.files import read_named

MAX_WAV_BYTES: Final = 512 * 1024 * 1024
"""Of a file: an hour and a half of 48 kHz mono. What comes in messages is far smaller."""

RATES: Final = range(4_000, 384_001)
"""Hz. A header that claims 1 Hz would make a small file 16,000 times as large when it is resampled."""
MAX_CHANNELS: Final = 32
_MAX_CHUNKS: Final = 64  # before the sound: a recorder's own notes take a handful

_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_EXTENSIBLE_BYTES: Final = 40
_PCM_GUID: Final = bytes.fromhex("0100000000001000800000aa00389b71")
_UNKNOWN_SIZES: Final = (0, 0xFFFFFFFF)
"""Of the RIFF and of its sound, as programs write them that don't know yet how long it will be."""


class OtherCoding(VoiceError):
    """A WAV whose samples aren't 16-bit PCM."""


def invalid_audio(message: str, kind: type[VoiceError] = VoiceError) -> VoiceError:
    """INVALID_AUDIO_FORMAT; `message` says what is wrong and what to send instead."""
    return kind(ErrorCode.INVALID_AUDIO_FORMAT, Component.SERVER, message)


def read_wav(source: Path | bytes) -> AudioFrame:
    """A 16-bit PCM WAV, mixed down to mono. Raises `VoiceError` INVALID_AUDIO_FORMAT: what is wrong.

    A file whose sizes were never filled in, as ffmpeg writes one into a pipe, has sound to its end.
    """
    channels, rate, data = _chunks(source if isinstance(source, bytes) else _read(source))
    if len(data) % (2 * channels):
        raise _bad(f"its {len(data)} bytes of sound are no whole samples of {channels} channel(s)")
    if not len(data):
        raise _bad("it holds no sound")
    import numpy as np

    return AudioFrame(mixed_down(np.frombuffer(data, "<i2"), channels), rate)


def wav_bytes(frame: AudioFrame) -> bytes:
    """The frame as a 16-bit mono WAV file."""
    data = frame.samples.astype("<i2").tobytes()
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, 1, frame.rate, 2 * frame.rate, 2, 16)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(data))
    return struct.pack("<4sI", b"RIFF", len(body) + len(data)) + body + data


def _read(path: Path) -> bytes:
    try:
        return read_named(path, MAX_WAV_BYTES)
    except OSError as error:
        reason = f"The WAV {path} can't be read: {error.strerror}. Name a 16-bit PCM WAV file."
        raise invalid_audio(reason) from error


def _chunks(content: bytes) -> tuple[int, int, memoryview]:
    """Channels, rate and the bytes of the sound; what comes after the sound is ignored."""
    end, streamed = _extent(content)
    form = None
    at = 12
    for _ in range(_MAX_CHUNKS):
        if at + 8 > end:
            raise _bad(f"it has no chunk with {'its sound' if form else 'the format of its sound'}")
        name, size = struct.unpack_from("<4sI", content, at)
        at += 8
        if name == b"data":
            if form is None:
                raise _bad("its sound comes before the format of it")
            if size == 0xFFFFFFFF or (size == 0 and streamed):
                size = end - at - (end - at) % (2 * form[0])
            if size > end - at:
                raise _bad("it is shorter than its header says")
            return *form, memoryview(content)[at : at + size]
        if size > end - at:
            raise _bad(f"its chunk {name!r} is longer than the file")
        if name == b"fmt ":
            if form is not None:
                raise _bad("it tells its format twice")
            form = _format(content[at : at + size])
        at += size + size % 2  # they begin at even places
    raise _bad(f"it has more than {_MAX_CHUNKS} chunks before its sound")


def _extent(content: bytes) -> tuple[int, bool]:
    """Where the RIFF ends, and whether its writer left that open."""
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise _bad("it is no WAV")
    size = int.from_bytes(content[4:8], "little")
    if size in _UNKNOWN_SIZES:
        return len(content), True
    if 8 + size > len(content):
        raise _bad("it is shorter than its header says")
    return 8 + size, False


def _format(chunk: bytes) -> tuple[int, int]:
    """Channels and rate."""
    kind = int.from_bytes(chunk[:2], "little")
    if len(chunk) < (_EXTENSIBLE_BYTES if kind == _EXTENSIBLE else 16):
        raise _bad("the chunk with its format is too short")
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind != _PCM and not (kind == _EXTENSIBLE and chunk[24:40] == _PCM_GUID):
        raise _bad(f"it is no PCM WAV (its format is {kind:#06x})", OtherCoding)
    if bits != 16:
        raise _bad(f"it has {bits}-bit samples; 16-bit PCM is needed", OtherCoding)
    if not 1 <= channels <= MAX_CHANNELS:
        raise _bad(f"it has {channels} channels; 1 to {MAX_CHANNELS} can be read")
    if block != 2 * channels:
        raise _bad(f"it says that {channels} samples of 2 bytes take {block}")
    if rate not in RATES:
        raise _bad(f"its sample rate of {rate} Hz is none that sound is recorded at")
    return channels, rate


def _bad(reason: str, kind: type[VoiceError] = VoiceError) -> VoiceError:
    convert = "Convert it, for instance with `ffmpeg -i IN -ac 1 -ar 16000 -c:a pcm_s16le OUT.wav`."
    return invalid_audio(f"This WAV can't be used: {reason}. {convert}", kind)
