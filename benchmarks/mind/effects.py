"""What a tool call came to: lengths of time and times of day, in its result and its arguments."""

import json
import re
from collections.abc import Iterator
from typing import Final

from benchmarks.mind.patterns import found, simplified
from benchmarks.mind.suite import Wanted
from benchmarks.mind.talk import Call

_SECONDS: Final = {"h": 3600, "m": 60, "s": 1}
_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)[ -]?(h(?:ou)?rs?|h|min(?:ute)?s?|m|sec(?:ond)?s?|s)\b")
_JOINED: Final = re.compile(r"^(?:,? and |, | )?$")
_PHRASES: Final = (
    (re.compile(r"\b(?:a |1 )?quarter of an hour\b"), "15 minutes"),
    (re.compile(r"\b(?:a |1 )?half(?: an|-an-| a)? hour\b"), "30 minutes"),
    (re.compile(r"\b3 quarters of an hour\b"), "45 minutes"),
    (re.compile(r"\b(?:an|1) hour and a half\b"), "90 minutes"),
    (re.compile(r"\b(?:a|1) minute and a half\b"), "90 seconds"),
    (re.compile(r"\ban? (?=(?:hour|minute|second)\b)"), "1 "),
)


def comes_to(call: Call, wanted: Wanted) -> bool:
    """Whether the call did what was wanted, however it was spelt."""
    if call.error is not None or not is_named(call, wanted):
        return False
    told, asked = _told(call), _asked(call)
    if wanted.seconds is not None:
        lengths = list(_lengths(told)) or [*_lengths(asked), *_numbers(call)]
        if not any(abs(each - wanted.seconds) < 1 for each in lengths):
            return False
    if wanted.clock is not None and not re.search(_clock(wanted.clock), f"{told}\n{asked}"):
        return False
    return all(found(each, f"{_text(call.result)}\n{_text(call.arguments)}") for each in wanted.holds)


def is_named(call: Call, wanted: Wanted) -> bool:
    """Whether it is the tool that was wanted."""
    return found(wanted.tool, f"{call.name} {_text(call.arguments)}".replace("_", " "))


def _told(call: Call) -> str:
    return simplified(_text(call.result))


def _asked(call: Call) -> str:
    return simplified(_text(call.arguments))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lengths(text: str) -> Iterator[float]:
    """Each length of time in seconds; "1 hour 30 minutes" is one."""
    for pattern, plain in _PHRASES:
        text = pattern.sub(plain, text)
    total, end = 0.0, None
    for match in _LENGTH.finditer(text):
        if end is not None and not _JOINED.match(text[end : match.start()]):
            yield total
            total = 0.0
        total += float(match[1]) * _SECONDS[match[2][0]]
        end = match.end()
    if end is not None:
        yield total


def _numbers(call: Call) -> Iterator[float]:
    """Arguments such as `minutes: 5`."""
    for name, value in call.arguments.items():
        if isinstance(value, (int, float)) and (unit := re.match(r"[hms]", name)):
            yield value * _SECONDS[unit[0]]


def _clock(clock: str) -> str:
    """A regex of the time of day in simplified text, which isn't that of the other half of the day."""
    hour, minute = map(int, clock.split(":"))
    half, other = ("a", "p") if hour < 12 else ("p", "a")
    minutes = rf"[: .]?{minute:02}" if minute else r"(?:[: .]00)?"
    parts = r"in the morning" if hour < 12 else r"(?:in the (?:afternoon|evening)|at night|tonight)"
    short = hour % 12 or 12
    ways = [
        rf"(?<!\d){hour:02}:{minute:02}(?::00)?(?! ?{other}\.?m)\b",
        rf"\b{short}{minutes} ?(?:o'clock )?(?:{half}\.?m\b|{parts})",
    ]
    if minute == 0 and short == 12:
        ways.append(r"\bnoon\b" if hour else r"\bmidnight\b")
    return "|".join(ways)
