"""Reminders: each comes once, at its time, unless the conversation ends before."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from localvoice.tools import ToolError
from localvoice.tools import reminders as reminders_module
from localvoice.tools.reminders import Reminder, Reminders


@pytest.mark.virtual_clock
async def test_each_reminder_comes_once_and_at_its_time() -> None:
    loop = asyncio.get_running_loop()
    start, due = loop.time(), list[tuple[float, str]]()
    reminders = Reminders(lambda text: due.append((round(loop.time() - start, 3), text)))
    reminders.after(60, "tea")
    reminders.after(5, "eggs")
    reminders.after(60, "tea")
    assert reminders.pending() == ((5, "eggs"), (60, "tea"), (60, "tea"))
    await asyncio.sleep(30)
    assert due == [(5, "eggs")]
    assert [(round(left, 3), text) for left, text in reminders.pending()] == [(30, "tea"), (30, "tea")]
    await asyncio.sleep(300)
    assert due == [(5, "eggs"), (60, "tea"), (60, "tea")]
    assert reminders.pending() == ()


@pytest.mark.virtual_clock
async def test_nothing_comes_after_the_end() -> None:
    due: list[str] = []
    reminders = Reminders(due.append)
    reminders.after(5, "eggs")
    reminders.close()
    assert reminders.pending() == ()
    await asyncio.sleep(10)
    assert due == []
    with pytest.raises(ToolError, match="the conversation has ended"):
        reminders.after(5, "eggs")


@pytest.mark.virtual_clock
async def test_there_is_room_for_so_many_at_once() -> None:
    due: list[str] = []
    reminders = Reminders(due.append, limit=2)
    reminders.after(1, "one")
    reminders.after(2, "two")
    with pytest.raises(ToolError, match="2 reminders wait already"):
        reminders.after(3, "three")
    await asyncio.sleep(1.5)
    reminders.after(3, "three")
    await asyncio.sleep(10)
    assert due == ["one", "two", "three"]


@pytest.mark.virtual_clock
async def test_a_due_reminder_may_set_the_next() -> None:
    due: list[str] = []

    def again(text: str) -> None:
        due.append(text)
        if len(due) < 3:
            reminders.after(1, text)

    reminders = Reminders(again, limit=1)
    reminders.after(1, "again")
    await asyncio.sleep(10)
    assert due == ["again"] * 3


@pytest.mark.virtual_clock
async def test_one_can_be_replaced_or_removed_and_the_last_is_known() -> None:
    due: list[str] = []
    reminders = Reminders(due.append)
    start = asyncio.get_running_loop().time()
    eggs = Reminder("eggs", start + 60, kind="timer", label="eggs", seconds=60)
    tea = Reminder("tea", start + 60, kind="timer", label="tea", seconds=60)
    for each in (eggs, tea):
        reminders.add(each)
    late = Reminder("late eggs", start + 90, kind="timer", label="eggs", seconds=90)
    reminders.replace(eggs, late)
    assert reminders.waiting == (tea, late)
    reminders.remove(tea)
    reminders.after(100, "words")
    await asyncio.sleep(120)
    assert due == ["late eggs", "words"]
    assert reminders.last_due is late
    reminders.clear()
    assert reminders.last_due is None


@pytest.mark.virtual_clock
async def test_a_time_of_day_follows_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a laptop sleeps, the event loop's time stands still."""
    loop = asyncio.get_running_loop()
    due: list[str] = []
    slept = 0.0
    wall = SimpleNamespace(time=lambda: 1_800_000_000.0 + slept + loop.time())
    monkeypatch.setattr(reminders_module, "time", wall)
    reminders = Reminders(due.append)
    reminders.add(Reminder("It's seven.", wall.time() + 3600, by_clock=True, kind="alarm"))
    await asyncio.sleep(600)
    assert due == []
    slept = 3000.0
    await asyncio.sleep(31)
    assert due == ["It's seven."]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
async def test_a_time_that_never_comes_is_refused(seconds: float) -> None:
    with pytest.raises(ToolError, match="give a number from 0 up"):
        Reminders(print).after(seconds, "never")


@pytest.mark.parametrize("text", ["", "  ", None, 5])
async def test_a_reminder_has_words(text: Any) -> None:
    with pytest.raises(ToolError, match="needs words"):
        Reminders(lambda _: None).after(5, text)
