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
    SavedNote,
    asked,
    counts,
    in_words,
    merge_runs,
    shortened,
    waiting_calls,
)
from localvoice.conversation.notes import Note, exchange, fitted, told, with_note
from localvoice.engines.chat import ChatMessage, ToolCall
from localvoice.engines.pictures import Image

log = logging.getLogger(__name__)

CANCELLED: Final = '{"error": "cancelled: the user interrupted"}'
"""The answer to a call whose turn ended first. Told rather than dropped: the tool may have done its work, and
the LLM's cache, in which the call stands, still fits."""
_SHORTER: Final = (1000, 100)
"""Characters to which tools' answers and notes are cut, one size after the other, where one turn passes the
context."""
_READ_AGAIN: Final = 2000
"""Characters of the past that the LLM is given at most where it has to read all of it again. More would keep
the user waiting."""
_KEPT: Final = 100
"""Messages that are kept though the LLM is given them no more: "forget that" may be said again and again. Of
twice as many the oldest go."""


@dataclass(slots=True)
class History:
    """The messages of one conversation, oldest first, without the system prompt.

    Where something is left out of what the LLM is given, notes stand for it. `notes` is how many characters
    they may have; 0 makes none.
    """

    messages: list[ChatMessage] = field(default_factory=list)
    """What the user said and heard, and what tools were called for it; of very many, the latest."""
    revision: int = field(default=0, compare=False)
    """Goes up with each change of what the LLM would be given."""
    _notes: list[Note] = field(default_factory=list)
    """Of the messages that the LLM is given no more, oldest first; the first ones may be of what is gone."""
    _unread: bool = field(default=False, compare=False)
    """Whether the LLM has to read all of it again."""
    _dropped: int = 0
    """Messages of the user's that are gone, because there were too many."""
    talk: object = field(default_factory=object, compare=False)
    """Another one from where something was forgotten (`Prompt.talk`)."""

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

    def prompts(
        self, system_prompt: str, limit: int | None, notes: int = 0
    ) -> Iterator[tuple[list[ChatMessage], int]]:
        """What the LLM may be given: each one shorter than the one before, and where its past begins.

        The first has at most `limit` messages, where there is a limit: the user's first, with the notes. Tool
        calls and their answers belong to their turn and don't count. The others leave older turns out, until
        only the latest is left; then its tools' answers are shortened. Nothing changes: `trim` forgets.
        """
        system = ChatMessage("system", system_prompt)
        start = self._cut(self._readable(), limit)
        while True:
            noted = self._noted(start, notes)
            yield [system, *merge_runs(self._given(start, noted))], start
            if start >= self._latest_user():
                break
            start = self._cut(start, sum(map(counts, self.messages[start:])) - 1)
        for characters in _SHORTER:
            given = self._given(start, fitted(noted, characters))
            yield [system, *merge_runs([shortened(message, characters) for message in given])], start

    def trim(self, start: int, notes: int = 0) -> None:
        """The LLM is given nothing more of what is before this index, but notes of it."""
        self._unread = self._unread and start < self._readable()
        if (start := min(start, self._latest_user())) > self._first_given:
            self._notes = self._noted(start, notes)
            self.revision += 1

    def make_room(self, limit: int | None, notes: int = 0) -> None:
        """Between turns: leave out now what the user's next message would push out."""
        self._settle()
        # When the limit is passed, half of the past goes at once: the LLM's cache holds as long as its prompt
        # begins with the same words, so leaving out one message a turn would have it read all others again.
        if limit is not None:
            self.trim(self._cut(self._readable(), limit - 1), notes)
        self._drop_oldest()

    def read_again(self) -> None:
        """The LLM knows nothing of it any more: of a long past, it is given the latest part and notes."""
        self._unread = True

    def let_go_of_pictures(self) -> None:
        """Keep words in their places."""
        self.messages[:] = map(in_words, self.messages)
        self.revision += 1

    def forget_last(self) -> int:
        """Forget the user's last message and all after it; how many of theirs that were.

        What they said aside goes with what they said before it. Notes that hold some of it go as a whole: the
        messages that they were of are given again.
        """
        told = asked(self.messages)
        cut = told[-1] if told else self._latest_user()
        if self._dropped and not told:  # of what is gone but for its notes, those go as a whole
            self.clear()
            return 1
        count = sum(message.role == "user" for message in self.messages[cut:])
        if not count:
            return 0
        del self.messages[cut:]
        self.talk = object()
        self.revision += 1
        given = self._latest_user()  # the latest turn that is left is given in full
        self._notes = [replace(note, place=min(note.place, cut)) for note in self._notes if note.end <= given]
        return count

    def copy(self) -> "History":
        return replace(self, messages=[*self.messages], _notes=[*self._notes])

    def clear(self) -> None:
        self.messages.clear()
        self._notes.clear()
        self._dropped = 0
        self.talk = object()
        self.revision += 1

    def save(self) -> dict[str, Any]:
        """What `restore` needs, as JSON types; of pictures only what they show."""
        fields = {
            "messages": [SavedMessage.of(message) for message in self.messages],
            "notes": [SavedNote.of(note) for note in self._notes],
            "dropped": self._dropped,
        }
        return SavedHistory.model_validate(fields).model_dump(exclude_defaults=True)

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
        messages = [message.as_chat() for message in past.messages]
        notes = [note.as_note() for note in past.notes]
        if past.first_given or past.base:  # saved by version 0.3 or earlier
            notes = [
                Note(past.first_given, 0, (past.base,) if past.base else ()),
                Note(past.first_given, past.first_given, told(messages[: past.first_given])),
            ]
        history = History(messages, _notes=notes, _unread=True, _dropped=past.dropped)
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

    @property
    def _first_given(self) -> int:
        """Index of the first message that the LLM is given, but for a limit."""
        return self._notes[-1].end if self._notes else 0

    def _readable(self) -> int:
        """The same, where what has to be read again is bounded."""
        first, size = self._first_given, 0
        for index in reversed(range(first, len(self.messages) if self._unread else first)):
            size += len(self.messages[index].content)
            if size > _READ_AGAIN:
                return self._first_user(range(index + 1, len(self.messages)), self._latest_user())
        return first

    def _noted(self, start: int, characters: int) -> list[Note]:
        """The notes, with those of what is before this index."""
        if start <= self._first_given:
            return self._notes
        ended = self.messages[-1].role == "assistant" and not self.messages[-1].tool_calls
        place = len(self.messages) if ended else self._latest_user()
        while not ended and place > start and self.messages[place - 1].role == "user":
            place -= 1  # what they said in a row stays together
        lines = told(self.messages[self._first_given : start]) if characters else ()
        return with_note(self._notes, Note(place, start, lines), characters)

    def _given(self, start: int, notes: Sequence[Note]) -> list[ChatMessage]:
        """The messages from there on, with the notes in their places."""
        # What the agent said before the user is left out: templates want the user first.
        first = self._first_user(range(start, len(self.messages)), len(self.messages))
        given: list[ChatMessage] = []
        for place in sorted({note.place for note in notes}):
            here = max(first, place)
            given += self.messages[first:here]
            given += exchange([note for note in notes if note.place == place])
            first = here
        return [message for message in (*given, *self.messages[first:]) if not message.aside]

    def _drop_oldest(self) -> None:
        """Bound what is kept, and so what a long conversation costs in memory, on disk and in time."""
        spare = self._first_given - _KEPT
        cut = max((note.end for note in self._notes if note.end <= spare), default=0)
        if spare < _KEPT or not cut:
            return
        self._dropped += sum(message.role == "user" for message in self.messages[:cut])
        del self.messages[:cut]
        gone, notes = dict[int, tuple[str, ...]](), [note.moved(cut) for note in self._notes]
        for note in notes:
            if not note.end and note.lines:
                gone[note.place] = gone.get(note.place, ()) + note.lines
        self._notes = [Note(place, 0, lines) for place, lines in gone.items()]
        self._notes += [note for note in notes if note.end]
        self.revision += 1

    def _cut(self, start: int, limit: int | None) -> int:
        """Where the past begins if at most `limit` messages of it are given: with one of the user's."""
        if limit is None:
            return start
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
