"""End-pointing: where speech begins, pauses and ends, to the sample; and that none of it is lost."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.audio.endpointing import (
    WINDOW,
    Continued,
    EndpointEvent,
    Endpointing,
    Paused,
    Resumed,
    UtteranceEnded,
    UtteranceStarted,
    Windows,
)
from localvoice.config import ListeningSettings

ONSET, PAUSE, END, TAIL, LEAD_IN = 2, 3, 16, 6, 10
"""Windows, from the default settings but for a longer pause, in which more can be told apart."""
LEVEL = 1000
DEFAULTS = {"pause_ms": 96, "partial_ms": 0}


def listening(**changes: float) -> ListeningSettings:
    return ListeningSettings.model_validate(DEFAULTS | changes)


def window(number: int) -> np.ndarray:
    """Recognisable: each of its samples is its number, at the level of speech."""
    return np.full(WINDOW, LEVEL + number % 20_000, np.int16)


def run(probabilities: list[float], **changes: float) -> list[tuple[int, EndpointEvent]]:
    """Each event with the number of the window that brought it, counted from 1."""
    endpointing = Endpointing(listening(**changes))
    events = [(at, endpointing(window(at), p)) for at, p in enumerate(probabilities, 1)]
    return [(at, event) for at, event in events if event is not None]


def windows_of(event: EndpointEvent) -> list[int]:
    assert isinstance(event, Continued | Paused | UtteranceEnded)
    assert len(event.speech.samples) % WINDOW == 0
    return [int(number) - LEVEL for number in event.speech.samples[::WINDOW]]


def test_one_utterance_to_the_sample() -> None:
    (at1, started), (at2, paused), (at3, ended) = run([0.0] * 20 + [0.9] * 30 + [0.0] * 40)
    assert started == UtteranceStarted(20 * WINDOW) and at1 == 20 + ONSET
    assert at2 == 50 + PAUSE
    assert at3 == 50 + END
    assert isinstance(ended, UtteranceEnded) and ended.voiced_until == 50 * WINDOW
    whole = list(range(20 - LEAD_IN + 1, 50 + TAIL + 1))
    assert windows_of(paused) == whole[: PAUSE - TAIL]
    assert windows_of(ended) == whole


def test_speech_at_the_very_beginning_of_the_stream() -> None:
    (_, started), (_, paused), (_, ended) = run([0.9] * 5 + [0.0] * 20)
    assert started == UtteranceStarted(0)
    assert windows_of(ended) == list(range(1, 5 + TAIL + 1))


def test_a_pause_that_is_gone_on_from() -> None:
    events = run([0.9] * 10 + [0.0] * (END - 1) + [0.9] * 10 + [0.0] * 20)
    assert [type(event) for _, event in events] == [UtteranceStarted, Paused, Resumed, Paused, UtteranceEnded]
    assert [at for at, _ in events] == [ONSET, 10 + PAUSE, 10 + END, 35 + PAUSE, 35 + END]
    assert windows_of(events[-1][1]) == list(range(1, 35 + TAIL + 1)), "the silence inside is kept"


def test_what_was_said_so_far_is_told_while_the_user_speaks_on() -> None:
    spoken = [0.9] * 70 + [0.0] * 5 + [0.9] * 40 + [0.0] * 20
    events = run([0.0] * 20 + spoken, partial_ms=960)
    told = [(at, event) for at, event in events if isinstance(event, Continued)]
    # Each 30 windows of voice, counted again from a pause, in which it is told, too.
    assert [at for at, _ in told] == [50, 80, 125]
    assert windows_of(told[1][1]) == list(range(20 - LEAD_IN + 1, 81))
    assert not any(isinstance(event, Continued) for _, event in run([0.0] * 20 + spoken))


def test_a_breath_is_not_even_a_pause() -> None:
    events = run([0.9] * 10 + [0.0] * (PAUSE - 1) + [0.9] * 10 + [0.0] * 20)
    assert [type(event) for _, event in events] == [UtteranceStarted, Paused, UtteranceEnded]


@pytest.mark.parametrize(
    ("fallen_db", "probability", "silent"),
    [
        (40, 0.96, True),
        (40, 0.98, False),  # the VAD is certain
        (20, 0.96, False),  # a soft vowel, or a background that covers the end
        (20, 0.10, True),
    ],
)
def test_a_window_far_below_the_speech_is_silence_before_the_vad_says_so(
    fallen_db: float, probability: float, silent: bool
) -> None:
    endpointing = Endpointing(listening(pause_ms=32))
    for _ in range(20):
        endpointing(np.full(WINDOW, 8000, np.int16), 0.99)
    last = np.full(WINDOW, 8000 * 10 ** (-fallen_db / 20), np.int16)
    assert isinstance(endpointing(last, probability), Paused) is silent
    if silent:
        assert isinstance(endpointing(np.full(WINDOW, 8000, np.int16), 0.99), Resumed)


def test_a_click_is_ignored() -> None:
    assert run([0.0] * 5 + [0.99] * (ONSET - 1) + [0.0] * 5 + [0.99] + [0.0] * 30) == []


def test_doubtful_windows_go_on_with_speech_but_do_not_begin_it() -> None:
    assert run([0.4] * 50) == []
    events = run([0.9] * 5 + [0.4] * 50 + [0.3] * 20)
    assert [(at, type(event)) for at, event in events[1:]] == [
        (55 + PAUSE, Paused),
        (55 + END, UtteranceEnded),
    ]


def test_speech_ends_with_the_lowest_threshold_too() -> None:
    assert isinstance(run([0.9] * 5 + [0.0] * 30, speech_probability=0.1)[-1][1], UtteranceEnded)


def test_too_long_speech_is_cut_and_goes_on_without_a_gap() -> None:
    longest = 62  # windows: 2 s
    events = run([0.9] * 150, max_utterance_seconds=2)
    ends = [(at, event) for at, event in events if isinstance(event, UtteranceEnded)]
    assert [at for at, _ in ends] == [longest, 2 * longest]
    heard = [number for _, event in ends for number in windows_of(event)]
    assert heard == list(range(1, 2 * longest + 1))


def test_speech_that_is_cut_as_it_goes_on_after_a_pause_is_in_the_last_transcription() -> None:
    """A transcription that used the pause must hear of what came after it."""
    events = run([0.9] * 52 + [0.0] * 9 + [0.9] * 30, max_utterance_seconds=2)
    for (_, before), (_, after) in pairwise(events):
        if isinstance(before, Paused) and isinstance(after, UtteranceEnded):
            assert windows_of(before) == windows_of(after)[: len(windows_of(before))]
            assert after.voiced_until <= 52 * WINDOW


def test_settings_are_in_milliseconds() -> None:
    events = run([0.9] * 30 + [0.0] * 60, onset_ms=320, pause_ms=320, end_ms=1600)
    assert [at for at, _ in events] == [10, 30 + 10, 30 + 50]
    assert windows_of(events[1][1]) == windows_of(events[2][1]) == list(range(1, 30 + TAIL + 1))


def test_an_end_before_the_pause_is_the_pause() -> None:
    events = run([0.9] * 10 + [0.0] * 60, pause_ms=640, end_ms=320)
    assert [(at, type(event)) for at, event in events] == [
        (ONSET, UtteranceStarted),
        (10 + 20, UtteranceEnded),
    ]


# --- a pause that is judged ---


def run_judged(
    probabilities: list[float], judged: dict[int, int], **changes: float
) -> list[tuple[int, type[EndpointEvent]]]:
    """As `run`; `judged` says after which windows the end of the pause is set, and to how many ms."""
    endpointing = Endpointing(listening(**changes))
    events: list[tuple[int, type[EndpointEvent]]] = []
    for at, probability in enumerate(probabilities, 1):
        event = endpointing(window(at), probability)
        if event is not None:
            events.append((at, type(event)))
        if at in judged:
            endpointing.end_after(judged[at])
    return events


@pytest.mark.parametrize(("milliseconds", "silent_windows"), [(160, 6), (256, 8), (1200, 38), (32, 6)])
def test_the_silence_that_ends_this_pause_can_be_set(milliseconds: int, silent_windows: int) -> None:
    """What has lasted long enough already ends with the next window."""
    events = run_judged([0.9] * 20 + [0.0] * 60, {25: milliseconds})
    assert events[-1] == (20 + silent_windows, UtteranceEnded)


def test_the_last_judgement_holds() -> None:
    events = run_judged([0.9] * 20 + [0.0] * 60, {24: 1200, 30: 416})
    assert events[-1] == (20 + 13, UtteranceEnded)


def test_it_holds_for_this_pause_only() -> None:
    once = [0.9] * 20 + [0.0] * 10
    events = run_judged(once + [0.9] * 20 + [0.0] * 60, {24: 1200})
    assert events[-1] == (50 + END, UtteranceEnded)
    events = run_judged(once + [0.0] * 10 + [0.9] * 20 + [0.0] * 60, {24: 192})
    assert [at for at, kind in events if kind is UtteranceEnded] == [20 + 6, 60 + END]


@pytest.mark.parametrize("at", [1, 10, 22])
def test_without_a_pause_there_is_nothing_to_end(at: int) -> None:
    """22 is a silence, but not yet a pause."""
    assert run_judged([0.9] * 20 + [0.0] * 60, {at: 1200})[-1] == (20 + END, UtteranceEnded)


def test_a_judged_pause_ends_at_the_longest_utterance_all_the_same() -> None:
    events = run_judged([0.9] * 50 + [0.0] * 60, {55: 5000}, max_utterance_seconds=2)
    assert events[-1] == (62, UtteranceEnded)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 40)), max_size=30),
    st.sampled_from([{}, {"max_utterance_seconds": 1.5}, {"onset_ms": 32, "pause_ms": 64, "end_ms": 96}]),
)
def test_properties_of_any_stream(runs: list[tuple[float, int]], changes: dict[str, float]) -> None:
    stream = [probability for probability, count in runs for _ in range(count)]
    events = run(stream, **changes)
    spans: list[tuple[int, int]] = []
    speaking = paused = False
    for at, event in events:
        match event:
            case UtteranceStarted(position):
                assert not speaking
                speaking, paused, start = True, False, position
                assert 0 <= position < at * WINDOW
            case Paused():
                assert speaking and not paused
                paused = True
            case Resumed():
                assert speaking and paused
                paused = False
            case UtteranceEnded(voiced_until=until):
                assert speaking
                speaking = False
                spans.append((start, until))
                heard = windows_of(event)
                assert heard == list(range(heard[0], heard[-1] + 1)), "one stretch, nothing left out"
                assert (heard[0] - 1) * WINDOW <= start
                assert until <= heard[-1] * WINDOW <= at * WINDOW
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


@given(st.lists(st.integers(0, 1500), max_size=30))
def test_windows_are_the_stream_cut_again(sizes: list[int]) -> None:
    stream = np.arange(sum(sizes)).astype(np.int16)
    cut = Windows()
    windows: list[np.ndarray] = []
    at = 0
    for size in sizes:
        windows += cut(stream[at : at + size])
        at += size
    assert all(len(each) == WINDOW for each in windows)
    joined = np.concatenate([np.zeros(0, np.int16), *windows])
    np.testing.assert_array_equal(joined, stream[: len(stream) // WINDOW * WINDOW])


@pytest.mark.parametrize("size", [1, 160, 512, 5000])
def test_windows_come_as_soon_as_they_are_whole(size: int) -> None:
    cut = Windows()
    given_so_far = 0
    for step in range(1, 40):
        given_so_far += len(cut(np.zeros(size, np.int16)))
        assert given_so_far == step * size // WINDOW
