"""A playbook that was written for LLMRTC leads through the same stages here as there."""

import json
import logging
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from localvoice import (
    KeywordCondition,
    ToolCallCondition,
    check_playbook,
    llmrtc_playbook,
    llmrtc_tool,
    load_playbook,
)
from localvoice.config import Settings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.tools import InvalidArgumentsError, ToolRegistry
from tests.support.fakes import FakeLlm
from tests.support.folders import ROOT
from tests.support.llmrtc_desk import DESK, FILE, Spoken, call, decide, definitions, stages_of, tools_of
from tests.support.session_room import Rooms


def test_the_support_desk_is_read_and_fit_for_use() -> None:
    desk = load_playbook(FILE, "llmrtc")
    check_playbook(desk, ToolRegistry(tools_of(DESK)))
    assert desk == llmrtc_playbook(DESK)
    triage, solution = desk.stage("triage"), desk.stage("solution")
    assert triage is not None and solution is not None
    assert triage.llm_config.model_dump(exclude_none=True) == {"max_tokens": 8192, "top_p": 0.9}
    assert solution.tools == ("order_status", "refund", "open_case")
    assert [desk.default_llm_config.temperature, desk.default_llm_config.max_tokens] == [0.7, 400]


def test_without_being_told_so_it_is_refused_with_a_line_for_each_reason() -> None:
    with pytest.raises(VoiceError) as refused:
        load_playbook(FILE)
    assert refused.value.code is ErrorCode.PLAYBOOK_ERROR
    assert "stages[2].llm_config.model: " in refused.value.message


def test_what_has_no_effect_in_llmrtc_has_none_here_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        desk = llmrtc_playbook(DESK)
    greeting, solution = desk.stage("greeting"), desk.stage("solution")
    assert greeting is not None and greeting.max_turns is None
    assert solution is not None and solution.timeout_ms is None
    assert "stage greeting: maxTurns does nothing" in caplog.text
    assert "stage triage: llmConfig.model is left out" in caplog.text


async def test_a_keyword_is_looked_for_in_what_the_agent_says() -> None:
    """The desk must not skip the identification when the customer says what the next stage waits for."""
    told = "Where is my order? I want a refund!"
    led = await stages_of(DESK, [["I can help."], ["Your e-mail address?"], ["I found you."]], told)
    assert led == [["identification"], [], ["triage"]]


async def test_a_keyword_may_be_a_part_of_a_word() -> None:
    assert await stages_of(DESK, [["It is about a delivery, I take it?"]]) == [["identification"]]


async def test_turns_are_a_way_out() -> None:
    assert await stages_of(DESK, [["Hello!"], ["Hello again!"], ["Your e-mail?"]]) == [
        [],
        ["identification"],
        [],
    ]


async def test_a_tool_leads_on_after_the_answer_and_only_once_a_turn() -> None:
    turns: list[list[Spoken]] = [
        ["I can help."],
        [call("find_customer", email="a@b.example"), "Here you are. Do you want to cancel something?"],
        ["Do you want a refund?"],
        [call("open_case", summary="broken", priority="low"), "It is open. Goodbye, and you are welcome."],
    ]
    assert await stages_of(DESK, turns) == [["identification"], ["triage"], ["solution"], ["goodbye"]]


async def test_the_llms_decision_goes_before_all_else() -> None:
    assert await stages_of(DESK, [[decide("goodbye"), "I can help another time."]]) == [["goodbye"]]


def test_a_definition_makes_a_tool() -> None:
    refund = llmrtc_tool(definitions(DESK)["refund"], lambda arguments, context: "paid")
    assert (refund.name, refund.policy) == ("refund", "sequential")
    assert refund.validate({"amount": 5, "reason": "broken"})
    with pytest.raises(InvalidArgumentsError, match="amount"):
        refund.validate({"amount": 5000, "reason": "broken"})


def test_tools_of_all_stages_are_definitions_too() -> None:
    desk = DESK | {"globalTools": [definitions(DESK)["refund"]]}
    assert list(llmrtc_playbook(desk).global_tools) == ["refund"]


def test_a_tool_that_is_not_there_is_named() -> None:
    with pytest.raises(VoiceError, match="stage solution, tools: there is no tool open_case"):
        check_playbook(llmrtc_playbook(DESK), ToolRegistry(tools_of(DESK)[:-1]))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"stages": None}, "stages: Input should be a valid tuple"),
        ({"stages": ["greeting"]}, "stages[0]: Input should be a valid dictionary"),
        ({"transitions": {"a": 1}}, "transitions: Input should be a valid tuple"),
        ({"transitions": [{"id": "t", "priority": "high"}]}, "transitions[0].from: Field required"),
        ({"globalTools": [{"description": "of no name"}]}, "global_tools[0]: Input should be a valid string"),
        ({"defaultLLMConfig": 5}, "default_llm_config: Input should be a valid dictionary"),
        ({"initialStages": "a"}, "initialStages: Extra inputs are not permitted"),
    ],
)
def test_each_field_that_is_wrong_is_named(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "playbook.json"
    path.write_text(json.dumps(DESK | changes))
    with pytest.raises(VoiceError) as refused:
        load_playbook(path, "llmrtc")
    assert problem in refused.value.message


def test_a_condition_that_is_a_function_there_is_a_handlers_name_here() -> None:
    desk = deepcopy(DESK)
    desk["transitions"][0]["condition"] = {"type": "custom"}  # JSON has no functions
    with pytest.raises(VoiceError, match=r"transitions\[0\]\.condition\.custom\.evaluate: Field required"):
        llmrtc_playbook(desk)
    desk["transitions"][0]["condition"]["evaluate"] = "wants_help"
    check_playbook(llmrtc_playbook(desk), ToolRegistry(tools_of(desk)), {"wants_help": lambda context: True})


def test_the_playbook_given_is_left_as_it_was() -> None:
    before = deepcopy(DESK)
    made = llmrtc_playbook(DESK)
    assert before == DESK
    conditions = [each.condition for each in made.transitions]
    assert all(each.within_words for each in conditions if isinstance(each, KeywordCondition))
    assert ToolCallCondition(tool_name="open_case") in conditions


def test_a_setting_says_whose_form_it_is() -> None:
    settings = Settings.model_validate({"agent": {"playbook": FILE, "playbook_form": "llmrtc"}})
    assert settings.agent.playbook_form == "llmrtc"
    assert Settings().agent.playbook_form == "localvoice"


@pytest.mark.virtual_clock
async def test_a_reply_that_may_be_as_long_as_the_context_leaves_room_for_what_was_said(room: Rooms) -> None:
    """LLMRTC's playbooks say 8192; the context of a local model often holds 4096 tokens."""
    r = room(llm=FakeLlm("First.", "Second."), agent={"max_tokens": 4096})
    assert r.llm.context_tokens == 4096
    for words in ("One.", "Two."):
        r.session.answer_text(words)
        await r.session.settle()
    assert [message.content for message in r.llm.asked[1][1:]] == ["One.", "First.", "Two."]


def test_the_page_for_those_who_come_from_llmrtc_names_settings_that_there_are() -> None:
    page = (ROOT / "docs" / "coming-from-llmrtc.md").read_text()
    named = set(re.findall(r"`(agent|server)\.(\w+)", page))
    assert len(named) > 8 and ("agent", "playbook_form") in named
    assert [each for each in named if not hasattr(getattr(Settings(), each[0]), each[1])] == []
