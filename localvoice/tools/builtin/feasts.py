"""When feasts and holidays are: fixed, moving with Easter, or as a country has them."""

import functools
import os
import re
import tomllib
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from importlib.resources import files
from typing import Final

from dateutil.easter import easter
from dateutil.relativedelta import MO, SU, TH, relativedelta

from localvoice.tools.builtin import wall
from localvoice.tools.errors import ToolError

_SOUTHERN: Final = ("AU", "NZ", "ZA", "AR", "CL", "UY", "PY", "BO", "PE", "BR")
NEXT_HOLIDAY: Final = "the next public holiday"

_BY_WEEKDAY: Final[dict[str, Callable[[int], date]]] = {
    "black friday": lambda year: _thanksgiving(year) + timedelta(days=1),
    "cyber monday": lambda year: _thanksgiving(year) + timedelta(days=4),
    "thanksgiving": lambda year: _thanksgiving(year),
    "mothers day": lambda year: _mothers_day(year),
    "fathers day": lambda year: date(year, 6, 1) + relativedelta(weekday=SU(3)),
    "thanksgiving day": lambda year: _thanksgiving(year),
    "advent": lambda year: date(year, 12, 24) + relativedelta(weekday=SU(-1), days=-21),
}


def is_feast(name: str) -> bool:
    """Whether a feast is called so, in some country."""
    plain = _plain(name)
    return plain in _BY_WEEKDAY or any(plain in names for names in _table().values())


def feast(name: str, year: int) -> date | None:
    """Its day in that year; None where the machine's country doesn't have it. The first call takes long."""
    plain, table = _plain(name), _table()
    if (fixed := table["fixed"].get(plain) or _season(plain)) is not None:
        month, day = map(int, fixed.split("-"))
        return date(year, month, day)
    if (days := table["easter"].get(plain)) is not None:
        return easter(year) + timedelta(days=int(days))
    if (day_in := _BY_WEEKDAY.get(plain)) is not None:
        return day_in(year)
    if (change := table["clocks"].get(plain)) is not None:
        return _clock_change(year, change)
    if (there := table["elsewhere"].get(plain)) is not None:
        place, _, named = there.partition(" ")
        calendar = _public(place.upper(), year, ("public", "optional", "school"))
        return next((day for day, each in calendar if _plain(each).startswith(named)), None)
    wanted = table["national"].get(plain)
    public = [*_public(country(), year), *_public("US", year)]
    return next((day for day, named in public if _plain(named) == wanted), None)


def next_holiday(after: date) -> tuple[date, str] | None:
    """The next public holiday in the machine's country, and its name. The first call takes long."""
    coming = [*_public(country(), after.year), *_public(country(), after.year + 1)]
    return min(((day, name) for day, name in coming if day > after), default=None)


def holidays_on(day: date) -> list[str] | None:
    """Public holidays of the machine's country on that day; None where they aren't known."""
    year = _public(country(), day.year)
    return [name for each, name in year if each == day] if year else None


def country() -> str:
    """Of the machine, by its locale: ISO 3166, two letters."""
    for name in ("LC_ALL", "LC_TIME", "LANG"):
        if found := re.match("[a-z]{2,3}_([A-Z]{2})", os.environ.get(name, "")):
            return found[1]
    return "US"


def _public(place: str, year: int, kinds: tuple[str, ...] = ("public",)) -> list[tuple[date, str]]:
    import holidays  # takes long, and brings each country's calendar when it is asked for

    try:
        known = holidays.country_holidays(place).supported_categories
        days = holidays.country_holidays(
            place,
            years=[year],
            language="en_US",
            observed=False,
            categories=[kind for kind in kinds if kind in known],
        )
    except NotImplementedError:  # a country that the library doesn't know
        return []
    return [(day, name) for day, names in sorted(days.items()) for name in names.split("; ")]


def _clock_change(year: int, way: str) -> date | None:
    """When the machine's clock is put on or back; None where it never is, or that lies behind."""
    days = [date(year, 1, 1) + timedelta(days=each) for each in range(366)]
    noons = [datetime.combine(day, time(12)).astimezone().utcoffset() or timedelta() for day in days]
    changes = [(day, after > before) for day, before, after in zip(days[1:], noons, noons[1:], strict=False)
               if after != before]  # fmt: skip
    if not changes:
        raise ToolError("The clocks don't change here.")
    if way == "change":
        return next((day for day, _ in changes if day >= wall.now().date()), None)
    return next((day for day, on in changes if on == (way == "on")), None)


def _season(name: str) -> str | None:
    """The month and day on which it begins."""
    return None if country() in _SOUTHERN else _table()["seasons"].get(name)


def _thanksgiving(year: int) -> date:
    if country() == "CA":
        return date(year, 10, 1) + relativedelta(weekday=MO(2))
    return date(year, 11, 1) + relativedelta(weekday=TH(4))


def _mothers_day(year: int) -> date:
    if country() in ("GB", "IE"):
        return easter(year) - timedelta(days=21)
    return date(year, 5, 1) + relativedelta(weekday=SU(2))


def _plain(name: str) -> str:
    """In small letters, without dots and apostrophes, which speech doesn't have."""
    return re.sub(r"['\u2019.]", "", name.lower()).strip()


@functools.cache
def _table() -> dict[str, dict[str, str]]:
    """Of each kind, the days or names by what people call them."""
    table = tomllib.loads((files(__package__) / "feasts.toml").read_text("utf-8"))
    return {
        kind: {_plain(name): _plain(day) for day, names in days.items() for name in names.split(", ")}
        for kind, days in table.items()
    }
