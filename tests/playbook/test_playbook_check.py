"""All that may be wrong with a playbook, told at once."""

import logging
from pathlib import Path
from typing import Any

import pytest

from localvoice import (
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
    check_playbook,
)
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ToolSpec
from localvoice.tools import Tool, ToolRegistry


def registry(*names: str) -> ToolRegistry:
    def tool(name: str) -> Tool:
        return Tool(ToolSpec(name, "Does it.", {"type": "object", "properties": {}}), lambda *_: None)

    return ToolRegistry([tool(name) for name in names])


def problems(
    playbook: Playbook, tools: ToolRegistry | None = None, handlers: dict[str, Any] | None = None
) -> list[str]:
    with pytest.raises(VoiceError) as caught:
        check_playbook(playbook, tools or registry(), handlers or {})
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


def test_what_is_right_passes() -> None:
    check_playbook(playbook(way("t", SAID)), registry())


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
    check_playbook(playbook(*ways, stages=stages), registry())


def test_a_stage_that_may_call_nothing_cant_let_the_llm_decide() -> None:
    stages = (stage("a", tool_choice="none"), stage("b"))
    (problem,) = problems(playbook(way("t", LlmDecisionCondition()), stages=stages))
    assert problem.startswith("stage a, tool_choice: with none, the LLM can't decide")


def test_a_stage_that_must_call_something_needs_a_tool() -> None:
    stages = (stage("a", tool_choice="required"), stage("b"))
    assert problems(playbook(way("t", SAID), stages=stages)) == [
        "stage a, tool_choice: required, but the stage has no tools"
    ]
    check_playbook(playbook(way("t", LlmDecisionCondition()), stages=stages), registry())


def test_handlers_may_be_functions(tmp_path: Path) -> None:
    async def ready(context: object) -> bool:
        return True

    made = playbook(
        way("t", CustomCondition(evaluate=ready)), stages=(stage("a", on_enter=print), stage("b"))
    )
    check_playbook(made, registry())


def test_a_stage_out_of_reach_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    made = playbook(way("t", SAID), way("u", SAID, source="c"), stages=(stage("a"), stage("b"), stage("c")))
    check_playbook(made, registry())
    assert [record.getMessage() for record in caplog.records] == [
        "playbook test: no transition leads to the stage c"
    ]


def test_a_star_leads_everywhere_but_to_itself() -> None:
    made = playbook(way("t", SAID, source="*"), way("u", SAID, source="*", to="c", priority=1))
    made = made.model_copy(update={"stages": (*made.stages, stage("c"))})
    assert [each.id for each in made.transitions_from("a")] == ["u", "t"]
    assert [each.id for each in made.transitions_from("b")] == ["u"]
    assert not made.is_final("b")
