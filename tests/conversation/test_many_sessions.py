"""Thousands of conversations on disk or in memory: brought back, read and removed a few at a time."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from localvoice.config import AgentSettings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.conversation.agent import PlainDirector
from localvoice.conversation.conversations import Sessions
from localvoice.conversation.store import SessionRecord, SessionStore
from localvoice.tools import ToolRegistry

MANY = 300
A_FEW = 20


class Turns:
    """Counts the turns of the event loop, and what is done in each."""

    def __init__(self) -> None:
        self.turn = 0
        self.done: Counter[int] = Counter()
        self.tasks = 0

    async def count(self) -> None:
        while True:
            self.turn += 1
            self.tasks = max(self.tasks, len(asyncio.all_tasks()))
            await asyncio.sleep(0)

    def note(self) -> None:
        self.done[self.turn] += 1


@pytest.fixture
async def turns() -> AsyncIterator[Turns]:
    turns = Turns()
    counting = asyncio.create_task(turns.count())
    yield turns
    counting.cancel()
    await asyncio.wait([counting])


def fill(folder: Path, *ages: float) -> SessionStore:
    store = SessionStore(folder, None)
    for number, age in enumerate(ages):
        then = time.time() - age
        record = SessionRecord(
            id=f"id-{number}", history={}, director={}, reminders=(), turns=1, started=then, last_active=then
        )
        store.write(record.id, record.model_dump_json().encode())
    return store


async def test_they_are_brought_back_a_few_at_a_time(
    tmp_path: Path, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(session_id: str) -> PlainDirector:
        turns.note()
        return PlainDirector(AgentSettings.model_validate({}), ToolRegistry())

    threads: set[threading.Thread] = set()
    remove = SessionStore.remove

    def noted(store: SessionStore, *session_ids: str) -> None:
        threads.add(threading.current_thread())
        remove(store, *session_ids)

    monkeypatch.setattr(SessionStore, "remove", noted)
    store = await asyncio.to_thread(fill, tmp_path / "sessions", *[0.0] * MANY, *[7200.0] * MANY)
    sessions = Sessions(30, make, store)
    assert await sessions.load() == MANY
    assert max(turns.done.values()) <= A_FEW
    assert threading.main_thread() not in threads and turns.tasks < 10
    assert len(list((tmp_path / "sessions").glob("*.json"))) == MANY  # noqa: ASYNC240 - a moment
    with pytest.raises(VoiceError) as caught:
        sessions.resume(f"id-{2 * MANY - 1}")
    assert caught.value.code == ErrorCode.SESSION_EXPIRED
    await sessions.close()


async def test_they_are_forgotten_a_few_at_a_time(turns: Turns) -> None:
    director = PlainDirector(AgentSettings.model_validate({}), ToolRegistry())
    sessions = Sessions(30, lambda _: director, on_end=lambda _: turns.note())
    old = [sessions.create() for _ in range(MANY)]
    for conversation in old:
        conversation.last_active = -7200.0
    fresh = sessions.create()
    await sessions.sweep()
    assert max(turns.done.values()) <= A_FEW and sum(turns.done.values()) == MANY
    assert len(sessions) == 1 and sessions.resume(fresh.id) is fresh
