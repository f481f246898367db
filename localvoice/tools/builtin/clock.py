"""The built-in tools for time: the clock, here and elsewhere, and a timer."""

import unicodedata
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field

from localvoice.tools import ToolContext, ToolError, tool
from localvoice.tools.builtin.durations import seconds_of
from localvoice.tools.builtin.speech import spoken_duration

_LONGEST_SECONDS: Final = 24 * 3600
_LABEL_CHARACTERS: Final = 80

# What small models write where the user names no place.
_HERE: Final = frozenset(
    ("", "here", "home", "local", "local time", "current location", "my location", "user", "none", "null")
    + ("now", "today", "day", "date", "time", "year", "city", "the city", "my city", "place", "world")
)
# Places that people ask for and that give no zone its name.
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


def _now(zone: ZoneInfo | None = None) -> datetime:
    """The wall clock, here without a zone."""
    return datetime.now(zone).astimezone(zone)


def _spoken_clock(moment: datetime) -> str:
    return f"{moment.hour % 12 or 12}:{moment.minute:02} {'AM' if moment.hour < 12 else 'PM'}"


def _spoken_moment(moment: datetime) -> str:
    return f"{_spoken_clock(moment)} on {moment:%A}, {moment:%B} {moment.day}, {moment.year}"


def _zone(name: str) -> ZoneInfo:
    """The zone of a city, or of a zone's own name; raises `ToolError`."""
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
    """Time zones by all that they are called. Reads the system's files the first time."""
    available = available_timezones()
    names: dict[str, str] = {}
    # Zones of the form Area/City last: where a name is taken twice, the city is meant.
    for zone in sorted(available, key=lambda zone: (zone.count("/") == 1, zone)):
        names[_plain(zone)] = zone
        names[_plain(zone.rpartition("/")[2])] = zone
    for zone, places in _ZONE_OF.items():
        if zone in available:
            names |= dict.fromkeys(_places(places), zone)
    return names


def _places(words: str) -> list[str]:
    return [place.strip() for place in words.split(",")]


def _plain(name: str) -> str:
    """Without case, accents, dots and underscores."""
    letters = unicodedata.normalize("NFKD", name.casefold().replace("_", " ").replace(".", ""))
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip()
