"""The built-in tools for time: the clock, here and elsewhere, and a timer with the words for its length."""

import math
import re
import unicodedata
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field

from localvoice.tools import ToolContext, ToolError, tool

_LONGEST_SECONDS: Final = 24 * 3600
_LABEL_CHARACTERS: Final = 80

_UNITS: Final = (
    {"second": 1, "sec": 1, "s": 1}
    | {"minute": 60, "min": 60, "m": 60}
    | {"hour": 3600, "hr": 3600, "h": 3600}
)
"""In seconds."""
_ONES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBERS: Final = (
    {word: float(number) for number, word in enumerate(_ONES)}
    | {word: 10.0 * number for number, word in enumerate(_TENS, start=2)}
    | {"a": 1.0, "an": 1.0, "half": 0.5, "quarter": 0.25, "quarters": 0.25, "couple": 2.0}
)
_FILLERS: Final = frozenset({"and", "of", "in", "for", "about"})
_WORD: Final = re.compile(r"-?\d+(?:\.\d+)?|[a-z]+|\S")
_ADVICE: Final = "say it like 90 seconds, 5 minutes or 1 hour 30 minutes"

# What small models write where the user names no place.
_HERE: Final = frozenset(
    ("", "here", "home", "local", "local time", "current location", "my location", "user", "none", "null")
    + ("now", "today", "day", "date", "time", "year", "city", "the city", "my city", "place", "world")
)
# Places that people ask for and after which no zone is named.
_ZONE_OF: Final = {
    "America/New_York": "new york city, nyc, boston, washington, washington dc, philadelphia, miami, atlanta",
    "America/Chicago": "dallas, houston, austin, new orleans, minneapolis",
    "America/Los_Angeles": "la, san francisco, seattle, san diego, las vegas, portland, california",
    "America/Toronto": "montreal, ottawa",
    "America/Sao_Paulo": "rio, rio de janeiro, brasilia",
    "Europe/London": "manchester, edinburgh, glasgow, liverpool, england, scotland, wales, uk, britain",
    "Europe/Berlin": "munich, hamburg, frankfurt, cologne, stuttgart, germany",
    "Europe/Paris": "lyon, marseille, nice, france",
    "Europe/Madrid": "barcelona, valencia, seville, spain",
    "Europe/Rome": "milan, naples, venice, florence, turin, italy",
    "Europe/Zurich": "geneva, basel, bern, switzerland",
    "Europe/Amsterdam": "rotterdam, the hague, netherlands, holland",
    "Europe/Vienna": "austria",
    "Europe/Stockholm": "sweden",
    "Europe/Oslo": "norway",
    "Europe/Copenhagen": "denmark",
    "Europe/Helsinki": "finland",
    "Europe/Athens": "greece",
    "Europe/Warsaw": "krakow, poland",
    "Europe/Moscow": "saint petersburg, st petersburg",
    "Europe/Kyiv": "ukraine",
    "Asia/Tokyo": "osaka, kyoto",
    "Asia/Seoul": "busan, south korea, korea",
    "Asia/Shanghai": "beijing, shenzhen, guangzhou, china",
    "Asia/Kolkata": "mumbai, delhi, new delhi, bangalore, bengaluru, chennai, hyderabad, calcutta, india",
    "Asia/Karachi": "islamabad, lahore, pakistan",
    "Asia/Ho_Chi_Minh": "hanoi, vietnam",
    "Asia/Bangkok": "thailand",
    "Asia/Dubai": "abu dhabi, emirates",
    "Asia/Riyadh": "jeddah, mecca, saudi arabia",
    "Asia/Jerusalem": "tel aviv",
    "Africa/Johannesburg": "cape town, pretoria, durban, south africa",
    "Africa/Cairo": "alexandria",
    "Australia/Sydney": "canberra",
    "Pacific/Honolulu": "hawaii",
}


@tool
def get_time(
    place: Annotated[str, Field(description="a city, or here")] = "here",
) -> str:
    """Tell the current time and date."""
    name = " ".join(place.split()).removesuffix(" time")
    if _plain(name) in _HERE:
        return f"It is {_spoken_moment(_now())}."
    city = name.rpartition("/")[2].replace("_", " ")
    return f"In {city} it is {_spoken_moment(_now(_zone(name)))}."


@tool
async def set_timer(
    context: ToolContext,
    duration: Annotated[str, Field(description="like 90 seconds or 1 hour 30 minutes")],
    label: str | None = None,
) -> str:
    """Start a timer. It tells the user by itself when it ends."""
    whole = round(seconds_of(duration))
    if whole < 1:
        raise ToolError("a timer runs for a second at least")
    if whole > _LONGEST_SECONDS:
        raise ToolError("a timer can run for 24 hours at most")
    purpose = " ".join((label or "").split())[:_LABEL_CHARACTERS]
    length = spoken_duration(whole)
    context.announce(whole, f"Your timer of {length} is up{f': {purpose}' if purpose else ''}.")
    end = (_now() + timedelta(seconds=whole)).astimezone()  # the clocks may change before
    return f"The timer is set for {length}, until {_spoken_clock(end)}."


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


def spoken_duration(seconds: int) -> str:
    """Such as `1 hour 30 minutes`; `seconds` is at least 1."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "hour"), (minutes, "minute"), (seconds, "second"))
    return " ".join(f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count)


def _now(zone: ZoneInfo | None = None) -> datetime:
    """The wall clock's time; without a zone, that of the machine's place."""
    return datetime.now(zone).astimezone(zone)


def _spoken_clock(moment: datetime) -> str:
    return f"{moment.hour % 12 or 12}:{moment.minute:02} {'AM' if moment.hour < 12 else 'PM'}"


def _spoken_moment(moment: datetime) -> str:
    return f"{_spoken_clock(moment)} on {moment:%A}, {moment:%B} {moment.day}, {moment.year}"


def _zone(name: str) -> ZoneInfo:
    """The zone of this city, or of this name; raises `ToolError`."""
    zones = _zones()
    if not zones:
        raise ToolError("this machine has no time zones: install the system's or Python's package tzdata")
    whole = _plain(name)
    for candidate in (whole, whole.partition(",")[0].strip()):  # "Paris, France" is Paris
        if candidate in zones:
            return ZoneInfo(zones[candidate])
    raise ToolError(f"the time zone of {name[:60]} isn't known: name a large city near it")


@cache
def _zones() -> dict[str, str]:
    """Time zones by their names and by the places in them, from the system's files."""
    available = available_timezones()
    names: dict[str, str] = {}
    # Zones of the form Area/City come last: where two zones have a name, the city is meant.
    for zone in sorted(available, key=lambda zone: (zone.count("/") == 1, zone)):
        names[_plain(zone)] = zone
        names[_plain(zone.rpartition("/")[2])] = zone
    for zone, places in _ZONE_OF.items():
        if zone in available:
            names |= dict.fromkeys(places.split(", "), zone)
    return names


def _plain(name: str) -> str:
    """Without case, accents, dots and underscores."""
    letters = unicodedata.normalize("NFKD", name.casefold().replace("_", " ").replace(".", ""))
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip()
