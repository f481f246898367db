"""What an utterance asks for, where it takes no language model to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from localvoice.conversation.manner import Way
from localvoice.tools.confirmation import Confirmation, Settled


@dataclass(frozen=True)
class Silence:
    """The user wants to hear nothing more."""


@dataclass(frozen=True)
class Again:
    """The user wants to hear the last answer again."""

    otherwise: str
    """What is said where there is none."""


@dataclass(frozen=True)
class Adjust:
    """The user wants to be spoken to in another manner from now on."""

    way: Way
    done: str
    """What is said then."""
    at_its_end: str
    """What is said where it goes no further that way."""
    unpaced: str
    """What is said where the voice has but one speed."""
    again: Again | None = None
    """Whether they also want to hear the last answer again."""


@dataclass(frozen=True)
class Say:
    """The answer is known."""

    text: str
    urgent: bool = False
    """Whether someone may be in danger."""


@dataclass(frozen=True)
class Command:
    """The user wants this tool, with these arguments."""

    name: str
    arguments: Mapping[str, Any]
    then: tuple["Command", ...] = ()
    """What they want after it: "set a timer for ten minutes and one for twenty"."""


Understood = Silence | Again | Adjust | Say | Command
ASIDE: Final = (Silence, Again, Adjust)
"""Of these the LLM is told nothing: it has no use for them."""
Known = Settled | Confirmation | Understood | None
"""What is known of the user's words before the LLM is asked: they settle a question about a call, or have it
asked again; or they ask for something that takes no LLM to know."""
