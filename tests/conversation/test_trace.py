"""The trace of state transitions."""

import logging

import pytest

from localvoice.conversation.reporting import Trace, TraceEntry


def test_transitions_are_kept_in_their_order() -> None:
    times = iter((1.0, 2.5))
    trace = Trace(clock=lambda: next(times))
    trace.add("idle", "speech began", "listening")
    trace.add("listening", "speech ended", "thinking")
    assert list(trace) == [
        TraceEntry(1.0, "idle", "speech began", "listening"),
        TraceEntry(2.5, "listening", "speech ended", "thinking"),
    ]
    assert trace.as_dicts()[1] == {
        "time": 2.5,
        "from": "listening",
        "event": "speech ended",
        "to": "thinking",
    }


def test_old_transitions_make_room_for_new_ones() -> None:
    trace = Trace(size=3)
    for number in range(5):
        trace.add("idle", str(number), "idle")
    assert len(trace) == 3
    assert [transition.event for transition in trace] == ["2", "3", "4"]


def test_adding_while_iterating_is_harmless() -> None:
    trace = Trace(size=2)
    trace.add("idle", "first", "idle")
    trace.add("idle", "second", "idle")
    seen = []
    for transition in trace:
        seen.append(transition.event)
        trace.add("idle", "later", "idle")
    assert seen == ["first", "second"]


def test_each_transition_is_logged_with_structured_fields(caplog: pytest.LogCaptureFixture) -> None:
    trace = Trace(clock=lambda: 7.0)
    with caplog.at_level(logging.DEBUG, "localvoice.conversation.reporting"):
        trace.add("speaking", "barge-in", "listening")
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == "barge-in: speaking -> listening"
    assert record.__dict__["transition"] == {
        "time": 7.0,
        "from": "speaking",
        "event": "barge-in",
        "to": "listening",
    }
