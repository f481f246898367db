"""Sentence templates: "[please] (set|start) a timer for {duration}" fits a whole utterance, or not.

`[a]` may be left out, `(a|b)` is one of them, and both may be nested. `{name}` takes one or more words, which
are given as they were said; `{name:a template}` takes what fits it; `{name=value}` takes none and gives this
value. `*` is any words, or none; `#` is a word with a digit. Case doesn't count, nor do the marks at a word's
end. An utterance of more than `LONGEST` words fits nothing: who says so much says more than a command.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

LONGEST: Final = 30

_TOKEN: Final = re.compile(
    r"\{(?P<place>\w+)(?:=(?P<value>[^{}]*))?\}|\{(?P<opens>\w+):|[\[\](){}|]|[^\s\[\](){}|]+"
)
_OPENS: Final = {"[": "(?:", "(": "(?:", "{": "("}
_CLOSES: Final = {"[]": ")?", "()": ")", "{}": ")"}
_WORD: Final = r"(?:\S+ )"
_SIGNS: Final = {"|": "|", "*": f"{_WORD}*?", "#": r"\S*\d\S* "}
_MARKS: Final = '.,;:!?…"“”«»()[]*¿¡'
_APOSTROPHES: Final = str.maketrans({"’": "'", "‘": "'", "–": "-", "—": " "})


@dataclass(frozen=True)
class Fillers:
    """Words before and after a sentence that don't change what it means: "please", "could you"."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


NO_FILLERS: Final = Fillers()


def plain(utterance: str) -> str:
    """Its words, a space between two, without the marks around them; "7:30", "$3.50" and "it's" stay."""
    words = (word.strip(_MARKS) for word in utterance.translate(_APOSTROPHES).split())
    return " ".join(filter(None, words))


@dataclass(frozen=True)
class _Place:
    name: str
    value: str | None
    """None: the words that stand there."""


class Templates:
    """Sentence templates that mean the same. They are compiled when one is first asked for."""

    def __init__(self, templates: Iterable[str], fillers: Fillers = NO_FILLERS) -> None:
        """Raises `ValueError` for one that is badly written."""
        self._before, self._after = (
            f"(?:{'|'.join(_source(each)[0] for each in words)})*" if words else ""
            for words in (fillers.before, fillers.after)
        )
        self._sources = [_source(each) for each in templates]

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], list[_Place]]]:
        return [
            (re.compile(f"{self._before}{source}{self._after}", re.IGNORECASE), places)
            for source, places in self._sources
        ]

    @property
    def places(self) -> set[str]:
        """Names of all places."""
        return {place.name for _, places in self._sources for place in places}

    def matches(self, utterance: str) -> Iterator[dict[str, str]]:
        """What stands in the places of each template that the whole utterance fits, by their names."""
        words = plain(utterance)
        if words.count(" ") >= LONGEST:
            return
        for pattern, places in self._patterns:
            if (match := pattern.fullmatch(f"{words} ")) is not None:
                yield {
                    place.name: text.strip() if place.value is None else place.value
                    for place, text in zip(places, match.groups(), strict=True)
                    if text is not None
                }

    def fit(self, utterance: str) -> bool:
        """Whether the whole utterance fits one of them."""
        return next(self.matches(utterance), None) is not None


def _source(template: str) -> tuple[str, list[_Place]]:
    """The regular expression of a template, in which a space follows each word, and what its groups are."""
    parts: list[str] = []
    places: list[_Place] = []
    open_brackets: list[str] = []
    for token in _TOKEN.finditer(template):
        text = token[0]
        if token["place"]:
            places.append(_Place(token["place"], token["value"]))
            parts.append(f"({_WORD}+?)" if token["value"] is None else "()")
        elif token["opens"] or text in _OPENS:
            if token["opens"]:
                places.append(_Place(token["opens"], None))
            open_brackets.append(text[0])
            parts.append(_OPENS[text[0]])
        elif text in "])}":
            pair = (open_brackets or [""]).pop() + text
            if pair not in _CLOSES:
                raise ValueError(f"the sentence template {template!r} closes a bracket that isn't open")
            parts.append(_CLOSES[pair])
        else:
            parts.append(_SIGNS.get(text, f"{re.escape(text)} "))
    if open_brackets or not parts:
        raise ValueError(f"the sentence template {template!r} is empty, or leaves a bracket open")
    return f"(?:{''.join(parts)})", places
