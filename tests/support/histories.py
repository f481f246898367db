"""Histories to begin with, and what tests do with them."""

import json
from collections.abc import Callable

from localvoice.conversation.history import History
from localvoice.engines.chat import ChatMessage, ToolCall
from localvoice.engines.pictures import Image

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


def for_llm(
    history: History,
    system_prompt: str,
    limit: int | None,
    fits: Callable[[list[ChatMessage]], bool] = lambda _: True,
    notes: int = 0,
) -> list[ChatMessage]:
    """What a turn has the LLM read, and has the history trimmed to."""
    prompts = list(history.prompts(system_prompt, limit, notes))
    prompt, start = next((each for each in prompts if fits(each[0])), prompts[-1])
    history.trim(start, notes)
    return prompt


def noted(history: History) -> str:
    """All that the notes of a history hold."""
    return " ".join(line for note in history.save().get("notes", ()) for line in note["lines"])
