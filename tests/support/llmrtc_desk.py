"""A support desk as it is written for LLMRTC, and conversations in it with a scripted LLM."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from localvoice import Playbook, check_playbook, llmrtc_playbook, llmrtc_tool
from localvoice.config import Settings
from localvoice.contract.messages import StageChangeMessage
from localvoice.engines.chat import ToolCall
from localvoice.tools import Tool, ToolContext, ToolRegistry
from localvoice.transports.dialogue import dialogue
from tests.support.directors import agent_of
from tests.support.fakes import FakeLlm, fake_engines

FILE: Final = Path(__file__).parent / "data" / "llmrtc_support_desk.json"
DESK: Final[dict[str, Any]] = json.loads(FILE.read_text())

Spoken = str | Mapping[str, Any]
"""What the LLM does when it is asked: words, or a call as `name` and `arguments`."""


def definitions(playbook: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The definitions of all tools in a playbook, by name."""
    lists = [playbook.get("globalTools", []), *(stage.get("tools", []) for stage in playbook["stages"])]
    return {definition["name"]: definition for each in lists for definition in each}


async def _done(arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
    return {"success": True}


def tools_of(playbook: Mapping[str, Any]) -> list[Tool]:
    """A tool for each definition, which always does its work."""
    return [llmrtc_tool(definition, _done) for definition in definitions(playbook).values()]


def call(name: str, **arguments: Any) -> Spoken:
    return {"name": name, "arguments": arguments}


def decide(target: str) -> Spoken:
    return call("playbook_transition", targetStage=target, reason="it is time")


async def stages_of(
    playbook: Mapping[str, Any], turns: Sequence[Sequence[Spoken]], words: str = "Hm."
) -> list[list[str]]:
    """The stages that each turn leads to; in each, the user says the same, and the LLM does what is given."""
    made: Playbook = llmrtc_playbook(playbook)
    registry = ToolRegistry(tools_of(playbook))
    check_playbook(made, registry)
    script = [_item(spoken, at) for turn in turns for at, spoken in enumerate(turn)]
    settings = Settings.model_validate({"agent": {"summarise": False}, "listening": {"eager": False}})
    agent = agent_of(settings, fake_engines(llm=FakeLlm(*script)), tools=registry, playbook=made)
    led: list[list[str]] = []
    async with dialogue(agent) as talk:
        for _ in turns:
            answer = await talk.say(words)
            assert answer.errors == ()
            led.append([each.to for each in answer.messages if isinstance(each, StageChangeMessage)])
    return led


def _item(spoken: Spoken, at: int) -> str | list[ToolCall]:
    if isinstance(spoken, str):
        return spoken
    return [ToolCall(f"call-{at}", spoken["name"], dict(spoken["arguments"]))]
