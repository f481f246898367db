"""The WAV reader: good files as the standard library reads them, and nothing that a bad one can do."""

import io
import struct
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.audio import wav as wav_module
from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.contract.errors import ErrorCode, VoiceError
from tests.support.fakes import loud

EXTENSIBLE = 0xFFFE
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
FLOAT_GUID = b"\3" + PCM_GUID[1:]
SOUND = np.arange(-100, 100, dtype="<i2").tobytes()


def by_the_library(data: bytes, channels: int = 1, width: int = 2, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + bytes(len(body) % 2)


def form(
    kind: int = 1, channels: int = 1, rate: int = 16_000, block: int = 2, bits: int = 16, more: bytes = b""
) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, block * rate, block, bits) + more)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


DATA = chunk(b"data", SOUND)
NOTE = chunk(b"LIST", b"odd")
LOCK = struct.pack("<HHI", 22, 16, 0)


def test_a_wav_comes_back_as_it_went(tmp_path: Path) -> None:
    frame = loud(0.1, 44_100)
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(frame))
    for source in (path, path.read_bytes()):
        back = read_wav(source)
        assert back.rate == 44_100
        np.testing.assert_array_equal(back.samples, frame.samples)


def test_stereo_is_mixed_down() -> None:
    back = read_wav(by_the_library(np.array([100, 300, -500, -700], "<i2").tobytes(), channels=2))
    assert back.samples.tolist() == [200, -600]


@given(
    st.binary(min_size=1, max_size=200), st.integers(1, 8), st.sampled_from([8_000, 16_000, 44_100, 192_000])
)
def test_it_reads_and_writes_as_the_standard_library(sound: bytes, channels: int, rate: int) -> None:
    data = sound * 2 * channels
    ours = read_wav(by_the_library(data, channels, 2, rate))
    theirs = np.frombuffer(data, "<i2").reshape(-1, channels)
    assert ours.rate == rate
    # Where the channels cancel out, it is one of them.
    likely = [theirs.mean(axis=1).astype(np.int16), *theirs.T]
    assert any(np.array_equal(ours.samples, each) for each in likely)
    with wave.open(io.BytesIO(wav_bytes(ours)), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, rate)
        assert file.readframes(file.getnframes()) == ours.samples.astype("<i2").tobytes()


@pytest.mark.parametrize(
    "wav",
    [
        riff(form(), DATA),
        riff(NOTE, form(), NOTE, NOTE, DATA, NOTE),
        riff(form(more=struct.pack("<H", 0)), DATA),
        riff(form(EXTENSIBLE, more=LOCK + PCM_GUID), DATA),
        riff(form(), DATA) + b"ID3 tags, or anything",
        riff(form(), chunk(b"data", SOUND, 0xFFFFFFFF), size=0xFFFFFFFF),
        riff(form(), chunk(b"data", SOUND, 0), size=0),
        riff(form(), chunk(b"data", SOUND + b"x", 0xFFFFFFFF)[:-1], size=0xFFFFFFFF),
    ],
    ids=[
        "plain",
        "notes",
        "longer format",
        "extensible",
        "tail",
        "streamed",
        "streamed, 0",
        "cut in a sample",
    ],
)
def test_what_programs_write_is_read(wav: bytes) -> None:
    assert read_wav(wav).samples.tobytes() == SOUND


def cut(wav: bytes, length: int) -> bytes:
    """The file as it would be if its RIFF were whole."""
    return wav[:4] + struct.pack("<I", length - 8) + wav[8:length]


