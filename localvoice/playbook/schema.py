"""The shape of a playbook: its stages, the transitions between them, and what each transition waits for.

Keys are written as in Python (`system_prompt`) or as in the cloud server's playbooks (`systemPrompt`).
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    StringConstraints,
)
from pydantic.alias_generators import to_camel

from localvoice.engines.types import CHOOSE_FREELY

ANY_STAGE: Final = "*"
"""As the `from` of a transition: it may be taken in every stage but its own target."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Handler = str | Callable[..., Any]
"""A sync or async function, or the name of one in the `handlers` that come with the playbook. A sync one runs
on the event loop, so it must be quick."""


def _tool_choice(given: object) -> object:
    """The cloud server writes the choice of one tool as {name: …}."""
    return given["name"] if isinstance(given, dict) and set(given) == {"name"} else given


class _Part(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt one must not pass unseen."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        loc_by_alias=False,
        defer_build=True,
    )


class ToolCallCondition(_Part):
    """The LLM called a tool, and the tool did its work."""

    type: Literal["tool_call"] = "tool_call"
    tool_name: Name
    """The tool's name."""
    arguments: dict[str, Any] = {}
    """Arguments that the call must have had; others don't matter."""


class IntentCondition(_Part):
    """The user wants something. The LLM is asked once a turn, in a short request of its own.

    In a stage with two-phase turns the user waits for that; without, it is asked after the answer.
    """

    type: Literal["intent"] = "intent"
    intent: Name
    """What the user wants, in a word or a few, such as cancel_order."""
    description: str = ""
    """The same in a sentence, for the LLM."""
    confidence: float = Field(default=0.5, ge=0, le=1)
    """How sure the LLM must be. It answers 0, 0.25, 0.5, 0.75 or 1."""


class KeywordCondition(_Part):
    """One of these words or phrases was said. Whole words; case and punctuation don't matter."""

    type: Literal["keyword"] = "keyword"
    keywords: tuple[str, ...]
    """The words and phrases."""
    in_reply: bool = False
    """Look for them in the agent's reply, not in what the user said."""
    within_words: bool = False
    """Look for them within words, too: `ship` is found in "shipping"."""


class LlmDecisionCondition(_Part):
    """The LLM decides, by calling the tool `playbook_transition`."""

    type: Literal["llm_decision"] = "llm_decision"


class MaxTurnsCondition(_Part):
    """The stage has had so many turns, and the last of them is answered."""

    type: Literal["max_turns"] = "max_turns"
    count: PositiveInt | None = None
    """How many; the stage's own `max_turns` holds as well."""


class TimeoutCondition(_Part):
    """The stage has lasted so long. Judged after an answer, and while nobody speaks."""

    type: Literal["timeout"] = "timeout"
    duration_ms: PositiveInt | None = None
    """How long; the stage's own `timeout_ms` holds as well."""


class CustomCondition(_Part):
    """A function says so. It gets a `JudgingContext`, before the answer and again after it."""

    type: Literal["custom"] = "custom"
    evaluate: Handler
    """Returns True to take the transition."""


Condition = Annotated[
    ToolCallCondition
    | IntentCondition
    | KeywordCondition
    | LlmDecisionCondition
    | MaxTurnsCondition
    | TimeoutCondition
    | CustomCondition,
    Discriminator("type"),
]


class LlmConfig(_Part):
    """How the LLM picks its tokens; what isn't given stays as it is."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 always picks the likeliest."""
    max_tokens: PositiveInt | None = None
    """Length of one answer at most; what the LLM's context holds is a limit, too."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling; only above temperature 0."""


class Stage(_Part):
    """A part of the conversation, with what the LLM is told and may do in it."""

    id: Name
    """Unique in the playbook."""
    name: str
    """For people."""
    system_prompt: str
    """What is to be done now. `{word}` stands for that entry of the playbook's data."""
    description: str = ""
    """What the stage is for; the LLM reads it where it may choose the stage."""
    tools: tuple[Name, ...] = ()
    """Names of tools that may be called here, beside the global ones."""
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
    """The application's own."""


class TransitionAction(_Part):
    """What happens at a transition."""

    target_stage: Name
    """Id of the stage that begins."""
    transition_message: str | None = None
    """A sentence that the agent says then. `{word}` stands for that entry of the playbook's data."""
    clear_history: bool = False
    """Whether the LLM forgets what was said before."""
    data: dict[str, Any] = {}
    """Joins the playbook's data."""


class Transition(_Part):
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


class Playbook(_Part):
    """A conversation in stages. Check it with `check_playbook` before use."""

    id: Name
    """For metrics and hooks."""
    name: str
    """For people."""
    description: str = ""
    """What it is for."""
    version: str = ""
    """The application's own."""
    stages: tuple[Stage, ...]
    """At least one."""
    transitions: tuple[Transition, ...] = ()
    """The ways between them."""
    initial_stage: Name
    """Id of the first."""
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
    """The application's own."""

    def stage(self, stage_id: str) -> Stage | None:
        """The stage with this id."""
        return next((stage for stage in self.stages if stage.id == stage_id), None)

    def transitions_from(self, stage_id: str) -> list[Transition]:
        """Those that may be taken in a stage, in the order in which they are judged."""
        here = [
            transition
            for transition in self.transitions
            if transition.from_stage == stage_id
            or (transition.from_stage == ANY_STAGE and transition.action.target_stage != stage_id)
        ]
        return sorted(here, key=lambda transition: -transition.priority)

    def is_final(self, stage_id: str) -> bool:
        """Whether no transition leads from this stage to another."""
        return all(each.action.target_stage == stage_id for each in self.transitions_from(stage_id))
