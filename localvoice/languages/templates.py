"""Sentence templates: "[please] (set|start) a timer for {duration}" fits a whole utterance, or not.

`[a]` may be left out, `(a|b)` is one of them, and both may be nested. `{name}` takes one or more words, which
are given as they were said; `{name:a template}` takes what fits it; `{name=value}` takes none and gives this
value. `_` is one word, `#` a word with a digit, `*` any words or none, and `<name>` the words of this name.
Case doesn't count, nor do the marks at a word's end. An utterance of more than `LONGEST` words or
`LONGEST_CHARACTERS` fits nothing, as it says more than a command, unless the template begins with `*`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from localvoice.languages.matching import (
    NOTHING,
    START,
    AnyWords,
    Ends,
    Filling,
    Fillings,
    NumberWord,
    Part,
    Place,
    Word,
    Words,
    choice,
    sequence,
)

LONGEST: Final = 30
LONGEST_CHARACTERS: Final = 10 * LONGEST
"""What reads the words in the places, such as a sum, takes long for a number of a thousand digits."""

_TOKEN: Final = re.compile(
    r"\{(?P<place>\w+)(?:=(?P<value>[^{}]*))?\}|\{(?P<opens>\w+):|<(?P<named>\w+)>"
    r"|[\[\](){}|]|[^\s\[\](){}<>|]+"
)
_PAIRS: Final = {"[": "]", "(": ")", "{": "}"}
_BRACKET: Final = re.compile(r"\{\w+(?:=[^{}]*)?\}|[\[\](){}]")
_MARKS: Final = '.,;:!?…"“”«»()[]*¿¡'
_APOSTROPHES: Final = str.maketrans({"’": "'", "‘": "'", "–": "-", "—": " "})
_CLITIC: Final = re.compile(r"(?<=\w)(?='(?:s|m|re|ve|ll|d)(?!\w))", re.IGNORECASE)
"""Where "he's" has two words."""
_SPLIT: Final = re.compile(r"(?<=\w) (?='(?:s|m|re|ve|ll|d)(?!\w))", re.IGNORECASE)
"""Where it had one."""
_ANYTHING: Final = "*"


@dataclass(frozen=True, eq=False)
class Usage:
    """How a language is used in all of its sentences."""

    before: tuple[str, ...] = ()
    """Templates of what may stand before a sentence and doesn't change its meaning: "please", "could you"."""
    after: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    """Templates that others refer to, by name."""
    same: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """How else a word of a template may be said: "is not" for "isn't". A word takes its short form apart from
    the one before it: "he 's"."""


PLAIN: Final = Usage()
_ANY: Final[Mapping[str, Part]] = {"_": AnyWords(1, 1), "#": NumberWord(), _ANYTHING: AnyWords(0, None)}


def plain(utterance: str) -> str:
    """Its words, a space between two, without the marks around them; "7:30", "$3.50" and "it's" stay."""
    words = (word.strip(_MARKS) for word in utterance.translate(_APOSTROPHES).split())
    return " ".join(filter(None, words))


class Templates:
    """Sentence templates that mean the same."""

    def __init__(self, templates: Iterable[str], usage: Usage = PLAIN) -> None:
        """Raises `ValueError` for one that is badly written."""
        self._usage = usage
        self._templates = [
            (_parsed(each.removeprefix(_ANYTHING), usage), each.startswith(_ANYTHING)) for each in templates
        ]
        self._by_word: dict[str, list[int]] = {}
        """Which templates may fit where this word is, as they don't without one of a few words."""
        self._always: list[int] = []
        for place, (template, _) in enumerate(self._templates):
            for word in template.needs[0] if template.needs else ():
                self._by_word.setdefault(word, []).append(place)
            if not template.needs:
                self._always.append(place)

    @property
    def places(self) -> set[str]:
        """Names of all places."""
        return {name for template, _ in self._templates for name in template.places}

    def matches(self, utterance: str) -> Iterator[dict[str, str]]:
        """What stands in the places of each template that the whole utterance fits, by their names."""
        heard = _heard(utterance, self._usage)
        for template, anywhere in self._likely(heard.words):
            found = _laid_over(heard, template, anywhere)
            if found is not None:
                yield {name: _filled(heard.said, filling) for name, filling in found}

    def fit(self, utterance: str) -> bool:
        """Whether the whole utterance fits one of them."""
        return next(self.matches(utterance), None) is not None

    def fit_in(self, utterance: str, clauses: Iterable[str]) -> bool:
        """Whether the whole utterance fits one of them, or one of these clauses of it does."""
        words = _heard(utterance, self._usage).words
        likely = [*self._likely(words)]
        if not likely:
            return False
        all_heard = [_heard(each, self._usage) for each in (utterance, *clauses)]
        return any(
            heard.words.meet(template.needs) and _laid_over(heard, template, anywhere) is not None
            for template, anywhere in likely
            for heard in all_heard
        )

    def _likely(self, words: Words) -> Iterator[tuple[Part, bool]]:
        """Those whose needed words are there, in their order."""
        by_word = self._by_word
        likely = {place for word in words.there & by_word.keys() for place in by_word[word]}
        if likely or self._always:
            for place in sorted([*self._always, *likely]):
                if words.meet(self._templates[place][0].needs):
                    yield self._templates[place]


