"""What people say word for word calls a built-in tool without a language model; what is near it doesn't."""

import asyncio
import re
import tomllib
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localvoice.conversation.phrases.understanding import Understanding
from localvoice.conversation.phrases.understood import Command
from localvoice.engines.chat import ToolCall
from localvoice.tools import reminders as reminders_module
from localvoice.tools.builtin import builtin_tools, wall
from localvoice.tools.builtin.timers import setting
from localvoice.tools.reminders import Reminders
from tests.support.builtin_use import run_tool

DATA = Path(__file__).parents[1] / "support" / "data"
COMMANDS: list[dict[str, Any]] = [
    command
    for name in ("spoken_commands", "spoken_dates", "spoken_timers", "spoken_otherwise")
    for command in tomllib.loads((DATA / f"{name}.toml").read_text())["command"]
]
NEAR_MISSES = [
    line
    for name in ("near_misses.txt", "near_timers.txt", "near_otherwise.txt")
    for line in (DATA / name).read_text().splitlines()
    if line[:1] not in ("", "#")
]
TOOLS = builtin_tools()
TUESDAY = datetime(2026, 12, 1, 12, 40)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    Understanding().prepare(TOOLS)  # as at the start of an agent: it takes long


@pytest.fixture(autouse=True)
def on_a_tuesday(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    monkeypatch.setattr(wall, "now", lambda zone=None: TUESDAY.astimezone(zone))
    monkeypatch.setattr(reminders_module, "time", SimpleNamespace(time=TUESDAY.timestamp))
    # Not the event loop's own: on one whose clock jumps, the tools that work in a thread would time out.
    for module in (reminders_module, setting):
        monkeypatch.setattr(module, "now", lambda: 0.0)


class Talk:
    """A conversation in which only tools answer."""

    def __init__(self) -> None:
        self.reminders = Reminders()
        self._last_call: ToolCall | None = None

    async def say(self, words: str) -> tuple[str, str]:
        """The first tool that is called, and what is said; both empty where it takes a language model."""
        known = Understanding().of(words, TOOLS, self._last_call)
        if not isinstance(known, Command):
            return "", ""
        said: list[str] = []
        for each in (known, *known.then):
            self._last_call = ToolCall("c", each.name, each.arguments)
            result = await run_tool(each.name, each.arguments, self.reminders)
            said.append(str(result.result if result.success else result.error))
        return known.name, " ".join(said)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command["said"][0])
async def test_it_is_done_without_a_language_model(command: dict[str, Any]) -> None:
    for words in command["said"]:
        talk = Talk()
        for before in command.get("after", []):
            assert (await talk.say(before))[0], before
        tool, said = await talk.say(words)
        assert tool == command["tool"], words
        wanted = command["says"] if "says" in command else re.escape(command["hears"])
        assert re.fullmatch(wanted, said), (words, said)
        if "left" in command:
            waiting = sorted(talk.reminders.waiting, key=lambda each: each.seconds_left)
            assert [each.kind for each in waiting] == [kind for _, kind in command["left"]], words
            seconds = [each.seconds_left for each in waiting]
            assert seconds == pytest.approx([seconds for seconds, _ in command["left"]], abs=0.1), words
        talk.reminders.close()


async def test_what_only_sounds_like_it_is_left_to_the_language_model() -> None:
    for words in NEAR_MISSES:
        await asyncio.sleep(0)
        assert await Talk().say(words) == ("", ""), words


@pytest.mark.parametrize(
    "before",
    [
        "What time is it?",
        "What day is it?",
        "Set a timer for ten minutes.",
        "Set an alarm for seven.",
        "Remind me to call Anna at five.",
        "What timers do I have?",
        "What's twelve times fourteen?",
        "How many ounces are in a pound?",
        "How do you spell necessary?",
        "Flip a coin.",
    ],
)
async def test_after_a_call_another_question_is_left_to_the_language_model(before: str) -> None:
    for words in (
        *(
            "And who painted the Mona Lisa?",
            "What about you?",
            "And then?",
            "And why is that?",
            "How about dinner tonight?",
        ),
        *(
            "What about the other one, is it better?",
            "No, tell me a story.",
            "And in the end?",
            "Thanks, and what now?",
        ),
        *(
            "Make it a poem.",
            "Sorry, I meant Vienna.",
            "No, the capital.",
            "And how far is it?",
            "Change it to French.",
        ),
    ):
        if (before, words) == ("What time is it?", "Sorry, I meant Vienna."):
            continue  # it has a time
        talk = Talk()
        assert (await talk.say(before))[0]
        assert await talk.say(words) == ("", ""), words
        talk.reminders.close()


def test_there_are_many() -> None:
    assert sum(len(command["said"]) for command in COMMANDS) >= 500
    assert len(NEAR_MISSES) >= 200
