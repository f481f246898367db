"""The sessions' writer: one write of a session at a time, of those that wait the newest; failures told."""

import asyncio
import errno
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localvoice.conversation.store import SessionStore, SessionWriter
from tests.support.session_folder import place as place


class HeldStore(SessionStore):
    """Each write waits until it is let through; keeps what happened."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None)
        self.done: list[tuple[str, bytes | None]] = []
        self.begun = threading.Semaphore(0)
        self.pass_on = threading.Semaphore(0)
        self.fails: Exception | None = None

    def write(self, session_id: str, record: bytes) -> None:
        self._hold(session_id, record)

    def remove(self, *session_ids: str) -> None:
        for session_id in session_ids:
            self._hold(session_id, None)

    def _hold(self, session_id: str, record: bytes | None) -> None:
        self.begun.release()
        assert self.pass_on.acquire(timeout=10)
        if self.fails is not None:
            raise self.fails
        self.done.append((session_id, record))


@pytest.fixture
def held(place: Path) -> Iterator[HeldStore]:
    store = HeldStore(place)
    yield store
    store.close()


async def under_way(held: HeldStore) -> None:
    assert await asyncio.to_thread(held.begun.acquire, timeout=10)


async def test_of_writes_that_wait_the_newest_is_made_in_order(held: HeldStore) -> None:
    writer = SessionWriter(held)
    first = writer.write("a", b"1")
    await under_way(held)
    waiting = []
    for each in (b"2", b"3", b"4"):
        waiting.append(writer.write("a", each))
        await asyncio.sleep(0.01)
    assert not held.begun.acquire(blocking=False), "one at a time"
    held.pass_on.release(2)
    assert await asyncio.gather(first, *waiting) == [True] * 4
    assert held.done == [("a", b"1"), ("a", b"4")]


async def test_a_removal_comes_last(held: HeldStore) -> None:
    writer = SessionWriter(held)
    writer.write("a", b"1")
    await under_way(held)
    writer.write("a", b"2")
    writer.write("a", None)
    held.pass_on.release(2)
    await writer.flush()
    assert held.done == [("a", b"1"), ("a", None)]


async def test_sessions_do_not_wait_for_each_other(held: HeldStore) -> None:
    writer = SessionWriter(held)
    jobs = [writer.write("a", b"1"), writer.write("b", b"1")]
    await under_way(held)
    await under_way(held)
    held.pass_on.release(2)
    assert all(await asyncio.gather(*jobs))


async def test_a_failure_is_logged_once_and_told_each_time(
    held: HeldStore, caplog: pytest.LogCaptureFixture
) -> None:
    writer = SessionWriter(held)
    held.pass_on.release(10)
    held.fails = OSError(errno.ENOSPC, "No space left on device")
    with caplog.at_level(logging.INFO):
        assert [await writer.write("a", b"1") for _ in range(3)] == [False] * 3
        assert writer.failing
        held.fails = None
        assert await writer.write("a", b"1")
        assert not writer.failing
    assert len(caplog.messages) == 2
    assert "No space left" in caplog.messages[0] and "again" in caplog.messages[1]
    assert held.done == [("a", b"1")]


async def test_nothing_is_kept_of_what_is_written(held: HeldStore) -> None:
    writer: Any = SessionWriter(held)
    held.pass_on.release(5)
    for session_id in "abcde":
        writer.write(session_id, b"1")
    await writer.flush()
    assert not writer._jobs and not writer._waiting


@pytest.mark.parametrize(
    ("error", "why"),
    [(RuntimeError("can't start new thread"), "can't start new thread"), (MemoryError(), "MemoryError")],
)
async def test_no_failure_of_one_write_keeps_the_next_from_being_made(
    held: HeldStore, caplog: pytest.LogCaptureFixture, error: Exception, why: str
) -> None:
    writer = SessionWriter(held)
    held.fails = error
    first = writer.write("a", b"1")
    await under_way(held)
    second = writer.write("a", b"2")
    held.pass_on.release()
    await under_way(held)
    held.fails = None
    held.pass_on.release()
    assert await first and await second, "the last of them is written"
    assert held.done == [("a", b"2")] and why in caplog.messages[0]
