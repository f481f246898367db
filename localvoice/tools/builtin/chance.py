"""The built-in tool for what is left to chance: coins, dice, numbers and choices."""

import random
import re
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import Field

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin.words.numbers import in_digits
from localvoice.tools.builtin.words.wording import accepted_by

_MOST_DICE: Final = 20
_MOST_SIDES: Final = 1000
_LARGEST: Final = 10**12
_DICE: Final = re.compile(
    r"(?:(?P<count>\d+|an?|the|some|my) )?(?:d(?P<d>\d+)|(?:(?P<sides>\d+) sided )?(?:die|dice))"
    r"(?: with (?P<with>\d+) sides)?"
)
_RANGE: Final = re.compile(r"(?:(?:a )?(?:random )?number )?(?:between |from )?(-?\d+) (?:and|to|-) (-?\d+)")
_BETWEEN: Final = re.compile(r",? or |, (?:and )?")


Draw = Callable[[], str]


def _draw(words: str) -> Draw:
    text = re.sub(r"\s+", " ", in_digits(words)).strip(" .?!")
    if re.fullmatch(r"(?:a |the )?(?:coin|coin toss|coin flip)|heads or tails", text):
        return lambda: f"{random.choice(('Heads', 'Tails'))}."
    if (dice := _DICE.fullmatch(text)) is not None:
        return _dice(dice)
    if (span := _RANGE.fullmatch(text)) is not None:
        low, high = sorted((int(span[1]), int(span[2])))
        if max(abs(low), abs(high)) > _LARGEST:
            raise ToolError("these numbers are too large to pick one of them")
        return lambda: f"{random.randint(low, high):,}."
    things = [thing.strip() for thing in _BETWEEN.split(words.strip(" .?!")) if thing.strip()]
    if len(things) < 2:
        raise ToolError("say what to pick from: a coin, two dice, 1 to 10, or tea or coffee")
    return lambda: f"I pick {random.choice(things)}."


def _dice(found: re.Match[str]) -> Draw:
    count = int(found["count"]) if (found["count"] or "").isdigit() else 1
    sides = int(found["d"] or found["sides"] or found["with"] or 6)
    if not 1 <= count <= _MOST_DICE or not 2 <= sides <= _MOST_SIDES:
        raise ToolError(f"at most {_MOST_DICE} dice with up to {_MOST_SIDES} sides can be rolled")

    def draw() -> str:
        rolled = [random.randint(1, sides) for _ in range(count)]
        if count == 1:
            return f"You rolled a {rolled[0]}."
        *others, last = map(str, rolled)
        return f"You rolled {', '.join(others)} and {last}: {sum(rolled)} in all."

    return draw


@tool(speaks=True)
async def pick_random(
    what: Annotated[str, accepted_by(_draw), Field(description="coin, two dice, 1 to 10, tea or milk")],
) -> str:
    """Toss a coin, roll dice, or pick a number or one of several things."""
    return _draw(what)()
