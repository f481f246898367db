"""Playbooks as they are read, and all that may be wrong with one."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from localvoice import (
    CustomCondition,
    IntentCondition,
    KeywordCondition,
    LlmDecisionCondition,
    MaxTurnsCondition,
    TimeoutCondition,
    ToolCallCondition,
    TransitionAction,
    check_playbook,
    load_playbook,
)
from localvoice.application.hooks import Hooks, ToolResult
from localvoice.config import AgentSettings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.metrics import NoMetrics
from localvoice.conversation.agent import Exchange
from localvoice.engines.chat import ToolCall, ToolSpec
from localvoice.playbook.director import PlaybookDirector
from localvoice.playbook.loading import MAX_BYTES
from localvoice.tools import Tool, ToolRegistry
from tests.support.folders import EXAMPLES_FOLDER
from tests.support.playbook_talk import ScriptedLlm, called

EXAMPLES = EXAMPLES_FOLDER

SNAKE = """
id: booking
name: Booking
version: "2"
initial_stage: ask
global_tools: [get_time]
global_system_prompt: You book tables.
default_llm_config: {temperature: 0.5, max_tokens: 90, top_p: 0.8}
metadata: {owner: kitchen}
stages:
  - id: ask
    name: Ask
    system_prompt: Ask when.
    tools: [find_table]
    tool_choice: find_table
    llm_config: {temperature: 0}
    two_phase_execution: false
    max_turns: 3
    timeout_ms: 30000
    on_enter: greet
    on_exit: leave
  - {id: done, name: Done, system_prompt: Confirm.}
transitions:
  - id: found
    from: ask
    condition: {type: tool_call, tool_name: find_table, arguments: {people: 2}}
    action: {target_stage: done, transition_message: Found one., clear_history: true, data: {ok: true}}
    priority: 5
  - id: wanted
    from: "*"
    condition: {type: intent, intent: book, confidence: 0.9}
    action: {target_stage: done}
  - id: said
    from: ask
    condition: {type: keyword, keywords: [yes, no, on, "off"]}
    action: {target_stage: done}
  - {id: chosen, from: ask, condition: {type: llm_decision}, action: {target_stage: done}}
  - {id: enough, from: ask, condition: {type: max_turns, count: 2}, action: {target_stage: done}}
  - {id: late, from: ask, condition: {type: timeout, duration_ms: 5000}, action: {target_stage: done}}
  - {id: own, from: ask, condition: {type: custom, evaluate: is_ready}, action: {target_stage: done}}
"""
CAMEL = (
    SNAKE.replace("default_llm_config", "defaultLLMConfig")
    .replace("initial_stage", "initialStage")
    .replace("global_tools", "globalTools")
    .replace("global_system_prompt", "globalSystemPrompt")
    .replace("system_prompt", "systemPrompt")
    .replace("max_tokens", "maxTokens")
    .replace("top_p", "topP")
    .replace("tool_choice: find_table", "toolChoice: {name: find_table}")
    .replace("llm_config:", "llmConfig:")
    .replace("two_phase_execution", "twoPhaseExecution")
    .replace("max_turns: 3", "maxTurns: 3")
    .replace("timeout_ms", "timeoutMs")
    .replace("on_enter", "onEnter")
    .replace("on_exit", "onExit")
    .replace("tool_name", "toolName")
    .replace("target_stage", "targetStage")
    .replace("transition_message", "transitionMessage")
    .replace("clear_history", "clearHistory")
    .replace("duration_ms", "durationMs")
)


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "playbook.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(VoiceError) as caught:
        load_playbook(path)
    assert (caught.value.code, caught.value.component) == (ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK)
    return caught.value.message


def registry(*names: str) -> ToolRegistry:
    def tool(name: str) -> Tool:
        return Tool(ToolSpec(name, "Does it.", {"type": "object", "properties": {}}), lambda *_: None)

    return ToolRegistry([tool(name) for name in names])


def test_every_field_of_the_contract_is_read(tmp_path: Path) -> None:
    loaded = load_playbook(written(tmp_path, SNAKE))
    assert (loaded.id, loaded.name, loaded.version, loaded.initial_stage) == (
        "booking",
        "Booking",
        "2",
        "ask",
    )
    assert loaded.global_tools == ("get_time",)
    assert loaded.global_system_prompt == "You book tables."
    assert loaded.default_llm_config.model_dump() == {"temperature": 0.5, "max_tokens": 90, "top_p": 0.8}
    assert loaded.metadata == {"owner": "kitchen"}
    ask, done = loaded.stages
    assert (ask.tools, ask.tool_choice, ask.llm_config.temperature) == (("find_table",), "find_table", 0)
    assert (ask.two_phase_execution, ask.max_turns, ask.timeout_ms) == (False, 3, 30_000)
    assert (ask.on_enter, ask.on_exit) == ("greet", "leave")
    assert (done.two_phase_execution, done.tool_choice, done.max_turns) == (True, "auto", None)
    found = loaded.transitions[0]
    assert (found.from_stage, found.priority) == ("ask", 5)
    assert found.action == TransitionAction(
        target_stage="done", transition_message="Found one.", clear_history=True, data={"ok": True}
    )
    assert [each.condition for each in loaded.transitions] == [
        ToolCallCondition(tool_name="find_table", arguments={"people": 2}),
        IntentCondition(intent="book", confidence=0.9),
        KeywordCondition(keywords=("yes", "no", "on", "off")),
        LlmDecisionCondition(),
        MaxTurnsCondition(count=2),
        TimeoutCondition(duration_ms=5000),
        CustomCondition(evaluate="is_ready"),
    ]
    check_playbook(
        loaded, registry("get_time", "find_table"), {"greet": print, "leave": print, "is_ready": print}
    )


def test_the_cloud_servers_spelling_means_the_same(tmp_path: Path) -> None:
    assert "_stage" not in CAMEL and "default_llm" not in CAMEL
    assert load_playbook(written(tmp_path, CAMEL)) == load_playbook(written(tmp_path, SNAKE))


def test_all_fields_that_are_wrong_are_told_at_once(tmp_path: Path) -> None:
    text = """
