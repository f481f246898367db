"""The same playbook, led by LLMRTC's own code and by this package's: the same stages in the same turns."""

import asyncio
import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, Final

import pytest
from rich.console import Console

from localvoice import llmrtc_playbook
from localvoice.api import LocalVoice
from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from localvoice.config import Settings
from localvoice.contract.messages import StageChangeMessage, ToolCallStart
from tests.support.llmrtc_desk import DESK, Spoken, call, decide, stages_of, tools_of
from tests.support.stock_packages import bundled

CONVERSATIONS: Final = 12
SAID: Final = (
    "Hello, how can I help?",
    "What is your e-mail address?",
    "I found you. Where is the trouble?",
    "It was delivered.",
    "Shall I refund it?",
    "I can't say.",
    "You are welcome, goodbye.",
)
CALLED: Final = (
    call("find_customer", email="a@b.example"),
    call("order_status", orderId="A-100"),
    call("refund", amount=5, reason="broken"),
    call("open_case", summary="broken", priority="low"),
    decide("goodbye"),
)


CALLER: Final = (
    "Hello. Where is my order?",
    "My e-mail address is ann at example dot com.",
    "It is broken. I want my money back.",
    "Please open a case for that.",
    "Thank you, goodbye.",
    "That is all.",
)


@pytest.fixture
def tiny_settings() -> Settings:
    try:
        ready(load_catalog(), "tiny", models_folder())
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    return Settings.model_validate({"profile": "tiny", "agent": {"max_tokens": 60, "tools": False}})


def conversation(chance: random.Random) -> list[list[Spoken]]:
    """Turns as chance has them; most of them without a call."""
    return [
        [*chance.sample(CALLED, chance.choice([0, 0, 1])), chance.choice(SAID)]
        for _ in range(chance.randint(4, 12))
    ]


def in_llmrtc(conversations: Sequence[Sequence[Sequence[Spoken]]]) -> list[dict[str, Any]]:
    """For each: the `turns` without calls that LLMRTC's LLM isn't offered, and where they `led`."""
    script, node = bundled() / "playbook.mjs", shutil.which("node")
    if node is None:
        pytest.skip("needs node for LLMRTC's own code: install it (Debian: apt install nodejs)")
    given = json.dumps({"playbook": DESK, "conversations": conversations})
    done = subprocess.run([node, script], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    led: list[dict[str, Any]] = json.loads(done.stdout)
    return led


@pytest.fixture(scope="module")
def by_chance() -> list[dict[str, Any]]:
    """Conversations in LLMRTC."""
    chance = random.Random(1)
    return in_llmrtc([conversation(chance) for _ in range(CONVERSATIONS)])


@pytest.mark.virtual_clock
async def test_the_support_desk_goes_where_llmrtc_leads_it(by_chance: list[dict[str, Any]]) -> None:
    for each in by_chance:
        assert await stages_of(DESK, each["turns"]) == each["led"], each["turns"]
    reached = {stage for each in by_chance for turn in each["led"] for stage in turn}
    assert reached == {"identification", "triage", "solution", "goodbye"}, "chance leads everywhere"


@pytest.mark.integration
async def test_with_a_real_model_too(tiny_settings: Settings) -> None:
    """What the model says and calls, given to LLMRTC's own code, leads to the same stages."""
    desk = LocalVoice(
        tiny_settings, playbook=llmrtc_playbook(DESK), tools=tools_of(DESK), console=Console(quiet=True)
    )
    turns: list[list[Spoken]] = []
    led: list[list[str]] = []
    async with desk.dialogue() as talk:
        for words in CALLER:
            answer = await talk.say(words)
            assert answer.errors == () and answer.reply
            calls = [each for each in answer.messages if isinstance(each, ToolCallStart)]
            turns.append([*(call(each.name, **each.arguments) for each in calls), answer.reply])
            led.append([each.to for each in answer.messages if isinstance(each, StageChangeMessage)])
    (original,) = await asyncio.to_thread(in_llmrtc, [turns])
    assert original == {"turns": turns, "led": led}
    assert sum(map(len, led)) >= 2, "it has come somewhere"
