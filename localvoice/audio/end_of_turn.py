"""Whether a pause is the end of the user's turn: how long a silence has to be, from intonation and words.

Either may be wrong. A detector that was trained on people is near chance on a synthetic voice, and Whisper
likes to end a fragment with a full stop. So their evidence is added up, in log-odds.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import takewhile
from typing import Final

from localvoice.config import Eagerness

LONGEST_MS: Final = 1248
"""The longest silence that is waited for: 1.2 s, and the window in which a voice is heard again."""


class Hint(Enum):
    """What the words say."""

    QUESTION = auto()
    STATEMENT = auto()
    NONE = auto()
    UNMARKED = auto()  # Whisper has put no mark at the end
    BRIEF = auto()  # a few words without a mark, as Whisper mostly writes them
    LEADS_IN = auto()  # a clause that others mostly follow: "If this is correct."
    SELDOM_LAST = auto()  # the last word can end a sentence ("Yes, it is."), but mostly doesn't
    UNFINISHED = auto()
    DICTATED = auto()  # digits or letters one by one: they come in groups, each of which sounds complete


EVIDENCE: Final[Mapping[Hint, float]] = {
    Hint.QUESTION: 1.3,
    Hint.STATEMENT: 0.0,  # a fragment often gets a full stop, too
    Hint.NONE: -0.5,
    Hint.UNMARKED: -2.0,
    Hint.BRIEF: -0.3,
    Hint.LEADS_IN: -2.0,
    Hint.SELDOM_LAST: -3.0,
    Hint.UNFINISHED: -4.5,
    Hint.DICTATED: -8.0,  # no detector is sure enough against it
}
"""What each adds to the log-odds that the turn is over."""


@dataclass(frozen=True)
class Patience:
    """Where the lines are drawn, and how long is waited."""

    certain: float  # probability of the detector from which the words are not waited for
    over: float  # log-odds from which the turn is over
    unfinished: float  # log-odds below which the user will go on
    over_ms: int  # silence that is enough when the turn is over
    unsure_ms: int  # silence when it may be
    unfinished_ms: int  # silence when the user will go on, or seems to


PATIENCE: Final[Mapping[Eagerness, Patience]] = {
    "patient": Patience(0.99, 1.4, -1.5, over_ms=320, unsure_ms=960, unfinished_ms=LONGEST_MS),
    "balanced": Patience(0.985, 1.2, -2.28, over_ms=256, unsure_ms=704, unfinished_ms=LONGEST_MS),
    "quick": Patience(0.97, 0.5, -2.6, over_ms=128, unsure_ms=448, unfinished_ms=1000),
}

STEEPEST: Final = 5.0  # log-odds of the detector that are believed at most
DETECTOR: Final = 0.45
"""What they weigh: it is surer of itself than it is right, above all that a person has not finished."""

_WORD: Final = re.compile(r"\w+(?:['’]\w+)?")
_GOES_ON: Final = ("...", "…", ",", "-", "–", "—", ":", ";", "，", "、", "：", "；")
_ASKS: Final = ("?", "？", "؟")
_STATES: Final = (".", "!", "。", "！", "।", "۔")

_PARTS: Final = re.compile(r"\d+(?:[.,:/]\d+)+|(?:[ap]\.m|u\.s(?:\.a)?|u\.k|e\.u)\b|[^\W_]+(?:['’][^\W_]+)?")
"""Words; the letters of "S-M-I" and the groups of "0171-55" one by one, but times, amounts, "U.S." whole."""
_DIGITS: Final = frozenset("zero oh one two three four five six seven eight nine double triple".split())
_ANNOUNCES_DIGITS: Final = frozenset("number code pin card phone account id zip postcode password".split())
_SPELLS: Final = frozenset("spelled spelt".split())
_LEADS_IN: Final = frozenset("it's its it is that's yes okay so um uh and then".split())
_ONE_NUMBER: Final = re.compile(r"(?:1[89]|20)\d\d|[1-9]\d*00")
"""A year, or hundreds: seldom dictated, unless it is announced as a code."""
_AMOUNT: Final = re.compile(r"[%$€£¥]\S*$|[$€£¥]\S+$")
_AS_A_WORD: Final = re.compile(r"[^aeiou]?(?:[aeiou][^aeiou])*[aeiou]?", re.IGNORECASE)
"""Capitals that are said as a word, or often stand for one: "NASA", "USA"."""
_LONG_GROUP: Final = 3
"""Digits that may be the first group of a longer number, or letters of a name. Fewer are mostly a number
of things, or "OK"."""

_NEVER_LAST: Final = frozenset(
    "a an the my your our their every and or but because if unless although whether than until to i i'm i've "
    "i'd i'll you're we're they're it's there's um uh er erm mr mrs ms dr".split()
)
_LAST_IN_QUESTIONS: Final = frozenset(
    "of for with at from into about between without toward towards against during like called "
    "what which who whose how when where why".split()
)
"""As in "Where are you from?", but hardly in "I am from"."""
_AUXILIARY: Final = frozenset(
    "is are was were am be been being has have had will would can could should shall may might must do does "
    "did".split()
)
_SELDOM_LAST: Final = frozenset(
    "not in on by as so then very really just quite rather almost nearly currently approximately mostly "
    "per plus minus via within upon among onto".split()
)
_LEAD_IN: Final = frozenset(
    "if when whenever while because although though unless since after before once to".split()
)
_FEW: Final = 3
"""Words that Whisper often gives no mark."""
_SENTENCE: Final = re.compile(r"[.!?]\s+")
_SUBJECTS: Final = frozenset("i you he she it we they that this there who".split())
"""Before an auxiliary: "Yes, it is"."""


def silence_ms(probability: float, text: str | None, language: str, eagerness: Eagerness) -> int:
    """How many ms of silence end the turn, counted from its last voiced sample.

    `probability` is the detector's that the turn is complete, 0 to 1. `text` is what was said, None while
    that isn't known: there is no answer without it, so only a detector that is certain goes ahead.
    """
    patience = PATIENCE[eagerness]
    if text is None:
        return patience.over_ms if probability >= patience.certain else patience.unfinished_ms
    evidence = DETECTOR * _log_odds(probability) + EVIDENCE[judge_words(text, language)]
    if evidence >= patience.over:
        return patience.over_ms
    return patience.unfinished_ms if evidence < patience.unfinished else patience.unsure_ms


def judge_words(text: str, language: str) -> Hint:
    """What the end of a transcript says about the turn; in other languages than English only its marks."""
    text = text.rstrip(" \"'”’»)")
    asks = text.endswith(_ASKS)
    words = _WORD.findall(text.lower()) if language == "en" else []
    last = words[-1].replace("’", "'") if words else ""
    if not asks and not text.endswith("!") and _is_dictated(text, language):
        return Hint.DICTATED
    if text.endswith(_GOES_ON) or last in _NEVER_LAST:
        return Hint.UNFINISHED
    if len(words) > 1 and (hint := _judge_last(last, words[-2])) is not Hint.NONE:
        return Hint.NONE if asks else hint
    if asks:
        return Hint.QUESTION
    if language == "en" and _leads_in(text):
        return Hint.LEADS_IN
    if text.endswith(_STATES):
        return Hint.STATEMENT
    if language != "en":
        return Hint.NONE
    return Hint.BRIEF if 0 < len(words) <= _FEW else Hint.UNMARKED


def _is_dictated(text: str, language: str) -> bool:
    """Whether it ends with digits or letters one by one or in groups, or is nothing but a long number."""
    parts = _PARTS.findall(text.lower())
    english = language == "en"

    def one_by_one(part: str) -> bool:
        return part.isdecimal() or (english and (part in _DIGITS or _is_letter(part)))

    start = len(parts) - sum(1 for _ in takewhile(one_by_one, reversed(parts)))
    if parts[start : start + 1] in (["a"], ["i"]) and not _is_letter("".join(parts[start + 1 : start + 2])):
        start += 1  # a word: "a 5", "a five"
    others, groups = parts[:start], parts[start:]
    if not groups and english:
        return _ends_spelt(text, parts)
    if len(groups) != 1:
        return bool(groups)
    announced = english and not _ANNOUNCES_DIGITS.isdisjoint(others)
    is_long = groups[0].isdecimal() and len(groups[0]) >= _LONG_GROUP
    is_one = _AMOUNT.search(text) or _ONE_NUMBER.fullmatch(groups[0])
    return is_long and (announced or (not is_one and _LEADS_IN.issuperset(others)))


def _ends_spelt(text: str, parts: list[str]) -> bool:
    """Whether its last word is letters that Whisper has put together: "SMI" alone, or after "spelled"."""
    if not _SPELLS.isdisjoint(parts[-2:-1]):
        return True
    last = "".join(_PARTS.findall(text)[-1:])
    is_long = last.isupper() and len(last) >= _LONG_GROUP and not _AS_A_WORD.fullmatch(last)
    return is_long and _LEADS_IN.issuperset(parts[:-1])


def _leads_in(text: str) -> bool:
    """Whether its last sentence is a clause that others mostly follow: "To leave the conference"."""
    last = _SENTENCE.split(text)[-1]
    words = _WORD.findall(last.lower())
    return len(words) > 1 and words[0] in _LEAD_IN and "," not in last


def _is_letter(part: str) -> bool:
    return len(part) == 1 and part.isalpha()


def _judge_last(word: str, before: str) -> Hint:
    if word in _AUXILIARY:
        return Hint.SELDOM_LAST if before in _SUBJECTS else Hint.UNFINISHED
    if word in _LAST_IN_QUESTIONS:
        return Hint.UNFINISHED
    return Hint.SELDOM_LAST if word in _SELDOM_LAST else Hint.NONE


def _log_odds(probability: float) -> float:
    if not 0 < probability < 1:
        return math.copysign(STEEPEST, probability - 0.5)
    return max(-STEEPEST, min(STEEPEST, math.log(probability / (1 - probability))))
