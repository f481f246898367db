"""How loud a voice is: what the STT can't hear is no speech, and others' voices keep no turn open."""

import numpy as np
import pytest

from localvoice.audio.endpointing import (
    WINDOW,
    EndpointEvent,
    Endpointing,
    Paused,
    Resumed,
    UtteranceEnded,
    UtteranceStarted,
)
from localvoice.audio.frames import SPEECH_FLOOR_DBFS, SPEECH_RATE, AudioFrame
from localvoice.config import ListeningSettings
from tests.support.fakes import FakeLlm, FakeStt, FakeVad, loud
from tests.support.session_room import LONG, Rooms

SECOND = SPEECH_RATE // WINDOW
"""Windows, nearly."""
VOICE = 0.99
WORD, GAP = (-25, 5), (-48, 1)
"""Of a user who speaks alone; where others talk as well, their voices fill the gaps."""
FLOOR = int(SPEECH_FLOOR_DBFS)


def windows(*levels: tuple[float, int]) -> list[np.ndarray]:
    """So many windows of each level, dBFS."""
    return [
        np.full(WINDOW, 32768 * 10 ** (dbfs / 20), np.int16) for dbfs, count in levels for _ in range(count)
    ]


def hear(
    endpointing: Endpointing, *levels: tuple[float, int], judged: int | None = None
) -> list[tuple[int, EndpointEvent]]:
    """What a VAD that takes all for speech makes of it; each event with the number of its window.

    `judged`: each pause is said to end the turn after so many milliseconds.
    """
    events = []
    for at, window in enumerate(windows(*levels), 1):
        if (event := endpointing(window, VOICE)) is not None:
            events.append((at, event))
        if isinstance(event, Paused) and judged is not None:
            endpointing.end_after(judged)
    return events


def plain() -> Endpointing:
    return Endpointing(ListeningSettings(partial_ms=0))


@pytest.mark.parametrize(
    ("dbfs", "starts"), [(-70, False), (FLOOR - 1, False), (FLOOR + 1, True), (-25, True)]
)
def test_a_voice_that_the_stt_cannot_hear_is_no_speech(dbfs: float, starts: bool) -> None:
    assert bool(hear(plain(), (dbfs, SECOND))) is starts


def test_only_what_the_stt_can_hear_counts_as_voice() -> None:
    endpointing = plain()
    hear(endpointing, (-30, 10), (FLOOR - 1, 20))
    assert endpointing.speaking and endpointing.voiced_ms == 320


@pytest.mark.parametrize("below", [5, 8, 20])
@pytest.mark.parametrize("judged", [None, 192, 704, 1000, 1248])
def test_people_in_the_background_keep_no_turn_open(below: float, judged: int | None) -> None:
    levels = (-25, 3 * SECOND), (-25 - below, 5 * SECOND)
    (_, started), (_, paused), (at, ended), *_ = hear(plain(), *levels, judged=judged)
    assert isinstance(started, UtteranceStarted) and isinstance(paused, Paused)
    assert isinstance(ended, UtteranceEnded)
    assert at <= 5.8 * SECOND, "well below 3 s after the user"
    assert 3 * SECOND <= ended.voiced_until / WINDOW <= 3.9 * SECOND
    for speech in (paused.speech, ended.speech):
        assert 3 * SECOND <= len(speech.samples) / WINDOW <= 4.1 * SECOND, "little of the others' with it"


@pytest.mark.parametrize("unfinished_ms", [1000, 1248])
def test_a_user_who_begins_loud_and_is_in_the_middle_of_a_sentence_goes_on(unfinished_ms: int) -> None:
    softly = (WORD[0] - 8, WORD[1])
    events = hear(plain(), *[WORD, GAP] * 10, *[softly, GAP] * 100, judged=unfinished_ms)
    kinds = [type(event) for _, event in events]
    assert UtteranceEnded not in kinds and kinds[1:3] == [Paused, Resumed]


def test_a_loud_word_again_is_the_users() -> None:
    levels = (-25, 2 * SECOND), (-33, int(2.1 * SECOND)), (-25, SECOND)
    events = [event for _, event in hear(plain(), *levels, judged=704)]
    assert [type(event) for event in events] == [UtteranceStarted, Paused, Resumed]


@pytest.mark.parametrize("below", [0, 3])
def test_a_user_who_speaks_a_little_lower_goes_on(below: float) -> None:
    assert len(hear(plain(), (-25, 3 * SECOND), (-25 - below, 5 * SECOND))) == 1


def test_a_weak_end_of_a_sentence_is_still_the_users() -> None:
    assert len(hear(plain(), *[(-25, SECOND), (-33, int(1.8 * SECOND))] * 4)) == 1


def test_a_bang_before_the_words_does_not_make_them_faint() -> None:
    assert len(hear(plain(), (-5, 4), (-25, 4 * SECOND))) == 1


class KeenVad(FakeVad):
    """Takes all that isn't silence for speech."""

    def __call__(self, window: np.ndarray) -> float:
        return 0.99 if np.any(window) else 0.01


@pytest.mark.virtual_clock
@pytest.mark.parametrize("dbfs", [-65, -60])
async def test_a_faint_voice_does_not_interrupt_the_agent(room: Rooms, dbfs: float) -> None:
    r = room(FakeStt("Talk.", ""), FakeLlm(LONG), vad=KeenVad())
    await r.says()
    await r.until("tts-start")
    sound = loud(1.5)
    peak = float(np.abs(sound.samples).max()) / 2**0.5
    faint = sound.samples * (32768 * 10 ** (dbfs / 20) / peak)
    await r.user(AudioFrame(faint.astype(np.int16), sound.rate))
    await r.session.settle()
    assert r.kinds().count("speech-start") == 1 and "tts-cancelled" not in r.kinds()
    assert "tts-complete" in r.kinds() and r.states()[-1] == "idle"
