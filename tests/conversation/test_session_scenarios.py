"""Random conversations on the virtual clock: what holds of each of them, whatever happens.

They go through a session's outer surface alone, so they hold for any session. More, and other ones:
`pytest tests/conversation/test_session_scenarios.py --scenarios 20000 --hypothesis-seed 1 --timeout 0`:
a timeout that fires in the middle of a conversation looks like a rule that was broken.
"""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice import (
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
)
from localvoice.playbook.conditions import Condition
from tests.support.clock import VirtualClockLoop
from tests.support.scenario_rules import breaches
from tests.support.scenario_world import Plan, World

SCENARIOS = 250
"""As many as take few seconds."""

WORDS = ("Say #.", "Say #.", "mm-hm", "", "Yes.", "No.", "Forget that.", "fails", "Say # and go.")
REPLIES = (
    "short",
    "long",
    "question",
    "empty",
    "fails",
    "slow short",
    "timer short",
    "pay",
    "playbook_transition short",
    "slow timer",
)
LENGTHS = (0.0, 0.02, 0.2, 0.5, 1.5, 4.0)
ACTIONS = (
    "speak",
    "begin",
    "pause",
    "cough",
    "type",
    "type yes",
    "send",
    "forget",
    "announce",
    "resume",
    "wait",
    "wait",
)
CONDITIONS: tuple[Condition, ...] = (
    TimeoutCondition(),
    KeywordCondition(keywords=("go",)),
    ToolCallCondition(tool_name="slow"),
    LlmDecisionCondition(),
    MaxTurnsCondition(count=2),
    IntentCondition(intent="leave"),
)


@st.composite
def playbooks(draw: st.DrawFn) -> Playbook:
    """Two stages, with ways from each to the other."""
    ways = [
        Transition(
            id=f"way {number}",
            from_stage=source,
            condition=draw(st.sampled_from(CONDITIONS if source == "a" else CONDITIONS[1:])),
            action=TransitionAction(
                target_stage="b" if source == "a" else "a",
                transition_message=draw(st.sampled_from([None, "Now something else."])),
                clear_history=draw(st.booleans()),
            ),
        )
        for number, source in enumerate(draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=3)))
    ]
    stages = tuple(
        Stage(
            id=each,
            name=each,
            system_prompt=f"Stage {each}.",
            timeout_ms=draw(st.sampled_from([500, 2000, 6000])),
            two_phase_execution=draw(st.booleans()),
        )
        for each in "ab"
    )
    tools = ("slow", "timer", "pay")
    return Playbook(
        id="p", name="p", initial_stage="a", stages=stages, transitions=tuple(ways), global_tools=tools
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    actions = st.tuples(st.sampled_from(ACTIONS), st.sampled_from(LENGTHS))
    return Plan(
        actions=tuple(draw(st.lists(actions, min_size=2, max_size=9))),
        words=tuple(draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))),
        replies=tuple(draw(st.lists(st.sampled_from(REPLIES), min_size=1, max_size=6))),
        voice_fails=draw(st.sampled_from([(False,), (False,), (False, False, True)])),
        stt_seconds=draw(st.sampled_from([0.0, 0.1, 0.5, 2.0])),
        llm_seconds=draw(st.sampled_from([0.0, 0.02, 0.3])),
        tts_seconds=draw(st.sampled_from([0.0, 0.1, 1.0])),
        hook_seconds=draw(st.sampled_from([0.0, 0.0, 0.0, 0.2])),
        save_seconds=draw(st.sampled_from([0.0, 0.0, 0.5])),
        eager=draw(st.booleans()),
        streaming=draw(st.sampled_from([True, True, True, False])),
        playbook=draw(st.none() | playbooks()),
        settles=draw(st.sampled_from([True, True, True, False])),
    )


async def lived(plan: Plan) -> tuple[World, list[str]]:
    world = World(plan)
    living = asyncio.create_task(world.live())
    done, _ = await asyncio.wait([living], timeout=3600)
    await asyncio.sleep(0)
    if not done:
        return world, ["the conversation never came to its end"]
    living.result()
    return world, breaches(world)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Without the complaints of what a conversation that broke a rule has left."""
    if left := asyncio.all_tasks(loop):
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left))
    loop.close()


def told(world: World) -> str:
    """The conversation, an event a line."""
    return "\n".join(
        f"{event.time:8.2f} {event.kind:16} {event.what if event.kind != 'asked' else event.what[-1]}"
        for event in world.events
        if event.kind not in ("turn-metrics", "sound", "llm-chunk")
    )


def test_whatever_happens_the_rules_hold(pytestconfig: pytest.Config) -> None:
    count = pytestconfig.getoption("--scenarios")

    @settings(
        max_examples=count or SCENARIOS,
        derandomize=count is None,
        database=None,
    )
    @given(plans())
    def holds(plan: Plan) -> None:
        loop = VirtualClockLoop()
        loop.set_debug(False)
        try:
            world, found = loop.run_until_complete(lived(plan))
        finally:
            _end(loop)
        if found:
            pytest.fail("\n".join([*found, str(plan), told(world)]), pytrace=False)

    holds()
