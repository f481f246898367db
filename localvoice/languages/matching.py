"""How a sentence template is laid over words: every way at once, so that no utterance takes long.

A part is given where it may begin, and tells where it may end. With each place in the words goes what stands
in the template's places so far; of two ways to get there, the one that begins first counts. What many
templates have in common, such as a length of time, is looked for once in an utterance, and only where one of
its first words stands.
"""

from collections.abc import Collection, Iterable
from typing import Final, Protocol, Self

Filling = tuple[int, int] | str
"""Which words stand in a place of the template, or the text that it stands for."""
Fillings = tuple[tuple[str, Filling], ...]
"""Of each place so far, by its name."""
Ends = dict[int, Fillings]
"""Where in the words it goes on, and what stands in the places up to there."""
START: Final[Fillings] = ()
Needs = tuple[frozenset[str], ...]
"""Sets of words, the smallest first, of each of which one is needed."""
_NO_NAMES: Final = frozenset[str]()
_A_DIGIT: Final = "#"
"""Stands among the needs for any word with a digit."""


class Words(tuple[str, ...]):
    """An utterance, word by word, in small letters."""

    known_ends: "dict[tuple[Part, int], tuple[int, ...]]"
    """Where a part without places may end, which begins at this word."""
    there: frozenset[str]
    each: tuple[frozenset[str], ...]
    """What stands at each place; nothing after the last."""

    def __new__(cls, words: Iterable[str]) -> Self:
        new = super().__new__(cls, words)
        new.known_ends = {}
        new.each = tuple(frozenset((word, _A_DIGIT) if _has_digit(word) else (word,)) for word in new)
        new.there = frozenset().union(*new.each)
        new.each += (frozenset(),)
        return new

    def meet(self, needs: Needs) -> bool:
        """Whether they have a word of each."""
        there = self.there
        for need in needs:  # in a loop: for each utterance it is asked of a thousand templates
            if need.isdisjoint(there):
                return False
        return True


def _has_digit(word: str) -> bool:
    return any(letter.isdigit() for letter in word)


class Part(Protocol):
    """A part of a template."""

    needs: Needs
    """What it doesn't fit without."""
    places: frozenset[str]
    """Names of the places in it."""
    first: frozenset[str] | None
    """What it begins with, if it takes a word; None: any."""
    optional: bool
    """Whether it may take no word."""

    def ends(self, words: Words, begins: Ends) -> Ends:
        """Where it may end, if it begins at one of these."""
        ...


class Word:
    """One of these words."""

    def __init__(self, words: Collection[str]) -> None:
        self.words: Final = frozenset(words)
        self.needs: Needs = (self.words,)
        self.places: frozenset[str] = _NO_NAMES
        self.first: frozenset[str] | None = self.words
        self.optional: bool = False

    def ends(self, words: Words, begins: Ends) -> Ends:
        count = len(words)
        return {at + 1: fillings for at, fillings in begins.items() if at < count and words[at] in self.words}


class AnyWords:
    """So many words, whichever they are; the fewest first."""

    def __init__(self, least: int, most: int | None) -> None:
        self.needs: Needs = ()
        self.places: frozenset[str] = _NO_NAMES
        self.first: frozenset[str] | None = None
        self.optional: bool = least == 0
        self._least, self._most = least, most

    def ends(self, words: Words, begins: Ends) -> Ends:
        found: Ends = {}
        for begin, fillings in begins.items():
            last = len(words) if self._most is None else min(begin + self._most, len(words))
            for end in range(begin + self._least, last + 1):
                found.setdefault(end, fillings)
        return found


class NumberWord:
    """A word with a digit in it."""

    needs: Needs = (frozenset([_A_DIGIT]),)
    places: frozenset[str] = _NO_NAMES
    first: frozenset[str] | None = frozenset([_A_DIGIT])
    optional: bool = False

    def ends(self, words: Words, begins: Ends) -> Ends:
        count = len(words)
        return {at + 1: fillings for at, fillings in begins.items() if at < count and _has_digit(words[at])}


class Place:
    """A part with a name, for what stands there or for a text of its own."""

    def __init__(self, name: str, part: Part, value: str | None = None) -> None:
        self.needs: Needs = part.needs
        self.places = frozenset([name])
        self.first: frozenset[str] | None = part.first
        self.optional: bool = part.optional
        self._name, self._part, self._value = name, part, value

    def ends(self, words: Words, begins: Ends) -> Ends:
        found: Ends = {}
        for begin, fillings in begins.items():
            for end, before in self._part.ends(words, {begin: fillings}).items():
                filling = (begin, end) if self._value is None else self._value
                found.setdefault(end, (*before, (self._name, filling)))
        return found


def sequence(parts: list[Part]) -> Part:
    """One part after the other."""
    return parts[0] if len(parts) == 1 else _Sequence(parts)


class _Sequence:
    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self.needs: Needs = tuple(sorted({need for part in parts for need in part.needs}, key=len))
        self.places = _names(parts)
        self.optional: bool = all(part.optional for part in parts)
        needed = next((at for at, part in enumerate(parts) if not part.optional), len(parts))
        self.first: frozenset[str] | None = _first(parts[: needed + 1])

    def ends(self, words: Words, begins: Ends) -> Ends:
        for part in self._parts:
            if not begins:
                break
            begins = part.ends(words, begins)
        return begins


def choice(parts: list[Part]) -> Part:
    """One of several parts."""
    single = [part for part in parts if isinstance(part, Word)]
    if len(single) > 1:
        others = [part for part in parts if not isinstance(part, Word)]
        parts = [Word(frozenset().union(*(part.words for part in single))), *others]
    return parts[0] if len(parts) == 1 else _Choice(parts)


class _Choice:
    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        either = all(part.needs for part in parts)
        self.needs: Needs = (frozenset().union(*(part.needs[0] for part in parts)),) if either else ()
        self.places = _names(parts)
        self.optional: bool = any(part.optional for part in parts)
        self.first: frozenset[str] | None = _first(parts)

    def ends(self, words: Words, begins: Ends) -> Ends:
        found: Ends = {}
        for begin, before in begins.items():
            if not self.places:
                for end in self._ends_from(words, begin):
                    found.setdefault(end, before)
                continue
            for part in self._likely(words, begin):
                for end, fillings in part.ends(words, {begin: before}).items():
                    found.setdefault(end, fillings)
        return found

    def _likely(self, words: Words, begin: int) -> list[Part]:
        there = words.each[begin]
        return [
            part
            for part in self._parts
            if part.optional or part.first is None or not part.first.isdisjoint(there)
        ]

    def _ends_from(self, words: Words, begin: int) -> tuple[int, ...]:
        if (known := words.known_ends.get((self, begin))) is None:
            start = {begin: START}
            all_ends = dict.fromkeys(
                end for part in self._likely(words, begin) for end in part.ends(words, start)
            )
            known = words.known_ends[self, begin] = tuple(all_ends)
        return known


def _names(parts: list[Part]) -> frozenset[str]:
    told = [part.places for part in parts if part.places]
    return _NO_NAMES.union(*told) if told else _NO_NAMES


def _first(parts: Iterable[Part]) -> frozenset[str] | None:
    """What one of these begins with."""
    told = [part.first for part in parts]
    known = [words for words in told if words is not None]
    return frozenset().union(*known) if len(known) == len(told) else None


NOTHING: Final[Part] = _Sequence([])
"""No word."""
