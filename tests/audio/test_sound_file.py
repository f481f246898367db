"""Recordings that browsers make are understood, and what is none is refused soon and in plain words."""

import base64
import io
import time
from random import Random
from typing import Any

import av
import numpy as np
import pytest

from localvoice.audio import recordings
from localvoice.audio.frames import AudioFrame, mixed_down
from localvoice.audio.recordings import read_sound
from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.contract.errors import ErrorCode, VoiceError
from tests.support.fakes import FakeStt, fake_engines, loud
from tests.support.recordings import FRAGMENTED, LIVE, RATE, recorded, tone
from tests.support.server_site import serving
from tests.support.stalls import measured

MADE = [
    ("webm", "libopus"),
    ("matroska", "libopus"),
    ("ogg", "libopus"),
    ("mp4", "aac"),
    ("mp4", "libopus"),
    ("wav", "pcm_mulaw"),
    ("wav", "pcm_alaw"),
    ("wav", "pcm_s24le"),
    ("wav", "pcm_f32le"),
    ("wav", "pcm_u8"),
    ("wav", "pcm_s16le"),
]


def is_the_tone(sound: AudioFrame, seconds: float) -> bool:
    """Whether it is about as long and as loud as it was, and of the same pitch."""
    spectrum = np.abs(np.fft.rfft(sound.as_float()))
    pitch = float(np.argmax(spectrum)) * sound.rate / len(sound.samples)
    return abs(sound.seconds - seconds) < 0.1 and -18 < sound.rms_dbfs < -13 and abs(pitch - 220) < 5


@pytest.mark.parametrize(("container", "codec"), MADE)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_recorded_is_heard(container: str, codec: str, channels: int) -> None:
    data = recorded(container, codec, np.repeat(tone(1.5), channels, axis=0))
    assert is_the_tone(read_sound(data, 60), 1.5)


def test_what_a_browser_writes_as_it_comes_is_heard() -> None:
    """Without a length, an index, or an end."""
    webm = recorded("webm", "libopus", tone(1.5), LIVE)
    assert b"\x01\xff\xff\xff\xff\xff\xff\xff" in webm, "its length is unknown"
    mp4 = recorded("mp4", "aac", tone(1.5), FRAGMENTED)
    assert mp4.count(b"moof") > 5
    for data in (webm, mp4, recorded("ogg", "libopus", tone(1.5), {})):
        assert is_the_tone(read_sound(data, 60), 1.5)
    assert is_the_tone(read_sound(webm[:-40], 60), 1.5), "the last packet was cut off"


@pytest.mark.parametrize(
    ("container", "codec"), [("webm", "libopus"), ("wav", "pcm_f32le"), ("wav", "pcm_s16le")]
)
def test_channels_that_cancel_out_are_heard(container: str, codec: str) -> None:
    """A microphone with one of its two wires reversed."""
    assert is_the_tone(read_sound(recorded(container, codec, np.concatenate([tone(1), -tone(1)])), 60), 1)


