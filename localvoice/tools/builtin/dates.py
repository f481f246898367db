"""The built-in tool for dates: days until and since, weekdays, feasts, weeks, leap years, ages."""

import asyncio
import calendar
import re
from datetime import date
from typing import Annotated, Final, Literal

from dateutil.relativedelta import relativedelta
from pydantic import Field

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin import wall
from localvoice.tools.builtin.feasts import NEXT_HOLIDAY, next_holiday
from localvoice.tools.builtin.wall import spoken_date
from localvoice.tools.builtin.words.days import Day, day_of
from localvoice.tools.builtin.words.numbers import in_digits
from localvoice.tools.builtin.words.wording import accepted_by

Ask = Literal["date", "weekday", "days until", "weeks until", "days since", "week number", "leap year", "age"]
_YEAR: Final = re.compile(r"(?:in )?(\d{4})|(1[0-9]|20) (\d\d)|(this|next|last) year")
_BETWEEN: Final = re.compile(r" (?:and|to|until|till) ")


def _readable(words: str) -> None:
    if _year_of(words) is None:
        for part in _BETWEEN.split(words):
            day_of(part)


@tool(speaks=True)
async def get_date(
    day: Annotated[
        str, accepted_by(_readable), Field(description="like Christmas, in 30 days, next Friday, May 3 1990")
    ] = "today",
    ask: Ask = "date",
) -> str:
    """Tell the date or weekday of a day, how many days it is away, or an age."""
    # In a thread: countries' calendars take long to load.
    return await asyncio.to_thread(_told, day, ask)


def _told(words: str, ask: Ask) -> str:
    if ask in ("leap year", "age"):
        return _leap_year(words) if ask == "leap year" else _age(words)
    parts = _BETWEEN.split(words)
    if len(parts) == 2:
        return _between(day_of(parts[0]), day_of(parts[1]))
    if _year_of(words) is not None:
        raise ToolError("Which day of that year do you mean?")
    meant = day_of(words)
    if meant.name == NEXT_HOLIDAY:
        return _next_holiday()
    if ask == "days since":
        return _since(meant)
    if ask in ("days until", "weeks until"):
        return _until(meant, meant.next(), in_weeks=ask == "weeks until")
    return _described(meant, meant.next(), ask)


def _described(meant: Day, day: date, ask: Ask) -> str:
    if ask == "week number":
        return f"{_name(meant, day)} {_is(day)} in week {day.isocalendar().week}."
    if ask == "weekday":
        return f"{_name(meant, day)} {_is(day)} {'on ' if meant.name else ''}a {day:%A}."
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


def _until(meant: Day, day: date, in_weeks: bool = False) -> str:
    days = _days_to(day)
    name = meant.name or spoken_date(day)
    if days == 0:
        return f"{meant.name or 'That'} is today."
    if days < 0:
        return f"{name} was {_counted(-days, 'day')} ago."
    length = _counted(days, "day")
    if in_weeks and days >= 7:
        weeks, rest = divmod(days, 7)
        length = _counted(weeks, "week") + (f" and {_counted(rest, 'day')}" if rest else "")
    return f"It's {length} until {name}."


def _since(meant: Day) -> str:
    day = meant.last()
    days = -_days_to(day)
    if days < 0:
        return _until(meant, day)
    return f"It's been {_counted(days, 'day')} since {meant.name or spoken_date(day)}."


def _between(first: Day, second: Day) -> str:
    start, end = first.next(), second.next()
    if second.open_year and end < start:
        end = second.on(start.year + 1) or end
    return f"That's {_counted(abs((end - start).days), 'day')}."


def _next_holiday() -> str:
    found = next_holiday(wall.now().date())
    if found is None:
        raise ToolError("I don't know the holidays of your country.")
    return f"The next public holiday is {found[1]}, on {spoken_date(found[0])}."


def _leap_year(words: str) -> str:
    year = _year_of(words)
    if year is None:
        year = day_of(words).next().year
    return f"{year} is {'' if calendar.isleap(year) else 'not '}a leap year."


def _age(words: str) -> str:
    today = wall.now().date()
    year = _year_of(words)
    if year is not None:
        years = today.year - year
        if years < 1:
            raise ToolError("That year isn't over yet.")
        return f"{years - 1} or {years}, depending on the birthday."
    born = day_of(words).last()
    if born > today:
        raise ToolError("That day is still to come.")
    return f"{_counted(relativedelta(today, born).years, 'year')} old."


def _year_of(words: str) -> int | None:
    found = _YEAR.fullmatch(in_digits(words).strip(" .?"))
    if found is None:
        return None
    if found[4]:
        return wall.now().year + {"this": 0, "next": 1, "last": -1}[found[4]]
    return int(found[1] or f"{found[2]}{found[3]}")


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
