"""What can be wrong with a playbook, all of it at once, before anybody talks."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.types import CALL_NOTHING, CALL_SOMETHING, CHOOSE_FREELY
from localvoice.playbook.conditions import OTHER_INTENT, TRANSITION_TOOL, words_of
from localvoice.playbook.schema import (
    ANY_STAGE,
    Condition,
    CustomCondition,
    Handler,
    IntentCondition,
    KeywordCondition,
    LlmDecisionCondition,
    MaxTurnsCondition,
    Playbook,
    Stage,
    TimeoutCondition,
    ToolCallCondition,
    Transition,
)
from localvoice.tools import ToolRegistry

log = logging.getLogger(__name__)

NO_HANDLERS: Final[Mapping[str, Callable[..., Any]]] = {}


def check_playbook(
    playbook: Playbook, registry: ToolRegistry, handlers: Mapping[str, Callable[..., Any]] = NO_HANDLERS
) -> None:
    """Raises `VoiceError` PLAYBOOK_ERROR with a line a problem; a stage out of reach is only logged."""
    problems = [
        *_about_ids(playbook),
        *_about_tools(playbook, {tool.name for tool in registry}),
        *_about_handlers(playbook, handlers),
        *_about_limits(playbook),
        *(problem for each in playbook.transitions for problem in _about_condition(playbook, each)),
    ]
    if problems:
        raise unusable(f"The playbook {playbook.id}", problems)
    for stage_id in _out_of_reach(playbook):
        log.warning("playbook %s: no transition leads to the stage %s", playbook.id, stage_id)


def unusable(title: str, problems: Sequence[str]) -> VoiceError:
    """One error that names all problems."""
    lines = "".join(f"\n- {problem}" for problem in problems)
    return VoiceError(ErrorCode.PLAYBOOK_ERROR, Component.PLAYBOOK, f"{title} can't be used:{lines}")


def _about_ids(playbook: Playbook) -> Iterator[str]:
    known = {stage.id for stage in playbook.stages}
    if not playbook.stages:
        yield "stages: there is none"
    for stage_id in _repeated(stage.id for stage in playbook.stages):
        yield f"two stages have the id {stage_id}"
    for transition_id in _repeated(transition.id for transition in playbook.transitions):
        yield f"two transitions have the id {transition_id}"
    if ANY_STAGE in known:
        yield f"no stage may have the id {ANY_STAGE}: it stands for any stage"
    if playbook.initial_stage not in known:
        yield f"initial_stage: there is no stage {playbook.initial_stage}"
    for transition in playbook.transitions:
        if transition.from_stage not in {*known, ANY_STAGE}:
            yield f"transition {transition.id}, from: there is no stage {transition.from_stage}"
        if transition.action.target_stage not in known:
            target = transition.action.target_stage
            yield f"transition {transition.id}, target_stage: there is no stage {target}"


def _about_tools(playbook: Playbook, known: set[str]) -> Iterator[str]:
    if TRANSITION_TOOL in known:
        yield f"no tool may have the name {TRANSITION_TOOL}: it is the playbook's own"
    for name in playbook.global_tools:
        if name not in known:
            yield f"global_tools: there is no tool {name}"
    for stage in playbook.stages:
        for name in stage.tools:
            if name not in known:
                yield f"stage {stage.id}, tools: there is no tool {name}"
        yield from _about_choice(playbook, stage)


def _about_choice(playbook: Playbook, stage: Stage) -> Iterator[str]:
    offered = {*playbook.global_tools, *stage.tools}
    decisions = [
        each
        for each in playbook.transitions_from(stage.id)
        if isinstance(each.condition, LlmDecisionCondition)
    ]
    if decisions:
        offered.add(TRANSITION_TOOL)
    choice = stage.tool_choice
    # One that leads from any stage may be taken in the others.
    if choice == CALL_NOTHING and any(each.from_stage == stage.id for each in decisions):
        yield (
            f"stage {stage.id}, tool_choice: with {CALL_NOTHING}, the LLM can't decide on a transition, "
            f"because it calls {TRANSITION_TOOL} for that"
        )
    if choice == CALL_SOMETHING and not offered:
        yield f"stage {stage.id}, tool_choice: {CALL_SOMETHING}, but the stage has no tools"
    if choice not in {CHOOSE_FREELY, CALL_NOTHING, CALL_SOMETHING, *offered}:
        yield f"stage {stage.id}, tool_choice: the stage has no tool {choice}"


def _about_handlers(playbook: Playbook, known: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    named: list[tuple[str, Handler | None]] = []
    for stage in playbook.stages:
        named += [
            (f"stage {stage.id}, on_enter", stage.on_enter),
            (f"stage {stage.id}, on_exit", stage.on_exit),
        ]
    for each in playbook.transitions:
        if isinstance(each.condition, CustomCondition):
            named.append((f"transition {each.id}, evaluate", each.condition.evaluate))
    for place, handler in named:
        if isinstance(handler, str) and handler not in known:
            yield f"{place}: there is no handler {handler}"


def _about_limits(playbook: Playbook) -> Iterator[str]:
    for stage in playbook.stages:
        ways = {type(each.condition) for each in playbook.transitions_from(stage.id)}
        if stage.max_turns is not None and MaxTurnsCondition not in ways:
            yield f"stage {stage.id}, max_turns: no transition from here has the condition max_turns"
        if stage.timeout_ms is not None and TimeoutCondition not in ways:
            yield f"stage {stage.id}, timeout_ms: no transition from here has the condition timeout"


def _about_condition(playbook: Playbook, transition: Transition) -> Iterator[str]:
    """What would keep a transition from ever being taken."""
    place, condition = f"transition {transition.id}", transition.condition
    match condition:
        case KeywordCondition(keywords=()):
            yield f"{place}, keywords: there is none"
        case KeywordCondition(keywords=keywords):
            for keyword in keywords:
                if not words_of(keyword):
                    yield f"{place}, keywords: {keyword!r} has no word in it"
        case IntentCondition(intent=intent) if intent == OTHER_INTENT:
            yield f"{place}, intent: {OTHER_INTENT} stands for none of the intents; call it something else"
    stages = [stage for stage in playbook.stages if transition.from_stage in (stage.id, ANY_STAGE)]
    if stages and (problem := _never_in(playbook, stages, condition)):
        yield f"{place}{problem}"


def _never_in(playbook: Playbook, stages: Sequence[Stage], condition: Condition) -> str | None:
    match condition:
        case ToolCallCondition(tool_name=name):
            offered = {*playbook.global_tools, *(tool for stage in stages for tool in stage.tools)}
            if name not in offered:
                return f", tool_name: no stage that it leads from has the tool {name}"
        case MaxTurnsCondition(count=None) if all(stage.max_turns is None for stage in stages):
            return ": give it a count, or its stage a max_turns"
        case TimeoutCondition(duration_ms=None) if all(stage.timeout_ms is None for stage in stages):
            return ": give it a duration_ms, or its stage a timeout_ms"
    return None


def _out_of_reach(playbook: Playbook) -> list[str]:
    reached, waiting = {playbook.initial_stage}, [playbook.initial_stage]
    while waiting:
        targets = {each.action.target_stage for each in playbook.transitions_from(waiting.pop())}
        waiting += targets - reached
        reached |= targets
    return [stage.id for stage in playbook.stages if stage.id not in reached]


def _repeated(ids: Iterable[str]) -> list[str]:
    return [each for each, times in Counter(ids).items() if times > 1]
