"""Reminders: each comes once, at its time, unless the conversation ends before."""

import asyncio
from typing import Any

import pytest

from localvoice.tools.reminders import Reminders
from localvoice.tools import ToolError


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


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
async def test_a_time_that_never_comes_is_refused(seconds: float) -> None:
    with pytest.raises(ToolError, match="give a number from 0 up"):
        Reminders(print).after(seconds, "never")


@pytest.mark.parametrize("text", ["", "  ", None, 5])
async def test_a_reminder_has_words(text: Any) -> None:
    with pytest.raises(ToolError, match="needs words"):
        Reminders(lambda _: None).after(5, text)
