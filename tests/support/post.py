"""Tools to confirm: a post that sends messages, and what was sent."""

from typing import Any

import pytest

from localvoice.engines.chat import ToolCall
from localvoice.tools import Tool, tool
from tests.support.session_room import Room

QUESTION = "Shall I send “I'm late” to Anna? Shall I use send, yes or no?"
AGAIN = "Please say yes or no. Shall I use send, yes or no?"
AGREED = ("Anna", "I'm late.")


class Post:
    """Where messages are sent, and what was."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def tools(self) -> list[Tool]:
        @tool(confirm="Shall I send “{text}” to {recipient}?")
        async def send(recipient: str, text: str) -> str:
            """Send a message to somebody."""
            self.sent.append((recipient, text))
            return "sent"

        @tool
        async def look(at: str) -> str:
            """Look at something."""
            return f"nothing at {at}"

        return [send, look]


@pytest.fixture
def post() -> Post:
    return Post()


def call(name: str = "send", call_id: str = "call-1", **arguments: Any) -> ToolCall:
    return ToolCall(call_id, name, arguments or {"recipient": "Anna", "text": "I'm late."})


async def ask(r: Room, text: str = "Tell Anna that I'm late.") -> None:
    r.session.answer_text(text)
    await r.session.settle()
