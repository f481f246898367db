"""Sums with times of day: how long until then, what time it is so much later."""

from datetime import datetime, time, timedelta
from itertools import product
from typing import Final

from localvoice.tools import ToolError
from localvoice.tools.builtin import wall
from localvoice.tools.builtin.wall import spoken_clock, spoken_time_to_come
from localvoice.tools.builtin.words.durations import spoken_duration
from localvoice.tools.builtin.words.times_of_day import TimeOfDay, time_of_day

_DAY: Final = 24 * 60


def time_until(words: str, start: str) -> str:
    """How long it is until a time of day; `start` is another one to count from, or empty for now."""
    if start:
        ends, starts = _minutes(time_of_day(words)), _minutes(time_of_day(start))
        minutes = min((end - each) % _DAY or _DAY for end, each in product(ends, starts))
        return f"That's {spoken_duration(60 * minutes)}."
    moment = time_of_day(words).next()
    minutes = max(1, round((moment - wall.now()).total_seconds() / 60))
    return f"It's {spoken_duration(60 * minutes)} until {spoken_time_to_come(moment)}."


def time_after(words: str, seconds: float) -> str:
    """What time it is so long after a time of day; below 0, before it."""
    if abs(seconds) > 7 * 86400:
        raise ToolError("That is too far away for me.")
    said = time_of_day(words)
    moment = datetime.combine(wall.now(), daytime_of(words)) + timedelta(seconds=seconds)
    clock = spoken_clock(moment)
    return f"That's {clock if said.half or said.hour > 12 else clock[:-3]}."


def daytime_of(words: str) -> time:
    """The time of day, by day where both halves are possible."""
    said = time_of_day(words)
    if said.half or said.hour > 12:
        return time(_minutes(said)[0] // 60, said.minute)
    return time(said.hour if 7 <= said.hour <= 12 else said.hour % 12 + 12, said.minute)


def _minutes(said: TimeOfDay) -> list[int]:
    """Since midnight; two where both halves of the day are possible."""
    if said.hour > 12 or (said.hour == 0 and not said.half):
        return [60 * said.hour + said.minute]
    halves = {"am": (0,), "pm": (12,), "": (0, 12)}[said.half]
    return [60 * (said.hour % 12 + half) + said.minute for half in halves]
