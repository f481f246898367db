"""Tools that ask first, in a playbook: a question ends with its stage, and a yes may lead to the next."""

import asyncio
from typing import Any

import pytest

from localvoice import (
    KeywordCondition,
    MaxTurnsCondition,
    Playbook,
    Stage,
    TimeoutCondition,
    ToolCallCondition,
    Transition,
    TransitionAction,
)
from localvoice.contract.messages import ToolCallStart
from localvoice.engines.chat import CALL_NOTHING
from tests.support.fakes import FakeLlm
from tests.support.post import AGREED, QUESTION, Post, ask, call
from tests.support.post import post as post
from tests.support.session_room import Rooms

pytestmark = pytest.mark.virtual_clock


def stages(condition: Any, **of_first: Any) -> Playbook:
    return Playbook(
        id="p",
        name="P",
        initial_stage="post",
        stages=(
            Stage(id="post", name="Post", system_prompt="Send.", tools=("send", "look"), **of_first),
            Stage(id="end", name="End", system_prompt="Say goodbye.", tools=("send", "look")),
        ),
        transitions=(
            Transition(
                id="t", from_stage="post", condition=condition, action=TransitionAction(target_stage="end")
            ),
        ),
    )


@pytest.mark.parametrize("condition", [MaxTurnsCondition(count=1), TimeoutCondition(duration_ms=5_000)])
async def test_a_stage_that_ends_takes_its_question_along(room: Rooms, post: Post, condition: Any) -> None:
    r = room(llm=FakeLlm([call()], "What?"), tools=post.tools(), playbook=stages(condition))
    await ask(r)
    assert r.tts.said == [QUESTION]
    await asyncio.sleep(6)
    await ask(r, "Yes.")
    assert not post.sent and "stage-change" in r.kinds() and r.said()[-1] == ("assistant", "What?")


async def test_the_yes_itself_may_lead_on_when_the_call_has_run(room: Rooms, post: Post) -> None:
    playbook = stages(KeywordCondition(keywords=("yes",)))
    llm = FakeLlm([call()], "Goodbye.")
    r = room(llm=llm, tools=post.tools(), playbook=playbook)
    await ask(r)
    await ask(r, "Yes.")
    assert post.sent == [AGREED] and "stage-change" in r.kinds()
    assert "Say goodbye" in llm.asked[1][0].content and llm.asked[1][-1].content == "sent"


async def test_a_stage_that_has_its_llm_talk_runs_no_tool(room: Rooms, post: Post) -> None:
    playbook = stages(MaxTurnsCondition(count=9), tool_choice=CALL_NOTHING)
    r = room(llm=FakeLlm(["Well.", call("look", at="home")]), tools=post.tools(), playbook=playbook)
    await ask(r)
    assert not r.all(ToolCallStart) and r.said()[-1] == ("assistant", "Well.")


async def test_a_stage_that_a_call_beside_it_ends_does_not_ask(room: Rooms, post: Post) -> None:
    playbook = stages(ToolCallCondition(tool_name="look"))
    llm = FakeLlm([call(), call("look", "call-2", at="home")], "Goodbye.")
    r = room(llm=llm, tools=post.tools(), playbook=playbook)
    await ask(r)
    assert "stage-change" in r.kinds() and r.tts.said == ["Goodbye."]
    await ask(r, "Yes.")
    assert not post.sent
