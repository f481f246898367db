"""The question whether someone is in danger: what people say of it is never all known beforehand."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from localvoice.engines.chat import CALL_OR_NOTHING, ChatMessage, ToolOffer, ToolSpec
from localvoice.languages import language

_TOOL: Final = "get_help"
_LEAN: Final = 1.8
"""Nats by which danger is thought likelier than the LLM finds it: a sentence too much does less harm than one
that is missing. The words that have it asked keep it from most of what people say."""


@dataclass(frozen=True)
class Question:
    """What the LLM is asked, apart from the talk: it calls the tool if someone is in danger, or nothing."""

    opening: tuple[ChatMessage, ...]
    """What stands before the user's words."""
    offer: ToolOffer


@cache
def danger_question(code: str) -> Question | None:
    """The question in a language, ISO 639-1; None where that has none."""
    known = language(code)
    if known is None or known.danger is None:
        return None
    asked = known.danger
    examples = tuple((said, _TOOL if danger else "") for said, danger in asked.examples)
    tool = ToolSpec(_TOOL, asked.help, {"type": "object", "properties": {}})
    opening = (ChatMessage("system", asked.question),)
    return Question(opening, ToolOffer((tool,), CALL_OR_NOTHING, examples=examples, lean=_LEAN))
