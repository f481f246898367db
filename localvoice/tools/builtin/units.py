"""The built-in tool that converts units, by pint. Gallons, cups, spoons and tons are those of the USA."""

import asyncio
import difflib
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin.arithmetic import spoken_number
from localvoice.tools.builtin.cooking import (
    celsius_of_gas_mark,
    gas_mark_of,
    grams_per_cup,
    nothing_or_ingredient,
)
from localvoice.tools.builtin.words.kinds import go_together, kind_of
from localvoice.tools.builtin.words.quantities import GAS_MARK, quantity_of
from localvoice.tools.builtin.words.wording import accepted_by

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
_METRIC: Final = {
    "length": (("centimeter", 300), ("meter", 1000), ("kilometer", 0)),
    "mass": (("gram", 1000), ("kilogram", 0)),
    "volume": (("milliliter", 1000), ("liter", 0)),
    "temperature": (("degree_Celsius", 0),),
    "speed": (("kilometer_per_hour", 0),),
    "area": (("square_meter", 0),),
}
_IMPERIAL: Final = {
    "length": (("inch", 24), ("foot", 1000), ("mile", 0)),
    "mass": (("ounce", 16), ("pound", 0)),
    "volume": (("fluid_ounce", 8), ("cup", 8), ("gallon", 0)),
    "temperature": (("degree_Fahrenheit", 0),),
    "speed": (("mile_per_hour", 0),),
}
_USUAL: Final[Mapping[str, Mapping[str, tuple[tuple[str, int], ...]]]] = {
    "metric": _METRIC,
    "european": _METRIC,
    "imperial": _IMPERIAL,
    "american": _IMPERIAL,
}
"""Units by what they measure, each with how many of it are said in the next one."""
_STEPS: Final = (
    (100, Fraction(5)),
    (10, Fraction(1)),
    (1, Fraction(1, 10)),
    (-math.inf, Fraction(1, 100)),
)
"""Of what is weighed in cups: from which size on it is rounded to what."""


_ASKS: Final = re.compile(r"\b(?:what|how|that|is|in|please|i|it|need|should)\b")


@dataclass(frozen=True)
class _Unit:
    name: str
    plural: str
    unit: "PlainUnit"

    @property
    def measures(self) -> str:
        dimensions = {_registry().get_dimensionality(f"[{what}]"): what for what in _MEASURES}
        return dimensions.get(self.unit.dimensionality, "something else")


def _fitting(to_unit: str, info: ValidationInfo) -> str:
    """Raises `ValueError` where it measures something else than what is to be converted."""
    if "from_unit" not in info.data:
        return to_unit
    quantity = quantity_of(info.data["from_unit"])
    source, target = kind_of(quantity.unit), kind_of(to_unit.partition(" of ")[0])
    if _ASKS.search(quantity.ingredient):
        raise ValueError(f"{quantity.ingredient[:40]!r} is no ingredient")
    of_target = to_unit.partition(" of ")[2]
    if of_target and quantity.ingredient and of_target.casefold() != quantity.ingredient.casefold():
        raise ValueError(f"{of_target[:40]!r} is not {quantity.ingredient[:40]!r}")
    if not go_together(source, target):
        raise ValueError(f"{info.data['from_unit'][:40]!r} measures {source}, and {to_unit[:40]!r} {target}")
    return to_unit


@tool(speaks=True)
async def convert_units(
    value: float,
    from_unit: Annotated[str, accepted_by(quantity_of), Field(description="like mile")],
    to_unit: Annotated[str, AfterValidator(_fitting), Field(description="like kilometer")],
    ingredient: Annotated[
        str, accepted_by(nothing_or_ingredient), Field(description="in recipes, like flour")
    ] = "",
) -> str:
    """Convert length, mass, volume, temperature, speed, area, time or data."""
    if not math.isfinite(value):
        raise ToolError("only a finite number can be converted")
    # In a thread: the first conversion loads pint.
    return await asyncio.to_thread(_convert, Fraction(repr(value)), from_unit, to_unit, ingredient)


def _convert(value: Fraction, from_words: str, to_words: str, ingredient: str) -> str:
    quantity = quantity_of(from_words)
    to_unit, _, of_target = to_words.partition(" of ")
    ingredient = ingredient or quantity.ingredient or of_target
    value *= quantity.value
    if quantity.unit == GAS_MARK:
        number, value = value, Fraction(celsius_of_gas_mark(value))
        source, spoken = _named("degree_Celsius"), f"Gas mark {spoken_number(number)}"
    else:
        source = _unit(quantity.unit)
        spoken = quantity.spoken or _counted(value, source)
    if to_unit.casefold() == GAS_MARK:
        celsius = _converted(value, source, _named("degree_Celsius"))
        return f"{spoken} is about gas mark {gas_mark_of(float(celsius))}."
    target = _usual(source, to_unit.casefold(), value) or _unit(to_unit)
    if ingredient and {source.measures, target.measures} == {"mass", "volume"}:
        result = _weighed(value, source, target, grams_per_cup(ingredient))
        return f"{spoken} of {ingredient} is about {_counted(_roughly(result), target, digits=3)}."
    if source.name == "degree" and target.measures == "temperature":  # of the other scale, then
        source = _named("degree_Celsius" if "Fahrenheit" in target.name else "degree_Fahrenheit")
        spoken = _counted(value, source)
    # An ounce of water is a fluid ounce to most people.
    if source.name == "ounce" and target.measures == "volume":
        source = _named("fluid_ounce")
        spoken = _counted(value, source)
    if target.name == "ounce" and source.measures == "volume":
        target = _named("fluid_ounce")
    result = _converted(value, source, target)
    if target.measures == "temperature" and (result * 100).denominator != 1:
        return f"{spoken} is about {_counted(Fraction(round(result)), target)}."
    return f"{spoken} is {_counted(result, target, digits=4)}."


