"""The built-in tool for dates: days until and since, weekdays, feasts, weeks, leap years, ages."""

import asyncio
import calendar
import re
from datetime import date
from typing import Annotated, Final, Literal

from dateutil.relativedelta import relativedelta
from pydantic import Field, WithJsonSchema

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin import wall
from localvoice.tools.builtin.feasts import NEXT_HOLIDAY, holidays_on, next_holiday
from localvoice.tools.builtin.wall import spoken_date
from localvoice.tools.builtin.words.day import Day
from localvoice.tools.builtin.words.days import day_of, in_plain
from localvoice.tools.builtin.words.months import span
from localvoice.tools.builtin.words.numbers import in_digits
from localvoice.tools.builtin.words.periods import working_days
from localvoice.tools.builtin.words.wording import accepted_by

Ask = Literal[
    "date", "weekday", "days until", "weeks until", "months until", "working days until", "days since",
    "weeks since", "months since", "years since", "days in", "week number", "day number", "leap year", "age",
    "holiday",
]  # fmt: skip
_OFFERED: Final = (
    "date", "weekday", "days until", "weeks until", "days since", "week number", "leap year", "age",
)  # fmt: skip
"""To the LLM: each more makes its choice harder."""
_YEAR: Final = re.compile(r"(?:in |the year )?(\d{4})|(1[0-9]|20) (\d\d)|(this|next|last) year")
_FEW_DAYS: Final = 60
"""Up to then no one counts in months."""
_MANY_DAYS: Final = 2 * 365
_BETWEEN: Final = re.compile(r" (?:and|to|until|till) ")


def _readable(words: str) -> None:
    if _year_of(words) is None:
        for part in _days_of(words):
            day_of(part)


def _days_of(words: str) -> list[str]:
    """One, or the two between which something lies."""
    try:
        day_of(words)
    except ToolError:
        return _BETWEEN.split(words)
    return [words]


def _readable_or_none(words: str) -> None:
    if words:
        _readable(words)


@tool(speaks=True)
async def get_date(
    day: Annotated[
        str, accepted_by(_readable), Field(description="like Christmas, next Friday, May 3 1990")
    ] = "today",
    ask: Annotated[Ask, WithJsonSchema({"enum": _OFFERED, "type": "string"})] = "date",
    to: Annotated[str, accepted_by(_readable_or_none), Field(description="a second day")] = "",
) -> str:
    """Tell the date or weekday of a day, how many days it is away, or an age."""
    # In a thread: countries' calendars take long to load.
    return await asyncio.to_thread(_told, day, ask, to)


def _told(words: str, ask: Ask, to: str) -> str:
    if ask == "age":
        return _age(words, to)
    if to and _year_of(to) is not None and _year_of(words) is None:  # "May 3rd … next year"
        words, to = f"{words} {to}", ""
    if ask == "leap year":
        return _leap_year(words)
    if ask == "days in":
        return _days_in(words)
    parts = [words, to] if to else _days_of(words)
    if len(parts) == 2:
        return _years_between(*parts) or _between(day_of(parts[0]), day_of(parts[1]), ask)
    if _year_of(words) is None:
        return _of_a_day(day_of(words), ask)
    if ask == "years since":
        return _years_since(words)
    raise ToolError("Which day of that year do you mean?")


def _of_a_day(meant: Day, ask: Ask) -> str:
    if meant.name == NEXT_HOLIDAY:
        return _next_holiday()
    unit, _, direction = ask.rpartition(" ")
    if direction == "since":
        return _since(meant, unit)
    if direction == "until":
        return _until(meant, meant.next(), unit)
    return _described(meant, meant.next(), ask)


def _described(meant: Day, day: date, ask: Ask) -> str:
    if ask == "holiday":
        return _holiday(meant, day)
    if ask == "week number":
        return f"{_name(meant, day)} {_is(day)} in week {day.isocalendar().week}."
    if ask == "day number":
        return f"{_name(meant, day)} {_is(day)} day {day.timetuple().tm_yday} of the year."
    if ask == "weekday":
        if not meant.name:
            return f"{_name(meant, day)} {_is(day)} a {day:%A}."
        year = "" if day.year == wall.now().year else f" in {day.year}"
        return f"{_name(meant, day)} {_is(day)} on a {day:%A}{year}."
    if meant.name:
        return f"{meant.name} {_is(day)} on {spoken_date(day)}."
    near = {0: "Today is", 1: "Tomorrow is", -1: "Yesterday was"}.get(_days_to(day))
    return f"{near or f'That {_is(day)}'} {spoken_date(day)}."


def _days_to(day: date) -> int:
    return (day - wall.now().date()).days


def _name(meant: Day, day: date) -> str:
    if meant.name:
        return meant.name
    near = {0: "Today", 1: "Tomorrow", -1: "Yesterday"}.get(_days_to(day))
    return near or f"{day:%B} {day.day}, {day.year}"