def test_one_voice_on_one_of_many_channels_is_heard() -> None:
    channels = np.zeros((32, 1_600), np.int16)
    channels[7] = loud(0.1).samples
    assert np.array_equal(mixed_down(channels.T.reshape(-1), 32), channels[7])
    assert not mixed_down(np.zeros(3_200, np.int16), 2).any()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "neither WAV nor WebM, Ogg or MP4"),
        (b"no sound at all", "neither WAV nor WebM"),
        (b"ID3\4" + bytes(100), "neither WAV nor WebM"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "neither WAV nor WebM"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "neither WAV nor WebM"),
        (recorded("matroska", "ac3", tone(1)), "its sound is coded as"),
        (b"\x1aE\xdf\xa3" + bytes(100), "damaged"),
        (b"OggS" + bytes(100), "damaged"),
        (bytes(4) + b"ftypisom" + bytes(100), "damaged"),
        (b"RIFF" + bytes(100), "no WAV"),
        (recorded("mp4", "aac", tone(1))[:200], "damaged"),
        (wav_bytes(loud(61)), "longer than the 60 s"),
        (recorded("webm", "libopus", tone(61)), "longer than the 60 s"),
        (recorded("wav", "pcm_mulaw", tone(61)), "longer than the 60 s"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(VoiceError, match=told) as caught:
        read_sound(data, 60)
    assert caught.value.code is ErrorCode.INVALID_AUDIO_FORMAT


def test_a_rate_that_no_microphone_has_is_refused_before_it_is_converted() -> None:
    data = bytearray(recorded("wav", "pcm_mulaw", tone(0.2)))
    data[24:28] = (1_543_551_872).to_bytes(4, "little")
    with measured() as cost:
        begun = time.thread_time()
        with pytest.raises(VoiceError, match="1 channels of 1543551872 Hz"):
            read_sound(bytes(data), 60)
    assert time.thread_time() - begun < 0.5 and cost.memory_mb < 10


def film(codec: str, side: int) -> bytes:
    """A film of black without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as made:
        stream: Any = made.add_stream(codec, rate=1)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((side * 3 // 2, side), np.uint8), "yuv420p")
        made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return file.getvalue()


def test_pictures_in_a_film_are_not_decoded() -> None:
    data = film("ffv1", 4_000)
    with measured() as cost, pytest.raises(VoiceError, match="holds no sound"):
        read_sound(data, 60)
    assert cost.memory_mb < 10


def test_a_long_sound_is_given_up_before_it_is_decoded() -> None:
    hour = recorded("ogg", "libopus", np.zeros((1, 300 * RATE), np.int16))
    with measured() as cost:
        begun = time.thread_time()
        with pytest.raises(VoiceError, match="longer"):
            read_sound(hour, 60)
    assert time.thread_time() - begun < 2 and cost.memory_mb < 30


@pytest.mark.parametrize(
    ("bound", "value", "told"),
    [("_PACKETS_A_SECOND", 0.5, "longer than the 60 s"), ("_MOST_SECONDS", 0.0, "takes too long to decode")],
)
def test_packets_that_hold_nothing_are_bounded_too(
    bound: str, value: float, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their number and by the time that they take, whatever sound comes of them."""
    data = recorded("webm", "libopus", tone(1))
    assert read_sound(data, 60).seconds < 2
    monkeypatch.setattr(recordings, bound, value)
    with pytest.raises(VoiceError, match=told):
        read_sound(data, 60)


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("ogg", "libopus"), ("mp4", "aac")])
def test_broken_files_are_refused_or_heard_and_nothing_else(container: str, codec: str) -> None:
    random, good = Random(7), recorded(container, codec, tone(0.3))
    for _ in range(150):
        data = bytearray(good)
        for _ in range(random.choice((1, 3, 30))):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            assert read_sound(bytes(data), 60).seconds <= 60
        except VoiceError as error:
            assert error.code is ErrorCode.INVALID_AUDIO_FORMAT


async def test_a_recording_in_a_message_is_answered() -> None:
    stt = FakeStt()
    async with serving(fake_engines(stt)) as site, site.client() as client:
        for container, codec in (("webm", "libopus"), ("mp4", "aac")):
            data = base64.b64encode(recorded(container, codec, tone(1))).decode()
            await client.send("audio", data=data)
            await client.expect("tts-complete")
        await client.send("audio", data=base64.b64encode(b"no sound").decode())
        error = await client.expect("error")
        assert error["code"] == "INVALID_AUDIO_FORMAT" and "MediaRecorder" in error["message"]
        assert len(stt.heard) == 2 and all(is_the_tone(heard, 1) for heard in stt.heard)


def test_wavs_stay_as_they_were() -> None:
    frame = loud(0.5)
    assert np.array_equal(read_wav(wav_bytes(frame)).samples, frame.samples)
    assert np.array_equal(read_sound(wav_bytes(frame), 60).samples, frame.samples)
