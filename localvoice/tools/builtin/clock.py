"""The built-in tool for the time, here and elsewhere."""

import unicodedata
from functools import cache
from typing import Annotated, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin import wall
from localvoice.tools.builtin.wall import spoken_moment

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


@tool(speaks=True)
def get_time(
    place: Annotated[str, Field(description="a city, or here")] = "here",
) -> str:
    """Tell the current time and date."""
    name = " ".join(place.split()).removesuffix(" time")
    if _plain(name) in _HERE:
        return f"It is {spoken_moment(wall.now())}."
    city = name.rpartition("/")[2].replace("_", " ")
    return f"In {city} it is {spoken_moment(wall.now(_zone(name)))}."


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
