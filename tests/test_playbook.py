"""Playbooks as they are read, and all that may be wrong with one."""

import importlib.util
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from localvoice.agent.playbook import (
    MAX_BYTES,
    CustomCondition,
    IntentCondition,
    KeywordCondition,
    LlmDecisionCondition,
    MaxTurnsCondition,
    Playbook,
    Stage,
    TimeoutCondition,
    ToolCallCondition,
    Transition,
    TransitionAction,
    check,
    load_playbook,
)
from localvoice.agent.tools import Tool, ToolRegistry
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.protocols import ToolSpec

EXAMPLES = Path(__file__).parents[1] / "examples"

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


def problems(
    playbook: Playbook, tools: ToolRegistry | None = None, handlers: dict[str, Any] | None = None
) -> list[str]:
    with pytest.raises(VoiceError) as caught:
        check(playbook, tools or registry(), handlers or {})
    assert (caught.value.code, caught.value.component) == (ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK)
    first, *lines = caught.value.message.splitlines()
    assert first.startswith(f"The playbook {playbook.id} can't be used:")
    assert all(line.startswith("- ") for line in lines)
    return [line.removeprefix("- ") for line in lines]


def stage(stage_id: str, **fields: Any) -> Stage:
    return Stage(id=stage_id, name=stage_id, system_prompt="Talk.", **fields)


def way(way_id: str, condition: Any, to: str = "b", source: str = "a", **fields: Any) -> Transition:
    action = TransitionAction(target_stage=to)
    return Transition(id=way_id, from_stage=source, condition=condition, action=action, **fields)


def playbook(*transitions: Transition, stages: tuple[Stage, ...] | None = None, **fields: Any) -> Playbook:
    stages = (stage("a"), stage("b")) if stages is None else stages
    fields = {"initial_stage": "a", **fields}
    return Playbook(id="test", name="Test", stages=stages, transitions=transitions, **fields)


SAID = KeywordCondition(keywords=("go",))


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
    check(loaded, registry("get_time", "find_table"), {"greet": print, "leave": print, "is_ready": print})


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


def test_what_is_right_passes() -> None:
    check(playbook(way("t", SAID)), registry())


def test_all_problems_at_once() -> None:
    broken = playbook(
        way("t", SAID, to="nowhere"),
        way("t", SAID, source="elsewhere"),
        way("mute", KeywordCondition(keywords=())),
        way("blank", KeywordCondition(keywords=("ok", " ?! "))),
        way("rest", IntentCondition(intent="other")),
        way("call", ToolCallCondition(tool_name="unheard_of")),
        way("never", MaxTurnsCondition()),
        way("ever", TimeoutCondition(), source="*"),
        way("own", CustomCondition(evaluate="is_ready")),
        stages=(
            stage("a", tools=("lost",), on_enter="greet", on_exit="leave"),
            stage("a"),
            stage("b", max_turns=2, tool_choice="hammer"),
            stage("c", timeout_ms=5, tool_choice="required"),
            stage("*"),
        ),
        initial_stage="start",
        global_tools=("gone",),
    )
    assert problems(broken, registry("playbook_transition")) == [
        "two stages have the id a",
        "two transitions have the id t",
        "no stage may have the id *: it stands for any stage",
        "initial_stage: there is no stage start",
        "transition t, target_stage: there is no stage nowhere",
        "transition t, from: there is no stage elsewhere",
        "no tool may have the name playbook_transition: it is the playbook's own",
        "global_tools: there is no tool gone",
        "stage a, tools: there is no tool lost",
        "stage b, tool_choice: the stage has no tool hammer",
        "stage a, on_enter: there is no handler greet",
        "stage a, on_exit: there is no handler leave",
        "transition own, evaluate: there is no handler is_ready",
        "stage b, max_turns: no transition from here has the condition max_turns",
        "transition mute, keywords: there is none",
        "transition blank, keywords: ' ?! ' has no word in it",
        "transition rest, intent: other stands for none of the intents; call it something else",
        "transition call, tool_name: no stage that it leads from has the tool unheard_of",
        "transition never: give it a count, or its stage a max_turns",
    ]


def test_a_playbook_needs_a_stage() -> None:
    assert problems(playbook(stages=())) == ["stages: there is none", "initial_stage: there is no stage a"]


def test_time_that_leads_nowhere_and_a_time_out_without_time() -> None:
    assert problems(playbook(stages=(stage("a", timeout_ms=5), stage("b")))) == [
        "stage a, timeout_ms: no transition from here has the condition timeout"
    ]
    assert problems(playbook(way("ever", TimeoutCondition()))) == [
        "transition ever: give it a duration_ms, or its stage a timeout_ms"
    ]


def test_what_is_limited_somewhere_is_enough_for_a_transition_from_anywhere() -> None:
    stages = (stage("a"), stage("b", max_turns=2, timeout_ms=100), stage("c"))
    ways = (
        way("go", SAID),
        way("t", MaxTurnsCondition(), source="*", to="c"),
        way("u", TimeoutCondition(), source="*", to="c"),
    )
    check(playbook(*ways, stages=stages), registry())


def test_a_stage_that_may_call_nothing_cant_let_the_llm_decide() -> None:
    stages = (stage("a", tool_choice="none"), stage("b"))
    (problem,) = problems(playbook(way("t", LlmDecisionCondition()), stages=stages))
    assert problem.startswith("stage a, tool_choice: with none, the LLM can't decide")


def test_a_stage_that_must_call_something_needs_a_tool() -> None:
    stages = (stage("a", tool_choice="required"), stage("b"))
    assert problems(playbook(way("t", SAID), stages=stages)) == [
        "stage a, tool_choice: required, but the stage has no tools"
    ]
    check(playbook(way("t", LlmDecisionCondition()), stages=stages), registry())


def test_handlers_may_be_functions(tmp_path: Path) -> None:
    async def ready(context: object) -> bool:
        return True

    made = playbook(
        way("t", CustomCondition(evaluate=ready)), stages=(stage("a", on_enter=print), stage("b"))
    )
    check(made, registry())


def test_a_stage_out_of_reach_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    made = playbook(way("t", SAID), way("u", SAID, source="c"), stages=(stage("a"), stage("b"), stage("c")))
    check(made, registry())
    assert [record.getMessage() for record in caplog.records] == [
        "playbook test: no transition leads to the stage c"
    ]


def test_a_star_leads_everywhere_but_to_itself() -> None:
    made = playbook(way("t", SAID, source="*"), way("u", SAID, source="*", to="c", priority=1))
    made = made.model_copy(update={"stages": (*made.stages, stage("c"))})
    assert [each.id for each in made.transitions_from("a")] == ["u", "t"]
    assert [each.id for each in made.transitions_from("b")] == ["u"]
    assert not made.is_final("b")


@pytest.fixture(scope="module")
def support_desk() -> ModuleType:
    spec = importlib.util.spec_from_file_location("support_desk", EXAMPLES / "support_desk.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_is_right(support_desk: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_playbook(EXAMPLES / "support_desk.yaml")
    check(loaded, ToolRegistry(support_desk.TOOLS))
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
