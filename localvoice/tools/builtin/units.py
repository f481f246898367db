"""The built-in tool that converts units. Gallons, cups, spoons and tons are those of the USA."""

import difflib
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Final

from pydantic import Field

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin.speech import spoken_number


@dataclass(frozen=True)
class _Unit:
    """A unit of measure."""

    measures: str
    """What it measures, such as length."""
    name: str
    """One of it."""
    plural: str
    """Two of it."""
    factor: Fraction
    """Base units in one of it."""
    offset: Fraction = Fraction(0)
    """Base units at zero of it: temperatures start anywhere."""


# One unit a line: its name, how many base units it is, other ways to write it.
_TABLE: Final = {
    "length": """
        millimeter | 0.001 | mm
        centimeter | 0.01 | cm
        meter | 1 | m
        kilometer | 1000 | km
        inch | 0.0254 | in
        foot | 0.3048 | ft
        yard | 0.9144 | yd
        mile | 1609.344 | mi
        nautical mile | 1852 | nmi
        light year | 9460730472580800 | lightyear""",
    "mass": """
        milligram | 0.001 | mg
        gram | 1 | g, gramme
        kilogram | 1000 | kg, kilo
        tonne | 1000000 | t, metric ton
        ounce | 28.349523125 | oz
        pound | 453.59237 | lb
        stone | 6350.29318 | st
        ton | 907184.74 | us ton, short ton""",
    "volume": """
        milliliter | 0.001 | ml
        centiliter | 0.01 | cl
        deciliter | 0.1 | dl
        liter | 1 | l
        cubic centimeter | 0.001 | cc, cm3
        cubic meter | 1000 | m3
        cubic foot | 28.316846592 | ft3
        teaspoon | 0.00492892159375 | tsp
        tablespoon | 0.01478676478125 | tbsp
        fluid ounce | 0.0295735295625 | fl oz
        cup | 0.2365882365 |
        pint | 0.473176473 | pt
        quart | 0.946352946 | qt
        gallon | 3.785411784 | gal, us gallon
        imperial gallon | 4.54609 | uk gallon""",
    "speed": """
        meter per second | 1 | mps, m per s
        kilometer per hour | 5/18 | kph, kmh, km per h
        mile per hour | 0.44704 | mph, mi per h
        foot per second | 0.3048 | fps, ft per s
        knot | 463/900 | kn, kt""",
    "area": """
        square centimeter | 0.0001 | cm2
        square meter | 1 | m2
        square kilometer | 1000000 | km2
        hectare | 10000 | ha
        square inch | 0.00064516 | in2
        square foot | 0.09290304 | ft2
        square yard | 0.83612736 | yd2
        acre | 4046.8564224 |
        square mile | 2589988.110336 | mi2""",
    "time": """
        millisecond | 0.001 | ms
        second | 1 | s, sec
        minute | 60 | min
        hour | 3600 | h, hr
        day | 86400 | d
        week | 604800 |
        month | 2629800 |
        year | 31557600 | yr
        decade | 315576000 |
        century | 3155760000 |""",
    "data": """
        bit | 1/8 |
        byte | 1 | b
        kilobyte | 1000 | kb
        megabyte | 1000000 | mb
        gigabyte | 1000000000 | gb
        terabyte | 1000000000000 | tb
        kilobit | 125 | kbit
        megabit | 125000 | mbit
        gigabit | 125000000 | gbit
        kibibyte | 1024 | kib
        mebibyte | 1048576 | mib
        gibibyte | 1073741824 | gib
        tebibyte | 1099511627776 | tib""",
}
_TEMPERATURES: Final = (
    (
        _Unit("temperature", "degree Celsius", "degrees Celsius", Fraction(1), Fraction("273.15")),
        "c, centigrade",
    ),
    (
        _Unit(
            "temperature",
            "degree Fahrenheit",
            "degrees Fahrenheit",
            Fraction(5, 9),
            Fraction("459.67") * 5 / 9,
        ),
        "f",
    ),
    (_Unit("temperature", "kelvin", "kelvin", Fraction(1)), "k"),
)
_IRREGULAR: Final = {"inch": "inches", "foot": "feet", "century": "centuries", "stone": "stone"}
_REWRITES: Final = (
    (re.compile(r"[.]"), ""),
    (re.compile(r"_"), " "),
    (re.compile(r"°|\bdegrees?\b"), " "),
    (re.compile(r"\^|\*\*"), ""),
    (re.compile(r"²"), "2"),
    (re.compile(r"³"), "3"),
    (re.compile(r"/|\ban?\b"), " per "),
    (re.compile(r"(?<=met|lit)re(?=s?\b)"), "er"),
    (re.compile(r"\bsq\b"), "square"),
    (re.compile(r"\bsquare (?=(?:[ckm]?m|in|ft|yd|mi)\b)(\w+)"), r"\g<1>2"),
    (re.compile(r"\bcubic (?=(?:c?m|ft)\b)(\w+)"), r"\g<1>3"),
    (re.compile(r"\bper( per)+\b"), "per"),
    (re.compile(r"[\s-]+"), " "),
)


