"""Sessions with turn detection: ends are not waited for, hesitations are."""

import asyncio

import pytest

from localvoice.audio.end_of_turn import LONGEST_MS, PATIENCE
from localvoice.contract.messages import TranscriptMessage
from tests.support.fakes import STT_FAILED, TURN_FAILED, FakeLlm, FakeStt, FakeTurn, loud, silent
from tests.support.session_room import END, STEP, Room, Rooms, codes, now

pytestmark = pytest.mark.virtual_clock

BALANCED = PATIENCE["balanced"]
LONGEST = LONGEST_MS / 1000
SLACK = 0.032 + STEP
"""A window, and a step of the microphone."""


async def silence_until_the_end(r: Room) -> float:
    """The user speaks and then is silent; how long, until the turn ended."""
    ends = r.kinds().count("speech-end")
    await r.user(loud(0.608))
    stopped = now()
    async with asyncio.timeout(5):
        while r.kinds().count("speech-end") == ends:
            await r.user(silent(STEP))
    return r.times[len(r.kinds()) - 1 - r.kinds()[::-1].index("speech-end")] - stopped


async def test_a_complete_sentence_is_answered_at_once(room: Rooms) -> None:
    r = room(FakeStt("Turn it off.", delay=0.3), turn=FakeTurn(0.99, delay=0.05))
    silence = await silence_until_the_end(r)
    assert silence == pytest.approx(BALANCED.over_ms / 1000, abs=SLACK) and silence < END - 0.2
    await r.session.settle()
    assert r.said()[0] == ("user", "Turn it off.")


async def test_what_was_judged_is_the_speech_before_the_pause(room: Rooms) -> None:
    r = room(turn=FakeTurn(0.99))
    await silence_until_the_end(r)
    (judged,) = r.agent.engines.turn.heard  # type: ignore[union-attr]
    assert judged.rate == 16_000 and judged.seconds == pytest.approx(0.608 + 0.096, abs=2 * SLACK)
    assert len(r.stt.heard) == 1, "and the transcription that began in the pause is the turn's"


async def test_an_incomplete_sentence_is_waited_for_but_never_longer_than_1200_ms_more(room: Rooms) -> None:
    r = room(FakeStt("I would like to"), turn=FakeTurn(0.02))
    assert await silence_until_the_end(r) == pytest.approx(LONGEST, abs=SLACK)
    await r.session.settle()
    assert r.said()[0] == ("user", "I would like to")


async def test_the_words_decide_where_the_sound_does_not(room: Rooms) -> None:
    question = room(FakeStt("Why is the sky blue?", delay=0.25), turn=FakeTurn(0.8))
    assert await silence_until_the_end(question) == pytest.approx(0.096 + 0.25, abs=2 * SLACK)
    fragment = room(FakeStt("Turn off the", delay=0.25), turn=FakeTurn(0.8))
    assert await silence_until_the_end(fragment) == pytest.approx(LONGEST, abs=SLACK)
    unsure = room(FakeStt("My number is four.", delay=0.25), turn=FakeTurn(0.5))
    assert await silence_until_the_end(unsure) == pytest.approx(BALANCED.unsure_ms / 1000, abs=SLACK)


async def test_who_goes_on_within_the_wait_is_answered_once_and_to_all_of_it(room: Rooms) -> None:
    stt = FakeStt("I would like to", "I would like to talk about bees.")
    r = room(stt, FakeLlm("Like what?", "Of course."), turn=FakeTurn(0.02, 0.99))
    await r.user(loud(0.6))
    await r.user(silent(1.0))
    assert "speech-end" not in r.kinds()
    await r.user(loud(0.6))
    await r.user(silent(0.4))
    await r.session.settle()
    assert r.said() == [("user", "I would like to talk about bees."), ("assistant", "Of course.")]
    assert r.kinds().count("speech-end") == 1
    assert stt.heard[-1].seconds > 2.1, "both parts, and the pause"


