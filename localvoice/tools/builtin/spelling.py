"""The built-in tool that spells words, letter by letter."""

import re
import unicodedata
from typing import Annotated, Final

from pydantic import Field

from localvoice.tools import ToolError, tool
from localvoice.tools.builtin.words.wording import accepted_by

_LONGEST: Final = 40
_MOST_WORDS: Final = 2
_SIGNS: Final = {" ": "space", "'": "apostrophe", "-": "hyphen", ".": "point", "&": "ampersand"}
_NO_WORDS: Final = frozenset(
    (
        "it that this them these those you me him her us name in of the with a an on at to and or your my "
        "his then now why who what when where how today tonight tomorrow yesterday "
        "backwards backward reversed phonetically again slowly quickly correctly properly"
    ).split()
)
"""What isn't spelled, but stands for another word or belongs to a longer sentence."""


def _spellable(words: str) -> None:
    text = words.strip(" .,?!\"'")
    parts = text.lower().split()
    if not parts or len(text) > _LONGEST or len(parts) > _MOST_WORDS:
        raise ToolError("give one word to spell")
    if not _NO_WORDS.isdisjoint(parts) or not re.fullmatch(r"[^\W_]+(?:[ '’&.-][^\W_]+)*", text):
        raise ToolError(f"{words[:40]!r} is no word to spell: give the word itself")


@tool(speaks=True)
async def spell(word: Annotated[str, accepted_by(_spellable), Field(description="like necessary")]) -> str:
    """Spell a word."""
    text = word.strip(" .,?!\"'").replace("\u2019", "'")
    return f"{text[:1].upper()}{text[1:]}: {', '.join(map(_spoken, text))}."


def _spoken(letter: str) -> str:
    if letter in _SIGNS:
        return _SIGNS[letter]
    base, *marks = list(unicodedata.normalize("NFD", letter))
    names = (unicodedata.name(mark, "").removeprefix("COMBINING ").lower() for mark in marks)
    return " ".join([base.upper(), *(name.removesuffix(" accent") for name in names if name)])
