"""One level for all speech, also where it is known only chunk by chunk."""

import numpy as np
import numpy.typing as npt
import pytest

from localvoice.audio.levels import PEAK
from localvoice.engines.piper_voice import SPEECH_LEVEL, Levelling, Loudness

RATE = 22_050
TONE = np.sin(np.arange(RATE) / 20).astype(np.float32)


def rms(sound: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def test_a_whole_sentence_has_its_level_whatever_its_pauses() -> None:
    voice = Loudness(RATE)
    for amplitude, pause in ((0.1, 0), (0.3, RATE), (1.0, RATE // 3)):
        sound = np.concatenate([TONE * np.float32(amplitude), np.zeros(pause, np.float32)])
        levelled = Levelling(voice)(sound, whole=True)
        assert rms(levelled[:RATE]) == pytest.approx(SPEECH_LEVEL, rel=0.02)
        assert levelled.dtype == np.float32 and len(levelled) == len(sound)


def test_nothing_clips_and_nothing_is_blown_up() -> None:
    clicks = np.full(RATE, 0.01, np.float32)
    clicks[::2000] = 0.9
    assert np.abs(Levelling(Loudness(RATE))(clicks)).max() <= PEAK
    hiss = np.full(RATE, 0.001, np.float32)
    assert np.abs(Levelling(Loudness(RATE))(hiss)).max() < 0.005
    for silence in (np.zeros(RATE, np.float32), np.zeros(10, np.float32), np.zeros(0, np.float32)):
        np.testing.assert_array_equal(Levelling(Loudness(RATE))(silence), silence)


def test_a_peak_after_a_quiet_chunk_is_rounded_off() -> None:
    level = Levelling(Loudness(RATE))
    level(TONE * np.float32(0.03))
    loud = level(TONE * np.float32(0.9))
    assert 0.9 < np.abs(loud).max() <= PEAK


def test_the_first_chunk_is_weighed_against_how_loud_the_voice_is_as_a_rule() -> None:
    voice = Loudness(RATE)
    for _ in range(5):
        Levelling(voice)(TONE * np.float32(0.2), whole=True)
    assert voice.energy == pytest.approx(0.02, rel=0.02)
    first = TONE[: RATE // 3]
    # Its own level: 12 dB above the rule.
    loud = rms(Levelling(voice)(first * np.float32(0.8)))
    assert SPEECH_LEVEL * 1.1 < loud < SPEECH_LEVEL * 2, "between its own and the rule's"
    new = rms(Levelling(Loudness(RATE))(first * np.float32(0.8)))
    assert new == pytest.approx(SPEECH_LEVEL, rel=0.02), "a voice that has said nothing has no rule"


def test_a_chunk_of_silence_at_the_beginning_does_not_raise_the_gain() -> None:
    voice = Loudness(RATE)
    Levelling(voice)(TONE * np.float32(0.2), whole=True)
    level, hiss = Levelling(voice), np.full(RATE // 3, 1e-4, np.float32)
    assert np.abs(level(hiss)).max() < 1e-3
    assert rms(level(TONE * np.float32(0.2))) == pytest.approx(SPEECH_LEVEL, rel=0.05)


def test_the_gain_moves_without_a_step() -> None:
    level = Levelling(Loudness(RATE))
    quiet, loud = np.full(RATE // 2, 0.05, np.float32), np.full(RATE, 0.2, np.float32)
    gains = np.concatenate([level(quiet) / quiet, level(loud) / loud])
    assert gains[0] / gains[-1] > 1.5
    assert np.abs(np.diff(gains)).max() < 2e-3
