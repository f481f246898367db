"""What was said and heard in a conversation, and how much of it the LLM is given.

A tool's answer follows its call. Only calls at the very end may still wait for theirs: what is added next
answers those as cancelled.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from localvoice.conversation.message_forms import (
    SavedHistory,
    SavedMessage,
    counts,
    in_words,
    merge_runs,
    shortened,
    waiting_calls,
)
from localvoice.engines.types import ChatMessage, Image, ToolCall

log = logging.getLogger(__name__)

CANCELLED: Final = '{"error": "cancelled: the user interrupted"}'
"""The answer to a call whose turn ended first. Told rather than dropped: the tool may have done its work, and
the LLM's cache, in which the call stands, still fits."""
_EARLIER: Final = "Earlier in this conversation: {summary}\n\n{words}"
"""The summary stands before the first message that is given. In the system prompt, which comes before tools
and examples, each new one would have the LLM read all of these again."""
_SHORTER_RESULTS: Final = (1000, 100)
"""Characters to which tools' answers are cut, one size after the other, where one turn passes the context."""
_KEPT: Final = 100
"""Messages that are kept though the LLM is given them no more: "forget that" may be said again and again. Of
twice as many the oldest go."""
_UNNOTED: Final = 1000
"""The same while the LLM finds no time to sum them up."""
_NOTES_APART: Final = 25
"""Messages between two states of the notes that are remembered."""


@dataclass(frozen=True)
class Passage:
    """Messages that the LLM is given no more, or soon won't be, and that no summary holds yet."""

    messages: tuple[ChatMessage, ...]
    """At least one, oldest first."""
    before: ChatMessage | None
    summary: str
    """Of what was said before them; empty at first."""
    start: int
    """Index of the first one in the history."""
    era: int
    """How often the history had been cleared, or a part of it forgotten."""


