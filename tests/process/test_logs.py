"""Logs: rich text or JSON lines, with the session of each line, and without anything that was said."""

import asyncio
import io
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from localvoice.config import ConfigError
from localvoice.observability.log_context import (
    ContextFilter,
    log_context,
    log_fields,
    session_tag,
    show_transcripts,
    spoken,
)
from localvoice.process.logs import set_up_logging
from tests.support.named_pipes import pipe as pipe
from tests.support.named_pipes import reader as reader

log = logging.getLogger("localvoice.test")
SetUp = Callable[..., None]
HOLD_TRANSCRIPTS = ("piper", "piper.voice", "faster_whisper")


@pytest.fixture
def set_up() -> Iterator[SetUp]:
    """`set_up_logging` as in a new process, whose root logger has no handlers; undone after the test."""
    root = logging.getLogger()
    level = root.level
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}

    def as_in_a_new_process(*arguments: Any, **named: Any) -> None:
        root.handlers.clear()  # pytest's, which it takes away after the test in any case
        set_up_logging(*arguments, **named)
        ours.extend(root.handlers)

    ours: list[logging.Handler] = []
    yield as_in_a_new_process
    for handler in ours:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    show_transcripts(False)


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(screen: io.StringIO) -> Console:
    return Console(file=screen, width=60)


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_text_is_for_people(set_up: SetUp, console: Console, screen: io.StringIO) -> None:
    set_up("info", console)
    log.info("a session began", extra={"session_id": "s1"})
    log.debug("not this")
    (line,) = screen.getvalue().splitlines()
    assert "INFO" in line and "a session began" in line and "{" not in line


def test_json_is_an_object_a_line_with_who_it_is_about(
    set_up: SetUp, console: Console, screen: io.StringIO
) -> None:
    set_up("debug", console, "json")
    with log_context(session_id="s1", turn_id="t1", model="qwen"):
        log.warning("the reply of %s took long" + 80 * "!", "qwen", extra={"duration_ms": 1.5})
    log.debug("two\nlines")
    first, second = objects(screen.getvalue())
    logged = datetime.fromisoformat(first.pop("time"))
    assert logged.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - logged) < timedelta(seconds=60)
    assert first == {
        "level": "WARNING",
        "logger": "localvoice.test",
        "message": "the reply of qwen took long" + 80 * "!",
        "session_id": session_tag("s1"),
        "turn_id": "t1",
        "model": "qwen",
        "duration_ms": 1.5,
    }
    assert set(second) == {"time", "level", "logger", "message"}
    assert second["message"] == "two\nlines"


def test_json_holds_tracebacks_and_whatever_else_a_record_has(
    set_up: SetUp, console: Console, screen: io.StringIO
) -> None:
    set_up("info", console, "json")
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.exception("it failed", extra={"path": Path("/x"), "odd": object(), "half": "\ud800"})
    (record,) = objects(screen.getvalue())
    assert "RuntimeError: broken" in record["exc_info"]
    assert {"path", "odd", "half"} <= set(record)


