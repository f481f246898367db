"""What the tools on offer can do, and what none of them can, in a language's words."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

from localvoice.languages import Language
from localvoice.tools import Tool

_DESCRIBED: Final = 4
"""Tools of the application's own that are told of: an answer is listened to."""
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def abilities(tools: Sequence[Tool], known: Language) -> str:
    """What the agent can do, as sentences."""
    replies = known.replies
    own = [known.abilities[tool.name] for tool in tools if tool.name in known.abilities]
    others = (tool.spec.description for tool in tools if tool.name not in known.abilities)
    described = [_phrase(each) for each in islice(others, _DESCRIBED)]
    told = ""
    if own:
        told += replies["abilities.tools"].format(abilities=_listed(list(dict.fromkeys(own)), known))
    if described:
        told += replies["abilities.described"].format(descriptions="; ".join(described))
    return replies["abilities.all"].format(tools=told)


def is_served(name: str, tools: Sequence[Tool], known: Language) -> bool:
    """Whether a tool on offer may do what, by this name, ours can't: it has a word for that.

    Of a built-in tool only the name counts: one that converts temperatures tells no weather.
    """
    texts = (
        tool.name if tool.name in known.tools else f"{tool.name} {tool.spec.description}" for tool in tools
    )
    words = {word.lower() for text in texts for word in _WORD.findall(text)}
    return not words.isdisjoint(known.served.get(name, ()))


def _phrase(description: str) -> str:
    """A description's first sentence, as a part of one: without its full stop and capital."""
    sentence = re.split(r"(?<=[.!?])\s", description.strip(), maxsplit=1)[0].rstrip(".!?")
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def _listed(items: list[str], known: Language) -> str:
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])}{known.replies['abilities.and']}{items[-1]}"
