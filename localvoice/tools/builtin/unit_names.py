"""What people call units, and pint's units of those names."""

import difflib
import functools
import re
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from localvoice.tools import ToolError

if TYPE_CHECKING:
    from pint import UnitRegistry
    from pint.facets.plain import PlainUnit

# pint takes c for the speed of light, mb for millibarns, h for hours and H for henries. These are the units
# that people mean, in whatever case they are written.
_EVERYDAY: Final = dict(
    pair.split("=")
    for pair in """
    mm=millimeter cm=centimeter m=meter km=kilometer in=inch ft=foot yd=yard mi=mile nmi=nautical_mile
    mg=milligram g=gram gramme=gram kg=kilogram kilo=kilogram t=metric_ton us_ton=ton oz=ounce lb=pound
    st=stone ml=milliliter cl=centiliter dl=deciliter l=liter cc=cubic_centimeter tsp=teaspoon tbsp=tablespoon
    fl_oz=fluid_ounce pt=pint qt=quart gal=gallon us_gallon=gallon uk_gallon=imperial_gallon
    mps=meter_per_second kph=kilometer_per_hour kmh=kilometer_per_hour mph=mile_per_hour fps=foot_per_second
    kn=knot kt=knot ha=hectare ms=millisecond s=second sec=second min=minute h=hour hr=hour d=day yr=year
    b=byte kb=kilobyte mb=megabyte gb=gigabyte tb=terabyte kbit=kilobit mbit=megabit gbit=gigabit
    kib=kibibyte mib=mebibyte gib=gibibyte tib=tebibyte
    c=degree_Celsius centigrade=degree_Celsius f=degree_Fahrenheit k=kelvin mil=milliliter
    psi=pound_force_per_square_inch""".split()
)
# Where pint means another thing: it converts bytes to radians, its decade is logarithmic, and its acres and
# fathoms are made of the survey foot, which is no longer in use.
_REDEFINED: Final = (
    "bit = [data]",
    "radian = [angle]",
    "stick = 8 * tablespoon",
    "decade = 10 * year",
    "survey_foot = foot",
)
_SPOKEN: Final = {
    "metric_ton": "tonne",
    "pound_force_per_square_inch": "pound per square inch",
    "standard_atmosphere": "atmosphere",
}
_IRREGULAR: Final = {"inch": "inches", "foot": "feet", "century": "centuries"}
_INVARIABLE: Final = ("stone", "kelvin", "hertz", "horsepower", "lux")
_MEASURES: Final = (
    *("length", "mass", "volume", "temperature", "speed", "area", "time", "data"),
    *("energy", "power", "pressure", "force", "frequency", "angle"),
)
_REWRITES: Final = (
    (r"\.", ""),
    (r"[_\s-]+", " "),
    (r"(?i)°|\bdegrees?\b(?= *\w)", " "),
    (r"(?i)\b([kmgt]?)bps\b", r"\1bit per s"),
    (r"\^|\*\*", ""),
    ("²", "2"),
    ("³", "3"),
    (r"/|\b(?:a|[Aa][Nn])\b", " per "),
    (r"(?i)\bper( +per)+\b", "per"),
    (r"(?i)\bsq\b", "square"),
    (" +", " "),
)
_FACTOR: Final = re.compile(r"(?:(square|cubic) )?(.*?)([23]?)", re.IGNORECASE)
_POWERS: Final = {"square": 2, "cubic": 3, "2": 2, "3": 3}
_MAX_CHARACTERS: Final = 60


@dataclass(frozen=True)
class Unit:
    """A unit, and what people call it."""

    name: str
    plural: str
    unit: "PlainUnit"

    @property
    def measures(self) -> str:
        """What is measured in it."""
        dimensions = {registry().get_dimensionality(f"[{what}]"): what for what in _MEASURES}
        return dimensions.get(self.unit.dimensionality, "something else")


@functools.cache
def registry() -> "UnitRegistry[Fraction]":
    """All units that pint knows, read once."""
    from pint import UnitRegistry

    # Empty at first: a registry that has read its units doesn't follow when one of them is defined again.
    units: UnitRegistry[Fraction] = UnitRegistry(None, non_int_type=Fraction, on_redefinition="ignore")
    units.load_definitions(str(files("pint") / "default_en.txt"))
    for definition in _REDEFINED:
        units.define(definition)
    return units


def unit_of(words: str) -> Unit:
    """The unit that these words name. Raises `ToolError` where they name none."""
    # pint's own parser would compute the words, so it never sees them.
    text = words[:_MAX_CHARACTERS]
    for pattern, replacement in _REWRITES:
        text = re.sub(pattern, replacement, text)
    unit, *divisors = (_factor(part.strip(), words) for part in re.split("(?i: per )", text))
    for each in divisors:
        names = f"{unit.name} per {each.name}", f"{unit.plural} per {each.name}"
        unit = Unit(*names, unit.unit / each.unit)
    return unit


def _factor(text: str, words: str) -> Unit:
    match = _FACTOR.fullmatch(text)
    assert match is not None  # it matches everything
    name = _pint_name(match[2])
    if name is None:
        raise ToolError(f"The unit {words[:40]!r} isn't known{_hint(match[2])}.")
    unit = named(name)
    power = _POWERS.get((match[1] or match[3]).casefold(), 1)
    word = {1: "", 2: "square ", 3: "cubic "}[power]
    return Unit(f"{word}{unit.name}", f"{word}{unit.plural}", unit.unit**power)


def _hint(words: str) -> str:
    key = words.casefold().replace(" ", "_")
    for names in ({*_EVERYDAY, *_EVERYDAY.values()}, registry()):
        for near in difflib.get_close_matches(key, names, n=1, cutoff=0.75):
            return f"; perhaps {named(_pint_name(near) or near).name} is meant"
    return ""


def _pint_name(words: str) -> str | None:
    key = words.strip().replace(" ", "_")
    # Abbreviations have no plural of their own: lbs, hrs.
    for candidate in (key.casefold(), key.casefold().removesuffix("s")):
        if candidate in _EVERYDAY:
            return _EVERYDAY[candidate]
    for candidate, exact in ((key, True), (key.casefold(), True), (key, False)):
        for prefix, name, _ in registry().parse_unit_name(candidate, case_sensitive=exact):
            return prefix + name
    return None


@functools.cache
def named(name: str) -> Unit:
    """The unit with this name of pint's."""
    spoken = _SPOKEN.get(name, name).replace("_", " ")
    return Unit(spoken, _plural(spoken), registry().Unit(name))


def _plural(name: str) -> str:
    counted, per, rest = name.partition(" per ")
    first, space, last = counted.rpartition(" ")
    if space and last[0].isupper():
        first = _plural(first)  # degrees Celsius
    elif not last.endswith(_INVARIABLE):
        last = _IRREGULAR.get(last, last + "s")
    return f"{first}{space}{last}{per}{rest}"