@tool
async def convert_units(
    value: float,
    from_unit: Annotated[str, Field(description="like mile")],
    to_unit: Annotated[str, Field(description="like kilometer")],
) -> str:
    """Convert length, mass, volume, temperature, speed, area, time or data."""
    if not math.isfinite(value):
        raise ToolError("only a finite number can be converted")
    exact = Fraction(repr(value))
    source, target = _matching(from_unit, to_unit)
    result = (exact * source.factor + source.offset - target.offset) / target.factor
    return f"{_counted(exact, source)} is {_counted(result, target, digits=4)}"


def _matching(from_unit: str, to_unit: str) -> tuple[_Unit, _Unit]:
    source, target = _unit(from_unit), _unit(to_unit)
    # An ounce of water is a fluid ounce to most people.
    if source.name == "ounce" and target.measures == "volume":
        source = _unit("fluid ounce")
    if target.name == "ounce" and source.measures == "volume":
        target = _unit("fluid ounce")
    if source.measures != target.measures:
        raise ToolError(
            f"{source.plural} measure {source.measures} and {target.plural} {target.measures}: "
            "one can't be converted to the other"
        )
    return source, target


def _unit(words: str) -> _Unit:
    key = _key(words)
    # Abbreviations have no plural of their own: lbs, hrs.
    for candidate in (key, key.removesuffix("s")):
        if candidate in _UNITS:
            return _UNITS[candidate]
    near = difflib.get_close_matches(key[:40], _UNITS, n=1, cutoff=0.75)
    hint = f"; perhaps {_UNITS[near[0]].name} is meant" if near else ""
    raise ToolError(f"the unit {words[:40]!r} isn't known{hint}")


def _key(words: str) -> str:
    text = words.casefold()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text.strip()


def _counted(value: Fraction, unit: _Unit, digits: int = 6) -> str:
    return f"{spoken_number(value, digits)} {unit.name if value == 1 else unit.plural}"


def _plural(name: str) -> str:
    counted, per, rest = name.partition(" per ")
    first, space, last = counted.rpartition(" ")
    return f"{first}{space}{_IRREGULAR.get(last, last + 's')}{per}{rest}"


def _read_table() -> dict[str, _Unit]:
    units: dict[str, _Unit] = {}

    def add(unit: _Unit, others: str) -> None:
        for name in (unit.name, unit.plural, *filter(None, others.split(", "))):
            units[_key(name)] = unit

    for measures, lines in _TABLE.items():
        for line in lines.strip().splitlines():
            name, factor, others = (part.strip() for part in line.split("|"))
            add(_Unit(measures, name, _plural(name), Fraction(factor)), others)
    for unit, others in _TEMPERATURES:
        add(unit, others)
    return units


_UNITS: Final = _read_table()
