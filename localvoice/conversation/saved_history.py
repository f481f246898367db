"""A conversation's history as JSON holds it."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from localvoice.engines.types import ChatMessage, ToolCall


class SavedCall(BaseModel):
    """A call of a tool, as JSON."""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: str
    name: str
    arguments: dict[str, JsonValue]


class SavedMessage(BaseModel):
    """A message as JSON."""

    model_config = ConfigDict(strict=True, extra="forbid")

    role: Literal["user", "assistant", "tool"]
    content: str
    tool_calls: list[SavedCall] = []
    tool_call_id: str = ""

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.tool_calls and self.role != "assistant" or self.tool_call_id and self.role != "tool":
            raise ValueError("only the assistant calls tools, and only tools answer")
        return self

    @classmethod
    def of(cls, message: ChatMessage) -> Self:
        """The message without its pictures."""
        calls = [
            SavedCall(id=call.call_id, name=call.name, arguments=dict(call.arguments))
            for call in message.tool_calls
        ]
        return cls.model_validate(
            {
                "role": message.role,
                "content": message.content,
                "tool_calls": calls,
                "tool_call_id": message.tool_call_id,
            }
        )

    def as_chat(self) -> ChatMessage:
        """As the LLM is given it."""
        calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in self.tool_calls)
        return ChatMessage(self.role, self.content, calls, self.tool_call_id)


class SavedHistory(BaseModel):
    """A history as JSON."""

    model_config = ConfigDict(strict=True, extra="forbid")

    messages: list[SavedMessage] = []
    summary: str = ""
    first_given: int = Field(0, ge=0)
    summarised: int = Field(0, ge=0)
    dropped: int = Field(0, ge=0)
    base: str = ""

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Self:
        """What was saved. Raises `ValueError` if it is broken."""
        try:
            return cls.model_validate(saved)
        except ValidationError as error:
            first = error.errors()[0]
            raise unreadable(".".join(map(str, first["loc"])) or "all of it", first["msg"]) from None


def unreadable(where: str, why: str) -> ValueError:
    """Where a saved conversation is broken, and what to do."""
    return ValueError(f"The saved conversation can't be read ({where}: {why}). Delete it to begin a new one.")
