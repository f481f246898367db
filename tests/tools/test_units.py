"""Units, as the tool is asked to convert them."""

from typing import Any

import pytest

from tests.support.builtin_use import use


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "said"),
    [
        (26.2, "miles", "km", "26.2 miles is about 42.16 kilometers"),
        (1, "foot", "inches", "1 foot is 12 inches"),
        (6, "feet", "Centimetres", "6 feet is 182.88 centimeters"),
        (5, "lbs", "kilos", "5 pounds is about 2.268 kilograms"),
        (3, "stone", "kg", "3 stone is about 19.05 kilograms"),
        (37, "degree_celsius", "degree_fahrenheit", "37 degrees Celsius is 98.6 degrees Fahrenheit"),
        (100, "°C", "F", "100 degrees Celsius is 212 degrees Fahrenheit"),
        (98.6, "degrees Fahrenheit", "celsius", "98.6 degrees Fahrenheit is 37 degrees Celsius"),
        (-40, "F", "degree C", "-40 degrees Fahrenheit is -40 degrees Celsius"),
        (0, "kelvin", "C", "0 kelvin is -273.15 degrees Celsius"),
        (2, "litres", "ml", "2 liters is 2,000 milliliters"),
        (1, "cup", "oz", "1 cup is 8 fluid ounces"),
        (8, "ounces", "cups", "8 fluid ounces is 1 cup"),
        (3, "tsp", "tablespoons", "3 teaspoons is 1 tablespoon"),
        (60, "mph", "km/h", "60 miles per hour is about 96.56 kilometers per hour"),
        (36, "kilometres an hour", "m/s", "36 kilometers per hour is 10 meters per second"),
        (1, "sq. ft.", "in²", "1 square foot is 144 square inches"),
        (1, "square metre", "cm^2", "1 square meter is 10,000 square centimeters"),
        (2, "hrs", "minutes", "2 hours is 120 minutes"),
        (3, "centuries", "years", "3 centuries is 300 years"),
        (16, "GB", "MB", "16 gigabytes is 16,000 megabytes"),
        (100, "megabits", "megabytes", "100 megabits is 12.5 megabytes"),
        (0, "cubic metres", "cubic m", "0 cubic meters is 0 cubic meters"),
    ],
)
async def test_units_are_converted(value: float, from_unit: str, to_unit: str, said: str) -> None:
    assert await use("convert_units", value=value, from_unit=from_unit, to_unit=to_unit) == said


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "words"),
    [
        (1, "kg", "mile", "kilograms measure mass and miles length"),
        (1, "kilometrs", "m", "'kilometrs' isn't known; perhaps kilometer is meant"),
        (1, "qqq", "m", "'qqq' isn't known"),
        (1, "", "m", "'' isn't known"),
        (float("inf"), "km", "m", "only a finite number"),
        ("some", "km", "m", "value: Input should be a valid number"),
    ],
)
async def test_what_cannot_be_converted_is_told(value: Any, from_unit: str, to_unit: str, words: str) -> None:
    said = await use("convert_units", value=value, from_unit=from_unit, to_unit=to_unit)
    assert said.startswith("error: ")
    assert words in said