@pytest.mark.parametrize(
    ("wav", "reason"),
    [
        (b"", "no WAV"),
        (b"RIFF", "no WAV"),
        (b"ID3" + bytes(100), "no WAV"),
        (riff(form(), DATA).replace(b"RIFF", b"RIFX"), "no WAV"),
        (riff(form(), DATA).replace(b"WAVE", b"AVI "), "no WAV"),
        (riff(form(), DATA)[:-10], "shorter than its header"),
        (riff(form(), DATA, size=0xFFFFFFFE), "shorter than its header"),
        (riff(form(), chunk(b"data", SOUND, len(SOUND) + 1)), "shorter than its header"),
        (riff(), "no chunk with the format"),
        (riff(form()), "no chunk with its sound"),
        (riff(DATA, form()), "sound comes before the format"),
        (riff(form(), form(), DATA), "format twice"),
        (riff(chunk(b"LIST", b"", 2**31), form(), DATA), r"chunk b'LIST' is longer than the file"),
        (riff(*[NOTE] * 64, form(), DATA), "more than 64 chunks"),
        (cut(riff(form(), DATA), 30), r"chunk b'fmt ' is longer"),
        (riff(chunk(b"fmt ", bytes(14)), DATA), "too short"),
        (riff(form(EXTENSIBLE), DATA), "too short"),
        (riff(form(EXTENSIBLE, more=LOCK + FLOAT_GUID), DATA), r"no PCM WAV \(its format is 0xfffe\)"),
        (riff(form(3), DATA), r"no PCM WAV \(its format is 0x0003\)"),
        (riff(form(0x55), DATA), "no PCM WAV"),
        (by_the_library(b"\1\2\3", width=1), "8-bit"),
        (by_the_library(b"\1\2\3", width=3), "24-bit"),
        (riff(form(bits=0), DATA), "0-bit"),
        (riff(form(channels=0, block=0), DATA), "0 channels"),
        (riff(form(channels=65_535), DATA), "65535 channels"),
        (riff(form(channels=2), DATA), "samples of 2 bytes take 2"),
        (riff(form(rate=0), DATA), "rate"),
        (riff(form(rate=1), DATA), "rate"),
        (riff(form(rate=2**30), DATA), "rate"),
        (riff(form(), chunk(b"data", b"\1\2\3")), "3 bytes of sound are no whole samples"),
        (riff(form(), chunk(b"data", b"")), "no sound"),
        (riff(form(), chunk(b"data", b"", 0xFFFFFFFF), size=0xFFFFFFFF), "no sound"),
    ],
)
def test_a_bad_wav_is_refused_with_the_reason(wav: bytes, reason: str) -> None:
    with pytest.raises(VoiceError, match=reason) as caught:
        read_wav(wav)
    assert caught.value.code == ErrorCode.INVALID_AUDIO_FORMAT
    assert "ffmpeg" in caught.value.message


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match=r"absent\.wav"):
        read_wav(tmp_path / "absent.wav")


def test_a_file_is_read_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wav_module, "MAX_WAV_BYTES", 1 << 20)
    endless = tmp_path / "endless.wav"
    endless.symlink_to("/dev/zero")
    with pytest.raises(VoiceError, match="larger than 1 MiB"):
        read_wav(endless)


GOOD = riff(NOTE, form(channels=2, block=4), DATA, NOTE)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from([form(), form(EXTENSIBLE), DATA, NOTE, chunk(b"data", b"", 2**32 - 1)])).map(
            lambda chunks: riff(*chunks)
        ),
        st.dictionaries(st.integers(0, len(GOOD) - 1), st.integers(0, 255), max_size=12).map(
            lambda changes: bytes(changes.get(at, byte) for at, byte in enumerate(GOOD))
        ),
    )
)
@settings(max_examples=1500)
def test_no_bytes_raise_anything_else(wav: bytes) -> None:
    try:
        frame = read_wav(wav)
    except VoiceError as error:
        assert error.code == ErrorCode.INVALID_AUDIO_FORMAT
    else:
        assert 0 < 2 * len(frame.samples) <= len(wav)


@pytest.mark.parametrize("channels", [1, 2, 32])
def test_it_takes_a_small_multiple_of_the_file(channels: int) -> None:
    wav = riff(form(channels=channels, block=2 * channels), chunk(b"data", bytes(6_400_000)))
    tracemalloc.start()
    try:
        read_wav(wav)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(wav)
