"""What cooks need beyond units: how heavy ingredients are, and the numbers on gas ovens."""

import functools
import tomllib
from fractions import Fraction
from importlib.resources import files
from typing import Final

from localvoice.tools.errors import ToolError

_GAS_MARKS: Final = {
    "0.25": 110, "0.5": 120, "1": 140, "2": 150, "3": 170, "4": 180, "5": 190, "6": 200, "7": 220, "8": 230,
    "9": 240,
}  # fmt: skip
"""Degrees Celsius, as ovens and cookbooks have them."""
_HOW_HEAVY: Final = (
    "chopped",
    "sifted",
    "melted",
    "fresh",
    "plain",
    "some",
    "the",
    "my",
    "unsalted",
    "salted",
)


def grams_per_cup(ingredient: str) -> Fraction:
    """Raises `ToolError`, in words for the user, for an ingredient that isn't known."""
    words = [word for word in ingredient.lower().replace("-", " ").split() if word]
    while words:
        name = " ".join(words)
        if (grams := _ingredients().get(name) or _ingredients().get(_singular(name))) is not None:
            return Fraction(grams)
        if words[0] not in _HOW_HEAVY:
            break
        words = words[1:]
    raise ToolError(f"I don't know how heavy {ingredient[:40]} is, so I can't convert that.")


def nothing_or_ingredient(words: str) -> None:
    """Raises `ToolError` for an ingredient that isn't known."""
    if words:
        grams_per_cup(words)


def celsius_of_gas_mark(mark: Fraction) -> int:
    """Raises `ToolError` for a number that ovens don't have."""
    try:
        return _GAS_MARKS[f"{float(mark):g}"]
    except KeyError:
        raise ToolError("Gas marks go from 1 to 9, with a quarter and a half below.") from None


def gas_mark_of(celsius: float) -> str:
    """The nearest one, of 1 and above."""
    return min(list(_GAS_MARKS)[2:], key=lambda mark: abs(_GAS_MARKS[mark] - celsius))


@functools.cache
def _ingredients() -> dict[str, int]:
    table = tomllib.loads((files(__package__) / "ingredients.toml").read_text("utf-8"))["grams_per_cup"]
    return {name: grams for names, grams in table.items() for name in names.split(", ")}


def _singular(name: str) -> str:
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")
