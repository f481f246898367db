"""Frames: levels, resampling of streams without seams, and WAV files of every kind of brokenness."""

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.recordings import Resampler
from tests.support.fakes import loud, silent


def test_level_and_length() -> None:
    assert silent(0.5).rms_dbfs < -90
    assert AudioFrame(np.zeros(0, np.int16), 16_000).rms_dbfs == -96
    full = AudioFrame(np.full(1000, -32768, np.int16), 8_000)
    assert full.rms_dbfs == pytest.approx(0, abs=0.01)
    assert full.seconds == 0.125
    assert loud(1).rms_dbfs == pytest.approx(-15.3, abs=0.1)
    assert full.as_float().dtype == np.float32 and full.as_float().min() == -1.0


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_resampled_stream_is_the_resampled_whole(rate: int) -> None:
    """Cut at 20 ms, as it comes off a network, there are no clicks at the seams."""
    whole = loud(1.0, rate)
    stream, step = Resampler(16_000), rate // 50
    pieces = [stream(AudioFrame(whole.samples[at : at + step], rate)) for at in range(0, rate, step)]
    joined = np.concatenate(pieces)
    assert len(joined) == pytest.approx(16_000, abs=16_000 * 0.04)  # the filter holds some back
    expected = whole.resampled(16_000).samples[1000 : len(joined) - 1000].astype(int)
    assert np.abs(joined[1000 : len(joined) - 1000] - expected).max() < 200


def test_a_resampler_follows_a_change_of_rate() -> None:
    stream = Resampler(16_000)
    for rate in (48_000, 16_000, 8_000, 48_000):
        out = np.concatenate([stream(AudioFrame(loud(0.02, rate).samples, rate)) for _ in range(50)])
        assert out.dtype == np.int16
        assert len(out) == pytest.approx(16_000, abs=700)


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 44_100, 48_000])
def test_a_resampler_holds_back_two_milliseconds_at_most(rate: int) -> None:
    """More of it would be waited for at the end of each turn."""
    stream, step = Resampler(16_000), rate // 50
    out = 0
    for chunk in range(1, 101):
        out += len(stream(AudioFrame(loud(0.02, rate).samples, rate)))
        held = chunk * step / rate - out / 16_000
        assert 0 <= held + 0.0001 and held < (0.005 if rate == 8_000 else 0.003)


def test_a_resampler_keeps_what_speech_is_made_of_and_no_aliases() -> None:
    def gain(frequency: int) -> float:
        tone = 10_000 * np.sin(2 * np.pi * frequency * np.arange(48_000) / 48_000)
        stream = Resampler(16_000)
        pieces = [stream(AudioFrame(part, 48_000)) for part in tone.astype(np.int16).reshape(-1, 480)]
        return AudioFrame(np.concatenate(pieces)[1000:-1000], 16_000).rms_dbfs + 13.32

    assert [gain(frequency) for frequency in (100, 1_000, 3_000, 6_500)] == pytest.approx([0] * 4, abs=0.1)
    assert gain(7_000) > -0.5
    assert max(gain(frequency) for frequency in (9_000, 10_000, 12_000, 15_000, 20_000)) < -55


@given(st.lists(st.integers(0, 2_000), max_size=20))
@settings(max_examples=50)
def test_how_a_stream_is_cut_changes_nothing(sizes: list[int]) -> None:
    sound = (np.random.default_rng(3).normal(0, 3_000, sum(sizes))).astype(np.int16)
    at_once, cut = Resampler(16_000), Resampler(16_000)
    whole = at_once(AudioFrame(sound, 48_000))
    pieces = np.split(sound, np.cumsum(sizes))
    joined = np.concatenate([cut(AudioFrame(piece, 48_000)) for piece in pieces])
    assert abs(len(joined) - len(whole)) <= 16
    shorter = min(len(joined), len(whole))
    np.testing.assert_array_equal(joined[:shorter], whole[:shorter])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted where Linux shows them")
def test_resamplers_start_no_threads() -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    before = threads()
    streams = [Resampler(16_000) for _ in range(10)]
    for stream in streams:
        stream(loud(0.02, 48_000))
    assert threads() <= before  # others may have ended meanwhile


@pytest.mark.parametrize("rate", [0, -8_000])
def test_a_rate_that_can_not_be_used_is_refused_each_time(rate: int) -> None:
    stream = Resampler(16_000)
    for _ in range(2):
        with pytest.raises((av.FFmpegError, ValueError)):  # the second, once its filter is half made
            stream(AudioFrame(loud(0.02).samples, rate))
    assert len(stream(loud(0.02))) == 320


def test_concatenate() -> None:
    joined = concatenate([loud(0.1, 8_000), silent(0.1, 8_000)])
    assert (len(joined.samples), joined.rate) == (1600, 8_000)
    assert len(concatenate([]).samples) == 0


def test_a_lead_in_is_cut_to_ten_milliseconds() -> None:
    sound = AudioFrame(np.concatenate([silent(0.05).samples, loud(0.2).samples]), 16_000)
    cut = sound.without_lead_in()
    assert len(sound.samples) - len(cut.samples) == pytest.approx(0.04 * 16_000, abs=4)
    assert len(silent(0.05).without_lead_in().samples) == 800, "silence has no beginning"
