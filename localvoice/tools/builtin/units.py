"""The built-in tool that converts units, by pint. Gallons, cups, spoons and tons are those of the USA."""

import asyncio
import math
import re
from collections.abc import Mapping
from fractions import Fraction
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
from localvoice.tools.builtin.unit_names import Unit, named, registry, unit_of
from localvoice.tools.builtin.words.kinds import go_together, kind_of
from localvoice.tools.builtin.words.quantities import GAS_MARK, quantity_of
from localvoice.tools.builtin.words.wording import accepted_by

if TYPE_CHECKING:
    pass

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
        source, spoken = named("degree_Celsius"), f"Gas mark {spoken_number(number)}"
    else:
        source = unit_of(quantity.unit)
        spoken = quantity.spoken or _counted(value, source)
    if to_unit.casefold() == GAS_MARK:
        celsius = _converted(value, source, named("degree_Celsius"))
        return f"{spoken} is about gas mark {gas_mark_of(float(celsius))}."
    target = _usual(source, to_unit.casefold(), value) or unit_of(to_unit)
    if ingredient and {source.measures, target.measures} == {"mass", "volume"}:
        result = _weighed(value, source, target, grams_per_cup(ingredient))
        return f"{spoken} of {ingredient} is about {_counted(_roughly(result), target, digits=3)}."
    if source.name == "degree" and target.measures == "temperature":  # of the other scale, then
        source = named("degree_Celsius" if "Fahrenheit" in target.name else "degree_Fahrenheit")
        spoken = _counted(value, source)
    # An ounce of water is a fluid ounce to most people.
    if source.name == "ounce" and target.measures == "volume":
        source = named("fluid_ounce")
        spoken = _counted(value, source)
    if target.name == "ounce" and source.measures == "volume":
        target = named("fluid_ounce")
    result = _converted(value, source, target)
    if target.measures == "temperature" and (result * 100).denominator != 1:
        return f"{spoken} is about {_counted(Fraction(round(result)), target)}."
    return f"{spoken} is {_counted(result, target, digits=4)}."


def _usual(source: Unit, system: str, value: Fraction) -> Unit | None:
    """The unit in which people measure the same elsewhere; None if no system is named."""
    units = _USUAL.get(system, {}).get(source.measures)
    if units is None:
        return None
    *smaller, largest = [(named(name), least) for name, least in units]
    for unit, most in smaller:
        if _converted(value, source, unit) < most:
            return unit
    return largest[0]


def _converted(value: Fraction, source: Unit, target: Unit) -> Fraction:
    if {source.measures, target.measures} == {"mass", "volume"}:
        raise ToolError(f"Of what? {target.plural.capitalize()} of flour are not those of sugar.")
    if source.unit.dimensionality != target.unit.dimensionality:
        both = f"{source.plural} measure {source.measures} and {target.plural} {target.measures}"
        raise ToolError(f"That can't be converted: {both}.")
    try:
        return Fraction(registry().Quantity(value, source.unit).to(target.unit).magnitude)
    except TypeError:  # a logarithmic unit, or a temperature within another unit
        raise ToolError(f"I'm afraid {source.plural} can't be converted to {target.plural}.") from None


def _weighed(value: Fraction, source: Unit, target: Unit, grams_in_cup: Fraction) -> Fraction:
    cup, gram = named("cup"), named("gram")
    if source.measures == "volume":
        return _converted(_converted(value, source, cup) * grams_in_cup, gram, target)
    return _converted(_converted(value, source, gram) / grams_in_cup, cup, target)


def _roughly(value: Fraction) -> Fraction:
    """As exact as a cup can be filled."""
    step = next(step for least, step in _STEPS if value >= least)
    return round(value / step) * step


def _counted(value: Fraction, unit: Unit, digits: int = 6) -> str:
    return f"{spoken_number(value, digits)} {unit.name if value == 1 else unit.plural}"
