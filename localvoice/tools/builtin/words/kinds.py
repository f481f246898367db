"""What everyday units measure, by their names: for a look at a request before pint is loaded."""

import re
from typing import Final

from localvoice.tools.builtin.words.wording import singular

_KINDS: Final = {
    "length": "millimeter millimetre centimeter centimetre meter metre kilometer kilometre inch foot yard "
    "mile",
    "mass": "gram gramme kilogram kilo ounce pound stone ton tonne milligram",
    "volume": "milliliter millilitre centiliter centilitre deciliter decilitre liter litre teaspoon "
    "tablespoon cup pint quart gallon stick",
    "temperature": "celsius centigrade fahrenheit kelvin",
    "time": "millisecond second sec minute hour day week month year",
    "area": "acre hectare",
    "data": "byte kilobyte megabyte gigabyte terabyte",
    "energy": "calorie calory joule kilojoule kilocalorie",
    "power": "watt kilowatt horsepower",
    "pressure": "bar psi",
    "speed": "mph knot",
}
_KIND_OF: Final = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_MODIFIERS: Final = re.compile(
    r"^(?:(?:degrees?|us|u s|american|uk|british|imperial|fluid|nautical|metric|fl) )+"
)

_MOST_WORDS: Final = 3
_OTHERS: Final = re.compile(r"light year|square|cubic|/|\b(?:per|an?)\b|_|\*")


def kind_of(unit: str) -> str | None:
    """What it measures; None for a unit that isn't among these. Raises `ValueError` for "working days"."""
    name = _MODIFIERS.sub("", re.sub(r"[\s.]+", " ", unit.casefold()).strip())
    if found := re.fullmatch(r"(square|cubic) ([a-z]+)", name):
        known = _KIND_OF.get(singular(found[2])) == "length"
        return {"square": "area", "cubic": "volume"}[found[1]] if known else None
    if found := re.fullmatch(r"([a-z]+) (?:per|an?) (?:hour|second)", name):
        return "speed" if _KIND_OF.get(singular(found[1])) == "length" else None
    kind = _KIND_OF.get(singular(name))
    if (
        kind is None
        and (len(name.split()) > _MOST_WORDS or re.search(r" \d", name))
        and not _OTHERS.search(name)
    ):
        raise ValueError(f"{unit[:40]!r} is no unit")
    if kind is None and singular(name.rpartition(" ")[2]) in _KIND_OF and not _OTHERS.search(name):
        raise ValueError(f"{unit[:40]!r} is no unit")
    return kind


def go_together(one: str | None, other: str | None) -> bool:
    """Whether there may be so many of one in the other; an ingredient's mass has a volume."""
    return one is None or other is None or one == other or {one, other} == {"mass", "volume"}
