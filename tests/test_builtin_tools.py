"""The built-in tools: time, timer, arithmetic and units, run as the LLM would run them."""

import asyncio
import json
import re
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.agent.reminders import Reminders
from localvoice.agent.tools import ToolContext, ToolError, ToolRegistry
from localvoice.agent.tools.builtin import builtin_tools, clock
from localvoice.agent.tools.builtin.arithmetic import evaluate
from localvoice.agent.tools.builtin.durations import seconds_of
from localvoice.agent.tools.builtin.speech import spoken_duration, spoken_number
from localvoice.agent.tools.executor import ToolExecutor
from localvoice.engines.protocols import ToolCall

NOON = datetime(2026, 3, 5, 12, 7, tzinfo=UTC)


async def use(name: str, announced: list[tuple[float, str]] | None = None, **arguments: Any) -> str:
    """What the tool says, or why it failed."""
    kept = [] if announced is None else announced

    def context_of(call: ToolCall) -> ToolContext:
        return ToolContext(call.call_id, "s", "t", asyncio.Event(), lambda *what: kept.append(what))

    executor = ToolExecutor(ToolRegistry(builtin_tools()))
    (result,) = await executor.run([ToolCall("c", name, arguments)], context_of)
    return str(result.result) if result.success else f"error: {result.error}"


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_now", lambda zone=None: NOON.astimezone(zone or UTC))


def test_the_offer_is_short_and_flat() -> None:
    offer = json.dumps([(tool.name, tool.spec.description, tool.spec.parameters) for tool in builtin_tools()])
    assert [tool.name for tool in builtin_tools()] == ["get_time", "set_timer", "calculate", "convert_units"]
    assert len(offer) < 1200
    assert "$" not in offer and "title" not in offer and "anyOf" not in offer


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("Tokyo", "In Tokyo it is 9:07 PM on Thursday, March 5, 2026."),
        ("Paris, France", "In Paris, France it is 1:07 PM on Thursday, March 5, 2026."),
        ("São Paulo", "In São Paulo it is 9:07 AM on Thursday, March 5, 2026."),
        ("sao paulo", "In sao paulo it is 9:07 AM on Thursday, March 5, 2026."),
        ("St. Petersburg", "In St. Petersburg it is 3:07 PM on Thursday, March 5, 2026."),
        ("San Francisco", "In San Francisco it is 4:07 AM on Thursday, March 5, 2026."),
        ("new york city", "In new york city it is 7:07 AM on Thursday, March 5, 2026."),
        ("America/New_York", "In New York it is 7:07 AM on Thursday, March 5, 2026."),
        ("London time", "In London it is 12:07 PM on Thursday, March 5, 2026."),
        ("Auckland", "In Auckland it is 1:07 AM on Friday, March 6, 2026."),
        ("india", "In india it is 5:37 PM on Thursday, March 5, 2026."),
        ("UTC", "In UTC it is 12:07 PM on Thursday, March 5, 2026."),
        ("Gotham", "error: the time zone of Gotham isn't known: name a large city near it"),
        (
            "../../etc/passwd",
            "error: the time zone of ../../etc/passwd isn't known: name a large city near it",
        ),
        ("", "It is 12:07 PM on Thursday, March 5, 2026."),
        ("here", "It is 12:07 PM on Thursday, March 5, 2026."),
    ],
)
async def test_the_time_is_told_for_places(place: str, said: str) -> None:
    assert await use("get_time", place=place) == said


async def test_the_time_here_is_that_of_the_machine() -> None:
    before = datetime.now().replace(second=0, microsecond=0)
    said = await use("get_time")
    moment = datetime.strptime(said, "It is %I:%M %p on %A, %B %d, %Y.")
    assert before <= moment <= datetime.now()


def test_every_place_that_is_listed_has_a_zone() -> None:
    for zone, places in clock._ZONE_OF.items():
        ZoneInfo(zone)
        for place in places.split(", "):
            assert clock._zone(place).key == zone