@dataclass(slots=True)
class History:
    """The messages of one conversation, oldest first, without the system prompt."""

    messages: list[ChatMessage] = field(default_factory=list)
    """What the user said and heard, and what tools were called for it; of very many, the latest."""
    summary: str = ""
    """What the messages that the LLM is given no more said."""
    revision: int = field(default=0, compare=False)
    """Goes up with each change of what the LLM would be given."""
    _first_given: int = 0
    _summarised: int = 0
    """Messages at the beginning that the summary holds."""
    _era: int = 0
    _dropped: int = 0
    """Messages of the user's that are gone, because there were too many."""
    _notes: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")])
    """Earlier summaries, each with the number of messages that it sums up. The first one is of what is gone:
    where the notes go, the next ones begin with it."""

    @property
    def exchanges(self) -> int:
        """Messages of the user's, in all."""
        return self._dropped + sum(message.role == "user" for message in self.messages)

    def add_user(self, text: str, images: Sequence[Image] = (), aside: bool = False) -> None:
        """The user said this. Of what is said `aside` the LLM isn't told, nor of the answer."""
        self._settle()
        self._append(ChatMessage("user", text, images=tuple(images), aside=aside))

    def add_assistant(self, text: str) -> None:
        """The user heard this."""
        self._answer_waiting()
        aside = bool(self.messages) and self.messages[-1].aside
        self._append(ChatMessage("assistant", text, aside=aside))

    def add_calls(self, calls: Sequence[ToolCall]) -> None:
        if not calls:
            raise ValueError("There is no call to add.")
        self._answer_waiting()
        self._append(ChatMessage("assistant", "", tool_calls=tuple(calls)))

    def add_result(self, call_id: str, content: str) -> None:
        """A tool answered; JSON. Without effect where nothing waits for it: it was cancelled or forgotten."""
        if call_id in waiting_calls(self.messages):
            self._append(ChatMessage("tool", content, tool_call_id=call_id))
        else:
            log.debug("a tool answered too late: %s", call_id)

    def prompts(self, system_prompt: str, limit: int) -> Iterator[tuple[list[ChatMessage], int]]:
        """What the LLM may be given: each one shorter than the one before, and where its past begins.

        The first has at most `limit` messages: the user's first, with the summary. Tool calls and their
        answers belong to their turn and don't count. The others leave older turns out, until only the latest
        is left; then its tools' answers are shortened. Nothing changes: `trim` forgets.
        """
        start = self._cut(self._first_given, limit)
        while True:
            # What the agent said before the user is left out: templates want the user first.
            first = self._first_user(range(start, len(self.messages)), len(self.messages))
            given = [message for message in self.messages[first:] if not message.aside]
            prompt = [ChatMessage("system", system_prompt), *self._with_summary(merge_runs(given))]
            yield prompt, start
            if start >= self._latest_user():
                break
            start = self._cut(start, sum(map(counts, given)) - 1)
        for characters in _SHORTER_RESULTS:
            prompt = [shortened(message, characters) for message in prompt]
            yield prompt, start

    def trim(self, start: int) -> None:
        """The LLM is given nothing more of what is before this index."""
        if (start := min(start, self._latest_user())) > self._first_given:
            self._first_given = start
            self.revision += 1

    def make_room(self, limit: int, noted: bool = True) -> None:
        """Between turns: forget now what the user's next message would push out.

        `noted`: what is forgotten is summed up when there is time for that.
        """
        self._settle()
        # When the limit is passed, half of the past goes at once: the LLM's cache holds as long as its prompt
        # begins with the same words, so leaving out one message a turn would have it read all others again.
        self.trim(self._cut(self._first_given, limit - 1))
        self._drop_oldest(noted)

    def let_go_of_pictures(self) -> None:
        """Keep words in their places."""
        self.messages[:] = map(in_words, self.messages)
        self.revision += 1

    def passage(self, limit: int) -> Passage | None:
        """What the LLM is not given after `make_room`, and the summary doesn't hold; None if nothing is."""
        start, end = self._summarised, self._cut(self._first_given, limit - 1)
        if end <= start:
            return None
        before = self.messages[start - 1] if start else None
        return Passage(tuple(self.messages[start:end]), before, self.summary, start, self._era)

    def sum_up(self, passage: Passage, count: int, summary: str) -> bool:
        """From now on `summary` stands for all that was said up to the first `count` messages of the passage.

        False, and without effect, if something was forgotten or summed up since the passage was taken.
        """
        if (passage.era, passage.start) != (self._era, self._summarised):
            return False
        self.revision += 1
        self.summary = summary
        self._summarised += count
        if self._summarised >= self._notes[-1][0] + _NOTES_APART:
            self._notes.append((self._summarised, summary))
        if count == len(passage.messages):  # a part of it alone would leave a turn without its beginning
            self._first_given = max(self._first_given, self._summarised)
        return True

    def forget_last(self) -> bool:
        """Forget the user's last message and all after it; False if they have said nothing.

        Notes that hold some of it go as a whole; `passage` gives what is left of them again.
        """
        cut = self._latest_user()
        if not self.messages or self.messages[cut].role != "user":
            if had := self._dropped > 0:  # of what is gone but for its notes, those go as a whole
                self.clear()
            return had
        del self.messages[cut:]
        self._era += 1
        self.revision += 1
        if self._summarised > cut:
            self.summary = self._notes[0][1]
            self._first_given = self._summarised = 0
            del self._notes[1:]
        self._first_given = min(self._first_given, self._latest_user())
        return True

    def copy(self) -> "History":
        return replace(self, messages=[*self.messages], _notes=[*self._notes])

    def clear(self) -> None:
        self.messages.clear()
        self.summary = ""
        self._notes[:] = [(0, "")]
        self._dropped = self._first_given = self._summarised = 0
        self._era += 1
        self.revision += 1

    def save(self) -> dict[str, Any]:
        """What `restore` needs, as JSON types; of pictures only what they show."""
        saved = SavedHistory(
            messages=[SavedMessage.of(message) for message in self.messages],
            summary=self.summary,
            first_given=self._first_given,
            summarised=self._summarised,
            dropped=self._dropped,
            base=self._notes[0][1],
        )
        return saved.model_dump(exclude_defaults=True)

    @staticmethod
    def restore(saved: Mapping[str, Any]) -> "History":
        """The history that was saved; open calls are cancelled. Raises `ValueError` if it is broken."""
        try:
            past = SavedHistory.model_validate(saved)
        except ValidationError as error:
            first = error.errors()[0]
            where, why = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
            why = f"{where}: {why}" if where else why
            raise ValueError(
                f"The saved conversation can't be read ({why}). Delete it to begin a new one."
            ) from None
        history = History(
            [message.as_chat() for message in past.messages],
            past.summary,
            _first_given=past.first_given,
            _summarised=past.summarised,
            _dropped=past.dropped,
            _notes=[(0, past.base)],
        )
        history._answer_waiting()
        return history

    def _append(self, message: ChatMessage) -> None:
        self.messages.append(message)
        self.revision += 1

    def _settle(self) -> None:
        """A turn is over: no tool answers any more, and its pictures are put in words."""
        self._answer_waiting()
        if self.messages and self.messages[-1].role != "user":
            self.let_go_of_pictures()

    def _answer_waiting(self) -> None:
        for call_id in waiting_calls(self.messages):
            self._append(ChatMessage("tool", CANCELLED, tool_call_id=call_id))

    def _with_summary(self, given: list[ChatMessage]) -> list[ChatMessage]:
        if not self.summary or not given:
            return given
        words = _EARLIER.format(summary=self.summary, words=given[0].content)
        return [replace(given[0], content=words), *given[1:]]

    def _drop_oldest(self, noted: bool) -> None:
        """Bound what is kept, and so what a long conversation costs in memory, on disk and in time."""
        spare = self._first_given - _KEPT
        if spare < _KEPT:
            return
        cut, base = next(note for note in reversed(self._notes) if note[0] <= spare)
        if not cut:
            if noted and spare < _UNNOTED:
                return
            cut = self._first_user(range(spare, 0, -1), 0)
        self._dropped += sum(message.role == "user" for message in self.messages[:cut])
        del self.messages[:cut]
        self._first_given -= cut
        self._summarised = max(0, self._summarised - cut)
        self._notes = [(0, base), *((end - cut, summary) for end, summary in self._notes if end > cut)]
        self._era += 1
        self.revision += 1

    def _cut(self, start: int, limit: int) -> int:
        """Where the past begins if at most `limit` messages of it are given: with one of the user's."""
        counted = [index for index in range(start, len(self.messages)) if counts(self.messages[index])]
        if len(counted) <= limit:
            return start
        kept = (max(limit, 0) + 1) // 2
        cut = counted[-kept] if kept else len(self.messages)
        return self._first_user(range(cut, len(self.messages)), self._latest_user())

    def _latest_user(self) -> int:
        """Index of the latest message of the user's, which is never forgotten; 0 while there is none."""
        return self._first_user(reversed(range(len(self.messages))), 0)

    def _first_user(self, indexes: Iterable[int], default: int) -> int:
        return next((index for index in indexes if self.messages[index].role == "user"), default)
