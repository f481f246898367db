"""Tools in a prompt, written so that small models of any chat template choose well.

With an offer every message of the assistant begins with a line that names a tool; `talk` is one of them. So
the model never has to fall out of one way of writing into another, and the choice is made by a few tokens at a
known place. Examples show it, of tools that aren't on offer: so they suit every offer, and the model copies
the way of writing and not the answer.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from localvoice.engines.protocols import Role

TALK: Final = "talk"
"""What the assistant's line names when it talks."""

CHOICE: Final = '{"tool": "'
"""How each line begins; a tool's name follows."""

TALK_END: Final = '"}\n'
"""Follows the name when the assistant talks; its words come next."""

CALL_END: Final = '", "arguments":'
"""Follows the name of a tool; its arguments come next, as JSON after a space, and then `}`."""

RESPONSE: Final = ("<tool_response>", "</tool_response>")
"""Round what a tool answered."""

_GUIDE: Final = "Before you answer, choose a tool:"
_TALK_GUIDE: Final = "Anything else: small talk, knowledge, opinions, stories, advice."

_LONGEST_TYPE: Final = 120
"""Characters; a parameter that takes more to describe is called by its kind alone."""

Plain = Callable[[str], str]
"""Takes out of a text what has a meaning of its own in prompts."""


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    return f"{CHOICE}{name}{CALL_END} {_json(arguments)}}}"


_EXAMPLES: Final[tuple[tuple[Role, str], ...]] = (
    ("user", "Switch on the light in the kitchen."),
    ("assistant", _call("switch_light", {"room": "kitchen"}) if False else ""),
)
