"""Days, weeks, months and years in words: "two weeks and three days", "ten working days"."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

from dateutil.relativedelta import relativedelta

from localvoice.tools.errors import ToolError

_UNIT: Final = r"(?:business|working|work|week) ?day|day|night|week|weekend|fortnight|month|year"
_COUNT: Final = r"\d+(?:\.5)?|half an?|an?|the|a couple of|a couple"
_ONE: Final = rf"(?:{_COUNT}) (?:{_UNIT})s?'?(?: and a half)?"
PERIODS: Final = rf"{_ONE}(?:,? (?:and )?{_ONE})*(?: time)?"
"""As a regular expression, with numbers in digits."""
_EACH: Final = re.compile(rf"(?P<count>{_COUNT}) (?P<unit>{_UNIT})s?'?(?P<half> and a half)?")
_COUNTS: Final = {"a": 1, "an": 1, "the": 1, "a couple of": 2, "a couple": 2, "half a": 0.5, "half an": 0.5}
_DAYS: Final = {"day": 1, "night": 1, "week": 7, "weekend": 7, "fortnight": 14}
_MONTHS: Final = {"month": 1, "year": 12}
_FARTHEST_DAYS: Final = 3000 * 365


def away(words: str) -> Callable[[date, int], date]:
    """What goes so far from a day: on with 1, back with -1. `words` are `PERIODS`. Raises `ToolError`."""
    months, days, working = 0.0, 0.0, 0.0
    for found in _EACH.finditer(words):
        unit = found["unit"]
        count = _COUNTS.get(found["count"]) or float(found["count"])
        count += 0.5 if found["half"] else 0
        months += count * _MONTHS.get(unit, 0)
        days += count * _DAYS.get(unit, 0)
        working += 0 if unit in _DAYS or unit in _MONTHS else count
    if max(months * 30, days, working) > _FARTHEST_DAYS:
        raise ToolError("That is too far away for me.")
    days += months % 1 * 30

    def move(start: date, way: int) -> date:
        end = start + relativedelta(months=int(months) * way, days=round(days) * way)
        return working_day(end, round(working) * way) if working else end

    return move


def working_day(start: date, count: int) -> date:
    """So many days from Monday to Friday later; below 0, earlier."""
    way = timedelta(days=1 if count > 0 else -1)
    while start.weekday() > 4:  # a weekend is no further away than the working day before it
        start -= way
    weeks, rest = divmod(abs(count), 5)
    day = start + 7 * weeks * way
    while rest:
        day += way
        rest -= day.weekday() < 5
    return day


def working_days(start: date, end: date) -> int:
    """Days from Monday to Friday after the start, up to the end."""
    weeks, rest = divmod((end - start).days, 7)
    return 5 * weeks + sum((start.weekday() + each) % 7 < 5 for each in range(1, rest + 1))
