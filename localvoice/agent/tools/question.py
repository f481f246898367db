"""The question that is asked before a tool runs: made by rule of the call itself, so that all of it is told.

Whoever says yes hears each argument to its end. What can't be read out whole is not asked, and doesn't run.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from localvoice.engines.speech_text import speakable

LONGEST_QUESTION: Final = 400
"""Characters: half a minute of speech. Who listens for longer agrees to what they don't remember."""

_FIELD: Final = re.compile(r"\{(\w+)\}")
_MARKUP: Final = re.compile(r"[<>\[\]{}*_#`~|\\^]|(?<=:)//|(?<=www)\.", re.IGNORECASE)
"""What a voice takes for markup and addresses: it would leave out the words inside."""
_UNHEARD: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that are neither seen nor heard, beside those of the categories below."""
_UNHEARD_KINDS: Final = ("Cc", "Cf", "Cs", "Co")
_HARMLESS: Final = "\t\n\r\u200c\u200d"
_DEEPEST: Final = 8
"""Levels of an argument. Nobody follows more of them by ear."""


def check_question(name: str, confirm: bool | str, parameters: Mapping[str, Any]) -> None:
    """Raises ValueError if the tool can't ask so."""
    if isinstance(confirm, bool):
        return
    named, known = set(_FIELD.findall(confirm)), parameters.get("properties", {})
    if unknown := sorted(named - set(known)):
        raise ValueError(f"the tool {name} asks about {', '.join(unknown)}, which is none of its parameters")
    if untold := sorted(set(parameters.get("required", ())) - named):
        raise ValueError(
            f"the question of the tool {name} must tell all that it is given; name {', '.join(untold)} in it"
        )
    if not speakable(confirm):
        raise ValueError(f"the question of the tool {name} has no words: give it some, or confirm=True")


def question_of(name: str, confirm: bool | str, arguments: Mapping[str, Any]) -> str:
    """What to ask before this call runs. Raises ValueError, in words for the LLM, if not all can be told."""
    told = {key: _told(value) for key, value in arguments.items()}
    if isinstance(confirm, str) and set(_FIELD.findall(confirm)) == set(told):
        question = _FIELD.sub(lambda found: told[found[1]], confirm)
    else:
        given = ", ".join(f"{_cleaned(key)}: {value}" for key, value in told.items())
        question = f"Shall I use {_cleaned(name.replace('-', ' '))}{f' with {given}' if given else ''}?"
    if len(question) > LONGEST_QUESTION:
        raise ValueError(
            "the user must agree first, and the arguments are too long to be read out: make them shorter"
        )
    if _letters(speakable(question)) != _letters(question):
        raise ValueError("the user must agree first, and the arguments can't be read out: use plain words")
    return question


def _told(value: Any, depth: int = 0) -> str:
    """An argument in words."""
    if depth > _DEEPEST:
        raise ValueError("the user must agree first, and the arguments are nested too deeply to be read out")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = [f"{_cleaned(str(key))}: {_told(each, depth + 1)}" for key, each in value.items()]
    elif isinstance(value, list):
        value = [_told(each, depth + 1) for each in value]
    else:
        return _cleaned("" if value is None else str(value)) or "nothing"
    return ", ".join(value) or "nothing"


def _cleaned(text: str) -> str:
    """The text without markup, on one line; none of its words is lost. Raises ValueError."""
    if _UNHEARD.search(text) or any(
        unicodedata.category(character) in _UNHEARD_KINDS and character not in _HARMLESS for character in text
    ):
        raise ValueError("the user must agree first, and the arguments have characters that nobody can hear")
    return " ".join(_MARKUP.sub(" ", unicodedata.normalize("NFKC", text)).split())


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))
