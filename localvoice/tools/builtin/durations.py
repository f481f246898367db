"""Lengths of time as people say them: "90 seconds", "an hour and a half", "1 hour 30 minutes"."""

import math
import re
from typing import Final

from localvoice.tools import ToolError

_SECOND, _MINUTE, _HOUR = 1, 60, 3600
_UNITS: Final = {
    **dict.fromkeys(("second", "sec", "s"), _SECOND),
    **dict.fromkeys(("minute", "min", "m"), _MINUTE),
    **dict.fromkeys(("hour", "hr", "h"), _HOUR),
}
_ONES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBERS: Final = {
    **{word: float(number) for number, word in enumerate(_ONES)},
    **{word: 10.0 * number for number, word in enumerate(_TENS, start=2)},
    "a": 1.0,
    "an": 1.0,
    "half": 0.5,
    "quarter": 0.25,
    "quarters": 0.25,
    "couple": 2.0,
}
_FILLERS: Final = frozenset({"and", "of", "in", "for", "about"})
_WORD: Final = re.compile(r"-?\d+(?:\.\d+)?|[a-z]+|\S")
_ADVICE: Final = "say it like 90 seconds, 5 minutes or 1 hour 30 minutes"


def seconds_of(words: str) -> float:
    """The length in seconds, above 0. Raises `ToolError` for what is none."""
    total, unit_before = 0.0, 0
    numbers: list[float] = []
    for word in _WORD.findall(re.sub(r"(?<=[a-z])-(?=[a-z])", " ", words.lower())):
        unit = _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
        if unit:
            total += _value(numbers or [1.0]) * unit
            numbers, unit_before = [], unit
        elif word in _NUMBERS or re.fullmatch(r"-?\d+(?:\.\d+)?", word):
            numbers.append(_NUMBERS[word] if word in _NUMBERS else float(word))
        elif word not in _FILLERS:
            raise ToolError(f"{words[:60]!r} isn't a length of time: {_ADVICE}")
    if numbers:  # "an hour and a half": what follows the unit is a part of it
        if not unit_before or _value(numbers) >= 1:
            raise ToolError(f"{words[:60]!r} has no unit: {_ADVICE}")
        total += _value(numbers) * unit_before
    if not math.isfinite(total) or total <= 0:
        raise ToolError(f"a timer needs a time above 0: {_ADVICE}")
    return total


def _value(numbers: list[float]) -> float:
    """Several in a row: "twenty five" is a sum; "half a", "a couple", "three quarter" are products."""
    value = numbers[0]
    for number in numbers[1:]:
        value = value + number if value >= 20 and 1 <= number < 10 else value * number
    return value