def _usual(source: _Unit, system: str, value: Fraction) -> _Unit | None:
    """The unit in which people measure the same elsewhere; None if no system is named."""
    units = _USUAL.get(system, {}).get(source.measures)
    if units is None:
        return None
    *smaller, largest = [(_named(name), least) for name, least in units]
    for unit, most in smaller:
        if _converted(value, source, unit) < most:
            return unit
    return largest[0]


def _converted(value: Fraction, source: _Unit, target: _Unit) -> Fraction:
    if {source.measures, target.measures} == {"mass", "volume"}:
        raise ToolError(f"Of what? {target.plural.capitalize()} of flour are not those of sugar.")
    if source.unit.dimensionality != target.unit.dimensionality:
        both = f"{source.plural} measure {source.measures} and {target.plural} {target.measures}"
        raise ToolError(f"That can't be converted: {both}.")
    try:
        return Fraction(_registry().Quantity(value, source.unit).to(target.unit).magnitude)
    except TypeError:  # a logarithmic unit, or a temperature within another unit
        raise ToolError(f"I'm afraid {source.plural} can't be converted to {target.plural}.") from None


def _weighed(value: Fraction, source: _Unit, target: _Unit, grams_in_cup: Fraction) -> Fraction:
    cup, gram = _named("cup"), _named("gram")
    if source.measures == "volume":
        return _converted(_converted(value, source, cup) * grams_in_cup, gram, target)
    return _converted(_converted(value, source, gram) / grams_in_cup, cup, target)


def _roughly(value: Fraction) -> Fraction:
    """As exact as a cup can be filled."""
    step = next(step for least, step in _STEPS if value >= least)
    return round(value / step) * step


@functools.cache
def _registry() -> "UnitRegistry[Fraction]":
    from pint import UnitRegistry

    # Empty at first: a registry that has read its units doesn't follow when one of them is defined again.
    registry: UnitRegistry[Fraction] = UnitRegistry(None, non_int_type=Fraction, on_redefinition="ignore")
    registry.load_definitions(str(files("pint") / "default_en.txt"))
    for definition in _REDEFINED:
        registry.define(definition)
    return registry


def _unit(words: str) -> _Unit:
    """pint's own parser would compute the words, so it never sees them."""
    text = words[:_MAX_CHARACTERS]
    for pattern, replacement in _REWRITES:
        text = re.sub(pattern, replacement, text)
    unit, *divisors = (_factor(part.strip(), words) for part in re.split("(?i: per )", text))
    for each in divisors:
        names = f"{unit.name} per {each.name}", f"{unit.plural} per {each.name}"
        unit = _Unit(*names, unit.unit / each.unit)
    return unit


def _factor(text: str, words: str) -> _Unit:
    match = _FACTOR.fullmatch(text)
    assert match is not None  # it matches everything
    name = _pint_name(match[2])
    if name is None:
        raise ToolError(f"The unit {words[:40]!r} isn't known{_hint(match[2])}.")
    unit = _named(name)
    power = _POWERS.get((match[1] or match[3]).casefold(), 1)
    word = {1: "", 2: "square ", 3: "cubic "}[power]
    return _Unit(f"{word}{unit.name}", f"{word}{unit.plural}", unit.unit**power)


def _hint(words: str) -> str:
    key = words.casefold().replace(" ", "_")
    for names in ({*_EVERYDAY, *_EVERYDAY.values()}, _registry()):
        for near in difflib.get_close_matches(key, names, n=1, cutoff=0.75):
            return f"; perhaps {_named(_pint_name(near) or near).name} is meant"
    return ""


def _pint_name(words: str) -> str | None:
    key = words.strip().replace(" ", "_")
    # Abbreviations have no plural of their own: lbs, hrs.
    for candidate in (key.casefold(), key.casefold().removesuffix("s")):
        if candidate in _EVERYDAY:
            return _EVERYDAY[candidate]
    for candidate, exact in ((key, True), (key.casefold(), True), (key, False)):
        for prefix, name, _ in _registry().parse_unit_name(candidate, case_sensitive=exact):
            return prefix + name
    return None


@functools.cache
def _named(name: str) -> _Unit:
    spoken = _SPOKEN.get(name, name).replace("_", " ")
    return _Unit(spoken, _plural(spoken), _registry().Unit(name))


def _plural(name: str) -> str:
    counted, per, rest = name.partition(" per ")
    first, space, last = counted.rpartition(" ")
    if space and last[0].isupper():
        first = _plural(first)  # degrees Celsius
    elif not last.endswith(_INVARIABLE):
        last = _IRREGULAR.get(last, last + "s")
    return f"{first}{space}{last}{per}{rest}"


def _counted(value: Fraction, unit: _Unit, digits: int = 6) -> str:
    return f"{spoken_number(value, digits)} {unit.name if value == 1 else unit.plural}"
