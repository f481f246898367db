"""Sums in words: "three books at twelve dollars fifty", "a 20% tip on 45 dollars", "half of 7"."""

import re
from dataclasses import dataclass
from typing import Final

from localvoice.tools.builtin.words.money import MARK, SIGN, Currency, amounts_marked
from localvoice.tools.builtin.words.numbers import NUMBER, in_digits

_X: Final = rf"(?:minus |-)?{NUMBER}"
_AMONG: Final = r"(?:between|among|amongst|by|into|in|with|for)"
_PEOPLE: Final = r"(?: (?:people|persons?|friends|ways|parts|kids|children|adults|guests))?"
_PARTS: Final = {"half": 2, "halve": 2, "2nd": 2, "3rd": 3, "quarter": 4, "100th": 100, "1000th": 1000} | {
    f"{part}th": part for part in range(4, 21)
}
_QUESTION: Final = re.compile(
    r"^(?:(?:and|so|then|okay|tell me|do you know|can you tell me|please) )*(?:"
    r"what(?:'s| is| are| do| does| would|'ll| will)|how (?:much|many) (?:is|are|do|does|would|will)"
    r"|calculate|compute|work out|figure out|evaluate|solve|find)"
    r"(?: (?:you|i|we) (?:get|have) (?:if|when) (?:you|i|we))? "
    r"|^(?:what|how much|how many) do (?=\d[\d.]* and )"
    r"|^if (?:i|you|we) (?:buy|take|have|get|order) "
)
_IT: Final = r"(?:that|it|this|they|the total)"
_PAY: Final = r"(?:do|will|would) (?:i|we) (?:pay|owe|have|need)"
_ENDS: Final = re.compile(
    r"(?: (?:so|equals?|equal to|makes?|cost|come (?:out )?to|be|altogether|in total|in all|exactly|is what"
    rf"|is how much|(?:what|how much) {_PAY}|how much (?:is|does|do) {_IT}(?: cost| make| come to)?"
    rf"|what(?:'s| is) {_IT}|what (?:does|do|would) {_IT} (?:cost|come to|make)))+$"
)
_SHARERS: Final = r"(?:of us|people|friends|persons)(?: (?:want|have|need) to| will| are going to)?"
_BILL: Final = r"(?:(?:a|the) )?(?:(?:bill|check|cost|sum|total) of )?"
_EACH: Final = (
    r"(?:how much (?:is (?:that|it)|does that make|do we pay) each|each"
    r"|(?:what|how much) does each(?: 1| person| of us)?(?: have to)? (?:pay|owe))"
)
_THING: Final = r"(?:an?|the|my) (?:[a-z]+ )?[a-z]+"
_IS: Final = r"(?:it's|it is|is|there's)(?: now)?"
_SHARE: Final = "(?:tip|discount|tax|vat|service charge|commission)"
_REWRITES: Final = tuple(
    (re.compile(pattern), expression)
    for pattern, expression in (
        (rf"^(?:what )?(?:per ?cent|percentage) of ({_X}) is ({_X})$", r"PERCENT (100 * \2 / \1)"),
        (rf"^({_X}) is what (?:per ?cent|percentage) of ({_X})$", r"PERCENT (100 * \1 / \2)"),
        (rf"^what (?:per ?cent|percentage) is ({_X}) of ({_X})$", r"PERCENT (100 * \1 / \2)"),
        (r"\bper ?cents?\b", "%"),
        (r" %", "%"),
        (rf"^(?:if )?({_X}) {_SHARERS} (?:split|share|divide) {_BILL}({_X})(?: {_EACH})?$", r"(\2 / \1)"),
        (rf"^(?:if )?{_THING} (?:is|costs?|was) ({_X}) and {_IS} ({NUMBER}%) off$", r"(\1 - \2)"),
        (r"\bonly\b|\bof us\b|\bof them\b", " "),
        # parts
        (rf"\b(?:a |1 )?half(?: of)? ({_X})(?!%)", r"(\1 / 2)"),
        (rf"\b(\d+|a) ({'|'.join(sorted(_PARTS, key=len, reverse=True))})s? of ({_X})", "PART"),
        (rf"\b(\d+)/(\d+) of ({_X})", r"(\3 * \1 / \2)"),
        (rf"\b(?:double|twice) ({_X})", r"(2 * \1)"),
        (rf"\b(?:triple|treble) ({_X})", r"(3 * \1)"),
        (rf"\b(?:the )?cube root(?: of)? ({_X})", r"(\1 ** (1 / 3))"),
        (rf"\b(?:the )?square root(?: of)? ({_X})", r"sqrt(\1)"),
        (r"\b(?:raised )?to the (\d+)(?:st|nd|rd|th)(?: power)?\b", r"** \1"),
        (r"\b(?:raised )?to the power(?: of)?\b", "**"),
        # tips and prices
        (rf"\b(?:an? |the )?tip of ({NUMBER}%) (?:on|of|for) (?:an? )?({_X})", r"(\1 * \2)"),
        (rf"\b(?:an? )?({NUMBER}%) (?:{_SHARE} )?(?:on|of|for) (?:an? )?({_X})", r"(\1 * \2)"),
        (rf"\b(?:take |get )?({NUMBER}%) off(?: of)? ({_X})", r"(\2 - \1)"),
        (rf"({_X}) (?:with|minus|less) (?:an? )?({NUMBER}%)(?: off| discount)?", r"(\1 - \2)"),
        (rf"({_X}) plus (?:an? )?({NUMBER}%)(?: tip| tax| vat)?", r"(\1 + \2)"),
        # verbs
        (rf"\b(?:split|divide|share) ({_X}) {_AMONG} ({_X}){_PEOPLE}", r"(\1 / \2)"),
        (rf"({_X}) (?:split|divided|shared) {_AMONG} ({_X}){_PEOPLE}", r"(\1 / \2)"),
        (rf"\b(?:split|divide) ({_X}) ({_X}) ways", r"(\1 / \2)"),
        (rf"({_X}) split ({_X}) ways", r"(\1 / \2)"),
        (rf"(?<=\d) (?:add|and add|then add) (?={_X})", " + "),
        (rf"\badd (?:up )?({_X}),? (?:(?:and|to|plus) )?({_X})(?:,? and ({_X}))?", "ADD"),
        (rf"(?<=\d) (?:subtract|and subtract|then subtract) (?={_X})", " - "),
        (rf"\b(?:subtract|take|deduct) (?:away )?({_X}) (?:away )?from ({_X})", r"(\2 - \1)"),
        (rf"\bmultiply ({_X}) (?:by|with|and|times) ({_X})", r"(\1 * \2)"),
        (rf"\b(?:the )?sum of ({_X}) and ({_X})", r"(\1 + \2)"),
        (rf"\b(?:the )?product of ({_X}) and ({_X})", r"(\1 * \2)"),
        (rf"\b(?:the )?difference between ({_X}) and ({_X})", r"abs(\1 - \2)"),
        (rf"\b(?:the )?(?:average|mean) of ({_X}) and ({_X})", r"((\1 + \2) / 2)"),
        (rf"\b(?:the )?(?:average|mean) of ({_X}),? ({_X}),? and ({_X})", r"((\1 + \2 + \3) / 3)"),
        (rf"({_X}) more than ({_X})(?!%)", r"(\2 + \1)"),
        (rf"({_X}) (?:less|fewer) than ({_X})(?!%)", r"(\2 - \1)"),
        (rf"({_X}) (?:increased|raised) by ({_X}%?)", r"(\1 + \2)"),
        (rf"({_X}) (?:reduced|decreased|lowered|diminished) by ({_X}%?)", r"(\1 - \2)"),
        (rf"({_X}) doubled", r"(2 * \1)"),
        (rf"({_X}) tripled", r"(3 * \1)"),
        (rf"({_X}) halved", r"(\1 / 2)"),
        (rf"^({_X}) and ({_X})(?: and ({_X}))? (?:make|add up to|come to|equal|are)(?: together)?$", "ADD"),
        (rf"({_X}) (?:take away|less) ({_X})", r"(\1 - \2)"),
        (r"\bminus (?=\d)", "- "),
    )
)  # fmt: skip
_GOODS: Final = re.compile(
    rf"(?:do |does )?(?P<count>{NUMBER}) (?:[a-z]+ ){{0,2}}?[a-z]+ (?:cost )?at (?P<price>{NUMBER})"
    r"(?: each| apiece| a piece| per piece)?"
)
_OPERATOR: Final = re.compile(
    r"[-+*/%×÷√²³^]|\)\(|\d\(|(?<=\d)x(?=\d)|\b(?:sqrt|abs|round|floor|ceil"
    r"|plus|minus|times|over|mod|squared|cubed|divided|multiplied|x)\b"
)
_FUNCTIONS: Final = re.compile(r"\b(?:sqrt|abs|round|floor|ceil|mod|pi|e|x)\b")
_DIGIT: Final = re.compile(r"\d")
_LONGEST: Final = 300
"""Characters: more are no sum that is said, and take long to read."""
_IDIOMS: Final = frozenset(("9/11", "24/7", "50/50", "20/20", "7-11", "7-eleven", "10-4", "360"))
"""They look like sums and are none."""


