"""Timers, alarms and reminders survive a restart, with all that is known of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from localvoice.conversation import conversations as sessions_module
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.conversations import Sessions
from localvoice.conversation.store import SavedReminder, SessionStore
from localvoice.observability.stopwatch import now
from localvoice.tools import reminders as reminders_module
from localvoice.tools.reminders import Reminder
from tests.support.directors import FakeDirector


@asynccontextmanager
async def restarted(
    folder: Path, set_up: Callable[[Conversation], None], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Conversation]:
    """A conversation of a process that ended, as the one that began so many seconds later has it."""
    sessions = Sessions(30, FakeDirector, await asyncio.to_thread(SessionStore, folder, None))
    before = sessions.create()
    set_up(before)
    await sessions.close()
    later = SimpleNamespace(time=lambda: time.time() + seconds)
    monkeypatch.setattr(sessions_module, "time", later)
    monkeypatch.setattr(reminders_module, "time", later)
    again = Sessions(30, FakeDirector, await asyncio.to_thread(SessionStore, folder, None))
    await again.load()
    yield again.resume(before.id)
    await again.close()


async def test_they_are_kept_with_their_kind_name_and_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_up(conversation: Conversation) -> None:
        conversation.reminders.add(Reminder("Up!", now() + 600, False, "timer", "pasta", 720))
        conversation.reminders.add(Reminder("It's 7.", time.time() + 900, True, "alarm", "wake up"))
        conversation.reminders.after(800, "The application's own.")

    async with restarted(tmp_path / "sessions", set_up, 60, monkeypatch) as after:
        timer, alarm, own = after.reminders.waiting
        assert (timer.text, timer.kind, timer.label, timer.seconds) == ("Up!", "timer", "pasta", 720)
        assert timer.seconds_left == pytest.approx(540, abs=5)
        assert (alarm.by_clock, alarm.kind, alarm.label) == (True, "alarm", "wake up")
        assert alarm.seconds_left == pytest.approx(840, abs=5)
        assert (own.text, own.kind) == ("The application's own.", None)


async def test_what_was_missed_is_said_at_once_and_why_it_is_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_up(conversation: Conversation) -> None:
        conversation.reminders.add(Reminder("Your timer is up.", now() + 60, False, "timer", "", 60))
        conversation.reminders.add(Reminder("It's 7 AM.", time.time() + 70, True, "alarm"))
        conversation.reminders.after(80, "The application's own words.")

    async with restarted(tmp_path / "sessions", set_up, 600, monkeypatch) as after:
        await asyncio.sleep(0.01)
        assert sorted(after.announcements) == [
            "The application's own words.",
            "While I was away: It's 7 AM.",
            "While I was away: Your timer is up.",
        ]


def test_files_of_earlier_versions_hold_less() -> None:
    old = SavedReminder.model_validate_json('{"due": 2000000000.0, "text": "The tea is ready."}')
    assert (old.kind, old.label, old.by_clock, old.seconds) == (None, "", False, 0)
