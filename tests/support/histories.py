"""Histories to begin with, and what tests do with them."""

import json

from localvoice.conversation.history import History
from localvoice.engines.types import ChatMessage, Image, ToolCall

DOOR = Image(b"door", "image/png", "a red door")


def after_turns(count: int) -> History:
    history = History()
    for turn in range(count):
        history.add_user(f"question {turn}")
        history.add_assistant(f"answer {turn}")
    return history


def call(call_id: str) -> ToolCall:
    return ToolCall(call_id, "look_up", {"word": call_id})


def contents(messages: list[ChatMessage]) -> list[str]:
    return [message.content for message in messages[1:]]


def through_json(history: History) -> History:
    return History.restore(json.loads(json.dumps(history.save())))