id: bad
name: 7
initial_stage: a
colour: red
stages:
  - {id: a, name: A, max_turns: 0, llm_config: {temperature: 9}}
transitions:
  - {id: t, from: a, condition: {type: telepathy}, action: {}}
  - {id: u, condition: {type: keyword}, action: {target_stage: a}}
"""
    message = refusal(written(tmp_path, text))
    for place in (
        "name: Input should be a valid string",
        "colour: Extra inputs are not permitted",
        "stages[0].system_prompt: Field required",
        "stages[0].max_turns: Input should be greater than 0",
        "stages[0].llm_config.temperature: ",
        "transitions[0].condition: Input tag 'telepathy'",
        "transitions[0].action.target_stage: Field required",
        "transitions[1].from: Field required",
        "transitions[1].condition.keyword.keywords: Field required",
    ):
        assert f"\n- {place}" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id: a\nid: b\n", "line 2, column 1: the key 'id' stands twice"),
        ("stages:\n  - {id: a, id: b}\n", "line 2, column 13: the key 'id' stands twice"),
        ("id: &a x\nname: *a\n", "line 2, column 7: an alias isn't allowed here"),
        ("transitions:\n  - from: *\n", 'a star in quotes: from: "*"'),
        ("id: [1\n", "line 2, column 1"),
        ("- a\n- b\n", "it must be a mapping"),
        ("", "it must be a mapping"),
        (b"id: \xff\xfe\n", "it is not YAML"),
        ("id: " + "[" * 5_000, "nested too deeply"),
        ("id: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("id: !!timestamp 2024-13-77\n", "it has a value that can't be read"),
        ("? [a, b]\n: c\n", "unhashable"),
        ("a: b\n1: c\n", "[1]: Keys should be strings"),
    ],
)
def test_yaml_that_is_no_playbook(tmp_path: Path, text: str | bytes, words: str) -> None:
    message = refusal(written(tmp_path, text))
    assert words in message
    assert "playbook.yaml can't be used:\n- " in message


def test_a_star_without_quotes_elsewhere_and_merges_are_told(tmp_path: Path) -> None:
    assert "an alias isn't allowed" in refusal(written(tmp_path, "a: &x {b: c}\nd:\n  <<: *x\n"))


def test_a_file_that_is_missing_or_too_large(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.yaml")
    assert "larger than 256 KiB" in refusal(written(tmp_path, "#" * (MAX_BYTES + 1)))
    just_fits = SNAKE + "#" * (MAX_BYTES - len(SNAKE))
    assert load_playbook(written(tmp_path, just_fits)).id == "booking"


@pytest.fixture(scope="module")
def support_desk() -> ModuleType:
    spec = importlib.util.spec_from_file_location("support_desk", EXAMPLES / "support_desk.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_is_right(support_desk: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_playbook(EXAMPLES / "support_desk.yaml")
    check_playbook(loaded, ToolRegistry(support_desk.TOOLS))
    assert not caplog.records
    assert loaded.is_final("farewell")
    assert not loaded.is_final("welcome")


async def test_the_examples_tools_work(support_desk: ModuleType) -> None:
    context: Any = None
    look_up, open_ticket = support_desk.TOOLS
    assert look_up.handler(look_up.validate({"number": "42 17"}), context)["item"] == "a kettle"
    with pytest.raises(Exception, match="there is no order 99"):
        look_up.handler(look_up.validate({"number": "99"}), context)
    ticket = open_ticket.handler(open_ticket.validate({"subject": "kettle leaks"}), context)
    assert support_desk.TICKETS[ticket["ticket"]] == "kettle leaks"


async def test_the_example_leads_a_call_from_the_order_to_the_ticket(support_desk: ModuleType) -> None:
    loaded = load_playbook(EXAMPLES / "support_desk.yaml")
    registry, settings = ToolRegistry(support_desk.TOOLS), AgentSettings.model_validate({})
    llm: Any = ScriptedLlm()
    director = PlaybookDirector(loaded, registry, settings, llm, Hooks(), NoMetrics(), {}, "session")

    async def turn(turn_id: str, words: str, *made: tuple[ToolCall, ToolResult]) -> str | None:
        """What the agent says at a change of stage."""
        calls, results = tuple(call for call, _ in made), tuple(result for _, result in made)
        exchange = Exchange(turn_id, words, calls, results, "", ())
        await director.begin()
        change = await director.after_calls(exchange)
        later = await director.after_reply(replace(exchange, reply="All right."))
        return next((each.say for each in (change, later) if each), None)

    def tools() -> list[str]:
        return [tool.name for tool in director.brief().tools]

    assert tools() == ["look_up_order"]
    assert await turn("1", "Where is order 4217?", called("look_up_order", number="4217")) is None
    assert director.save()["stage"] == "order"
    assert await turn("2", "It's broken!") == "I'm sorry to hear that."
    assert tools() == ["open_ticket"]
    assert await turn("3", "The lid is off.", called("open_ticket", subject="The lid is off")) is None
    assert director.save()["stage"] == "ticket"
    assert await turn("4", "No, that's all, thanks.") is None
    assert director.save()["stage"] == "farewell"
    assert director.seconds_left() is None
