"""Conversations that survive a restart of the process: in order or by a crash, with a key or without."""

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localvoice.contract.errors import ErrorCode
from localvoice.conversation import conversations as sessions_module
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.conversations import Sessions
from localvoice.conversation.manner import Manner
from localvoice.conversation.store import SessionStore
from localvoice.engines.chat import ToolCall
from localvoice.engines.pictures import Image
from localvoice.observability.log_context import session_tag
from tests.support.directors import FakeDirector, refusal
from tests.support.session_folder import quick_keys as quick_keys


@dataclass
class Disk:
    """A folder, the processes that use it one after the other, and the wall clock, which goes on."""

    folder: Path
    ahead: float = 1_800_000_000.0
    running: Sessions | None = None
    ended: int = 0

    async def start(self, key: str | None = None) -> Sessions:
        """A process begins, once the last one has ended or crashed."""
        store = await asyncio.to_thread(SessionStore, self.folder, key)
        self.running = Sessions(30, FakeDirector, store, self._on_end)
        await self.running.load()
        return self.running

    async def end(self) -> None:
        """The process ends in order."""
        if self.running is not None:
            await self.running.close()
        self.running = None

    def crash(self) -> None:
        """Nothing more is written, and the folder's lock goes with the process."""
        assert self.running is not None and self.running._writer is not None
        for conversation in self.running._by_id.values():
            conversation.reminders.close()
        self.running._writer.store.close()
        self.running = None

    def files(self) -> int:
        return len(list(self.folder.glob("*.json")) + list(self.folder.glob("*.sealed")))

    def now(self) -> float:
        return self.ahead + asyncio.get_running_loop().time()

    def _on_end(self, conversation: Conversation) -> None:
        self.ended += 1


@pytest.fixture
async def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Disk]:
    disk = Disk(tmp_path / "sessions")
    monkeypatch.setattr(sessions_module, "time", SimpleNamespace(time=disk.now))
    yield disk
    await disk.end()


def talk(conversation: Conversation) -> None:
    conversation.history.add_user("Set a timer.", [Image(b"png", alt="a teapot")])
    conversation.history.add_calls([ToolCall("call", "timer", {"minutes": 3})])
    conversation.history.add_result("call", '{"ok": true}')
    conversation.history.add_assistant("Three minutes, it is.")
    conversation.history.add_user("Thanks.")
    assert isinstance(conversation.director, FakeDirector)
    conversation.director.saved = {"stage": "tea"}
    conversation.turns = 2
    conversation.manner = Manner(speed=-2, volume=1)


@pytest.mark.parametrize("key", [None, "a passphrase"])
@pytest.mark.parametrize("crash", [False, True])
async def test_a_conversation_goes_on_after_a_restart(disk: Disk, key: str | None, crash: bool) -> None:
    sessions = await disk.start(key)
    before = sessions.create()
    talk(before)
    before.announcements.append("Welcome back.")
    before.reminders.after(180, "The tea is ready.")
    await sessions.save(before)
    if crash:
        disk.crash()
    else:
        await disk.end()
    disk.ahead += 60
    after = (await disk.start(key)).resume(before.id)
    assert after is not before
    assert after.history.messages == [
        message if not message.images else after.history.messages[0] for message in before.history.messages
    ]
    first, call = after.history.messages[:2]
    assert "teapot" in first.content and not first.images, "of a picture its words are kept"
    assert dict(call.tool_calls[0].arguments) == {"minutes": 3}
    assert isinstance(after.director, FakeDirector)
    assert after.director.session_id == before.id and after.director.saved == {"stage": "tea"}
    assert after.turns == 2 and after.manner == Manner(speed=-2, volume=1)
    assert list(after.announcements) == ["Welcome back."]
    ((seconds, text),) = after.reminders.pending()
    assert text == "The tea is ready."
    assert seconds == pytest.approx(120, abs=10)
    assert after.started == pytest.approx(before.started - 60, abs=1)
    assert disk.ended == 0, "it lives on"


async def test_a_reminder_that_fell_due_meanwhile_is_announced(disk: Disk) -> None:
    sessions = await disk.start()
    before = sessions.create()
    before.reminders.after(60, "The tea is ready.")
    await disk.end()
    disk.ahead += 600
    after = (await disk.start()).resume(before.id)
    await asyncio.sleep(0.1)
    assert list(after.announcements) == ["The tea is ready."]


@pytest.mark.virtual_clock
async def test_what_expired_meanwhile_is_removed_and_told_as_expired(disk: Disk) -> None:
    sessions = await disk.start()
    old, fresh = sessions.create(), sessions.create()
    await asyncio.sleep(20 * 60)
    fresh.touch()
    await disk.end()
    assert disk.files() == 2
    disk.ahead += 11 * 60
    again = await disk.start()
    assert await refusal(again, old.id) == ErrorCode.SESSION_EXPIRED
    assert again.resume(fresh.id).id == fresh.id
    assert (len(again), disk.files()) == (1, 1)


