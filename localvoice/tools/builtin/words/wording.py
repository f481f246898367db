"""What people say on the way: corrections within a sentence, and their words said back to them."""

import re
from collections.abc import Callable
from typing import Final

from pydantic import AfterValidator

from localvoice.tools.errors import ToolError

LABEL_CHARACTERS: Final = 80
_CORRECTION: Final = re.compile(
    r"[,.;]? (?:(?:no|nope|sorry|wait|actually|(?:or )?rather|i meant?|make (?:that|it)|scratch that),? )+",
    re.IGNORECASE,
)
_TURNED: Final = {
    "i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "am": "are",
    "i'm": "you're", "i've": "you've", "i'll": "you'll", "i'd": "you'd",
}  # fmt: skip

_UNNAMED: Final = frozenset(
    "a an another new quick me us i we you it set setting start starting make making put get how about"
    " please".split()
)

_IRREGULAR: Final = {
    "people": "person", "children": "child", "grandchildren": "grandchild", "feet": "foot", "men": "man",
    "women": "woman", "kids": "child", "inches": "inch", "loaves": "loaf", "halves": "half",
    "shelves": "shelf", "hr": "hour", "hrs": "hour", "min": "minute", "mins": "minute", "km": "kilometer",
    "kilometres": "kilometer",
    "kilometre": "kilometer", "metres": "meter", "metre": "meter", "litres": "liter", "litre": "liter",
}  # fmt: skip


def corrected(words: str) -> tuple[str, str]:
    """What was said last, and what it takes the place of: "ten, no, fifteen minutes" is fifteen minutes."""
    *before, last = [part for part in _CORRECTION.split(words) if part.strip()] or [""]
    return last, before[-1] if before else ""


def turned(words: str) -> str:
    """The user's words said back to them: "call my mother" is "call your mother"."""
    return re.sub(r"[\w']+", lambda word: _TURNED.get(word[0].lower(), word[0]), words.replace("\u2019", "'"))


def label_of(words: str | None) -> str:
    """On one line, and not too long to be said."""
    return " ".join((words or "").split())[:LABEL_CHARACTERS].rstrip(" .,;:!")


def name_of(words: str | None) -> str:
    """What a thing is called, without words of the sentence around it: "set me a pasta" is "pasta"."""
    said = label_of(words).removesuffix(" timer").split()
    around = [place for place, word in enumerate(said) if word.lower() in _UNNAMED]
    name = said[around[-1] + 1 :] if around else said
    return " ".join(name) if [word for word in name if word.lower() not in ("the", "my")] else ""


def accepted_by(parse: Callable[[str], object]) -> AfterValidator:
    """A validator of arguments that takes the words which this understands, and keeps them as they are."""

    def check(words: str) -> str:
        try:
            parse(words)
        except ToolError as error:
            raise ValueError(str(error)) from error
        return words

    return AfterValidator(check)


def singular(noun: str) -> str:
    """Of one, as far as is needed to tell that two words are the same."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("ies"):
        return f"{noun[:-3]}y"
    return re.sub(r"(?<=x|s|h)es$|(?<![su])s$", "", noun)
