"""The log under a flood: what one client causes is bounded, told, and hides nothing of others."""

import logging

import pytest

from localvoice.process.logs import FloodFilter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Log:
    """A logger whose lines pass the filter, once for each of two handlers as in a real set-up."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._filter = FloodFilter(self.clock)
        self.lines = list[str]()

    def say(self, text: str, line: int = 1, level: int = logging.WARNING, **extra: str) -> None:
        record = logging.LogRecord("localvoice", level, "module.py", line, "%s", (text,), None)
        record.__dict__.update(extra)
        passed = [self._filter.filter(record) for _ in range(2)]
        assert passed[0] == passed[1], "all handlers write the same"
        if passed[0]:
            self.lines.append(record.getMessage())


@pytest.fixture
def log() -> Log:
    return Log()


def test_one_session_gets_so_many_lines_of_a_kind_and_is_told_to_be_left_out(log: Log) -> None:
    for _ in range(5_000):
        log.say("wrong", session_id="one")
    assert log.lines == ["wrong"] * 19 + ["wrong (more lines like this are left out for a minute)"]


def test_other_sessions_and_other_kinds_are_written_all_the_same(log: Log) -> None:
    for _ in range(500):
        log.say("wrong", session_id="one", code="INVALID_MESSAGE")
    log.lines.clear()
    log.say("wrong", session_id="two", code="INVALID_MESSAGE")
    log.say("slow", session_id="one", code="STT_TIMEOUT")
    log.say("elsewhere", line=2, session_id="one")
    first, *others = log.lines
    assert first.startswith("wrong (480 ") and others == ["slow", "elsewhere"]


def test_many_sessions_together_are_bounded_too(log: Log) -> None:
    for number in range(5_000):
        log.say("wrong", session_id=str(number))
    assert len(log.lines) == 100


def test_after_a_minute_it_says_how_many_lines_were_left_out(log: Log) -> None:
    for _ in range(50):
        log.say("wrong")
    log.clock.now = 60.0
    log.say("wrong")
    log.say("wrong")
    assert log.lines[-2:] == ["wrong (30 lines like this were left out before)", "wrong"]


def test_what_is_no_warning_passes(log: Log) -> None:
    for _ in range(500):
        log.say("a turn", level=logging.INFO)
    assert len(log.lines) == 500
