"""Numbers in words written in digits: "one hundred and forty-four" is 144, "three point five" 3.5."""

import re
from typing import Final

_ONES: Final = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen".split()
    )
}
_TENS: Final = {
    word: 10 * number
    for number, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
_POWERS: Final = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS: Final = {
    "first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine",
    "twelfth": "twelve",
}  # fmt: skip
_SMALL: Final = "|".join((*_ONES, *_TENS))
_RUN: Final = re.compile(
    rf"\b(?:{_SMALL})(?:(?:[ -]|,? )(?:and )?(?:{_SMALL}|{'|'.join(_POWERS)}))*\b"
    rf"(?: point(?: (?:{_SMALL}))+)?"
)
_ORDINAL: Final = re.compile(
    rf"\b((?:{'|'.join(_TENS)})[ -])?"
    rf"({'|'.join(_ORDINALS)}|(?:{'|'.join(_ONES)})th|(?:{'|'.join(word[:-1] for word in _TENS)})ieth)\b"
)
_A_POWER: Final = re.compile(r"\ba (?=hundred|thousand|million|billion|trillion)")
_DIGITS_THEN_POWER: Final = re.compile(r"\b(\d+(?:\.\d+)?) (hundred|thousand|million|billion|trillion)\b")


def in_digits(text: str) -> str:
    """The text, of small letters, with its numbers in digits; other words stay as they are."""
    text = _A_POWER.sub("one ", text)
    text = _ORDINAL.sub(_ordinal, text)
    text = _RUN.sub(_cardinal, text)
    text = _DIGITS_THEN_POWER.sub(lambda match: _plain(float(match[1]) * _POWERS[match[2]]), text)
    return re.sub(r"\b(\d+) and (?:a|1) half\b", r"\1.5", text)


def _ordinal(match: re.Match[str]) -> str:
    tens, word = match[1], match[2]
    if word == "second" and tens is None:
        return word  # mostly of time
    if word.endswith("ieth"):
        return f"{_TENS[word[:-4] + 'y']}th"
    number = _ONES[_ORDINALS[word] if word in _ORDINALS else word.removesuffix("th")]
    number += _TENS[tens.rstrip(" -")] if tens else 0
    return f"{number}{_suffix(number)}"


def _suffix(number: int) -> str:
    return "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _cardinal(match: re.Match[str]) -> str:
    whole, _, decimals = match[0].partition(" point ")
    said = _numbers(re.findall(r"[a-z]+", whole))
    if decimals:
        said[-1] += "." + "".join(str(_ONES.get(word, _TENS.get(word, ""))) for word in decimals.split())
    return " ".join(said)


def _numbers(words: list[str]) -> list[str]:
    """Numbers that follow each other: "nineteen forty-five" is the year 1945, "five six" 5 6."""
    groups: list[tuple[int, int]] = []  # its value so far, and what fits below its last part
    total = 0  # thousands and more of the last group
    for word in words:
        if word == "and":
            continue
        if word in _POWERS:
            value, _ = groups.pop()
            power = _POWERS[word]
            if power == 100:
                groups.append((value * 100, 100))
            else:
                total += value * power
                groups.append((0, power))
            continue
        number = _ONES.get(word, _TENS.get(word, 0))
        if groups and number < groups[-1][1] and (number or groups[-1][1] >= 100):
            value, _ = groups.pop()
            groups.append((value + number, 10 if number >= 20 else 0))
        else:
            if groups and total:
                groups[-1] = (groups[-1][0] + total, 0)
                total = 0
            groups.append((number, 10 if number >= 20 else 0))
    if groups and total:
        groups[-1] = (groups[-1][0] + total, 0)
    return [str(value) for value in _years([value for value, _ in groups])]


def _years(values: list[int]) -> list[int]:
    joined: list[int] = []
    for value in values:
        if joined and 10 <= joined[-1] <= 20 and 10 <= value <= 99:
            joined[-1] = joined[-1] * 100 + value
        else:
            joined.append(value)
    return joined


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
