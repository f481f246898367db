"""Months, weeks and years in words, and days that are counted in them: "the last Friday in May"."""

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from dateutil.relativedelta import relativedelta

from localvoice.tools.builtin import wall
from localvoice.tools.builtin.words.day import Day, fixed
from localvoice.tools.builtin.words.times_of_day import WEEKDAYS
from localvoice.tools.errors import ToolError

_MONTHS: Final = tuple(name.lower() for name in calendar.month_name[1:])
MONTH: Final = "|".join((*_MONTHS, "sept", *(name[:3] for name in _MONTHS)))
COUNTED: Final = r"(?P<count>\d)(?:st|nd|rd|th)|(?P<last>last)"
SHIFTS: Final = {"this": 0, "the": 0, "next": 1, "last": -1}
SPAN: Final = rf"(?:(?:the|this|next|last) )?(?:month|year|week)|(?:{MONTH})(?: (?:of )?\d{{4}})?|\d{{4}}"
"""As regular expressions, with numbers in digits."""
_SPAN: Final = re.compile(
    r"(?:(?P<which>the|this|next|last) )?(?P<length>month|year|week)"
    rf"|(?P<month>{MONTH})?(?:(?:^| )(?:of )?(?P<year>\d{{4}}))?"
)
_LENGTHS: Final = {
    "week": relativedelta(weeks=1),
    "month": relativedelta(months=1),
    "year": relativedelta(years=1),
}


@dataclass(frozen=True)
class Span:
    """A week, a month or a year."""

    start: Day
    length: relativedelta

    def end(self, start: date) -> date:
        return start + self.length


def span(words: str) -> Span:
    """Raises `ToolError` for what is none."""
    found = _SPAN.fullmatch(words)
    if found is None:
        raise ToolError(f"{words[:60]!r} isn't a month: say it like May, next month or this year")
    today = wall.now().date()
    if (month := found["month"]) or found["year"]:
        length = _LENGTHS["month" if month else "year"]
        number = month_of(month) if month else 1
        if found["year"]:
            return Span(fixed(date_of(int(found["year"]), number, 1)), length)
        return Span(Day("", lambda year: date(year, number, 1), open_year=True), length)
    shift, kind = SHIFTS[found["which"] or "the"], found["length"]
    starts = {
        "week": today + timedelta(days=7 * shift - today.weekday()),
        "month": month_start(shift),
        "year": date(today.year + shift, 1, 1),
    }
    return Span(fixed(starts[kind]), _LENGTHS[kind])


def span_of(found: re.Match[str]) -> Day:
    """Its first day."""
    return span(found["span"]).start


def counted_in(found: re.Match[str]) -> Day:
    """Such as the second Monday or the last day of a month."""
    meant = span(found["span"])
    weekday = WEEKDAYS.index(found["day_name"]) if found["day_name"] else None

    def at(start: date) -> date | None:
        days = [start + timedelta(days=each) for each in range((meant.end(start) - start).days)]
        days = [day for day in days if weekday in (None, day.weekday())]
        place = -1 if found["last"] else int(found["count"]) - 1
        return days[place] if place < len(days) else None

    return meant.start.then(at)


def part_of(found: re.Match[str]) -> Day:
    """The beginning, the middle or the end of a month, a year or a week."""
    meant = span(found["span"])

    def at(start: date) -> date:
        end = meant.end(start)
        middle = start + (end - start) // 2
        return {"end": end - timedelta(days=1), "middle": middle}.get(found["part"], start)

    return meant.start.then(at)


def month_start(ahead: int) -> date:
    """The first day of a month; 0 for this one."""
    return wall.now().date() + relativedelta(months=ahead, day=1)


def month_of(name: str) -> int:
    """Its number, 1 to 12."""
    return next(number for number, each in enumerate(_MONTHS, 1) if each.startswith(name[:3]))


def date_of(year: int, month: int, day: int) -> date:
    """Raises `ToolError` where there is none."""
    found = date_or_none(year, month, day)
    if found is None:
        raise ToolError(
            f"there is no {calendar.month_name[month]} {day}{f', {year}' if year != 2000 else ''}"
        )
    return found


def date_or_none(year: int, month: int, day: int) -> date | None:
    """None where there is no such day."""
    try:
        return date(year, month, day)
    except ValueError:
        return None
