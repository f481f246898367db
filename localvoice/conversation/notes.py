"""Notes: what the user told in messages that the LLM is given no more, in their own words.

They are taken by rule, so they are there at once, at any pace of the talk, and hold no mistake of the LLM's:
a small one that puts them into the third person loses names and numbers. They are given as an exchange of
the conversation. It keeps its place when more is left out, so that what the LLM has read stays as it is.
"""

import json
import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count, pairwise
from typing import Final

from localvoice.engines.chat import ChatMessage

_REMEMBER: Final = "Remember what I told you earlier. {lines}"
_REMEMBERED: Final = "Yes, I remember."
_LINE_CHARACTERS: Final = 200
_ARGUMENTS_CHARACTERS: Final = 120
_ANSWER_WORDS: Final = 4
"""So short a message may mean nothing without the question that it answers."""
_FIRST_SHARE: Final = 3
"""Of facts that are too many, the first part of so many stays: names come first in a talk."""
_MOST_EXCHANGES: Final = 4
"""More of them become one again: each takes some tokens of its own."""

_SENTENCE_END: Final = re.compile(
    r"(?<=[.!?。！？])(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bMrs\.)(?<!\bProf\.)(?<!\bSt\.)(?<!\b[A-HJ-Z]\.)\s+"
)
"""Not behind a title or an initial."""
_ABOUT_THEM: Final = re.compile(
    r"\b(i|i'm|i've|i'd|i'll|my|mine|we|we're|we've|our|ours|remember)\b", re.IGNORECASE
)
_REQUEST: Final = re.compile(
    r"(please |(can|could|would|will) you )?"
    r"(tell|give|show|say|set|start|stop|cancel|play|open|read|explain|describe|spell|count|translate|convert"
    r"|repeat|what|who|whose|where|when|why|how|which|is|are|was|were|do|does|did|can|could|will|would|should)\b",
    re.IGNORECASE,
)
_REMARK_WORDS: Final = 3
"""What is so short, and not about the user, is a remark such as "Okay, thanks."."""


@dataclass(frozen=True)
class Note:
    """What the user told in some messages."""

    place: int
    """Index in the history of the message before which it is given; if that isn't given, before the first
    that is."""
    end: int
    """Index of the message behind those that it is of; 0 where they are gone."""
    lines: tuple[str, ...]
    """Sentences, oldest first."""

    def moved(self, by: int) -> "Note":
        """The same, when so many of the oldest messages go."""
        return replace(self, place=self.place - by, end=max(0, self.end - by))


def told(messages: Sequence[ChatMessage]) -> tuple[str, ...]:
    """What the user told in them, and which tools were called for it."""
    lines: list[str] = []
    given = [message for message in messages if not message.aside]
    for before, message in pairwise([None, *given]):
        if message is not None and message.role == "user":
            lines += _told_in(message.content, before)
        elif message is not None:
            lines += _done(message, given)
    return tuple(dict.fromkeys(lines))


def _told_in(words: str, before: ChatMessage | None) -> Iterator[str]:
    words = " ".join(words.split())
    asked = _SENTENCE_END.split(before.content.strip())[-1] if before and before.role == "assistant" else ""
    if asked.endswith(("?", "？")) and len(words.split()) <= _ANSWER_WORDS and not _ABOUT_THEM.search(words):
        yield f'You asked "{_cut(asked, _LINE_CHARACTERS)}" and I said "{words}"'
        return
    for sentence in _SENTENCE_END.split(words):
        if sentence and _tells(sentence):
            yield _cut(sentence, _LINE_CHARACTERS)


def _tells(sentence: str) -> bool:
    """Whether a sentence says something, rather than asks for it. What isn't sure does."""
    if sentence.endswith(("?", "？")):
        return False
    if _ABOUT_THEM.search(sentence):
        return True
    return not _REQUEST.match(sentence) and len(sentence.split()) > _REMARK_WORDS


def _done(message: ChatMessage, messages: Sequence[ChatMessage]) -> Iterator[str]:
    """What tools were called for, in the LLM's own arguments.

    What they answered is left out: times, prices and places free grow old, and the LLM can call again.
    """
    failed = {each.tool_call_id for each in messages if each.content.startswith('{"error"')}
    for call in message.tool_calls:
        if call.arguments and call.call_id not in failed:
            arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
            yield f"You used {call.name} for me: {_cut(arguments, _ARGUMENTS_CHARACTERS)}."


def with_note(notes: Sequence[Note], note: Note, characters: int) -> list[Note]:
    """The notes and one more, with so many characters at most.

    The others keep their places; where they are too many or too long, all get that of the new one.
    """
    notes = [*notes, note]
    places = {each.place for each in notes if each.lines}
    if sum(map(_size, notes)) <= characters and len(places) <= _MOST_EXCHANGES:
        return notes
    return [replace(each, place=note.place) for each in fitted(notes, characters)]


def fitted(notes: Sequence[Note], characters: int) -> list[Note]:
    """The notes with so many characters at most: what isn't about the user goes first, then the middle."""
    lines = [line for note in notes for line in note.lines]
    ends = list(accumulate(len(line) + 1 for line in lines))
    early = bisect(ends, characters // _FIRST_SHARE)

    def worth(index: int) -> tuple[bool, bool, int]:
        return bool(_ABOUT_THEM.search(lines[index])), index < early, index

    size, gone = ends[-1] if ends else 0, set[int]()
    for index in sorted(range(len(lines)), key=worth):
        if size <= characters:
            break
        size -= len(lines[index]) + 1
        gone.add(index)
    numbers = count()
    return [
        replace(note, lines=tuple(line for line in note.lines if next(numbers) not in gone)) for note in notes
    ]


def exchange(notes: Sequence[Note]) -> list[ChatMessage]:
    """How the LLM is given them; empty without any line."""
    lines = " ".join(line for note in notes for line in note.lines)
    if not lines:
        return []
    return [ChatMessage("user", _REMEMBER.format(lines=lines)), ChatMessage("assistant", _REMEMBERED)]


def _size(note: Note) -> int:
    return sum(len(line) + 1 for line in note.lines)


def _cut(text: str, characters: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= characters else f"{text[:characters]}…"