def test_other_libraries_lines_carry_the_session_too(
    set_up: SetUp, console: Console, screen: io.StringIO
) -> None:
    set_up("info", console, "json")
    with log_context(session_id="s1"):
        logging.getLogger("some.library").warning("hm")
    assert objects(screen.getvalue())[0]["session_id"] == session_tag("s1")


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_file_gets_the_same_lines_and_only_its_owner_can_read_it(
    set_up: SetUp, format: Any, console: Console, screen: io.StringIO, tmp_path: Path
) -> None:
    file = tmp_path / "logs" / "localvoice.log"
    set_up("info", console, format, file=file)
    with log_context(session_id="s1"):
        log.info("hello")
    assert "hello" in screen.getvalue()
    text = file.read_text()
    if format == "json":
        assert objects(text)[0]["session_id"] == session_tag("s1")
    else:
        assert text.endswith(" INFO localvoice.test: hello\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_never_grows_for_ever(
    set_up: SetUp, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localvoice.process.logs._FILE_BYTES", 500)
    set_up("info", console, "json", file=tmp_path / "log")
    for number in range(100):
        log.info("line %d", number)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    assert all(each.stat().st_size <= 500 for each in files)
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert objects((tmp_path / "log").read_text())[-1]["message"] == "line 99"


def test_a_file_that_was_there_before_is_closed_to_others(
    set_up: SetUp, console: Console, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    file.write_text("old\n")
    file.chmod(0o664)
    set_up("info", console, file=file)
    log.info("new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("old\n") and file.read_text().endswith("new\n")


def test_a_log_that_goes_to_a_device_leaves_it_as_it_is(
    set_up: SetUp, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Path("/dev/null").stat().st_mode
    monkeypatch.setattr("os.geteuid", lambda: Path("/dev/null").stat().st_uid)
    monkeypatch.setattr("os.fchmod", lambda *_: pytest.fail("its permissions are everybody's"))
    set_up("info", console, file=Path("/dev/null"))
    assert Path("/dev/null").stat().st_mode == before


@pytest.mark.parametrize("format", ["text", "json"])
def test_words_of_others_neither_command_the_terminal_nor_pass_for_a_record(
    set_up: SetUp, format: Any, console: Console, screen: io.StringIO, tmp_path: Path
) -> None:
    set_up("info", console, format, file=tmp_path / "log")
    log.warning("%s", "oh\x1b]0;owned\x07\x9b2J\r\n2031-01-01 00:00:00,000 ERROR localvoice: all is lost")
    for text in (screen.getvalue(), (tmp_path / "log").read_text()):
        assert not {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} - {"\n"} & set(text)
        assert not [line for line in text.splitlines()[1:] if not line.startswith(" ")]
        assert "x1b" in text or "u001b" in text


def test_a_file_that_cannot_be_written_is_said_at_once(
    set_up: SetUp, console: Console, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"can't be written: .*Name another one"):
        set_up("info", console, file=tmp_path / "file" / "log")


@pytest.mark.timeout(10)
def test_a_pipe_that_nobody_reads_is_not_waited_for(set_up: SetUp, console: Console, pipe: Path) -> None:
    with pytest.raises(ConfigError, match="can't be written"):
        set_up("info", console, file=pipe)


@pytest.mark.timeout(10)
def test_nor_is_one_that_is_full(
    reader: int, set_up: SetUp, console: Console, pipe: Path, screen: io.StringIO
) -> None:
    set_up("info", console, file=pipe)
    for _ in range(100):
        log.info("x" * 1_000)  # more than it holds
    assert " ".join(screen.getvalue().split()).count("can't be written") == 1  # it may be two lines
    while len(os.read(reader, 65_536)) == 65_536:
        pass
    log.info("again")
    assert b"again" in os.read(reader, 65_536)
    assert screen.getvalue().count("some lines are missing") == 1


@pytest.mark.parametrize("transcripts", [False, True])
def test_libraries_that_log_transcripts_stay_silent_at_every_level(
    set_up: SetUp, transcripts: bool, console: Console, screen: io.StringIO
) -> None:
    set_up("debug", console, "json", transcripts=transcripts)
    for name in HOLD_TRANSCRIPTS:
        logging.getLogger(name).debug("what was said")
        logging.getLogger(name).info("what was said")
    assert screen.getvalue() == ""


def test_an_application_that_logs_already_keeps_its_own(console: Console, tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:]
    assert before  # pytest's
    set_up_logging("debug", console, "json", file=tmp_path / "log")
    assert logging.getLogger().handlers == before
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(("transcripts", "text"), [(False, "<13 characters>"), (True, "open, sesame!")])
def test_what_was_said_is_shown_only_if_switched_on(
    set_up: SetUp, transcripts: bool, text: str, console: Console, screen: io.StringIO
) -> None:
    set_up("info", console, "json", transcripts=transcripts)
    log.info("heard", extra={"text": spoken("open, sesame!")})
    assert objects(screen.getvalue())[0]["text"] == text


def test_what_was_said_is_hidden_in_a_process_that_has_set_up_nothing() -> None:
    assert spoken("open, sesame!") == "<13 characters>"
    assert spoken("open, sesame!", shown=True) == "open, sesame!"


def test_contexts_nest_and_end() -> None:
    with log_context(session_id="s1", model="a"):
        with log_context(turn_id="t1", model="b"):
            assert log_fields() == {"session_id": session_tag("s1"), "turn_id": "t1", "model": "b"}
        assert log_fields() == {"session_id": session_tag("s1"), "model": "a"}
    assert log_fields() == {}


async def test_each_session_has_its_own_context() -> None:
    seen: dict[str, list[str]] = {}

    async def session(name: str) -> None:
        with log_context(session_id=name):
            for _ in range(3):
                await asyncio.sleep(0)
                child = asyncio.create_task(asyncio.to_thread(lambda: log_fields()["session_id"]))
                seen.setdefault(name, []).append(await child)

    await asyncio.gather(session("s1"), session("s2"))
    assert seen == {name: [session_tag(name)] * 3 for name in ("s1", "s2")}
    assert log_fields() == {}


def test_what_a_record_says_itself_stays() -> None:
    record = log.makeRecord(log.name, logging.INFO, "", 0, "x", (), None, extra={"session_id": "its own"})
    with log_context(session_id="s1", turn_id="t1"):
        assert ContextFilter().filter(record)
    assert (vars(record)["session_id"], vars(record)["turn_id"]) == ("its own", "t1")


def test_a_flood_of_warnings_is_bounded_by_session(
    set_up: SetUp, console: Console, screen: io.StringIO, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    set_up("info", console, "json", file=file)
    for session_id in ("one", "two"):
        with log_context(session_id=session_id):
            for _ in range(100):
                log.warning("wrong")
    lines = objects(screen.getvalue())
    assert len(lines) == 40 and lines == objects(file.read_text())
    assert not [key for line in lines for key in line if key.startswith("_")]
