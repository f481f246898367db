"""Tool calls that wait for the user's own yes."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Final

from localvoice.application.hooks import ToolResult
from localvoice.engines.types import ToolCall
from localvoice.observability.stopwatch import now
from localvoice.tools.question import Consent, Question, consent

PATIENCE_SECONDS: Final = 60.0
"""After that a yes may be meant for something else."""

NOT_AGREED: Final = "not run: it needs the user's own yes"
ONE_AT_A_TIME: Final = "not run: the user is asked about another call first; call it again when they answered"
REFUSED: Final = "not run: the user said no"
UNANSWERED: Final = "not run: the user was asked twice and said neither yes nor no"
SETTLED_ALREADY: Final = "not run: the user has just decided about it; call it again only if they ask for it"

_WANTED: Final = "Please say yes or no."
GIVEN_UP: Final = "I leave it for now."
"""Said when the user has answered twice, and neither time with a clear yes or no."""


@dataclass(frozen=True, eq=False)
class Confirmation:
    """A call that the user has been asked about. Only what they say next can settle it."""

    call: ToolCall
    """What runs if they agree: a copy that nobody else holds, made when the question was."""
    question: Question
    """What they are asked."""
    expires: float = 0.0
    """Until when they may agree, the event loop's time."""
    repeated: bool = False
    """Whether they are asked again, since their first answer was unclear or came too early."""
    whole: bool = False
    """Whether they have heard the question to its end. Otherwise a yes only has them asked again."""

    @classmethod
    def of(cls, call: ToolCall, question: Question) -> "Confirmation":
        """The call as it is now. Its copy has an id of its own, since the call itself is answered already."""
        own = ToolCall(f"{call.call_id}-agreed", call.name, deepcopy(dict(call.arguments)))
        return cls(own, question)

    def heard(self, whole: bool = True) -> "Confirmation":
        """The user has heard the question to its end, just now, or into its last sentence."""
        return replace(self, expires=now() + PATIENCE_SECONDS, whole=whole)

    def heard_in(self, words: Sequence[str]) -> "Confirmation | None":
        """The same if these words, of what the user heard, end with the question or in its last sentence."""
        asked = self.question.text.split()
        for missing in range(len(self.question.ending.split()) + 1):
            part = asked[: len(asked) - missing]
            if part and list(words[-len(part) :]) == part:
                return self.heard(whole=not missing)
        return None

    def answered(self, words: str) -> "Settled | Confirmation | None":
        """What these words make of it: settled, or to be asked once more; None if they come too late."""
        if now() > self.expires:
            return None
        answer = consent(words, self.question.own_words)
        too_early = answer is Consent.YES and not self.whole
        if too_early or (answer is Consent.UNCLEAR and not self.repeated):
            shorter = replace(self.question, text=f"{_WANTED} {self.question.ending}")
            return replace(self, question=shorter, repeated=True)
        return Settled(self.call, answer)


@dataclass(frozen=True, eq=False)
class Settled:
    """The user has answered, or was asked twice."""

    call: ToolCall
    """What they were asked about."""
    answer: Consent
    """Only a yes lets it run."""


@dataclass(frozen=True)
class Acted:
    """What became of the LLM's calls."""

    results: Sequence[ToolResult]
    """In the calls' order."""
    asks: Confirmation | None
    """What has to be asked before the LLM goes on."""
