"""Error codes of tools and playbooks: what fails in them is told, and the conversation goes on."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from localvoice import (
    CustomCondition,
    KeywordCondition,
    LocalVoice,
    Playbook,
    Stage,
    Transition,
    TransitionAction,
)
from localvoice.application.hooks import Hooks, TurnContext
from localvoice.config import Settings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ToolCall, ToolSpec
from localvoice.tools import Tool, ToolRegistry, tool
from tests.support.error_watch import SAID, Watch, ask, goes_on
from tests.support.fakes import FakeLlm, fake_engines
from tests.support.server_site import serving


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


@tool
def broken() -> None:
    """Break."""
    raise RuntimeError("no such disk")


@tool
async def slow() -> None:
    """Take too long."""
    await asyncio.sleep(60)


@tool
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


@tool
def strange() -> Any:
    """Give what is no JSON."""
    return object()


COLOUR = Tool(
    ToolSpec(
        "colour",
        "Name a colour.",
        {"type": "object", "properties": {"name": {"type": "string", "enum": ["red", "green"]}}},
    ),
    lambda arguments, _context: arguments["name"],
)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("broken", {}, "no such disk"),
        ("slow", {}, "took longer than 0.2 seconds"),
        ("double", {"number": SAID}, "invalid arguments: number"),
        ("double", {}, "invalid arguments: number"),
        ("colour", {"name": SAID}, "invalid arguments: name"),
        ("strange", {}, "isn't JSON"),
        ("missing", {}, "there is no tool called missing"),
    ],
    ids=["raises", "times out", "wrong type", "missing argument", "wrong value", "no JSON", "unknown"],
)
async def test_tool_error_is_an_answer_to_the_llm(
    watch: Watch, name: str, arguments: dict[str, Any], reason: str
) -> None:
    failures: list[tuple[str, Exception]] = []

    def on_tool_error(_context: TurnContext, call: ToolCall, error: Exception) -> None:
        failures.append((call.name, error))

    llm = FakeLlm([ToolCall("call-1", name, arguments)], f"There is no {SAID}.")
    brought = watch.brought(tools=ToolRegistry([broken, slow, double, strange, COLOUR]))
    brought["hooks"] = Hooks.combine(watch.hooks, Hooks(on_tool_error=on_tool_error))
    groups = {"deadlines": {"tool_seconds": 0.2}}
    async with serving(fake_engines(llm=llm), groups, brought) as site, site.client() as client:
        await ask(client)
        await client.expect("tts-complete")
        await client.sync()
        words = watch.told(client, ErrorCode.TOOL_ERROR, Component.TOOL, reason, in_turn=True)
        assert name in words and [failed for failed, _ in failures] == [name]
        (end,) = [each for each in client.received if each["type"] == "tool-call-end"]
        assert end["callId"] == "call-1" and reason in end["error"] and "result" not in end
        answer = llm.asked[1][-1]
        assert answer.role == "tool" and reason in json.loads(answer.content)["error"]
        (reply,) = [each for each in client.received if each["type"] == "llm"]
        assert reply["text"] == f"There is no {SAID}.", "the turn goes on"
        assert watch.metrics.count("llmrtc.tool.errors", tool=name) == 1
        await goes_on(client)


# --- playbooks ---


async def test_playbook_error_of_a_broken_playbook(tmp_path: Path) -> None:
    """Before a model is loaded, and with everything that is wrong at once."""
    file = tmp_path / "desk.yaml"
    stages = "stages: [{id: a, name: A, system_prompt: Hi., tools: [no_such_tool]}]"
    file.write_text(f"id: desk\nname: Desk\ninitial_stage: nowhere\n{stages}\n")
    voice = LocalVoice(Settings.model_validate({"agent": {"playbook": file}, "models_dir": tmp_path}))
    with pytest.raises(VoiceError, match="desk can't be used") as caught:
        async with voice.serving():
            pass
    assert (caught.value.code, caught.value.component) == (ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK)
    assert "there is no stage nowhere" in caught.value.message
    assert "there is no tool no_such_tool" in caught.value.message


def booking(**first_stage: Any) -> Playbook:
    """`done` is reached when a function says so, or by "go on"."""
    done = TransitionAction(target_stage="done")
    return Playbook(
        id="booking",
        name="Booking",
        initial_stage="ask",
        stages=(
            Stage(id="ask", name="Ask", system_prompt="Ask when.", **first_stage),
            Stage(id="done", name="Done", system_prompt="Confirm."),
        ),
        transitions=(
            Transition(id="t", from_stage="ask", condition=CustomCondition(evaluate="is_ready"), action=done),
            Transition(
                id="u", from_stage="ask", condition=KeywordCondition(keywords=("go on",)), action=done
            ),
        ),
    )


async def failing(_context: object) -> bool:
    raise ValueError("no such table")


async def fine(_context: object) -> bool:
    return False


@pytest.mark.parametrize(
    ("stage", "handlers", "what"),
    [
        ({"two_phase_execution": False}, {"is_ready": failing}, "condition is_ready failed: ValueError"),
        ({"on_enter": "greet"}, {"is_ready": fine, "greet": failing}, "on_enter of ask failed: ValueError"),
    ],
    ids=["a condition", "a handler"],
)
async def test_playbook_error_at_run_time(
    watch: Watch, stage: dict[str, Any], handlers: Mapping[str, Any], what: str
) -> None:
    brought = watch.brought(playbook=booking(**stage), handlers=handlers)
    async with serving(brought=brought) as site, site.client() as client:
        await ask(client)
        await client.expect("tts-complete")
        await client.sync()
        watch.told(client, ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK, what, in_turn=True)
        assert "llm" in client.kinds() and "stage-change" not in client.kinds(), "the turn goes on"
        await client.send("text", text="Please go on.")
        assert (await client.expect("stage-change"))["to"] == "done"
        await client.expect("tts-complete")
