"""The numbers of a word problem, and what each is: "8 eggs", "12 dollars each", "640 a month", "20%"."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from localvoice.tools.builtin.words.money import MARK, Currency, amounts_marked
from localvoice.tools.builtin.words.numbers import NUMBER, in_digits
from localvoice.tools.builtin.words.wording import singular

MONEY: Final = MARK
PERCENT: Final = "%"
EACH: Final = "each"
_LONGEST: Final = 300
"""Characters."""
_SEVERAL: Final = {
    "two": "two", "three": "three", "four": "four", "five": "five", "sixe": "six", "seven": "seven",
    "eight": "eight", "nine": "nine", "ten": "ten", "eleven": "eleven", "twelve": "twelve",
}  # fmt: skip
"""Before an s, so many of them: "three tens"."""
_LARGE: Final = re.compile(r"\b(?:dozen|lakhs?|crores?)\b")
_MEASURE: Final = (
    r"(?:cups?|teaspoons?|tablespoons?|ounces?|pounds?|grams?|liters?|litres?|pints?|quarts?|gallons?"
    r"|kilos?"
    r"|sticks?|hours?|minutes?|miles?|kilomet(?:er|re)s?)"
)
_WRITTEN: Final = (
    # what is a number in other words
    (rf"\b({NUMBER}) dozen\b", lambda found: f"{float(found[1]) * 12:g}"),
    (r"\bhalf (?:a )?dozen\b", "6"),
    (r"\b(?:a|1) dozen\b", "12"),
    (rf"\b({NUMBER}) lakhs?\b", lambda found: f"{float(found[1]) * 100_000:.0f}"),
    (rf"\b({NUMBER}) crores?\b", lambda found: f"{float(found[1]) * 10_000_000:.0f}"),
    (r"\b(\d+) (?:and )?3rds\b", r"\1/3"),
    (r"\b(?:a|1) 3rd (?:of (?:an? )?)?(?=[a-z])", "1/3 "),
    (r"\b3 quarters? (?:of )?(?:an? )?(?=[a-z])", "3/4 "),
    (rf"\b(?:a )?half (?:an? |of an? )?(?={_MEASURE}\b)", "1/2 "),
    (rf"\b(?:a )?quarter (?:of )?(?:an? )?(?={_MEASURE}\b)", "1/4 "),
    (rf"\b(?:an?|1) ({_MEASURE}) and a half\b", r"1.5 \1s"),
    (rf"(?<=\d) of an? (?={_MEASURE}\b)", " "),
    (
        r"\b(in|for|over|after) (?:an?|1) (second|minute|hour|day|week|month|year)\b(?! (?:and|ago))",
        r"\1 1 \2",
    ),
    (r"\b(in|for|over|after) half an hour\b", r"\1 30 minutes"),
    (rf"({NUMBER}) ?(?:per ?cents?\b|%)", rf"\1{PERCENT}"),
    (r"\b(\d+) (?:(\d+)s|(?<!\d )(\d+)'s)\b", r"\1 times \2"),
    (r"\b(\d+)s\b", r"\1"),
    (r"\bmph\b", "miles an hour"),
    (r"\b(?:kph|kmh|km/h)\b", "kilometers an hour"),
    (r"\bms\b", "milliseconds"),
)  # fmt: skip
_NO_NUMBERS: Final = (
    (r"\b(is|for|just) 1(?= ?$| (?:if|when|and|of)\b)", r"\1 one"),
    (r"\b(this|that|which|each|every|another|no|the|any|other|single|number|one) 1\b", r"\1 one"),
    (
        r"\b1 (?=(?:of (?:them|us|these|those)|by one|after|thing|question|more (?:time|question)|last)\b)",
        "one ",
    ),
    (r"\b(?:1|one) (?=(?:is|was|costs?) \d)", "each "),
    (r"\b1 (?=[a-z]+ (?:needs?|holds?|takes?|costs?|weighs?|lasts?|is|has|uses?|seats?|feeds?)\b)", "each "),
)  # fmt: skip
"""Where "one" isn't a number."""
_ITEM: Final = re.compile(rf"(?<![\w.:/#-])({NUMBER}(?:/0*[1-9]\d*)?)([¤%]?)(?![\w:/]|\.\d)")
_DIGIT: Final = re.compile(r"\d")
_STOPS: Final = frozenset(
    "a an the and or but so is are was were be been am 's 're of in on at to from by with for per each "
    "every if when "
    "that this these those it they i you we he she what how which who my your our his her their there then "
    "do does did have has had get gets got will would can could should must may off out up down left "
    "more less "
    "than as fit fits sit coming into between among over about after before because plus minus divided "
    "equally evenly apiece "
    "only just now today already altogether total please right cost costs costing split shared share "
    "i'd i'll we'll we'd minus negative i'm i've we're we've that's it's what's there's he's "
    "she's they're how's and's gave give gives took take "
    "ate spent used sold lost bought buy want wants need needs please worth long wide deep high tall old "
    "leave".split()
)
_EACH_AFTER: Final = re.compile(
    r" ?(?:(?:fit |go |sit |come )?(?:in|on|to|for) each\b(?! [a-z]*[a-z]\b(?<!how)(?<!what))"
    r"|each\b(?! (?:of|day|week|month|person))|apiece|a piece|a pop|per piece|per item|a head|per head)"
)
_PER_AFTER: Final = re.compile(
    r" (?:(?:in|to|for|on|at|from)? ?(?:per|each|every)|an?|(?:in|to|on) (?:an?|1|one)|to the) "
    r"([a-z]+)\b(?! ago| and a half)"
)
_PER_BEFORE: Final = re.compile(
    r"\b(?:each|every|an?|one)(?: ([a-z]+)(?: of [a-z]+)?)? (?:holds?|fits?|has|have|takes?|seats?"
    r"|contains?|needs?"
    r"|costs?|comes? with|gets?|uses?|is|was|weighs?|lasts?|feeds?|makes?|pays?|drinks?|eats?)(?: only"
    r"| about| just)? $"
)
_EACH_OF: Final = re.compile(r"\beach of (?:my|the|our|these|those|his|her|their) $")
_NO_PERIODS: Final = frozenset(
    ("lot", "bit", "few", "total", "half", "great", "good", "little", "tip", "day's")
)


