"""What timers, alarms and reminders say when they go off, and what can be done then."""

import asyncio
from datetime import datetime
from types import SimpleNamespace

import pytest

from localvoice.tools import reminders as reminders_module
from localvoice.tools.builtin import wall
from localvoice.tools.reminders import Reminders
from tests.support.builtin_use import run_tool

TUESDAY = datetime(2026, 12, 1, 12, 40)


class Kitchen:
    """Someone who uses the tools, and what they then hear."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.reminders = Reminders(self.heard.append)

    async def ask(self, tool: str, **arguments: str) -> str:
        result = await run_tool(tool, arguments, self.reminders)
        return str(result.result if result.success else result.error)


@pytest.fixture
async def kitchen(monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    loop = asyncio.get_running_loop()
    begun = loop.time()

    def time() -> float:
        return TUESDAY.timestamp() + loop.time() - begun

    monkeypatch.setattr(reminders_module, "time", SimpleNamespace(time=time))
    monkeypatch.setattr(wall, "now", lambda zone=None: datetime.fromtimestamp(time()).astimezone(zone))
    return Kitchen()


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("tool", "arguments", "seconds", "heard"),
    [
        ("set_timer", {"duration": "3 minutes"}, 180, "Your timer of 3 minutes is up."),
        (
            "set_timer",
            {"duration": "3 minutes", "label": "my tea"},
            180,
            "Your timer of 3 minutes is up: your tea.",
        ),
        ("set_alarm", {"time": "one thirty"}, 3000, "This is your alarm for 1:30 PM."),
        ("set_alarm", {"time": "1:30 PM", "label": "yoga"}, 3000, "This is your alarm for 1:30 PM: yoga."),
        (
            "set_alarm",
            {"time": "six", "label": "wake up"},
            62400,
            "This is your alarm for 6:00 AM. Time to wake up!",
        ),
        ("set_alarm", {"time": "in ten minutes"}, 600, "This is your alarm for 12:50 PM."),
        (
            "remind",
            {"about": "call my mother", "when": "in an hour"},
            3600,
            "Here is your reminder: call your mother.",
        ),
        (
            "remind",
            {"about": "I'm late", "when": "at two"},
            4800,
            "Here is your reminder for 2:00 PM: you're late.",
        ),
    ],
)
async def test_it_goes_off_at_its_time(
    kitchen: Kitchen, tool: str, arguments: dict[str, str], seconds: int, heard: str
) -> None:
    await kitchen.ask(tool, **arguments)
    await asyncio.sleep(seconds - 1)
    assert kitchen.heard == []
    await asyncio.sleep(2)
    assert kitchen.heard == [heard]


@pytest.mark.virtual_clock
async def test_what_has_gone_off_can_be_snoozed(kitchen: Kitchen) -> None:
    await kitchen.ask("set_alarm", time="one", label="wake up")
    await asyncio.sleep(18.4 * 3600)
    assert kitchen.heard == ["This is your alarm for 1:00 PM. Time to wake up!"]
    assert await kitchen.ask("manage_timers", action="snooze") == "All right, again in 10 minutes."
    await asyncio.sleep(601)
    assert (
        await kitchen.ask("manage_timers", action="snooze", time="five") == "All right, again in 5 minutes."
    )
    assert await kitchen.ask("manage_timers", action="add", time="2 minutes", which="latest")
    await asyncio.sleep(421)
    assert len(kitchen.heard) == 3


@pytest.mark.virtual_clock
async def test_stopping_the_one_that_is_heard_leaves_the_next_one(kitchen: Kitchen) -> None:
    await kitchen.ask("set_alarm", time="12:41")
    await kitchen.ask("set_alarm", time="8 PM")
    await asyncio.sleep(65)
    said = await kitchen.ask("manage_timers", action="cancel", kind="alarm")
    assert said == "It has gone off already. You still have an alarm for 8:00 PM."
    assert len(kitchen.reminders.waiting) == 1
    await asyncio.sleep(60)
    said = await kitchen.ask("manage_timers", action="cancel", kind="alarm")
    assert said == "The alarm for 8:00 PM is cancelled."


@pytest.mark.virtual_clock
async def test_a_timer_that_is_snoozed_for_longer_is_as_long_as_that(kitchen: Kitchen) -> None:
    await kitchen.ask("set_timer", duration="ten seconds")
    await asyncio.sleep(11)
    await kitchen.ask("manage_timers", action="add", time="five more minutes")
    said = await kitchen.ask("manage_timers", action="left")
    assert said == "The timer of 5 minutes has 5 minutes left."
    kitchen.reminders.close()


@pytest.mark.virtual_clock
async def test_a_list_tells_what_each_is_for(kitchen: Kitchen) -> None:
    await kitchen.ask("set_timer", duration="two hours", label="the roast")
    await kitchen.ask("set_alarm", time="8 PM")
    await kitchen.ask("remind", about="feed the cat", when="in 20 minutes")
    await asyncio.sleep(60.2)
    assert await kitchen.ask("manage_timers", action="list") == (
        "You have a reminder for 1:00 PM, feed the cat, a timer of 2 hours for the roast, with 1 hour 59 "
        "minutes left and an alarm for 8:00 PM."
    )


@pytest.mark.virtual_clock
async def test_what_waits_too_long_is_refused(kitchen: Kitchen) -> None:
    assert "for a week at most" in await kitchen.ask("remind", about="it", when="in 9 days")
    assert "passed already" in await kitchen.ask("set_alarm", time="today at nine AM")
    assert "shall I remind you of" in await kitchen.ask("remind", about="", when="in 9 days")
    assert "for a week at most" in await kitchen.ask("set_alarm", time=f"in {'9' * 30} hours")
    assert kitchen.reminders.waiting == ()
    assert "24 hours at most" in await kitchen.ask("set_timer", duration=f"{'9' * 300} hours")
    await kitchen.ask("set_alarm", time="8 PM")
    for action, time in (("add", "900 hours"), ("add", "9" * 300), ("change", "in 900 hours")):
        said = await kitchen.ask("manage_timers", action=action, kind="alarm", time=time)
        assert "for a week at most" in said, (action, time)
    assert [seconds for seconds, _ in kitchen.reminders.pending()] == pytest.approx([7 * 3600 + 20 * 60])
    kitchen.reminders.close()