def _is(day: date) -> str:
    return "was" if _days_to(day) < 0 else "is"


def _until(meant: Day, day: date, unit: str) -> str:
    days = _days_to(day)
    name = meant.name or spoken_date(day)
    if days == 0:
        return f"{meant.name or 'That'} is today."
    if days < 0:
        unit = "years" if -days > _MANY_DAYS else "days"
        return f"{name} was {_length(day, wall.now().date(), unit)} ago."
    return f"It's {_length(wall.now().date(), day, unit)} until {name}."


def _since(meant: Day, unit: str) -> str:
    day = meant.last()
    days = -_days_to(day)
    if days < 0:
        return _until(meant, day, unit)
    if days == 0:
        return f"{meant.name or 'That'} is today."
    return f"It's been {_length(day, wall.now().date(), unit)} since {meant.name or spoken_date(day)}."


def _length(start: date, end: date, unit: str) -> str:
    """In the unit, and what is left in the next smaller one."""
    days = (end - start).days
    if unit == "working days":
        return f"{_counted(working_days(start, end), 'working day')}, not counting holidays,"
    if unit == "weeks" and days >= 7:
        return _and(_counted(days // 7, "week"), days % 7, "day")
    if unit == "years" and days < _FEW_DAYS:
        return _counted(days, "day")
    passed = relativedelta(end, start)
    months = 12 * passed.years + passed.months
    if unit == "years" and passed.years:
        return _and(_counted(passed.years, "year"), passed.months, "month")
    if unit in ("months", "years") and months:
        return _and(_counted(months, "month"), passed.days, "day")
    return _counted(days, "day")


def _and(length: str, rest: int, unit: str) -> str:
    return f"{length} and {_counted(rest, unit)}" if rest else length


def _between(first: Day, second: Day, ask: Ask) -> str:
    start, end = first.next(), second.next()
    if second.open_year and end < start:
        later = (second.on(start.year + years) for years in (0, 1))
        end = next((day for day in later if day is not None and day >= start), end)
    start, end = min(start, end), max(start, end)
    return f"That's {_length(start, end, ask.rpartition(' ')[0]).rstrip(',')}."


def _years_between(first: str, second: str) -> str | None:
    """None where they aren't both years."""
    start, end = _year_of(first), _year_of(second)
    return None if start is None or end is None else f"That's {_counted(abs(end - start), 'year')}."


def _years_since(words: str) -> str:
    years = wall.now().year - (_year_of(words) or 0)
    if years < 1:
        raise ToolError("That year isn't over yet.")
    return f"That was {_counted(years, 'year')} ago."


def _days_in(words: str) -> str:
    meant = span(in_plain(words))
    start = meant.start.next()
    name = f"{start.year}" if meant.length.years else f"{start:%B}"
    if start.month == 2 and not meant.length.years:
        name = f"{start:%B %Y}"
    return f"{name} has {(meant.end(start) - start).days} days."


def _next_holiday() -> str:
    found = next_holiday(wall.now().date())
    if found is None:
        raise ToolError("I don't know the holidays of your country.")
    return f"The next public holiday is {found[1]}, on {spoken_date(found[0])}."


def _holiday(meant: Day, day: date) -> str:
    names = holidays_on(day)
    named = f"{_name(meant, day)} {_is(day)}"
    if names is None:
        raise ToolError("I don't know the holidays of your country.")
    return f"Yes, {named} {' and '.join(names)}." if names else f"No, {named} not a public holiday."


def _leap_year(words: str) -> str:
    year = _year_of(words)
    if year is None:
        year = day_of(words).next().year
    verb = "was" if year < wall.now().year else "is"
    return (
        f"Yes, {year} {verb} a leap year." if calendar.isleap(year) else f"No, {year} {verb} not a leap year."
    )


def _age(words: str, then: str) -> str:
    """Today, or on another day."""
    if then:
        at, year_then = _moment(then)
    else:
        at, year_then = wall.now().date(), None
    year = _year_of(words)
    if year is not None or year_then is not None:
        years = at.year - (year or day_of(words).last().year)
        if years < 1:
            raise ToolError("That year isn't over yet.")
        if year is None:
            return f"{years - 1}, and {years} from the birthday on."
        return f"{years - 1} or {years}, depending on the birthday."
    born = day_of(words).last()
    if born > at:
        raise ToolError("That day is still to come.")
    return f"{_counted(relativedelta(at, born).years, 'year')} old."


def _moment(words: str) -> tuple[date, int | None]:
    """The day, and the year if only that is said."""
    year = _year_of(words)
    return (day_of(words).next(), None) if year is None else (date(year, 12, 31), year)


def _year_of(words: str) -> int | None:
    found = _YEAR.fullmatch(in_digits(words).strip(" .?"))
    if found is None:
        return None
    if found[4]:
        return wall.now().year + {"this": 0, "next": 1, "last": -1}[found[4]]
    return int(found[1] or f"{found[2]}{found[3]}")


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
