"""The format of the suite: requests in kinds, what a useful answer is, and conversations with facts.

Both halves are TOML of `[[request]]` entries, a file for each author; `README.md` explains each field.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from benchmarks.mind.patterns import compiled

FOLDER: Final = Path(__file__).parent
Half = Literal["tuning", "held-out"]
HALVES: Final[tuple[Half, ...]] = get_args(Half)
FIRST: Final = "first"
"""The author whose requests are asked where no other is named."""
MAX_WORDS: Final = 80
"""Of an answer that says nothing else: half a minute of speech."""

Kind = Literal[
    "facts", "how-to", "small-talk", "feelings", "follow-ups", "arithmetic", "dates", "timers", "units",
    "spelling", "stories", "summaries", "memory", "cannot", "repairs", "stop", "identity", "danger",
    "nonsense", "languages",
]  # fmt: skip
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def _checked(pattern: str) -> str:
    compiled(pattern)  # raises for what is no pattern or names an unknown value
    return pattern


Pattern = Annotated[str, Field(min_length=1), BeforeValidator(_checked)]
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wanted(_Part):
    """The tool call that a request needs, told by what it comes to."""

    tool: Pattern
    """Found in the tool's name or its arguments."""
    seconds: float | None = None
    """The length of time that it sets."""
    clock: Annotated[str, Field(pattern=r"^\d\d:\d\d$")] | None = None
    """The time of day that it sets."""
    holds: tuple[Pattern, ...] = ()
    """Each is found in its arguments or its result."""
    optional: bool = False
    """Whether an answer without a call is as good."""

    @property
    def effect_told(self) -> bool:
        """Otherwise the words of the answer tell whether it came to the right thing."""
        return self.seconds is not None or self.clock is not None or bool(self.holds)


class Rules(_Part):
    """What makes an answer useful; all of it must hold."""

    must: tuple[Pattern, ...] = ()
    must_not: tuple[Pattern, ...] = ()
    call: Wanted | None = None
    """None: no tool may be called."""
    silence: bool = False
    """Nothing may be said."""
    again: bool = False
    """It holds the answer before."""
    max_words: Annotated[int, Field(gt=0)] = MAX_WORDS
    by_hand: str | None = None
    """What useful means, where rules can't decide; the rules must hold all the same."""

    @property
    def empty(self) -> bool:
        """Whether any answer at all would do."""
        return not (self.must or self.call or self.silence or self.again or self.by_hand)


class Turn(Rules):
    """What the user says, and how its answer is judged; without rules it isn't."""

    said: Annotated[str, Field(min_length=1)]
    recall: bool = False
    """Whether it asks for a fact that was told earlier."""

    @property
    def judged(self) -> bool:
        return not self.empty


class Request(Rules):
    """One entry: a conversation of its own, of one turn or a few."""

    id: Id
    kind: Kind
    said: tuple[str, ...] | str = ()
    """The user's turns; the entry's rules judge the last answer."""
    turn: tuple[Turn, ...] = ()
    """Instead of `said`, where several answers are judged."""

    @model_validator(mode="after")
    def _complete(self) -> "Request":
        if bool(self.said) == bool(self.turn):
            raise ValueError("give either said or turn")
        if self.turn and (not self.empty or not any(each.judged for each in self.turn)):
            raise ValueError("with turn, the rules stand in the turns that are judged")
        if self.said and self.empty:
            raise ValueError("there is no rule by which any answer could fail")
        return self

    @property
    def turns(self) -> tuple[Turn, ...]:
        if self.turn:
            return self.turn
        *before, last = (self.said,) if isinstance(self.said, str) else self.said
        rules = {name: getattr(self, name) for name in Rules.model_fields}
        return *(Turn(said=each) for each in before), Turn(said=last, **rules)


class Conversation(_Part):
    """One entry of `conversations.toml`: turns with the pauses in which a person listens and thinks."""

    id: Id
    turn: Annotated[tuple[Turn, ...], Field(min_length=2)]

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.turn


class _Suite(_Part):
    request: tuple[Request, ...] = ()
    conversation: tuple[Conversation, ...] = ()


def authors(half: Half) -> list[str]:
    """Those who wrote this half's requests."""
    return sorted(path.stem for path in _folder(half).glob("*.toml"))


@cache
def requests(half: Half, author: str = FIRST) -> tuple[Request, ...]:
    """An author's entries of a half. Raises pydantic's `ValidationError` for what isn't of the format."""
    return _read(_folder(half) / f"{author}.toml").request


@cache
def conversations() -> tuple[Conversation, ...]:
    """Those to be held with pauses. Raises as `requests` does."""
    return _read(FOLDER / "conversations.toml").conversation


def _folder(half: Half) -> Path:
    return FOLDER / "requests" / half.replace("-", "_")


def _read(path: Path) -> _Suite:
    return _Suite.model_validate(tomllib.loads(path.read_text("utf-8")))