def _laid_over(heard: "_Heard", template: Part, anywhere: bool) -> Fillings | None:
    if anywhere:
        begins = dict.fromkeys(range(len(heard.words)), START)
        return template.ends(heard.words, begins).get(len(heard.words))
    ends = template.ends(heard.words, heard.begins)
    return ends.get(min(heard.ends & ends.keys(), default=-1))


def _filled(said: tuple[str, ...], filling: Filling) -> str:
    return filling if isinstance(filling, str) else _SPLIT.sub("", " ".join(said[slice(*filling)]))


@dataclass(frozen=True)
class _Heard:
    """An utterance: its words as they were said and in small letters; where a sentence in it may begin, the
    most fillers first, and where it may end."""

    said: tuple[str, ...]
    words: Words
    begins: Ends
    ends: frozenset[int]


@lru_cache(maxsize=64)
def _heard(utterance: str, usage: Usage) -> _Heard:
    said = tuple(_CLITIC.sub(" ", plain(utterance)).split())
    words = Words(word.lower() for word in said)
    if len(words) > LONGEST or len(utterance) > LONGEST_CHARACTERS:
        return _Heard(said, words, {}, frozenset())
    before, after = (_fillers(fillers, usage) for fillers in (usage.before, usage.after))
    begins, reached = {0: START}, {0: START}
    while reached := {at: START for at in before.ends(words, reached) if at not in begins}:
        begins |= reached
    ends = {len(words)}
    for at in reversed(range(len(words))):
        if ends & after.ends(words, {at: START}).keys():
            ends.add(at)
    return _Heard(said, words, dict(sorted(begins.items(), reverse=True)), frozenset(ends))


def forget_utterances() -> None:
    """Keep nothing of what was said: the latest utterances wait here for other templates."""
    _heard.cache_clear()


@lru_cache(maxsize=1024)
def _fillers(templates: tuple[str, ...], usage: Usage) -> Part:
    return choice([_parsed(each, usage) for each in templates])


@lru_cache(maxsize=8192)
def _parsed(template: str, usage: Usage) -> Part:
    """Of what stands in brackets, too: templates have much in common, and that is one part."""
    closing = _closing_brackets(template)
    options: list[list[Part]] = [[]]
    at = 0
    while (token := _TOKEN.search(template, at)) is not None:
        at = token.end()
        if token[0] == "|":
            options.append([])
        elif token[0] in _PAIRS or token["opens"]:
            end = closing[token.start()]
            inner = _parsed(template[at:end], usage)
            options[-1].append(_bracketed(token, inner))
            at = end + 1
        elif token["place"]:
            value = token["value"]
            options[-1].append(Place(token["place"], AnyWords(1, None) if value is None else NOTHING, value))
        elif name := token["named"]:
            if name not in usage.words:
                raise ValueError(f"there are no words called {name} for the sentence template {template!r}")
            options[-1].append(_parsed(usage.words[name], usage))
        else:
            words = _CLITIC.sub(" ", token[0]).split()
            options[-1] += [_ANY.get(word) or _literal(word.lower(), usage) for word in words]
    if not all(options):
        raise ValueError(f"the sentence template {template!r} is empty, or has an empty part")
    return choice([sequence(parts) for parts in options])


def _bracketed(opening: re.Match[str], inner: Part) -> Part:
    if opening["opens"]:
        return Place(opening["opens"], inner)
    return choice([inner, NOTHING]) if opening[0] == "[" else inner


def _closing_brackets(template: str) -> dict[int, int]:
    """Where each bracket closes, by where it opens."""
    closing: dict[int, int] = {}
    opened: list[int] = []
    for bracket in _BRACKET.finditer(template):
        at = bracket.start()
        if bracket[0] in _PAIRS:
            opened.append(at)
        elif bracket[0] in _PAIRS.values():
            if not opened or _PAIRS[template[opened[-1]]] != bracket[0]:
                raise ValueError(f"the sentence template {template!r} closes a bracket that isn't open")
            closing[opened.pop()] = at
    if opened:
        raise ValueError(f"the sentence template {template!r} leaves a bracket open")
    return closing


@lru_cache(maxsize=4096)
def _literal(word: str, usage: Usage) -> Part:
    others = usage.same.get(word, ())
    return choice([Word({word}), *(sequence([Word({each}) for each in other.split()]) for other in others)])