async def test_a_machine_without_time_zones_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_zones", dict)
    assert "install the system's or Python's package tzdata" in await use("get_time", place="Tokyo")


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("duration", "seconds", "length"),
    [
        ("5 minutes", 300, "5 minutes"),
        ("five minutes", 300, "5 minutes"),
        ("90 seconds", 90, "1 minute 30 seconds"),
        ("1 hour 30 minutes", 5400, "1 hour 30 minutes"),
        ("an hour and a half", 5400, "1 hour 30 minutes"),
        ("half an hour", 1800, "30 minutes"),
        ("twenty-five minutes", 1500, "25 minutes"),
        ("a quarter of an hour", 900, "15 minutes"),
        ("three quarters of an hour", 2700, "45 minutes"),
        ("a couple of minutes", 120, "2 minutes"),
        ("1.5h", 5400, "1 hour 30 minutes"),
        ("2 min", 120, "2 minutes"),
        ("24 hours", 86400, "24 hours"),
    ],
)
async def test_a_timer_says_when_it_ends_and_that_it_has_ended(
    duration: str, seconds: int, length: str
) -> None:
    announced: list[tuple[float, str]] = []
    said = await use("set_timer", announced, duration=duration, label="  the \n eggs ")
    assert announced == [(seconds, f"Your timer of {length} is up: the eggs.")]
    assert re.fullmatch(rf"The timer is set for {length}, until \d+:\d\d [AP]M\.", said)


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        ("", "above 0"),
        ("0 minutes", "above 0"),
        ("-5 minutes", "above 0"),
        ("0.2 seconds", "a second at least"),
        ("9" * 400 + " hours", "above 0"),
        ("24.1 hours", "24 hours at most"),
        ("five", "has no unit"),
        ("soon", "isn't a length of time"),
        ("1:30", "isn't a length of time"),
    ],
)
async def test_a_timer_without_sense_is_refused(duration: str, words: str) -> None:
    announced: list[tuple[float, str]] = []
    assert words in await use("set_timer", announced, duration=duration)
    assert announced == []


@given(st.text(max_size=60))
def test_any_words_are_a_length_of_time_or_refused(words: str) -> None:
    try:
        assert seconds_of(words) > 0
    except ToolError as error:
        assert "90 seconds" in str(error)


@pytest.mark.virtual_clock
async def test_a_timer_speaks_when_it_ends() -> None:
    said: list[str] = []
    reminders = Reminders(said.append)
    executor = ToolExecutor(ToolRegistry(builtin_tools()))
    await executor.run(
        [ToolCall("c", "set_timer", {"duration": "3 minutes", "label": "tea"})],
        lambda call: ToolContext(call.call_id, "s", "t", asyncio.Event(), reminders.after),
    )
    await asyncio.sleep(179)
    assert said == []
    await asyncio.sleep(2)
    assert said == ["Your timer of 3 minutes is up: tea."]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("12 * 7", "84"),
        ("(12 + 3) * -4", "-60"),
        ("0.1 + 0.2", "0.3"),
        ("17 / 4", "4.25"),
        ("17 // 4", "4"),
        ("17 % 4", "1"),
        ("17 mod 4", "1"),
        ("2 / 3", "about 0.666667"),
        ("1,000,000 / 7", "about 142,857.14"),
        ("1,234,567 + 1", "1,234,568"),
        ("15% of 80", "12"),
        ("15 percent of 80", "12"),
        ("20%", "0.2"),
        ("200 + 10%", "220"),
        ("80 minus 25 per cent", "60"),
        ("2 ** 10", "1,024"),
        ("2^10", "1,024"),
        ("2 to the power of 10", "1,024"),
        ("2 ** -2", "0.25"),
        ("4 ** 0.5", "2"),
        ("5 squared", "25"),
        ("10 ** 20", "1 times 10 to the power of 20"),
        ("1 / 3 / 10 ** 10", "about 3.3333 times 10 to the power of minus 11"),
        ("sqrt(16)", "4"),
        ("the square root of 2", "about 1.41421"),
        ("√2", "about 1.41421"),
        ("sqrt(0.01)", "0.1"),
        ("2(3 + 4)", "14"),
        ("(1 + 1)(2 + 2)", "8"),
        ("round(2.5) + round(-2.5)", "0"),
        ("floor(2.7) + ceil(2.1) + abs(-1)", "6"),
        ("2 * pi", "about 6.28319"),
        ("12 × 7 =", "84"),
        ("144 ÷ 12", "12"),
        ("What is 12 times 12?", "144"),
        ("5x6", "30"),
        ("100 divided by 8", "12.5"),
        ("$5.50 * 3", "16.5"),
        ("1e3 + 007", "1,007"),
        ("1000 * 1.05 ** 30", "about 4,321.94"),
        ("1.004167 ** 600", "about 12.1218"),
    ],
)
async def test_arithmetic(expression: str, said: str) -> None:
    assert await use("calculate", expression=expression) == said


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "nothing to calculate"),
        ("?", "nothing to calculate"),
        ("1 / 0", "dividing by zero"),
        ("5 % (1 - 1)", "dividing by zero"),
        ("0 ** -1", "dividing by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("7 ** 5000", "too large"),
        ("10 ** 299 * 10 ** 299", "too large"),
        ("0.5 ** 5000", "too close to zero"),
        ("sqrt(-4)", "no real square root"),
        ("(-8) ** 0.5", "no real value"),
        ("(1 + 2", "no arithmetic expression"),
        ("1 +", "no arithmetic expression"),
        ("five plus 2", "'five' can't be calculated with"),
        ("__import__('os')", "can't be calculated with"),
        ("open(1)", "only + - * /"),
        ("1 if 2 else 3", "only + - * /"),
        ("sqrt", "'sqrt' can't be calculated with"),
        ("1" * 201, "too long"),
        ("1 & 2", "'&' can't be calculated with"),
    ],
)
async def test_what_cannot_be_calculated_is_told(expression: str, words: str) -> None:
    said = await use("calculate", expression=expression)
    assert said.startswith("error: ")
    assert words in said