@dataclass(frozen=True)
class Sum:
    """What is to be calculated."""

    expression: str
    """As `evaluate` reads it."""
    money: Currency | None = None
    percent: bool = False
    """Whether the result is one in a hundred."""
    unit: str = ""
    """What it is so many of, in the plural, where that is told."""
    claim: str = ""
    """What the user believes it to be."""
    remainder: str = ""
    """What is left over, where the result is a whole number."""


def sum_of(words: str) -> Sum | None:
    """The sum that these words are; None if they are a number at most, or something else."""
    plain = words.strip(" ?=.").casefold()
    if plain in _IDIOMS or len(plain) > _LONGEST:
        return None
    if not re.search(rf"[a-wyz]|{SIGN}", _FUNCTIONS.sub("", plain)):
        return Sum(plain) if _calculates(plain) else None
    text = re.sub(r"\s+", " ", in_digits(words)).strip(" ?.=")
    text = _ENDS.sub("", _QUESTION.sub("", text)).strip(" ,")
    if text in _IDIOMS or not _DIGIT.search(text):
        return None
    text, money = amounts_marked(text)
    text = text.replace(MARK, "")
    if money and (goods := _GOODS.fullmatch(text)):
        text = f"{goods['count']} * {goods['price']}"
    for pattern, expression in _REWRITES:
        text = pattern.sub(lambda found, made=expression: _made(found, made), text)  # type: ignore[misc]
    percent = text.startswith("PERCENT ")
    text = text.removeprefix("PERCENT ").strip()
    if not _calculates(text) or re.search(rf"(?<!%) of |(?<![%\d]) ?{NUMBER} {NUMBER}", text):
        return None
    return Sum(text, money, percent)


def _calculates(text: str) -> bool:
    """A number alone isn't a sum, nor is "20%"."""
    return _OPERATOR.search(text.lstrip("- ").rstrip("%")) is not None


def _made(found: re.Match[str], expression: str) -> str:
    if expression == "ADD":
        return f"({' + '.join(each for each in found.groups() if each)})"
    if expression == "PART":
        count = "1" if found[1] == "a" else found[1]
        return f"({found[3]} * {count} / {_PARTS[found[2]]})"
    return found.expand(expression)
