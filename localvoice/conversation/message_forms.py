"""Messages of a conversation in other forms: merged, shortened, with words for pictures, and as JSON."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from localvoice.conversation.notes import Note
from localvoice.engines.chat import ChatMessage, ToolCall


def counts(message: ChatMessage) -> bool:
    """Whether it is a message of the user's, or one that they heard, and the LLM is given it."""
    if message.aside:
        return False
    return message.role == "user" or (message.role == "assistant" and not message.tool_calls)


def waiting_calls(messages: Sequence[ChatMessage]) -> list[str]:
    """Ids of the calls at the end that have no answer yet."""
    answered: set[str] = set()
    for message in reversed(messages):
        if message.role != "tool":
            return [call.call_id for call in message.tool_calls if call.call_id not in answered]
        answered.add(message.tool_call_id)
    return []


def in_words(message: ChatMessage) -> ChatMessage:
    """The message with words in place of its pictures."""
    if not message.images:
        return message
    pictures = (f"[Picture: {image.alt}]" if image.alt else "[Picture]" for image in message.images)
    return replace(message, content=" ".join((message.content, *pictures)), images=())


def shortened(message: ChatMessage, characters: int) -> ChatMessage:
    """The message, if it is a tool's answer, with so many characters at most."""
    if message.role != "tool" or len(message.content) <= characters:
        return message
    return replace(message, content=f"{message.content[:characters]}…")


def merge_runs(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Join what one side said in a row (a reply that was never heard leaves two): templates want turns.

    Tool calls and their answers stay apart; pictures stay with the words that they came with.
    """
    merged: list[ChatMessage] = []
    for message in messages:
        before = merged[-1] if merged else None
        if before and before.role == message.role and counts(before) and counts(message):
            content = f"{before.content} {message.content}"
            merged[-1] = replace(before, content=content, images=before.images + message.images)
        else:
            merged.append(message)
    return merged


def asked(messages: Sequence[ChatMessage]) -> list[int]:
    """Indexes of what the user said, oldest first, without what they said aside."""
    return [index for index, each in enumerate(messages) if each.role == "user" and not each.aside]


def recent(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The user's last two messages and what followed them, which show what they ask for."""
    start = (asked(messages) or [0])[-2:][0]
    return merge_runs([message for message in messages[start:] if not message.aside])


def last_call(messages: Sequence[ChatMessage]) -> ToolCall | None:
    """The last call since the user's last message."""
    start = (asked(messages) or [0])[-1]
    return next((each.tool_calls[-1] for each in reversed(messages[start:]) if each.tool_calls), None)


def last_answer(messages: Sequence[ChatMessage]) -> str:
    """What the user heard last; empty if that is nothing."""
    answers = (each.content for each in reversed(messages) if each.role == "assistant" and not each.aside)
    return next(filter(None, answers), "")


class _SavedCall(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    id: str
    name: str
    arguments: dict[str, JsonValue]


class SavedMessage(BaseModel):
    """A message as JSON, without its pictures."""

    model_config = ConfigDict(strict=True, extra="forbid")

    role: Literal["user", "assistant", "tool"]
    content: str
    tool_calls: list[_SavedCall] = []
    tool_call_id: str = ""
    aside: bool = False

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.tool_calls and self.role != "assistant" or self.tool_call_id and self.role != "tool":
            raise ValueError("only the assistant calls tools, and only tools answer")
        return self

    @classmethod
    def of(cls, message: ChatMessage) -> Self:
        fields = {
            "role": message.role,
            "content": in_words(message).content,
            "tool_calls": [
                _SavedCall(id=call.call_id, name=call.name, arguments=dict(call.arguments))
                for call in message.tool_calls
            ],
            "tool_call_id": message.tool_call_id,
            "aside": message.aside,
        }
        return cls.model_validate(fields)

    def as_chat(self) -> ChatMessage:
        calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in self.tool_calls)
        return ChatMessage(self.role, self.content, calls, self.tool_call_id, aside=self.aside)


class SavedNote(BaseModel):
    """A note as JSON. The fields are those of `Note`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    place: int
    end: int = Field(ge=0)
    lines: list[str]

    @classmethod
    def of(cls, note: Note) -> Self:
        return cls(place=note.place, end=note.end, lines=list(note.lines))

    def as_note(self) -> Note:
        return Note(self.place, self.end, tuple(self.lines))


class SavedHistory(BaseModel):
    """A history as JSON. The fields are those of `History`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    messages: list[SavedMessage] = []
    notes: list[SavedNote] = []
    dropped: int = Field(0, ge=0)

    # What version 0.3 and earlier saved in place of the notes.
    summary: str = ""
    first_given: int = Field(0, ge=0)
    summarised: int = Field(0, ge=0)
    base: str = ""
    """What was summed up of messages that are gone."""

    @field_validator("messages")
    @classmethod
    def _answers_follow_their_calls(cls, messages: list[SavedMessage]) -> list[SavedMessage]:
        waiting: set[str] = set()
        for number, message in enumerate(messages):
            if message.role == "tool" and message.tool_call_id not in waiting:
                raise ValueError(f"message {number} answers a tool call that isn't waiting for one")
            if message.role != "tool" and waiting:
                raise ValueError(f"a tool call has no answer before message {number}")
            waiting.discard(message.tool_call_id)
            waiting |= {call.id for call in message.tool_calls}
        return messages

    @model_validator(mode="after")
    def _indexes_fit(self) -> Self:
        starts = {0} | {index for index, message in enumerate(self.messages) if message.role == "user"}
        if self.first_given not in starts:
            raise ValueError("first_given is not the index of a message of the user's")
        if self.summarised > len(self.messages):
            raise ValueError("summarised is more than there are messages")
        ends = [note.end for note in self.notes]
        if ends != sorted(ends) or not starts.issuperset(ends):
            raise ValueError("the notes don't end, in order, at messages of the user's")
        if any(note.place > len(self.messages) for note in self.notes):
            raise ValueError("a note's place is behind the last message")
        return self
