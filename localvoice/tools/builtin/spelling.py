"""The built-in tool that spells words, letter by letter, and counts their letters."""

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
        "his then now why who what when where how today tonight tomorrow yesterday is are word words one "
        "backwards backward reversed phonetically again slowly quickly correctly properly please out"
    ).split()
)
"""What isn't spelled, but stands for another word or belongs to a longer sentence."""
_VOWELS: Final = frozenset("aeiou")
_PLACES: Final = {"first": 0, "second": 1, "third": 2, "last": -1}
_BACKWARDS: Final = ("backwards", "backward", "in reverse")
_PHONETIC: Final = "phonetic"
_NATO: Final = {
    name[0].lower(): name
    for name in (
        "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike November Oscar Papa "
        "Quebec Romeo Sierra Tango Uniform Victor Whiskey X-ray Yankee Zulu"
    ).split()
}


def _spellable(words: str) -> None:
    text = words.strip(" .,?!\"'")
    parts = text.lower().split()
    if not parts or len(text) > _LONGEST or len(parts) > _MOST_WORDS:
        raise ToolError("give one word to spell")
    if not _NO_WORDS.isdisjoint(parts) or not re.fullmatch(r"[^\W_]+(?:[ '’&.-][^\W_]+)*", text):
        raise ToolError(f"{words[:40]!r} is no word to spell: give the word itself")


def _askable(about: str) -> None:
    if about and _counted(about.lower()) is None and not about.lower().startswith(tuple(_PLACES)):
        if about.lower() not in (*_BACKWARDS, _PHONETIC):
            raise ToolError("ask about its letters: backwards, first letter, how many vowels, how many m")


@tool(speaks=True)
async def spell(
    word: Annotated[str, accepted_by(_spellable), Field(description="like necessary")],
    about: Annotated[
        str, accepted_by(_askable), Field(description="backwards, first letter, vowels or a letter")
    ] = "",
) -> str:
    """Spell a word."""
    text = word.strip(" .,?!\"'").replace("\u2019", "'")
    name, asked = f"{text[:1].upper()}{text[1:]}", about.lower()
    if (place := asked.partition(" ")[0]) in _PLACES:
        letters = [letter for letter in text if letter.isalnum()]
        if len(letters) <= max(_PLACES[place], 0):
            raise ToolError(f"{name} has only {len(letters)} letter{'s' * (len(letters) != 1)}.")
        return f"The {place} letter of {text} is {_spoken(letters[_PLACES[place]])}."
    if asked in _BACKWARDS:
        return f"{name} backwards: {', '.join(map(_spoken, reversed(text)))}."
    if asked == _PHONETIC:
        return f"{name}: {', '.join(_NATO.get(letter, _spoken(letter)) for letter in text.lower())}."
    spelled = ", ".join(map(_spoken, text))
    if (counted := _counted(asked)) is not None:
        wanted, one = counted
        many = sum(letter in wanted if wanted else letter.isalnum() for letter in text.lower())
        kind = one if many == 1 else f"{one}'s" if len(one) == 1 else f"{one}s"
        return f"{name} has {many or 'no'} {kind}: {spelled}."
    return f"{name}: {spelled}."


def _counted(about: str) -> tuple[frozenset[str], str] | None:
    """Which letters are counted, and what one of them is called; no letters stand for any."""
    if found := re.fullmatch(r"(?:letter )?([a-z])(?:'?s)?", about):
        return frozenset(found[1]), found[1].upper()
    kinds = {
        "vowel": _VOWELS,
        "consonant": frozenset("abcdefghijklmnopqrstuvwxyz") - _VOWELS,
        "letter": frozenset[str](),
    }
    kind = about.removesuffix("s")
    return (kinds[kind], kind) if kind in kinds else None


def _spoken(letter: str) -> str:
    if letter in _SIGNS:
        return _SIGNS[letter]
    base, *marks = list(unicodedata.normalize("NFD", letter))
    names = (unicodedata.name(mark, "").removeprefix("COMBINING ").lower() for mark in marks)
    return " ".join([base.upper(), *(name.removesuffix(" accent") for name in names if name)])
