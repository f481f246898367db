"""Units, as the tool is asked to convert them."""

import subprocess
import sys
import time
from typing import Any

import pytest

from localvoice.tools.builtin import unit_names
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
        (2, "H", "MIN", "2 hours is 120 minutes"),
        (1, "acre", "square feet", "1 acre is 43,560 square feet"),
        (2, "decades", "years", "2 decades is 20 years"),
        (1, "US gallon", "fl. oz.", "1 gallon is 128 fluid ounces"),
        (2, "UK gallons", "litres", "2 imperial gallons is about 9.092 liters"),
        (1, "light-year", "light years", "1 light year is 1 light year"),
        (2.5, "kWh", "megajoules", "2.5 kilowatt hours is 9 megajoules"),
        (100, "hp", "kW", "100 horsepower is about 74.57 kilowatts"),
        (32, "psi", "bar", "32 pounds per square inch is about 2.206 bars"),
        (180, "degrees", "radians", "180 degrees is about 3.142 radians"),
        (100, "Mbps", "MB/s", "100 megabits per second is 12.5 megabytes per second"),
        (1, "MHz", "kHz", "1 megahertz is 1,000 kilohertz"),
    ],
)
async def test_units_are_converted(value: float, from_unit: str, to_unit: str, said: str) -> None:
    assert await use("convert_units", value=value, from_unit=from_unit, to_unit=to_unit) == f"{said}."


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "said"),
    [
        ("two cups of flour", "grams", "2 cups of flour is about 250 grams"),
        ("200 grams of butter", "cups", "200 grams of butter is about 0.88 cups"),
        ("half a cup of sugar", "grams", "0.5 cups of sugar is about 100 grams"),
        ("3 tablespoons of honey", "ounces", "3 tablespoons of honey is about 2.2 ounces"),
        ("a quarter cup", "tablespoons", "0.25 cups is 4 tablespoons"),
        ("a cup", "grams of chopped walnuts", "1 cup of chopped walnuts is about 115 grams"),
        ("two cups", "milliliters", "2 cups is about 473.18 milliliters"),
        ("6 foot 2", "centimeters", "6 feet 2 inches is 187.96 centimeters"),
        ("5'11", "cm", "5 feet 11 inches is 180.34 centimeters"),
        ("gas mark 4", "fahrenheit", "Gas mark 4 is 356 degrees Fahrenheit"),
        ("350 fahrenheit", "gas mark", "350 degrees Fahrenheit is about gas mark 4"),
        ("a mile", "feet", "1 mile is 5,280 feet"),
        ("one and a half hours", "minutes", "1.5 hours is 90 minutes"),
        ("a third of a cup", "tablespoons", "a third of a cup is about 5.333 tablespoons"),
        ("a dozen inches", "feet", "12 inches is 1 foot"),
        ("30 seconds", "minutes", "30 seconds is 0.5 minutes"),
    ],
)
async def test_quantities_in_words(from_unit: str, to_unit: str, said: str) -> None:
    assert await use("convert_units", value=1, from_unit=from_unit, to_unit=to_unit) == f"{said}."


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "said"),
    [
        ("a cup of gravel", "grams", "I don't know how heavy gravel is, so I can't convert that."),
        ("a cup", "grams", "Of what? Grams of flour are not those of sugar."),
        ("gas mark 12", "celsius", "Gas marks go from 1 to 9, with a quarter and a half below."),
    ],
)
async def test_what_cooks_are_told(from_unit: str, to_unit: str, said: str) -> None:
    assert await use("convert_units", value=1, from_unit=from_unit, to_unit=to_unit) == f"error: {said}"


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "words"),
    [
        (1, "kg", "mile", "kilograms measure mass and miles length"),
        (1, "byte", "radian", "bytes measure data and radians angle"),
        (1, "mile", "decibel", "miles measure length and decibels something else"),
        (1, "celsius per hour", "F per hour", "degrees Celsius per hour can't be converted to"),
        (1, "kilometrs", "m", "'kilometrs' isn't known; perhaps kilometer is meant"),
        (1, "Fahrenhit", "c", "'Fahrenhit' isn't known; perhaps degree Fahrenheit is meant"),
        (1, "qqq", "m", "'qqq' isn't known"),
        (1, "1/0 miles", "m", "'1/0 miles' divides by zero"),
        (1, "", "m", "'' isn't known"),
        (float("inf"), "km", "m", "only a finite number"),
        ("some", "km", "m", "value: Input should be a valid number"),
    ],
)
async def test_what_cannot_be_converted_is_told(value: Any, from_unit: str, to_unit: str, words: str) -> None:
    said = await use("convert_units", value=value, from_unit=from_unit, to_unit=to_unit)
    assert said.startswith("error: ")
    assert words in said


@pytest.mark.parametrize(
    "words",
    [
        "9**9**9**9",
        "m**9999999",
        "1e999999999 m",
        "(" * 5000,
        "m" * 100_000,
        "square " * 5000,
        "__import__('os')",
    ],
)
async def test_a_name_that_would_be_computed_is_refused_at_once(words: str) -> None:
    await use("convert_units", value=1, from_unit="mile", to_unit="km")  # pint is loaded
    began = time.process_time()
    assert "isn't known" in await use("convert_units", value=1, from_unit=words, to_unit="km")
    assert time.process_time() - began < 1


def test_the_start_does_not_load_pint() -> None:
    code = "import sys, localvoice.tools.builtin; sys.exit('pint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_units_are_read_once_and_off_the_event_loop() -> None:
    unit_names.registry.cache_clear()
    unit_names.named.cache_clear()
    for _ in range(2):  # read on the event loop, they would block it, which the fixtures don't let pass
        said = await use("convert_units", value=1, from_unit="mile", to_unit="km")
        assert said == "1 mile is about 1.609 kilometers."
    assert unit_names.registry.cache_info().misses == 1
