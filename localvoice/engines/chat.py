"""What goes to an LLM and comes from it: messages, the tools on offer, prompts, a reply's items, sampling."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, Self

from localvoice.engines.pictures import Image

Role = Literal["system", "user", "assistant", "tool"]

CHOOSE_FREELY: Final = "auto"
"""The LLM decides between calling a tool and talking."""
CALL_OR_NOTHING: Final = "optional"
"""The LLM calls a tool, or writes nothing and is asked again, without tools."""
CALL_NOTHING: Final = "none"
"""The LLM sees the tools, so that its prompt stays the same, but talks."""
CALL_SOMETHING: Final = "required"
"""The LLM calls one of the tools."""
OPENING: Final = object()
"""The `Prompt.talk` of what all conversations begin with: what was read of it stays for good."""


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the LLM sees it."""

    name: str
    """What a call names: letters, digits, _ and -."""
    description: str
    """When it is of use, in a sentence."""
    parameters: Mapping[str, Any]
    """JSON Schema of its arguments, an object."""


@dataclass(frozen=True)
class ToolOffer:
    """The tools of one request to the LLM."""

    tools: tuple[ToolSpec, ...]
    """At least one."""
    choice: str = CHOOSE_FREELY
    """`auto`, `optional`, `none`, `required`, or the name of the tool to call."""
    among: tuple[str, ...] = ()
    """Names of the tools that may be called this time, with `auto` and `optional`; none: all of them."""
    examples: tuple[tuple[str, str], ...] = ()
    """What a user may say, and the tool that it takes, or "". It has no arguments. None: the model's own."""
    lean: float = 0.0
    """How much likelier than not, in nats, a call is thought to be from the start."""


@dataclass(frozen=True)
class ToolCall:
    """The LLM wants a tool to run. Decoded under a grammar, so its arguments fit the schema's types."""

    call_id: str
    """Unique in this process."""
    name: str
    """A tool of the offer."""
    arguments: Mapping[str, Any]
    """Decoded from JSON."""


@dataclass(frozen=True)
class CutOff:
    """Ends a reply that came to its limit of tokens, or to the end of the context, before its own end."""


@dataclass(frozen=True)
class Thinking:
    """The LLM reasons before it answers, and it lasts: the listener is told so."""


@dataclass(frozen=True)
class Retracted:
    """The text of the reply so far was no answer, but reasoning that did not look like it."""


ReplyItem = str | ToolCall | CutOff | Thinking | Retracted
"""Items of an LLM's reply: text deltas, after which a `CutOff` may follow, or one whole call.

Reasoning is in no delta: the agent takes it out of the text, also of an `Llm` of the application's own.
"""


@dataclass(frozen=True)
class ChatMessage:
    """One message as the LLM reads it."""

    role: Role
    """Who said it; `tool` for what a tool answered."""
    content: str
    """Plain text; a tool's answer is JSON."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The tools that the assistant called with this message."""
    tool_call_id: str = ""
    """Of a tool's answer: the call that it answers."""
    images: tuple[Image, ...] = ()
    """Pictures that the user sent with it."""
    aside: bool = False
    """Whether the LLM isn't given it, as it has no use for it: "stop", "say that again"."""


class Prompt(tuple[ChatMessage, ...]):
    """Messages, oldest first, with their tokens; made by `Llm.prompt`, and taken wherever messages are.

    The model that made it doesn't tokenise it again. Any other model reads its messages.
    """

    offer: ToolOffer | None
    """The tools that it tells of."""
    tokens: int
    """About how many tokens of context it takes; never fewer than it really does."""
    encoded: object
    """The model's own form of it; None where a model takes the messages as they are."""
    talk: object
    """One object for all prompts of a conversation until something is forgotten, or `OPENING`, or None. What
    was read for a prompt may serve another of this talk that leaves some of it out."""

    def __new__(
        cls,
        messages: Iterable[ChatMessage],
        offer: ToolOffer | None = None,
        tokens: int = 0,
        encoded: object = None,
    ) -> Self:
        """Of these messages."""
        prompt = super().__new__(cls, messages)
        prompt.offer, prompt.tokens, prompt.encoded, prompt.talk = offer, tokens, encoded, None
        return prompt


@dataclass(frozen=True)
class Sampling:
    """How the LLM picks its tokens.

    A number that is None is the model's own, as the catalogue has it: hooks may see it, an `Llm` of the
    application's own is never given it.
    """

    temperature: float | None = 0.0
    """0 is greedy, and the same question gets the same answer."""
    top_p: float | None = 0.95
    """Nucleus; without effect at temperature 0."""
    repeat_penalty: float | None = 1.1
    """Above 1, words of the last sentences are less likely: small models repeat themselves otherwise."""
    max_tokens: int = 256
    """Tokens of one reply at most. Spoken answers are short."""
    stop: tuple[str, ...] = ()
    """Texts that end the reply, in addition to the model's own end-of-turn token."""
    top_k: int | None = 40
    """So many of the likeliest tokens are picked from; 0 is all. Without effect at temperature 0."""
    min_p: float | None = 0.05
    """Tokens are left out that are less likely than this share of the likeliest. Without effect at
    temperature 0."""

    def filled(self, model: "Sampling") -> "Sampling":
        """The same, with the model's own number wherever there is None."""
        unsaid = {
            each.name: getattr(model, each.name) for each in fields(self) if getattr(self, each.name) is None
        }
        return replace(self, **unsaid)