async def test_an_answer_that_comes_after_the_user_went_on_counts_no_more(room: Rooms) -> None:
    r = room(turn=FakeTurn(0.99, 0.02, delay=0.2))
    await r.user(loud(0.6))
    await r.user(silent(0.2))
    assert await silence_until_the_end(r) == pytest.approx(BALANCED.unsure_ms / 1000, abs=SLACK)


async def test_a_detector_that_fails_leaves_it_to_the_timer_and_is_told_once(room: Rooms) -> None:
    r = room(FakeStt(*["Yes."] * 3), turn=FakeTurn(TURN_FAILED, TURN_FAILED, 0.99))
    for _ in range(2):
        assert await silence_until_the_end(r) == pytest.approx(END, abs=SLACK)
        await r.session.settle()
    assert codes(r) == ["VAD_ERROR"]
    assert await silence_until_the_end(r) < END - 0.2, "it works again"
    await r.session.settle()
    assert [role for role, _ in r.said()] == ["user", "assistant"] * 3


async def test_a_detector_that_raises_something_else_is_told_as_a_bug(room: Rooms) -> None:
    r = room(FakeStt("Yes.", "Yes."), turn=FakeTurn(ValueError("of its own"), 0.99))
    assert await silence_until_the_end(r) == pytest.approx(END, abs=SLACK)
    await r.session.settle()
    assert codes(r) == ["INTERNAL_ERROR"]
    assert await silence_until_the_end(r) < END - 0.2, "it works again"


async def test_a_detector_that_is_too_slow_is_not_waited_for(room: Rooms) -> None:
    r = room(turn=FakeTurn(0.02, delay=5.0))
    assert await silence_until_the_end(r) == pytest.approx(END, abs=SLACK)


async def test_without_words_an_end_that_sounds_like_one_comes_all_the_same(room: Rooms) -> None:
    r = room(FakeStt(STT_FAILED), turn=FakeTurn(0.6))
    assert await silence_until_the_end(r) == pytest.approx(LONGEST, abs=SLACK)
    await r.session.settle()
    assert codes(r) == ["STT_ERROR"]


async def test_eagerness_moves_it(room: Rooms) -> None:
    silences = []
    for eagerness in ("quick", "balanced", "patient"):
        listening = {"eagerness": eagerness}
        r = room(FakeStt("Let me see."), turn=FakeTurn(0.5), listening=listening)
        silences.append(await silence_until_the_end(r))
    quick, balanced, patient = silences
    assert quick < balanced - 0.1 and balanced < patient - 0.1


async def test_closing_in_a_pause_leaves_nothing_running(room: Rooms) -> None:
    r = room(turn=FakeTurn(0.99, delay=5.0))
    await r.user(loud(0.6))
    await r.user(silent(0.3))
    await r.session.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "turn detection"]


async def test_digits_in_groups_are_one_turn(room: Rooms) -> None:
    groups = ["Five, five, five.", "Five, five, five, one, two, three.", "555-123-4567."]
    r = room(FakeStt(*groups), turn=FakeTurn(0.999, 0.999, 0.999))
    for pause in (0.7, 0.7, LONGEST + 0.1):
        await r.user(loud(0.6))
        await r.user(silent(pause))
    await r.session.settle()
    assert [message.text for message in r.all(TranscriptMessage) if message.is_final] == groups[-1:]


async def test_the_next_group_is_waited_for_before_its_digits_are_known(room: Rooms) -> None:
    r = room(
        FakeStt("Five, five, five.", "Five, five, five, one.", "Hello."), turn=FakeTurn(0.1, 0.999, 0.999)
    )
    await r.user(loud(0.6))
    await r.user(silent(0.4))
    r.stt.delay = 0.5
    await r.user(loud(0.6))
    await r.user(silent(BALANCED.over_ms / 1000 + 0.1))
    assert "speech-end" not in r.kinds(), "a detector that is certain does not end it"
    await r.user(silent(LONGEST))
    await r.session.settle()
    r.stt.delay = 0.5
    assert await silence_until_the_end(r) == pytest.approx(BALANCED.over_ms / 1000, abs=SLACK), "another turn"
