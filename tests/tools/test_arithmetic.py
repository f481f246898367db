"""Arithmetic, as the tool is asked for it: a number that can be spoken, or in words why not, and soon."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.tools import ToolError
from localvoice.tools.builtin.arithmetic import spoken_number
from localvoice.tools.builtin.expressions import evaluate
from tests.support.builtin_use import use


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
        ("2 / 3", "about 0.667"),
        ("1,000,000 / 7", "about 142,857.14"),
        ("1,234,567 + 1", "1,234,568"),
        ("15% of 80", "12"),
        ("15 percent of 80", "12"),
        ("200 + 10%", "220"),
        ("80 minus 25 per cent", "60"),
        ("200 + -10%", "199.9"),
        ("200 + +10%", "200.1"),
        ("200 - +10%", "199.9"),
        ("2 ** 10", "1,024"),
        ("2^10", "1,024"),
        ("2 to the power of 10", "1,024"),
        ("2 ** -2", "0.25"),
        ("4 ** 0.5", "2"),
        ("5 squared", "25"),
        ("10 ** 20", "1 times 10 to the power of 20"),
        ("1 / 3 / 10 ** 10", "about 3.3 times 10 to the power of minus 11"),
        ("sqrt(16)", "4"),
        ("the square root of 2", "about 1.41"),
        ("√2", "about 1.41"),
        ("sqrt(0.01)", "0.1"),
        ("2(3 + 4)", "14"),
        ("(1 + 1)(2 + 2)", "8"),
        ("round(2.5) + round(-2.5)", "0"),
        ("floor(2.7) + ceil(2.1) + abs(-1)", "6"),
        ("2 * pi", "about 6.28"),
        ("12 × 7 =", "84"),
        ("144 ÷ 12", "12"),
        ("What is 12 times 12?", "144"),
        ("5x6", "30"),
        ("100 divided by 8", "12.5"),
        ("1e3 + 007", "1,007"),
        ("1000 * 1.05 ** 30", "about 4,321.94"),
        ("1.004167 ** 600", "about 12.12"),
        ("100 ** 16 - 7", "about 1 times 10 to the power of 32"),
    ],
)
async def test_expressions(expression: str, said: str) -> None:
    assert await use("calculate", expression=expression) == f"That's {said}."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("twelve times fourteen", "168"),
        ("$5.50 * 3", "16 dollars and 50 cents"),
        ("ten divided by three", "about 3.33"),
        ("one hundred dollars divided by three", "about 33 dollars and 33 cents"),
        ("seven times thirty cents", "2 dollars and 10 cents"),
        ("one euro minus fifty cents", "50 cents"),
        ("20 is what percent of 80", "25 percent"),
        ("add 5, 7 and 9", "21"),
        ("1/3 of 90", "30"),
        ("five minus twelve", "-7"),
        ("£20 plus 10%", "22 pounds"),
        ("three yen times two", "6 yen"),
    ],
)
async def test_sums_in_words(words: str, said: str) -> None:
    assert await use("calculate", expression=words) == f"That's {said}."


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "nothing to calculate"),
        ("?", "nothing to calculate"),
        ("1 / 0", "dividing by zero"),
        ("5 % (1 - 1)", "dividing by zero"),
        ("0 ** -1", "dividing by zero"),
        ("9 ** 9 ** 9", "result is too large"),
        ("7 ** 5000", "result is too large"),
        ("10 ** 299 * 10 ** 299", "result is too large"),
        ("1e999%", "result is too large"),
        ("0.5 ** 5000", "too close to zero"),
        ("sqrt(-4)", "no real square root"),
        ("(-8) ** 0.5", "no real value"),
        ("(1 + 2", "no arithmetic expression"),
        ("1 +", "no arithmetic expression"),
        ("20%", "nothing to calculate"),
        ("fifty plus dogs", "'dogs' can't be calculated with"),
        ("__import__('os')", "can't be calculated with"),
        ("open(1)", "only + - * /"),
        ("1 if 2 else 3", "only + - * /"),
        ("sqrt", "'sqrt' can't be calculated with"),
        ("sqrt -4", "'sqrt' can't be calculated without a number in parentheses"),
        ("round pi", "'round' can't be calculated without a number in parentheses"),
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


@given(st.fractions())
def test_a_number_is_said_exactly_or_as_about(value: Fraction) -> None:
    said = spoken_number(value)
    digits, _, power = said.removeprefix("about ").partition(" times 10 to the power of ")
    shown = Fraction(digits.replace(",", "")) * Fraction(10) ** int(power.replace("minus ", "-") or 0)
    assert (shown == value) is not said.startswith("about ")
    assert abs(shown - value) <= max(abs(value) / 10**4, Fraction(0))
