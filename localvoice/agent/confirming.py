"""Tool calls that wait for the user's own yes."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Final

from localvoice.agent.consent import Consent, consent
from localvoice.agent.hooks import ToolResult
from localvoice.agent.stopwatch import now
from localvoice.engines.protocols import ToolCall

PATIENCE_SECONDS: Final = 60.0
"""After that a yes may be meant for something else."""

NOT_AGREED: Final = "not run: it needs the user's own yes"
ONE_AT_A_TIME: Final = "not run: the user is asked about another call first; call it again when they answered"
REFUSED: Final = "not run: the user said no"


@dataclass(frozen=True, eq=False)
class Confirmation:
    """A call that the user has been asked about. Only what they say next can settle it."""

    call: ToolCall
    """What runs if they agree: a copy that nobody else holds, made when the question was."""
    question: str
    """What they are asked."""
    expires: float = 0.0
    """Until when they may agree, the event loop's time."""

    @classmethod
    def of(cls, call: ToolCall, question: str) -> "Confirmation":
        """The call as it is now. Its copy has an id of its own, for the first has its answer already."""
        own = ToolCall(f"{call.call_id}-agreed", call.name, deepcopy(dict(call.arguments)))
        return cls(own, question)

    def heard(self) -> "Confirmation":
        """The user has heard the question to its end, just now."""
        return replace(self, expires=now() + PATIENCE_SECONDS)

    def settled(self, words: str) -> "Settled | None":
        """What these words make of it; None where they are no clear answer, or come too late."""
        answer = consent(words) if now() <= self.expires else Consent.UNCLEAR
        return None if answer is Consent.UNCLEAR else Settled(self.call, answer is Consent.YES)


@dataclass(frozen=True, eq=False)
class Settled:
    """The user has answered."""

    call: ToolCall
    """What they were asked about."""
    agreed: bool
    """Whether it may run."""


@dataclass(frozen=True)
class Acted:
    """What became of the LLM's calls."""

    results: Sequence[ToolResult]
    """In the calls' order."""
    asks: Confirmation | None
    """What has to be asked before the LLM goes on."""
