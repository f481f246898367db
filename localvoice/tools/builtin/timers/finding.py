"""Which timer, alarm or reminder is meant: by its kind, name, length, time or place in the list."""

import re
from collections.abc import Sequence
from typing import Final

from localvoice.tools.builtin import wall
from localvoice.tools.builtin.timers.setting import end_of
from localvoice.tools.builtin.words.durations import seconds_of
from localvoice.tools.builtin.words.times_of_day import time_of_day
from localvoice.tools.errors import ToolError
from localvoice.tools.reminders import Kind, Reminder, Reminders

LATEST: Final = "latest"
"""The one that was set or changed last."""
ALL: Final = "all"
_PLACES: Final = {"first": 0, "1st": 0, "second": 1, "2nd": 1, "third": 2, "3rd": 2, "last": -1, "other": -1}
_UNSAID: Final = frozenset(
    {"", "the", "a", "an", "my", "your", "that", "this", "it", "one", "for", "to", "called"}
)


def found(reminders: Reminders, kind: Kind | None, which: str, needed: bool) -> list[Reminder]:
    """Those that are meant, the next one first. Raises `ToolError` if one is `needed` and there is none."""
    kinds = [each for each in reminders.waiting if each.kind is not None and kind in (None, each.kind)]
    if which == LATEST:
        chosen = kinds[-1:]
    else:
        chosen = _matching(sorted(kinds, key=lambda each: each.seconds_left), which)
    if needed and not chosen:
        name = kind or "timer, alarm or reminder"
        if not kinds:
            raise ToolError(f"There is no {name} set.")
        raise ToolError(f"There is no such {name}.")
    return chosen


def _matching(reminders: Sequence[Reminder], which: str) -> list[Reminder]:
    words = [word for word in re.findall(r"[\w:.']+", which.lower()) if word not in _UNSAID]
    words = [re.sub(r"^(timer|alarm|reminder)s?$", "", word) for word in words]
    said = " ".join(filter(None, words))
    if said in ("", ALL, "every", "both", "all of them"):
        return list(reminders)
    if said in _PLACES:
        return list(reminders[_PLACES[said] :][:1])
    return (
        [each for each in reminders if _stems(said) <= _stems(_described(each))]
        or [each for each in reminders if _is_so_long(each, said)]
        or [each for each in reminders if _is_at(each, said)]
    )


def _described(reminder: Reminder) -> str:
    """Its name, and of what is for a time of day, which one."""
    if not reminder.by_clock:
        return reminder.label
    end = end_of(reminder)
    days = (end.date() - wall.now().date()).days
    day = {0: "today", 1: "tomorrow"}.get(days, "")
    part = "morning" if end.hour < 12 else "afternoon" if end.hour < 18 else "evening tonight"
    return f"{reminder.label} {day} {end:%A} {part}"


def _stems(words: str) -> set[str]:
    """Without what makes the difference between "egg", "eggs" and "egg's"."""
    return {re.sub(r"(?:'s|s)$", "", word) for word in words.lower().split()} - _UNSAID


def _is_so_long(reminder: Reminder, said: str) -> bool:
    try:
        return round(seconds_of(said)) == round(reminder.seconds)
    except ToolError:
        return False


def _is_at(reminder: Reminder, said: str) -> bool:
    try:
        meant = time_of_day(said)
    except ToolError:
        return False
    end = end_of(reminder)
    return (end.hour % 12, end.minute) == (meant.hour % 12, meant.minute)
