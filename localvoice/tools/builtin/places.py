"""Time zones by the names of places in them."""

import re
import tomllib
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from localvoice.tools import ToolError

SMALL: Final = ("of", "the", "de", "da", "do", "la", "del", "am", "upon", "city", "time", "here")
"""Words within names of places."""
_WIDE: Final = (
    *("usa", "the usa", "us", "the us", "america", "the united states", "united states", "canada", "mexico"),
    *("brazil", "russia", "australia", "indonesia"),
)
"""Countries of several zones."""
_COMMON: Final = frozenset(
    (
        "nice",
        "reading",
        "split",
        "bath",
        "cork",
        "central",
        "eastern",
        "pacific",
        "mountain",
        "universal",
        "java",
    )
    + (
        "la",
        "us",
        "turkey",
        "charlotte",
        "victoria",
        "jordan",
        "madison",
        "austin",
        "sydney",
        "savannah",
        "chad",
    )
    + ("florence", "orlando", "virginia", "kingston", "lima", "queens", "indiana", "troy", "eire", "gb", "nz")
)
"""Names of places that are names of other things, too."""
_ANOTHER_TIME: Final = re.compile(
    r"\b(?:time|clock)\b.*\b(?:if|when|once|at|tomorrow|after|before|hours?|minutes?|o'clock|noon|midnight|\d+)\b"
)
_WHERE: Final = ("in", "to", "from", "near", "for", "of", "with", "at", "around")


def zone_of(name: str) -> ZoneInfo:
    """The zone of this city, or of this name; raises `ToolError`."""
    zones = _zones()
    if not zones:
        raise ToolError("This machine has no time zones: install the system's or Python's package tzdata.")
    whole = re.sub(r"^in |,| time$", "", plain(name))
    if whole in zones:
        return ZoneInfo(zones[whole])
    words = whole.split()
    for at in range(len(words) - 1, 0, -1):  # "Austin, Texas"; "Paris, Texas" isn't in France
        city, region = " ".join(words[:at]), " ".join(words[at:])
        if city in zones and (region in zones or region in _WIDE):
            return ZoneInfo(zones[city if region in _WIDE else region])
    raise ToolError(f"I don't know the time zone of {name[:60]}. Which large city is near it?")


def place_in(sentence: str) -> str:
    """The one place that is named in it; raises `ToolError` where there are more, or none."""
    if _ANOTHER_TIME.search(sentence):
        raise ToolError("Do you mean the time now?")
    words = [word.strip(".,;:!?").removesuffix("'s") for word in sentence.split()]
    found: dict[int, str] = {}
    at = 0
    while at < len(words):
        name = next((name for name in _names_at(words, at) if plain(name) in _zones()), None)
        if name is not None and (plain(name) not in _COMMON or words[at - 1] in _WHERE):
            found[at] = name
        at += len(name.split()) if name else 1
    where = [name for at, name in found.items() if at and words[at - 1] in _WHERE]
    for names in (where, [*found.values()]):
        if len(names) == 1:
            return names[0]
    raise ToolError("Which city do you mean?")


def _names_at(words: list[str], at: int) -> list[str]:
    """What may be a name from there on, the longest first."""
    if not words[at][:1].isupper():
        return []
    parts = [words[at : at + length] for length in (3, 2, 1) if at + length <= len(words)]
    return [" ".join(part) for part in parts if all(word[:1].isupper() or word in SMALL for word in part)]


@cache
def _zones() -> dict[str, str]:
    """Time zones by their names and by the places in them, from the system's files."""
    available = available_timezones()
    names: dict[str, str] = {}
    # Zones of the form Area/City come last: where two zones have a name, the city is meant.
    for zone in sorted(available, key=lambda zone: (zone.count("/") == 1, zone)):
        names[plain(zone)] = zone
        names[plain(zone.rpartition("/")[2])] = zone
    places = tomllib.loads((files(__package__) / "places.toml").read_text("utf-8"))
    for zone, named in places.items():
        if zone in available:
            names |= dict.fromkeys(named.split(", "), zone)
    return names


def plain(name: str) -> str:
    """Without case, accents, dots and underscores."""
    letters = unicodedata.normalize("NFKD", name.casefold().replace("_", " ").replace(".", ""))
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip()
