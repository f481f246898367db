"""The shape of a playbook, and all that can be wrong with one.

Keys are written as in Python (`system_prompt`) or as in the cloud server's playbooks (`systemPrompt`).
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, Field, PositiveInt

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import CALL_NOTHING, CALL_SOMETHING, CHOOSE_FREELY
from localvoice.playbook import conditions
from localvoice.playbook.conditions import Condition, Handler, Name, PlaybookPart
from localvoice.tools import ToolRegistry

log = logging.getLogger(__name__)

ANY_STAGE: Final = "*"
"""As the `from` of a transition: it may be taken in every stage but its own target."""


def _tool_choice(given: object) -> object:
    """The cloud server writes the choice of one tool as {name: …}."""
    return given["name"] if isinstance(given, dict) and set(given) == {"name"} else given


class LlmConfig(PlaybookPart):
    """How the LLM picks its tokens; what isn't given stays as it is."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 always picks the likeliest."""
    max_tokens: PositiveInt | None = None
    """Length of one answer at most; what the LLM's context holds is a limit, too."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling; only above temperature 0."""


class Stage(PlaybookPart):
    """A part of the conversation, with what the LLM is told and may do in it."""

    id: Name
    """Unique in the playbook."""
    name: str
    """For people, and for the LLM where there is no description."""
    system_prompt: str
    """What is to be done now. `{word}` stands for that entry of the playbook's data."""
    description: str = ""
    """What the stage is for; the LLM reads it where it may choose the stage."""
    tools: tuple[Name, ...] = ()
    """Names of tools that may be called here, as well as the global ones."""
    tool_choice: Annotated[Name, BeforeValidator(_tool_choice)] = CHOOSE_FREELY
    """`auto`, `none`, `required`, or the name of a tool."""
    llm_config: LlmConfig = LlmConfig()
    """Goes before the playbook's."""
    two_phase_execution: bool = True
    """Judge transitions before the answer, too, so that the next stage gives it. Off: only after it."""
    max_turns: PositiveInt | None = None
    """Turns after which the transition on `max_turns` is taken."""
    timeout_ms: PositiveInt | None = None
    """Time after which the transition on `timeout` is taken."""
    on_enter: Handler | None = None
    """Called with a `StageContext` when the stage begins."""
    on_exit: Handler | None = None
    """Called with a `StageContext` when it ends."""
    metadata: dict[str, Any] = {}
    """For the application; nothing here reads it."""


class TransitionAction(PlaybookPart):
    """What happens at a transition."""

    target_stage: Name
    """Id of the stage that begins."""
    transition_message: str | None = None
    """A sentence that the agent says then. `{word}` stands for that entry of the playbook's data."""
    clear_history: bool = False
    """Whether the LLM forgets what was said before."""
    data: dict[str, Any] = {}
    """Becomes a part of the playbook's data."""


class Transition(PlaybookPart):
    """A way from one stage to another."""

    id: Name
    """Unique in the playbook."""
    from_stage: Name = Field(validation_alias=AliasChoices("from", "from_stage"))
    """Id of a stage, or `*` for any. Written `from`."""
    condition: Condition
    """When it is taken."""
    action: TransitionAction
    """What happens then."""
    description: str = ""
    """When to take it; the LLM reads it where it decides."""
    priority: int = 0
    """The highest is judged first; among equals, the first in the list."""


class Playbook(PlaybookPart):
    """A conversation in stages. Check it with `check_playbook` before use."""

    id: Name
    """For metrics and hooks."""
    name: str
    """For people, as are its description and version."""
    description: str = ""
    version: str = ""
    stages: tuple[Stage, ...]
    """At least one."""
    transitions: tuple[Transition, ...] = ()
    """Their order decides among those of equal priority."""
    initial_stage: Name
    """Id of the first stage."""
    global_tools: tuple[Name, ...] = ()
    """Names of tools that may be called in every stage."""
    global_system_prompt: str | None = None
    """Goes before each stage's own; without it, the agent's `system_prompt` setting does."""
    default_llm_config: LlmConfig = Field(
        default=LlmConfig(),
        validation_alias=AliasChoices("default_llm_config", "defaultLlmConfig", "defaultLLMConfig"),
    )
    """Goes before the agent's settings."""
    metadata: dict[str, Any] = {}
    """For the application; nothing here reads it."""

    def stage(self, stage_id: str) -> Stage | None:
        """The stage with this id."""
        return next((stage for stage in self.stages if stage.id == stage_id), None)

    def transitions_from(self, stage_id: str) -> list[Transition]:
        """Those that may be taken in a stage, in the order in which they are judged."""
        here = [
            each
            for each in self.transitions
            if each.from_stage == stage_id
            or (each.from_stage == ANY_STAGE and each.action.target_stage != stage_id)
        ]
        return sorted(here, key=lambda transition: -transition.priority)

    def is_final(self, stage_id: str) -> bool:
        """Whether no transition leads from this stage to another."""
        return all(each.action.target_stage == stage_id for each in self.transitions_from(stage_id))


