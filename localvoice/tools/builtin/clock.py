"""The built-in tool for the time, here and elsewhere."""

import unicodedata
from datetime import timedelta
from functools import cache
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin import wall
from localvoice.tools.builtin.wall import spoken_clock, spoken_moment, spoken_time_to_come
from localvoice.tools.builtin.words.durations import seconds_of, spoken_duration
from localvoice.tools.builtin.words.wording import accepted_by

# What small models write where the user names no place.
_HERE: Final = frozenset(
    ("", "here", "home", "local", "local time", "current location", "my location", "user", "none", "null")
    + ("now", "today", "day", "date", "time", "year", "city", "the city", "my city", "place", "world")
)
_SMALL: Final = ("of", "the", "de", "da", "do", "la", "del", "am", "upon", "city", "time", "here")
"""Words within names of places."""
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


def _nothing_or_length(words: str) -> None:
    if words:
        seconds_of(words)


def _likely_place(words: str) -> None:
    """Names begin with capitals. What doesn't has to be known: "and what about dinner?" asks for no time."""
    if any(word[0].islower() and word not in _SMALL for word in words.split()):
        _place(words)


@tool(speaks=True)
def get_time(
    place: Annotated[str, accepted_by(_likely_place), Field(description="a city, or here")] = "here",
    than: Annotated[
        str, accepted_by(_likely_place), Field(description="a second city, for the hours between both")
    ] = "",
    later: Annotated[str, accepted_by(_nothing_or_length), Field(description="like in 2 hours")] = "",
    ask: Literal["time", "time and date"] = "time and date",
) -> str:
    """Tell the current time and date."""
    city, zone = _place(place)
    if than:
        return _difference(city, zone, *_place(than))
    if later:
        try:
            moment = (wall.now() + timedelta(seconds=seconds_of(later))).astimezone(zone)
        except OverflowError:
            raise ToolError("That is too far away for me.") from None
        return f"{f'In {city} it' if city else 'It'} will be {spoken_time_to_come(moment)}."
    moment = wall.now(zone)
    spoken = spoken_clock(moment) if ask == "time" else spoken_moment(moment)
    return f"{f'In {city} it is' if city else 'It is'} {spoken}."


def _place(words: str) -> tuple[str, ZoneInfo | None]:
    """Its name and zone; an empty name and none where the machine is."""
    name = " ".join(words.split()).removesuffix(" time")
    if _plain(name) in _HERE:
        return "", None
    return name.rpartition("/")[2].replace("_", " "), _zone(name)


def _difference(city: str, zone: ZoneInfo | None, other: str, other_zone: ZoneInfo | None) -> str:
    ahead, behind = (wall.now(each).utcoffset() or timedelta() for each in (zone, other_zone))
    seconds = round((ahead - behind).total_seconds())
    first, second = city or "Your place", other or "your place"
    if not seconds:
        return f"{first} and {second} have the same time."
    return f"{first} is {spoken_duration(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} {second}."


def _zone(name: str) -> ZoneInfo:
    """The zone of this city, or of this name; raises `ToolError`."""
    zones = _zones()
    if not zones:
        raise ToolError("This machine has no time zones: install the system's or Python's package tzdata.")
    whole = _plain(name)
    for candidate in (whole, whole.partition(",")[0].strip()):  # "Paris, France" is Paris
        if candidate in zones:
            return ZoneInfo(zones[candidate])
    raise ToolError(f"I don't know the time zone of {name[:60]}. Which large city is near it?")


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
