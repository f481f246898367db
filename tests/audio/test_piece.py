"""A piece that comes in frames is trimmed and resampled as if it came whole."""

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame, PieceSound, concatenate
from tests.support.fakes import loud, silent

RATE = 22_050
WHOLE = concatenate(
    [silent(0.1, RATE), loud(0.3, RATE), silent(0.25, RATE), loud(0.4, RATE), silent(0.3, RATE)]
)
ENDS = (0.2, 0.4, 0.9, 1.05, 1.2)


def in_frames(seconds: float) -> list[AudioFrame]:
    """The piece cut into frames, each with the ends of the words that end in it."""
    size, frames = round(seconds * RATE), []
    for at in range(0, len(WHOLE.samples), size):
        samples = WHOLE.samples[at : at + size]
        begin, end = at / RATE, (at + len(samples)) / RATE
        ends = tuple(word - begin for word in ENDS if begin < word <= end)
        frames.append(AudioFrame(samples, RATE, ends))
    return frames


def through(frames: list[AudioFrame], rate: int, lead_in: bool, tail: bool) -> list[AudioFrame]:
    piece = PieceSound(rate, lead_in, tail)
    return [*(piece.feed(frame) for frame in frames), piece.end()]


@pytest.mark.parametrize("rate", [16_000, RATE, 24_000, 48_000])
@pytest.mark.parametrize("seconds", [0.05, 0.12, 0.35, 5.0])
@pytest.mark.parametrize(("lead_in", "tail"), [(False, False), (True, False), (False, True), (True, True)])
def test_it_is_what_the_whole_is(rate: int, seconds: float, lead_in: bool, tail: bool) -> None:
    whole = AudioFrame(WHOLE.samples, RATE, ENDS)
    whole = whole.without_lead_in() if lead_in else whole
    whole = (whole.without_tail() if tail else whole).resampled(rate)
    given = through(in_frames(seconds), rate, lead_in, tail)
    assert {frame.rate for frame in given} == {rate}
    for frame in given:
        assert all(0 <= end <= frame.seconds + 1e-3 for end in frame.word_ends)
    piece = concatenate(given)
    count = len(whole.samples)
    assert count <= len(piece.samples) <= count + 3, "a sample is left to tell of a word that ends after it"
    np.testing.assert_allclose(piece.samples[:count].astype(int), whole.samples.astype(int), atol=3)
    ends = [min(end, whole.seconds) for end in whole.word_ends]
    assert piece.word_ends == pytest.approx(ends, abs=2e-3)


def test_only_silence_that_may_be_the_last_is_waited_with() -> None:
    piece = PieceSound(RATE, cut_lead_in=True, cut_tail=True)
    seconds = [piece.feed(frame).seconds for frame in in_frames(0.2)]
    assert seconds[0] == pytest.approx(0.11, abs=0.01), "without the lead-in, at once"
    assert seconds[2] == 0, "a pause, or the end"
    assert seconds[3] > 0.3, "it was a pause"
    assert piece.end().seconds == 0


def test_a_silent_piece_is_played_as_it_is() -> None:
    for rate in (RATE, 48_000):
        frames = through([silent(0.2, RATE)] * 3, rate, True, True)
        assert sum(frame.seconds for frame in frames) == pytest.approx(0.6)
    assert PieceSound(48_000, True, True).end().seconds == 0, "and one without frames not at all"
