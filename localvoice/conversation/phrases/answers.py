"""What the agent says or does to what it has understood by rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from localvoice.conversation.manner import Way
from localvoice.conversation.phrases.abilities import abilities, is_served
from localvoice.conversation.phrases.understood import Adjust, Again, Say, Silence, Understood
from localvoice.languages import Language
from localvoice.tools import Tool
from localvoice.version import __version__

DANGERS: Final = ("emergency", "harm")
_FURTHEST: Final = {
    "slower": "manner.slowest",
    "faster": "manner.fastest",
    "louder": "manner.loudest",
    "softer": "manner.softest",
    "normal": "manner.normal",
}
_WITH_OWN_MODELS: Final = {
    **dict.fromkeys(("name", "maker", "model", "human", "age"), "identity.own"),
    **dict.fromkeys(("place", "private", "works"), "identity.unsure"),
    **dict.fromkeys(("cost", "learning", "knowledge"), "identity.unknown"),
}
"""What is said of the agent itself where models of the application's own take part; the rest stays."""


@dataclass(frozen=True)
class Facts:
    """What the answers tell of this agent."""

    emergency_number: str | None = None
    kept_on_disk: bool = False
    """Whether anything that was said is."""
    own_models: bool = False
    """Whether models of the application's own take part, of which is not known where they run."""


def answer(name: str, tools: Sequence[Tool], known: Language, facts: Facts) -> Understood | None:
    """The answer to what is meant, by its name; None if a tool on offer may do it."""
    kind, _, detail = name.partition(".")
    replies = known.replies
    match kind:
        case "stop":
            return Silence()
        case "again" if not detail:
            return Again(replies["again.nothing"])
        case "again" | "manner":
            again = Again(replies["again.nothing"]) if kind == "again" else None
            way = cast("Way", detail)
            done, furthest = replies[f"manner.{detail}"], replies[_FURTHEST[detail]]
            return Adjust(way, done, furthest, replies["manner.unpaced"], again)
        case "unable" if is_served(name, tools, known):
            return None
        case "identity" if facts.own_models:
            name = _WITH_OWN_MODELS.get(detail, name)
    if name == "identity.private" and any(tool.name not in known.abilities for tool in tools):
        name = "identity.private.tools"
    return Say(_filled(replies[name], tools, known, facts), urgent=kind in DANGERS)


def _filled(reply: str, tools: Sequence[Tool], known: Language, facts: Facts) -> str:
    replies = known.replies
    said = reply.format(
        number=facts.emergency_number or replies["emergency.number"],
        abilities=abilities(tools, known),
        version=__version__,
        kept=replies["identity.private.disk" if facts.kept_on_disk else "identity.private.memory"],
    )
    return said[:1].upper() + said[1:]