@dataclass(frozen=True)
class Item:
    """A number."""

    value: str
    kind: str
    """`MONEY`, `PERCENT`, or nothing."""
    nouns: tuple[str, ...]
    """What it counts, in its own words: "large eggs"."""
    per: str
    """What it is so much for: an hour, or `EACH` of something; nothing for a number of its own."""
    before: str
    """The words up to the number before."""
    after: str
    """The words up to the next number."""

    @property
    def is_count(self) -> bool:
        """Whether it is how many or how much there is, and no rate, price or part."""
        return not self.kind and not self.per

    @property
    def counted(self) -> set[str]:
        return {singular(noun) for noun in self.nouns}

    @property
    def size(self) -> float:
        above, _, below = self.value.partition("/")
        return float(above) / float(below or 1)


@dataclass(frozen=True)
class Told:
    """A word problem's text, and the numbers in it."""

    text: str
    currency: Currency | None
    items: tuple[Item, ...]
    large: bool = False
    """Whether a number is told in dozens, lakhs or crores."""

    def says(self, pattern: str) -> bool:
        """Whether these words, as a regular expression, stand in it."""
        return re.search(rf"\b(?:{pattern})\b", self.text) is not None

    def asks_per(self, period: str) -> bool:
        """Whether it asks how many in each of these, after it has told something of it."""
        return len(re.findall(rf"\b(?:an?|per|each|every) {period}\b", self.text)) > 1

    @cached_property
    def percents(self) -> list[Item]:
        return [item for item in self.items if item.kind == PERCENT]

    @cached_property
    def amounts(self) -> list[Item]:
        return [item for item in self.items if item.kind != PERCENT]

    @cached_property
    def rates(self) -> list[Item]:
        return [item for item in self.amounts if item.per]

    @cached_property
    def money(self) -> Currency | None:
        """The currency, if any of the numbers is money."""
        return self.currency if any(item.kind == MONEY for item in self.items) else None


def told(words: str) -> Told | None:
    """The numbers in these words; None where there are none, or some that count nothing: times, ordinals."""
    if len(words) > _LONGEST:
        return None
    words = re.sub(r"(?i)\bones\b", "pieces", words)  # not the number
    words = re.sub(
        rf"(?i)\b({'|'.join(_SEVERAL)})s\b", lambda found: f"times {_SEVERAL[found[1].lower()]}", words
    )
    text = re.sub(r"\s+", " ", re.sub(r"[,;?!]|\.(?!\d)", " ", in_digits(words))).strip()
    large = _LARGE.search(text) is not None
    for pattern, other in _WRITTEN:
        text = re.sub(pattern, other, text)
    text, currency = amounts_marked(text)
    for pattern, other in _NO_NUMBERS:
        text = re.sub(pattern, other, text)
    text = re.sub(r"(?<=[a-z])'(?=s\b)", " '", text)
    items = tuple(_repeated([*_items(text)]))
    return Told(text, currency, items, large) if items and not _DIGIT.search(_ITEM.sub("", text)) else None


def _repeated(items: list[Item]) -> Iterator[Item]:
    """With "three times" and "each of" told of what they belong to: "10 push-ups three times a day"."""
    for before, item, following in zip([None, *items], items, [*items[1:], None], strict=False):
        if before is not None and _EACH_OF.search(before.before) and not item.per:
            yield replace(item, per=EACH)
        elif following is not None and following.nouns == ("times",) and item.is_count:
            yield replace(item, per="time")
        else:
            yield item


def _items(text: str) -> Iterator[Item]:
    found = [*_ITEM.finditer(text)]
    starts = [0, *(each.end() for each in found)]
    ends = [*(each.start() for each in found), len(text)]
    for at, each in enumerate(found):
        before, after = text[starts[at] : ends[at]], text[starts[at + 1] : ends[at + 1]]
        nouns, rest = _nouns(after)
        yield Item(each[1], each[2], nouns, _per(before, rest, nouns, at, each[2]), before, after)


def _nouns(after: str) -> tuple[tuple[str, ...], str]:
    words = after.split()
    count = next((at for at, word in enumerate(words[:3]) if word in _STOPS), min(len(words), 3))
    return tuple(words[:count]), " " + " ".join(words[count:])


def _per(before: str, rest: str, nouns: tuple[str, ...], at: int, kind: str) -> str:
    if kind == PERCENT:
        return ""
    if _EACH_AFTER.match(rest):
        return EACH
    if (found := _PER_AFTER.match(rest)) and found[1] not in _NO_PERIODS:
        return singular(found[1])
    if found := _PER_BEFORE.search(before):
        return singular(found[1]) if found[1] else EACH
    return EACH if at and before.endswith(" at ") and not nouns else ""