@pytest.mark.virtual_clock
async def test_time_to_live_goes_on_where_it_was(disk: Disk) -> None:
    sessions = await disk.start()
    conversation = sessions.create()
    await disk.end()
    disk.ahead += 20 * 60
    again = await disk.start()
    await asyncio.sleep(11 * 60)
    assert await refusal(again, conversation.id) == ErrorCode.SESSION_EXPIRED


@pytest.mark.virtual_clock
async def test_a_wall_clock_that_was_set_back_gives_no_extra_life(disk: Disk) -> None:
    sessions = await disk.start()
    conversation = sessions.create()
    await disk.end()
    disk.ahead -= 24 * 60 * 60
    again = await disk.start()
    assert len(again) == 1
    await asyncio.sleep(31 * 60)
    assert await refusal(again, conversation.id) == ErrorCode.SESSION_EXPIRED


@pytest.mark.virtual_clock
async def test_what_ends_is_removed_from_the_disk(disk: Disk) -> None:
    sessions = await disk.start()
    discarded, swept = sessions.create(), sessions.create()
    for conversation in (discarded, swept):
        await sessions.save(conversation)
    assert disk.files() == 2
    saving = asyncio.create_task(sessions.save(discarded))
    await asyncio.sleep(0)
    sessions.discard(discarded)
    await saving
    await sessions.save(discarded)
    await asyncio.sleep(31 * 60)
    await sessions.sweep()
    await disk.end()
    assert disk.files() == 0
    assert disk.ended == 2


async def test_signs_of_life_since_the_last_turn_survive_a_crash(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "SWEEP_SECONDS", 0.05)
    sessions = await disk.start()
    conversation = sessions.create()
    await sessions.save(conversation)
    saved_at = conversation.saved_at
    disk.ahead += 25 * 60
    conversation.touch()
    sweeper = asyncio.create_task(sessions.keep_sweeping())
    for _ in range(500):
        await asyncio.sleep(0.01)
        if conversation.saved_at != saved_at:
            break
    sweeper.cancel()
    disk.crash()
    disk.ahead += 25 * 60
    again = await disk.start()
    assert again.resume(conversation.id).id == conversation.id


async def test_a_save_that_is_cancelled_is_still_written(disk: Disk) -> None:
    sessions = await disk.start()
    conversation = sessions.create()
    talk(conversation)
    saving = asyncio.create_task(sessions.save(conversation))
    await asyncio.sleep(0)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await disk.end()
    assert (await disk.start()).resume(conversation.id).turns == 2


async def test_what_is_said_while_it_is_written_is_not_mixed_in(disk: Disk) -> None:
    sessions = await disk.start()
    conversation = sessions.create()
    talk(conversation)
    saving = asyncio.create_task(sessions.save(conversation))
    await asyncio.sleep(0)
    conversation.history.add_user("And another thing.")
    await saving
    disk.crash()
    kept = (await disk.start()).resume(conversation.id)
    assert kept.history.messages[-1].content == "Thanks."


async def test_a_disk_that_fails_breaks_nothing_and_is_logged_once(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = await disk.start()
    conversation = sessions.create()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(os, "fsync", full)
        await sessions.save(conversation)
        await sessions.save(conversation)
    assert sessions.saving_fails
    assert len(caplog.messages) == 1 and "No space left" in caplog.messages[0]
    await disk.end()
    assert not sessions.saving_fails
    assert len(await disk.start()) == 1, "it was tried again at the end"


async def test_what_json_cannot_express_breaks_nothing(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    sessions = await disk.start()
    conversation = sessions.create()
    assert isinstance(conversation.director, FakeDirector)
    conversation.director.saved = {"secret": object()}
    await sessions.save(conversation)
    assert sessions.saving_fails
    assert "JSON" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize("field", ["history", "director"])
async def test_a_session_that_cannot_be_brought_back_is_left_alone(
    disk: Disk, field: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = await disk.start()
    bad, good = sessions.create(), sessions.create()
    await disk.end()
    (file,) = [path for path in disk.folder.glob("*.json") if bad.id in path.read_text()]
    file.write_text(file.read_text().replace(f'"{field}":{{', f'"{field}":{{"broken":7'))
    if field == "director":

        def restore(self: FakeDirector, saved: Mapping[str, Any]) -> None:
            if "broken" in saved:
                raise ValueError("no such stage")

        monkeypatch.setattr(FakeDirector, "restore", restore)
    again = await disk.start()
    assert again.resume(good.id).id == good.id
    assert await refusal(again, bad.id) == ErrorCode.SESSION_NOT_FOUND
    assert session_tag(bad.id) in caplog.text and disk.files() == 2


async def test_without_a_store_nothing_is_written(disk: Disk) -> None:
    sessions = Sessions(30, FakeDirector)
    assert await sessions.load() == 0
    await sessions.save(sessions.create())
    await sessions.close()
    assert not disk.folder.exists()
    assert not sessions.saving_fails