def answer(expression: str) -> str | None:
    """What is said, or None if it is refused in words; nothing else may happen."""
    try:
        return spoken_number(evaluate(expression))
    except ToolError as error:
        assert str(error)
        return None


PIECES = st.sampled_from(
    "1 2 0 9 99 0.5 1e9 1e999 . e pi + - * / // % ** ^ ( ) sqrt round abs percent of mod squared , is".split()
)


@settings(deadline=1000)
@given(st.lists(PIECES, max_size=40).map(" ".join))
def test_any_arithmetic_ends_soon_with_a_number_or_in_words(expression: str) -> None:
    said = answer(expression)
    assert said is None or len(said) < 60


@settings(deadline=1000)
@given(st.text(max_size=220))
def test_any_text_ends_soon_with_a_number_or_in_words(expression: str) -> None:
    answer(expression)


@pytest.mark.parametrize(
    "piece", ["9**", "(", "-", "sqrt(", "1e999*", "1.1**99**", "99**99*", "((9**9)**9)**", "%"]
)
def test_the_worst_of_200_characters_ends_soon(piece: str) -> None:
    repeated = piece * (198 // len(piece)) + "9"
    answer(repeated)
    answer(repeated + ")" * repeated.count("("))


OPERATIONS = st.sampled_from(["+", "-", "*"])


@given(st.integers(0, 10**6), OPERATIONS, st.integers(0, 10**6), OPERATIONS, st.integers(0, 10**6))
def test_arithmetic_is_pythons_on_whole_numbers(a: int, first: str, b: int, second: str, c: int) -> None:
    expression = f"{a} {first} {b} {second} {c}"
    assert evaluate(expression) == eval(expression)


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


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 second"), (60, "1 minute"), (3661, "1 hour 1 minute 1 second"), (7200, "2 hours")],
)
def test_durations_are_said_in_words(seconds: int, said: str) -> None:
    assert spoken_duration(seconds) == said


@given(st.fractions())
def test_a_number_is_said_exactly_or_as_about(value: Fraction) -> None:
    said = spoken_number(value)
    digits, _, power = said.removeprefix("about ").partition(" times 10 to the power of ")
    shown = Fraction(digits.replace(",", "")) * Fraction(10) ** int(power.replace("minus ", "-") or 0)
    assert (shown == value) is not said.startswith("about ")
    assert abs(shown - value) <= max(abs(value) / 10**4, Fraction(0))
