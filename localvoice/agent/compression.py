"""Old messages become a short summary, written by the LLM while nobody waits for it.

What was said long ago is given to the LLM no more; its summary is, behind the system prompt. It changes only
here, so the LLM's cache of the prompt holds from one compression to the next.
"""

import json
import logging
import re
from contextlib import aclosing
from typing import Final

from localvoice.agent.history import History, Passage
from localvoice.contract.errors import VoiceError
from localvoice.engines.protocols import ChatMessage, Llm, Sampling, ToolCall

log = logging.getLogger(__name__)

SUMMARY_TOKENS: Final = 120
"""Length of a summary at most; three seconds of work for a 0.5B model on two cores."""

_STEP_TOKENS: Final = 768
"""What the LLM reads in one step at most: some four seconds for a 0.5B model on two cores, so that a short gap
is enough for a step, however much waits to be summarised."""
_MESSAGE_CHARACTERS: Final = 600
_RESULT_CHARACTERS: Final = 120
"""Of a tool's arguments, or its answer."""
_LEAST_CHARACTERS: Final = 40
"""A single message that is too long for the context is shortened down to this."""

_TASK: Final = (
    "You keep short notes about a conversation between a user and a voice assistant, so that the assistant "
    "remembers it. Write plain sentences in the third person. Keep names, numbers, facts, wishes and open "
    "questions. Leave out small talk. Invent nothing."
)
_UNFINISHED: Final = re.compile(r"(?<=[.!?。！？])[^.!?。！？]*$")
"""What follows the last whole sentence."""


async def compress(history: History, llm: Llm, limit: int, max_tokens: int = SUMMARY_TOKENS) -> bool:
    """Summarise what `make_room(limit)` would forget and what is forgotten already; whether anything was.

    May be cancelled at any time: a step changes the history when it is done, or not at all, and the next call
    goes on from there. A failure is logged, and what is old is forgotten without a summary until a later call
    succeeds. The LLM's cache holds another prompt afterwards: `prepare` the next one.
    """
    # A small context has no room for a long summary beside the conversation.
    max_tokens = min(max_tokens, llm.context_tokens // 8)
    changed = False
    while (passage := history.passage(limit)) is not None:
        count, request = _request(passage, llm, max_tokens)
        try:
            summary = await _write(llm, request, max_tokens)
        except VoiceError as error:
            log.warning("what was said earlier could not be summarised: %s", error)
            break
        if not summary or not history.sum_up(passage, count, summary):
            log.debug("the summary of %d messages is of no use", count)
            break
        log.debug("summarised %d messages in %d characters", count, len(summary))
        changed = True
    return changed


def _request(passage: Passage, llm: Llm, max_tokens: int) -> tuple[int, list[ChatMessage]]:
    """How many messages of the passage one step takes, and what the LLM is asked; it fits the context."""
    room = min(_STEP_TOKENS, llm.context_tokens - max_tokens)
    lines = [_line(message) for message in passage.messages]
    while llm.prompt_tokens(request := _ask(passage.summary, lines)) > room:
        if len(lines) > 1:
            lines = lines[: len(lines) // 2]
        elif len(lines[0]) > _LEAST_CHARACTERS:
            lines = [lines[0][: len(lines[0]) // 2]]
        else:
            break
    return len(lines), request


def _ask(summary: str, lines: list[str]) -> list[ChatMessage]:
    earlier = f"Your notes so far: {summary}\n\nThen they said:\n" if summary else "They said:\n"
    task = (
        "Write your notes anew, at most five short sentences: what still matters of your notes so far, and what is new."
        if summary
        else "Write your notes, at most five short sentences."
    )
    said = "\n".join(lines)
    return [ChatMessage("system", _TASK), ChatMessage("user", f"{earlier}{said}\n\n{task}")]


def _line(message: ChatMessage) -> str:
    if message.role == "tool":
        return f"Tool's answer: {_cut(message.content, _RESULT_CHARACTERS)}"
    if message.tool_calls:
        return "; ".join(map(_call, message.tool_calls))
    speaker = "User" if message.role == "user" else "Assistant"
    return f"{speaker}: {_cut(message.content, _MESSAGE_CHARACTERS)}"


def _call(call: ToolCall) -> str:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return f"Assistant used {call.name}: {_cut(arguments, _RESULT_CHARACTERS)}"


def _cut(text: str, characters: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= characters else f"{text[:characters]}…"


async def _write(llm: Llm, request: list[ChatMessage], max_tokens: int) -> str:
    """The summary in one line, without a sentence that its length cut off; raises `VoiceError`."""
    written = ""
    async with aclosing(llm.reply(request, Sampling(max_tokens=max_tokens, repeat_penalty=1.05))) as deltas:
        async for delta in deltas:
            if isinstance(delta, str):
                written += delta
    text = " ".join(written.split())
    return _UNFINISHED.sub("", text)
