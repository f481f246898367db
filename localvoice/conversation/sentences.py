"""From the tokens of a reply to pieces that can be spoken.

The first piece is short, a clause, so that speech begins early. The second may end with a clause, so that it
is there when the first has been spoken. The others are whole sentences, so that the voice sounds natural.
Joined with spaces, the pieces are the reply.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Final

from localvoice.engines.chat import CutOff, ReplyItem, Retracted, Thinking, ToolCall

# These never look at a character twice (hence the lookbehinds and the possessive `++`): the text is searched
# again at each token, and a model that falls into a loop writes long runs of anything.
_SENTENCE_END: Final = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s)|(?<![。！？])[。！？]++[」』”]*+(?=[^。！？」』”])|\n+"
)
_WHOLE_WORD: Final = re.compile(r"(?<!\S)\S++(?=\s)")
_CLAUSE_END: Final = re.compile(r"[,;:](?=\s)|\s[–—-](?=\s)|[，、；：]")
_FIRST_CLAUSE_WORDS: Final = 3
"""A clause shorter than this isn't worth a break: "Well," sounds cut off by itself."""
_FIRST_PIECE_WORDS: Final = 6
"""Where no clause ends in so many words, the first piece ends before the next small word, or here."""
_SECOND_CLAUSE_WORDS: Final = 6
"""A clause shorter than this doesn't end the second piece."""
_LEADS_A_PHRASE: Final = frozenset(
    "and or but so because that which who where when while if as than with without for from in into on at of "
    "to by about between through".split()
)
_SENTENCE_CLOSERS: Final = frozenset(".!?…。！？")
_AFTER_CLOSER: Final = "\"'”’)]」』"
_ABBREVIATIONS: Final = frozenset(
    "mr mrs ms dr prof st sr jr vs etc inc ltd co vol fig approx dept e.g i.e a.m p.m u.s u.k "
    "jan feb apr jun jul aug sep sept oct nov dec mon tue wed thu fri".split()
)


@dataclass(frozen=True)
class Written:
    """A part of the reply's text, and the pieces that it completed."""

    text: str
    pieces: list[str]


Reply = AsyncGenerator[Written | ToolCall | CutOff | Thinking | Retracted, None]
"""What the LLM writes in one pass."""


async def written(reply: AsyncGenerator[ReplyItem, None], splitter: "Splitter") -> Reply:
    """What the LLM writes, its text cut into pieces."""
    async with aclosing(reply):
        async for item in reply:
            if isinstance(item, Retracted):
                splitter.restart()
            yield Written(item, splitter.feed(item)) if isinstance(item, str) else item


class Splitter:
    """Takes a reply as it is written and gives the pieces that are whole."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all of the reply so far."""
        self._text = ""
        self._given = 0
        self._within = True

    def feed(self, delta: str) -> list[str]:
        """Take more text; the pieces that it completed."""
        self._text += delta
        pieces: list[str] = []
        while (end := self._boundary()) is not None:
            self._cut(end, pieces)
        return pieces

    def flush(self) -> list[str]:
        """The reply is at its end: the rest of it."""
        pieces: list[str] = []
        self._cut(len(self._text), pieces)
        return pieces

    @property
    def rest(self) -> str:
        """What was taken and is in no piece yet."""
        return self._text

    def end_early(self) -> str:
        """The reply was cut off in the rest: what is to be said of it."""
        if not ends_within_sentence(self._text):
            return self._text
        if not self._within:
            return ""  # its last sentence is left out
        # The sentence has begun, but its last word may lack its end. There may be none behind a clause.
        return self._text.rsplit(None, 1)[0].rstrip(",;:") + "…" if self._text.strip() else ""

    def _cut(self, end: int, pieces: list[str]) -> None:
        taken = self._text[:end]
        piece = taken.strip()
        self._text = self._text[end:].lstrip(" \t")
        if piece:
            pieces.append(piece)
            self._given += 1
        if taken:
            self._within = ends_within_sentence(piece) and not taken.endswith("\n")

    def _boundary(self) -> int | None:
        """Where the next piece ends. Depends on the text alone, not on the deltas that it came in."""
        ends = [self._sentence_end()]
        if self._given == 0:
            ends += [self._clause_end(_FIRST_CLAUSE_WORDS), self._first_phrase_end()]
        elif self._given == 1:
            ends.append(self._clause_end(_SECOND_CLAUSE_WORDS))
        return min((end for end in ends if end is not None), default=None)

    def _first_phrase_end(self) -> int | None:
        # The last word may still be growing, so it neither counts nor ends the piece.
        whole = list(islice(_WHOLE_WORD.finditer(self._text), _FIRST_PIECE_WORDS + 1))
        for number in range(_FIRST_CLAUSE_WORDS, len(whole)):
            if number == _FIRST_PIECE_WORDS or whole[number].group().lower() in _LEADS_A_PHRASE:
                return whole[number - 1].end()
        return None

    def _sentence_end(self) -> int | None:
        for match in _SENTENCE_END.finditer(self._text):
            if not _is_false_end(self._text[: match.end()]):
                return match.end()
        return None

    def _clause_end(self, least_words: int) -> int | None:
        for match in _CLAUSE_END.finditer(self._text):
            if len(self._text[: match.end()].split()) >= least_words:
                return match.end()
        return None


def ends_within_sentence(piece: str) -> bool:
    """Whether the sentence goes on in the next piece."""
    return piece.rstrip(_AFTER_CLOSER)[-1:] not in _SENTENCE_CLOSERS


def _is_false_end(text: str) -> bool:
    """Whether the full stop that ends this text belongs to an abbreviation, an initial or a list number."""
    if not text.endswith("."):
        return False
    words = text[:-1].split()
    if not words or text.endswith(".."):
        return False
    last = words[-1].lstrip("(\"'“‘").lower()
    is_initial = len(last) == 1 and last.isalpha() and words[-1][-1].isupper() and last != "i"
    is_list_number = last.isdigit() and re.search(r"(?:^|\n)\s*\d+\.$", text) is not None
    return last in _ABBREVIATIONS or is_initial or is_list_number
