"""Quantities in words: "two cups of flour", "five foot eleven", "half a mile", "gas mark 4"."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from localvoice.tools.builtin.words.numbers import NUMBER, in_digits
from localvoice.tools.errors import ToolError

_AMOUNTS: Final = (
    (r"(?:3|three) quarters? (?:of )?(?:an? )?", "0.75 "),
    (r"(?:an? )?half (?:of )?(?:an? )?", "0.5 "),
    (r"(?:an? )?quarter (?:of )?(?:an? )?", "0.25 "),
    (r"(?:an? |1 )?3rd (?:of )?(?:an? )?", "1/3 "),
    (r"2 3rds? (?:of )?(?:an? )?", "2/3 "),
    (r"an? couple (?:of )?", "2 "),
    (r"an? dozen ", "12 "),
    (r"an? ", "1 "),
)
_NUMBERED: Final = re.compile(rf"(?P<number>(?:minus |-)?{NUMBER}(?:/\d+)?)\s?(?P<unit>.*)")
_SPOKEN_AMOUNT: Final = re.compile(r"\b(\d) (\d\d) (deg|fahr|f\b|cels|c\b|gram|mil)")
"""As in "three fifty Fahrenheit"."""
GAS_MARK: Final = "gas mark"
_MAX_CHARACTERS: Final = 100
_COMPOUNDS: Final = (
    (rf"(\d+) ?(?:'|feet|foot|ft)(?: and)? ?({NUMBER})(?: ?(?:\"|''|inch(?:es)?|in))?",
     "foot", "feet", 12, "inches"),
    (rf"(\d+) (?:pounds?|lbs?)(?: and)? ({NUMBER})(?: ounces?| oz)?", "pound", "pounds", 16, "ounces"),
    (rf"(\d+) stones?(?: and)? ({NUMBER})(?: pounds?| lbs?)?", "stone", "stone", 14, "pounds"),
)  # fmt: skip
"""With how many of the second unit are in the first."""


@dataclass(frozen=True)
class Quantity:
    """So much of a unit; the unit's name isn't looked at yet."""

    value: Fraction
    unit: str
    ingredient: str = ""
    spoken: str = ""
    """How it is said, where that isn't its number and unit."""


def quantity_of(words: str) -> Quantity:
    """The quantity, 1 where there is no number; raises `ToolError` for one without a unit."""
    words = words[:_MAX_CHARACTERS].replace("\u2033", '"').replace("\u2032", "'")
    words = " ".join(words.split()).strip(" .,?")
    text = in_digits(re.sub(r"(?i)\bseconds?\b", "sec", words))
    text = _SPOKEN_AMOUNT.sub(r"\1\2 \3", re.sub(r"\b(\d+) ?k\b", r"\1 km", text))
    text = re.sub(r"^an? (?=\d)", "", text)
    for pattern, amount in _AMOUNTS:
        text, count = re.subn(rf"^{pattern}", amount, text)
        if count:
            break
    text, _, ingredient = text.partition(" of ")
    if (gas := re.fullmatch(rf"gas mark ({NUMBER})", text)) is not None:
        return Quantity(Fraction(gas[1]), GAS_MARK)
    for pattern, unit, first, parts, second in _COMPOUNDS:
        if (found := re.fullmatch(pattern, text)) is not None:
            value = Fraction(found[1]) + Fraction(found[2]) / parts
            return Quantity(value, unit, ingredient, f"{found[1]} {first} {found[2]} {second}")
    numbered = _NUMBERED.fullmatch(text)
    if numbered is None:  # as it is written: MB and mb differ
        return Quantity(Fraction(1), re.split("(?i: of )", words)[0], ingredient)
    if not numbered["unit"] or re.search(" (?:in|to|into|is|are) ", numbered["unit"]):
        raise ToolError(f"{words[:40]!r} has no unit: say it like 5 miles")
    spoken = words if "/" in numbered["number"] else ""
    try:
        value = Fraction(numbered["number"].replace("minus ", "-"))
    except ZeroDivisionError:
        raise ToolError(f"{words[:40]!r} divides by zero") from None
    return Quantity(value, numbered["unit"], ingredient, spoken)
