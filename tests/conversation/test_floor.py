"""The floor: what holds of every conversation, by random walks; and the table in the documentation."""

import copy
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.conversation.floor import Floor, step
from localvoice.conversation.moves import (
    Await,
    Begin,
    Cut,
    Dismiss,
    FloorTransition,
    Hold,
    PauseUnderstood,
    Release,
    ReplyStarted,
    Requested,
    SoundStarted,
    SpeechEnded,
    SpeechLasts,
    SpeechResumed,
    SpeechStarted,
    State,
    TurnEnded,
    TurnSpent,
    Understood,
)
from localvoice.conversation.reporting import told_as
from tests.support.floor_room import FloorRoom
from tests.support.folders import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


@settings(max_examples=500)
@given(st.booleans(), st.lists(st.integers(0, 2**16), max_size=40))
def test_what_must_hold_holds_in_every_conversation(can_hold: bool, walk: list[int]) -> None:
    room = FloorRoom(Floor(can_hold=can_hold))
    for number in walk:
        choices = list(room.choices())
        room.post(choices[number % len(choices)])
    room.settle()
    room.check_end()


def speaking() -> FloorRoom:
    """The agent speaks, in the turn 0."""
    room = FloorRoom()
    for event in (SpeechStarted(64.0), SpeechEnded(0), ReplyStarted(0), SoundStarted(0)):
        room.post(event)
    assert room.floor.state is State.SPEAKING
    return room


def test_a_plain_turn() -> None:
    room = speaking()
    room.post(TurnSpent(0))
    room.post(TurnEnded(0))
    assert [each.target for each in room.transitions] == ["listening", "thinking", "speaking", "idle"]


def test_a_cough_holds_the_reply_and_lets_it_go_on() -> None:
    room = speaking()
    assert room.post(SpeechStarted(64.0)) == [
        Hold(),
        FloorTransition(State.SPEAKING, "speech started", State.HELD),
    ]
    back = FloorTransition(State.HELD, "no interruption", State.SPEAKING)
    assert room.post(PauseUnderstood(False)) == [back, Release()]
    assert room.post(SpeechEnded(1)) == [Dismiss(1)]
    assert room.floor.state is State.SPEAKING


def test_words_in_a_pause_cut_the_reply_short_and_get_a_turn_when_they_end() -> None:
    room = speaking()
    room.post(SpeechStarted(64.0))
    assert Cut(0, answering=True, after_ms=64.0) in room.post(PauseUnderstood(True))
    assert Begin(1) in room.post(SpeechEnded(1))


def test_long_speech_cuts_the_reply_short_whatever_its_words() -> None:
    room = speaking()
    room.post(SpeechStarted(64.0))
    assert room.post(SpeechLasts(999.0)) == []
    assert Cut(0, answering=True, after_ms=64.0) in room.post(SpeechLasts(1000.0))


def test_only_the_voice_since_the_reply_was_held_counts_as_long() -> None:
    room = speaking()
    room.post(SpeechStarted(64.0))
    room.post(PauseUnderstood(False))
    room.post(SpeechResumed(700.0, 32.0))
    assert room.post(SpeechLasts(1600.0)) == []
    assert room.post(SpeechLasts(1700.0))


def test_utterances_over_a_held_turn_are_decided_in_their_order() -> None:
    room = speaking()
    room.post(SpeechStarted(64.0))
    assert room.post(SpeechEnded(1)) == [Await(1)]
    room.post(SpeechStarted(64.0))
    room.post(SpeechEnded(2))
    assert room.post(Understood(2, wants_floor=True)) == [], "first what was said first"
    begun = [each.opening for each in room.post(Understood(1, wants_floor=True)) if isinstance(each, Begin)]
    assert begun == [1, 2]


def test_where_sound_cannot_be_held_speech_cuts_it() -> None:
    room = FloorRoom(Floor(can_hold=False))
    for event in (Requested(0), ReplyStarted(0), SoundStarted(0)):
        room.post(event)
    assert room.post(SpeechStarted(64.0))[0] == Cut(0, answering=True, after_ms=64.0)


def test_events_of_a_turn_that_is_cut_change_nothing() -> None:
    floor, _ = step(Floor(), Requested("first"))
    floor, _ = step(floor, Requested("second"))
    for late in (ReplyStarted("first"), SoundStarted("first"), TurnSpent("first"), TurnEnded("first")):
        assert step(floor, late) == (floor, ())


# --- the table ---


def seen(depth: int) -> set[tuple[str, str, str]]:
    """All transitions on all ways of so many events."""
    found: set[tuple[str, str, str]] = set()
    rooms = {repr(room): room for room in (FloorRoom(), FloorRoom(Floor(can_hold=False)))}
    for _ in range(depth):
        after: dict[str, FloorRoom] = {}
        for room in rooms.values():
            for event in room.choices():
                then = copy.deepcopy(room)
                then.post(event)
                found |= {(each.source, each.event, each.target) for each in then.transitions}
                then.transitions.clear()
                ahead = {each: turn for each, turn in then.turns.items() if not turn.ended}
                after[repr((then.floor, ahead, then.awaited))] = then  # what is past changes nothing
        rooms = after
    return found


def documented() -> set[tuple[str, str, str]]:
    """Rows of the table: from, event, to."""
    table = re.search(r"<!-- floor -->(.*)<!-- /floor -->", PAGE, re.DOTALL)
    assert table is not None
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `(\w+)` \|$", table[1], re.MULTILINE)
    return {
        (source.strip("` ").lower(), event.strip(), target.lower())
        for sources, event, target in rows
        for source in sources.split(",")
    }


def test_the_table_in_the_documentation_is_the_machines() -> None:
    assert documented() == seen(7)


@pytest.mark.parametrize("state", State)
def test_a_held_turn_is_told_as_listening_and_the_others_as_themselves(state: State) -> None:
    assert told_as(state) == ("listening" if state is State.HELD else state.value)
