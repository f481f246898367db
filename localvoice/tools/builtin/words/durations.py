"""Lengths of time in words: "an hour and a half", "two minutes thirty"."""

import math
import re
from typing import Final

from localvoice.tools.builtin.words.numbers import NUMBER, in_digits
from localvoice.tools.builtin.words.wording import corrected
from localvoice.tools.errors import ToolError

_UNITS: Final = (
    ("seconds?|secs?|s", 1),
    ("minutes?|mins?|m", 60),
    ("hours?|hrs?|h", 3600),
    ("days?", 86400),
    ("weeks?", 7 * 86400),
)
"""In seconds."""
_UNIT: Final = "|".join(words for words, _ in _UNITS)
_WHOLE: Final = re.compile(rf"(?P<number>-?{NUMBER})? ?(?P<unit>{_UNIT})\b")
_REST: Final = re.compile(rf"{NUMBER}(?= |$)")
_BETWEEN: Final = re.compile(" and (?=.)| ")
_AMOUNTS: Final = (
    (r"^ *(?:(?:for|in|another|the|the next|after) )+", " "),
    (r"\b(?:about|around|roughly|approximately|exactly|precisely|just|only|like|say|maybe|the)\b", " "),
    (r"\b(?:3|three) quarters? (?:of )?(?:an? )?", "0.75 "),
    (r"\b(?:a )?quarter (?:of )?(?:an? )?(?=[hmsd])", "0.25 "),
    (r"\bhalf (?:of )?(?:an? )?(?=[hmsd])", "0.5 "),
    (r"\b(?:a )?couple (?:of )?", "2 "),
    (r"(?<=hour) (?:and )?(?:a )?half\b", " and 0.5"),
    (r"\band a half\b", "and 0.5"),
    (r"\band a quarter\b", "and 0.25"),
    (r"\ban? (?=[hmsdw])", "1 "),
    (r"[, ]+", " "),
)
_ADVICE: Final = "say it like 90 seconds, 5 minutes or 1 hour 30 minutes"


def seconds_of(words: str) -> float:
    """The length in seconds, above 0. Raises `ToolError` for what is none.

    Of "ten, no, fifteen minutes" the last is meant.
    """
    last, before = corrected(words)
    if before and _bare(before) is None:
        length = _total(before)
        if _bare(last) is not None:  # "ten minutes, no, fifteen"
            return seconds_like(last, length)
    total = _total(last)
    if not math.isfinite(total) or total <= 0:
        raise ToolError(f"a timer needs a time above 0: {_ADVICE}")
    return total


def seconds_like(words: str, before: float) -> float:
    """The same where the unit may be missing, and is that of the length before: "no, fifteen"."""
    last, _ = corrected(words)
    number = _bare(last)
    if number is None:
        return seconds_of(words)
    return number * next(unit for unit in (3600, 60, 1) if before % unit == 0 or unit == 1)


def is_bare(words: str) -> bool:
    """Whether it is a number above 0 without a unit."""
    return bool(_bare(words))


def _bare(words: str) -> float | None:
    text = in_digits(words).strip()
    return float(text) if re.fullmatch(NUMBER, text) else None


def _total(words: str) -> float:
    text = in_digits(re.sub("(?i)\\bseconds?\\b", "sec", words))  # no ordinal
    for pattern, amount in _AMOUNTS:
        text = re.sub(pattern, amount, text)
    text = text.strip()
    total, unit, at = 0.0, 0, 0
    while at < len(text):
        if (part := _WHOLE.match(text, at)) is not None:
            unit = next(seconds for names, seconds in _UNITS if re.fullmatch(names, part["unit"]))
            total += float(part["number"] or 1) * unit
        elif (part := _REST.match(text, at)) is not None:
            total += _rest(float(part[0]), unit, words)
            unit = 0
        else:
            raise ToolError(f"{words[:60]!r} isn't a length of time: {_ADVICE}")
        at = part.end()
        if (between := _BETWEEN.match(text, at)) is not None:
            at = between.end()
    return total


def _rest(number: float, unit: int, words: str) -> float:
    """Of a number after its unit: "an hour and a half" is a part, "two minutes thirty" the next smaller."""
    if unit and number < 1:
        return number * unit
    if unit in (60, 3600) and number < 60:
        return number * unit / 60
    raise ToolError(f"{words[:60]!r} has no unit: {_ADVICE}")


def spoken_duration(seconds: int) -> str:
    """Such as `1 hour 30 minutes`; `seconds` is at least 1."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24) if hours > 48 else (0, hours)
    parts = ((days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"))
    return " ".join(f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count)
