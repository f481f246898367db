"""An utterance by its sentences and clauses: what stands around a wish, and what several of them ask for."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from localvoice.languages import Language

_LIGHT: Final = ("stop", "again", "again.louder", "again.slower", "thanks")
"""What is said before and after something else: "sorry, what time is it?"."""
_FEW_WORDS: Final = 7
_SENTENCES: Final = re.compile(r"(?<=[.!?…])\s+")
_CLAUSES: Final = re.compile(r"(?<=[.!?…,;:])\s+")


def sentences_of(words: str) -> list[str]:
    """Each with the mark at its end."""
    return _SENTENCES.split(words.strip())


def clauses_of(words: str) -> list[str]:
    """Each with the mark at its end."""
    return _CLAUSES.split(words.strip())


def parts(words: str, known: Language) -> Iterator[str]:
    """The words, and then what is left without light ones around them, if these are clauses of their own."""
    yield words
    clauses = clauses_of(words)
    if len(clauses) == 1:
        return
    light = [_is_light(clause, known) for clause in clauses]
    if all(light):
        yield next((each for each in reversed(clauses) if not known.fillers.fit(each)), "")
        return
    first = light.index(False)
    last = len(light) - light[::-1].index(False)
    for begin in range(1, first + 1):
        yield " ".join(clauses[begin:])
    if last < len(clauses):
        yield " ".join(clauses[:last])
        yield " ".join(clauses[first:last])


def _is_light(clause: str, known: Language) -> bool:
    return known.fillers.fit(clause) or any(
        known.phrases[name].fit(clause) for name in _LIGHT if name in known.phrases
    )


def joint_wish(words: str, known: Language, wished: Callable[[str], str | None]) -> str | None:
    """What all clauses together ask for, of which some may only tell why: "I'm on the phone, hush.".

    `wished` gives the name of what a clause asks for: stop words, repairs, another manner.
    """
    clauses = clauses_of(words)
    if len(clauses) == 1:
        return None
    names: set[str] = set()
    for clause in clauses:
        if (name := wished(clause)) is not None:
            names.add(name)
        elif clause.endswith("?") or not (known.fillers.fit(clause) or known.asides.fit(clause)):
            return None
    kinds = {name.partition(".")[0] for name in names}
    ways = {way for name in names if (way := name.partition(".")[2])}
    if not names or len(ways) > 1 or len(kinds - {"manner"}) > 1 or kinds == {"stop", "manner"}:
        return None
    name = ".".join(["again" if "again" in kinds else kinds.pop(), *ways])
    return None if known.excuses(name, words) else name


def brief_wishes(words: str, known: Language) -> list[str]:
    """What the first or the last clause asks for, among a few words that ask nothing: "Louder, I cook."."""
    clauses = clauses_of(words)
    if len(clauses) == 1 or words.rstrip().endswith("?"):
        return []
    others = ((clauses[0], clauses[1:]), (clauses[-1], clauses[:-1]))
    return [
        name
        for name, brief in known.brief.items()
        if not known.excuses(name, words)
        and any(brief.fit(one) and len(" ".join(rest).split()) <= _FEW_WORDS for one, rest in others)
    ]