def check_playbook(
    playbook: Playbook, registry: ToolRegistry, handlers: Mapping[str, Callable[..., Any]] = {}
) -> None:
    """Raises `VoiceError` PLAYBOOK_ERROR with a line for each problem. A stage out of reach is logged."""
    problems = [
        *_about_ids(playbook),
        *_about_tools(playbook, {*registry.names}),
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
    for transition_id in _repeated(each.id for each in playbook.transitions):
        yield f"two transitions have the id {transition_id}"
    if ANY_STAGE in known:
        yield f"no stage may have the id {ANY_STAGE}: it stands for any stage"
    if playbook.initial_stage not in known:
        yield f"initial_stage: there is no stage {playbook.initial_stage}"
    for each in playbook.transitions:
        if each.from_stage not in {*known, ANY_STAGE}:
            yield f"transition {each.id}, from: there is no stage {each.from_stage}"
        if (target := each.action.target_stage) not in known:
            yield f"transition {each.id}, target_stage: there is no stage {target}"


def _repeated(ids: Iterable[str]) -> list[str]:
    return [each for each, times in Counter(ids).items() if times > 1]


def _about_tools(playbook: Playbook, known: set[str]) -> Iterator[str]:
    if conditions.TRANSITION_TOOL in known:
        yield f"no tool may have the name {conditions.TRANSITION_TOOL}: it is the playbook's own"
    for name in playbook.global_tools:
        if name not in known:
            yield f"global_tools: there is no tool {name}"
    for stage in playbook.stages:
        for name in stage.tools:
            if name not in known:
                yield f"stage {stage.id}, tools: there is no tool {name}"
        yield from _about_choice(playbook, stage)


def _about_choice(playbook: Playbook, stage: Stage) -> Iterator[str]:
    ways = playbook.transitions_from(stage.id)
    decisions = [each for each in ways if isinstance(each.condition, conditions.LlmDecisionCondition)]
    offered = {*playbook.global_tools, *stage.tools, *([conditions.TRANSITION_TOOL] if decisions else [])}
    choice, place = stage.tool_choice, f"stage {stage.id}, tool_choice"
    # A transition that leads from any stage may be taken in the others.
    if choice == CALL_NOTHING and any(each.from_stage == stage.id for each in decisions):
        why = f"because it calls {conditions.TRANSITION_TOOL} for that"
        yield f"{place}: with {CALL_NOTHING}, the LLM can't decide on a transition, {why}"
    if choice == CALL_SOMETHING and not offered:
        yield f"{place}: {CALL_SOMETHING}, but the stage has no tools"
    if choice not in {CHOOSE_FREELY, CALL_NOTHING, CALL_SOMETHING, *offered}:
        yield f"{place}: the stage has no tool {choice}"


def _about_handlers(playbook: Playbook, known: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    named: list[tuple[str, Handler | None]] = []
    for stage in playbook.stages:
        named.append((f"stage {stage.id}, on_enter", stage.on_enter))
        named.append((f"stage {stage.id}, on_exit", stage.on_exit))
    for each in playbook.transitions:
        if isinstance(each.condition, conditions.CustomCondition):
            named.append((f"transition {each.id}, evaluate", each.condition.evaluate))
    for place, handler in named:
        if isinstance(handler, str) and handler not in known:
            yield f"{place}: there is no handler {handler}"


def _about_limits(playbook: Playbook) -> Iterator[str]:
    for stage in playbook.stages:
        ways = {type(each.condition) for each in playbook.transitions_from(stage.id)}
        if stage.max_turns is not None and conditions.MaxTurnsCondition not in ways:
            yield f"stage {stage.id}, max_turns: no transition from here has the condition max_turns"
        if stage.timeout_ms is not None and conditions.TimeoutCondition not in ways:
            yield f"stage {stage.id}, timeout_ms: no transition from here has the condition timeout"


def _about_condition(playbook: Playbook, transition: Transition) -> Iterator[str]:
    """What would keep a transition from ever being taken."""
    place = f"transition {transition.id}"
    stages = [stage for stage in playbook.stages if transition.from_stage in (stage.id, ANY_STAGE)]
    tools = {*playbook.global_tools, *(name for stage in stages for name in stage.tools)}
    match transition.condition:
        case conditions.KeywordCondition(keywords=()):
            yield f"{place}, keywords: there is none"
        case conditions.KeywordCondition(keywords=keywords):
            for keyword in keywords:
                if not conditions.words_of(keyword):
                    yield f"{place}, keywords: {keyword!r} has no word in it"
        case conditions.IntentCondition(intent=conditions.OTHER_INTENT as other):
            yield f"{place}, intent: {other} stands for none of the intents; call it something else"
        case _ if not stages:
            pass  # told already: it leads from a stage that isn't there
        case conditions.ToolCallCondition(tool_name=name) if name not in tools:
            yield f"{place}, tool_name: no stage that it leads from has the tool {name}"
        case conditions.MaxTurnsCondition(count=None) if not any(stage.max_turns for stage in stages):
            yield f"{place}: give it a count, or its stage a max_turns"
        case conditions.TimeoutCondition(duration_ms=None) if not any(stage.timeout_ms for stage in stages):
            yield f"{place}: give it a duration_ms, or its stage a timeout_ms"


def _out_of_reach(playbook: Playbook) -> list[str]:
    reached, waiting = {playbook.initial_stage}, [playbook.initial_stage]
    while waiting:
        targets = {each.action.target_stage for each in playbook.transitions_from(waiting.pop())}
        waiting += targets - reached
        reached |= targets
    return [stage.id for stage in playbook.stages if stage.id not in reached]
