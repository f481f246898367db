"""Floors and fences, and recipes for more people or fewer."""

import re
from typing import Final

from localvoice.tools.builtin.words.problems.rates import plural
from localvoice.tools.builtin.words.problems.told import Told
from localvoice.tools.builtin.words.sums import Sum

_SQUARE: Final = {
    "foot": "square feet", "meter": "square meters", "yard": "square yards", "inch": "square inches",
    "centimeter": "square centimeters", "mile": "square miles", "kilometer": "square kilometers",
}  # fmt: skip
_SCALES: Final = (
    ("doubl(?:e|ed|ing)(?: (?:it|that|the|this)\\b.*)?|twice (?:the|that|as)|two batches|times two", "2"),
    ("tripl(?:e|ed|ing)|treble|three times", "3"),
    (
        "halv(?:e|ed|ing)|half (?:the|of the|of it|of that|a batch|that|as|batch)"
        "|(?:is|make|making|do|cut(?:ting)?(?: it| that| the recipe)?|in|just|only) (?:it )?(?:in )?half",
        "1 / 2",
    ),
)  # fmt: skip
_SERVES: Final = re.compile(r"\b(?:serves?|feeds?|for|makes|serving)(?: about)? $")


def area(told: Told) -> Sum | None:
    """A floor of 12 by 15 feet."""
    if len(told.items) != 2 or told.percents:
        return None
    one, other = told.items
    if not re.fullmatch(r"(?: [a-z]+)? (?:by|x|times) ", other.before) and not told.says("long|wide"):
        return None
    unit = next((each for item in (other, one) for each in item.counted if each in _SQUARE), "")
    if told.says("area|square|floor space|carpet|tiles?|grass|lawn|seed|how big|paint|rug"):
        return Sum(f"{one.value} * {other.value}", unit=_SQUARE.get(unit, ""))
    if told.says("perimeter|fence|fencing|around|border|edging|trim|baseboards?"):
        return Sum(f"2 * ({one.value} + {other.value})", unit=_SQUARE.get(unit, "").removeprefix("square "))
    return None


def scaled(told: Told) -> Sum | None:
    """A recipe's amount, halved or doubled."""
    if len(told.items) != 1 or told.percents or told.rates or told.money:
        return None
    (item,) = told.items
    if not item.nouns or not told.says(
        "recipe|batch|calls for|says|needs|takes|making|need|double|halve|triple"
    ):
        return None
    for words, factor in _SCALES:
        if re.search(rf"\b(?:{words})\b", told.text):
            return Sum(f"{item.value} * {factor}", unit=plural(item.nouns[0]))
    return None


def served(told: Told) -> Sum | None:
    """A recipe's amount for more people, or fewer."""
    if len(told.items) != 3 or told.percents or told.rates or told.money:
        return None
    serving = [
        item for item in told.items if _SERVES.search(item.before) or item.counted & {"person", "serving"}
    ]
    amounts = [item for item in told.items if item not in serving and item.nouns]
    if len(serving) != 2 or len(amounts) != 1 or not told.says("recipe|serves?|feeds?|makes|servings?"):
        return None
    first, second = serving
    if re.search(r"serves? $|feeds? $|makes $|recipe (?:is )?for $", second.before):
        first, second = second, first
    return Sum(f"{amounts[0].value} * {second.value} / {first.value}", unit=plural(amounts[0].nouns[0]))
