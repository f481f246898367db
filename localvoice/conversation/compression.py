"""Old messages become short notes, written by the LLM while no one waits for it.

What was said long ago is given to the LLM no more; the notes are, before the first message that is still
given. They change only here, so the LLM's cache of the prompt holds from one compression to the next.

Small models decide how it is done. Asked to rewrite notes they lose the old ones and echo the conversation;
given the assistant's words they take its mistakes for facts. So the LLM puts only what the user said into the
third person, one turn at a time, after examples. Its sentences are added to the notes, which lose the least
useful ones when they grow too long.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from localvoice.contract.errors import VoiceError
from localvoice.conversation.history import History
from localvoice.engines.types import ChatMessage, Llm, Retracted, Sampling

log = logging.getLogger(__name__)

SUMMARY_TOKENS: Final = 160
"""Length of all notes at most."""

_TURN_TOKENS: Final = 60
"""What the LLM writes about one turn at most."""
_MESSAGE_CHARACTERS: Final = 600
_ARGUMENTS_CHARACTERS: Final = 120
_LEAST_CHARACTERS: Final = 40
"""What is too long for the context is shortened down to this."""

_TASK: Final = (
    "Rewrite what the user said in the third person, as short as possible. Keep all names, numbers and "
    "facts. Add nothing."
)
_EXAMPLES: Final = (
    (
        "User: Hi, I'm Tom and we are looking for a flat in Bern.",
        "The user is Tom. They are looking for a flat in Bern.",
    ),
    (
        "Assistant: How many rooms do you need?\nUser: Three, and for less than 1500 francs.",
        "They need three rooms, for less than 1500 francs.",
    ),
    ("User: How high is Mount Kenya?", "They asked how high Mount Kenya is."),
)
_OF_EXAMPLES: Final = frozenset("tom flat bern rooms 1500 francs kenya".split())
"""Words that tell a sentence which a small model took from the examples."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])\s+")
_ONLY_ASKED: Final = re.compile(
    r"(The user|They)( also)? asked (about|how|if|whether|what|when|where|which|who|why)\b"
)
"""A note that says what was asked, in the words of the examples: the first that may go."""


async def compress(history: History, llm: Llm, limit: int, max_tokens: int = SUMMARY_TOKENS) -> bool:
    """Put into notes what `make_room(limit)` would forget and what is forgotten already; whether any was.

    May be cancelled at any time: a step changes the history when it is done, or not at all, and the next call
    goes on from there. A failure is logged, and what is old stays forgotten until a later call succeeds.
    """
    # A small context has no room for long notes and the conversation.
    max_tokens = min(max_tokens, llm.context_tokens // 8)
    changed = False
    while (passage := history.passage(limit)) is not None:
        turn = _first_turn(passage.messages)
        try:
            told = await _retell(_spoken(passage.before, turn[0]), llm)
        except VoiceError as error:
            log.warning("what was said earlier could not be summarised: %s", error)
            break
        notes = [*_SENTENCE_END.split(passage.summary), *told, *_done(turn)]
        summary = await _shortened(dict.fromkeys(filter(None, notes)), llm, max_tokens)
        if not history.sum_up(passage, len(turn), summary):
            break  # it was cleared meanwhile
        log.debug("summarised %d messages; the notes have %d characters", len(turn), len(summary))
        changed = True
    return changed


def _first_turn(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """Up to the user's next message."""
    ends = (index for index, message in enumerate(messages) if index and message.role == "user")
    return messages[: next(ends, len(messages))]


def _spoken(before: ChatMessage | None, message: ChatMessage) -> str:
    """What the user said, with the question that it answers: "four" alone means nothing."""
    if message.role != "user":
        return ""  # the assistant spoke first
    lines = [f"User: {_cut(message.content, _MESSAGE_CHARACTERS)}"]
    if before is not None and before.role == "assistant":
        question = _SENTENCE_END.split(before.content.strip())[-1]
        if question.endswith(("?", "？")):
            lines.insert(0, f"Assistant: {_cut(question, _MESSAGE_CHARACTERS)}")
    return "\n".join(lines)


async def _retell(spoken: str, llm: Llm) -> list[str]:
    """The LLM's sentences about it; none if the user said nothing. Raises `VoiceError`."""
    if not spoken:
        return []
    room = llm.context_tokens - _TURN_TOKENS
    while (request := await llm.prompt(_request(spoken))).tokens > room and len(spoken) > _LEAST_CHARACTERS:
        spoken = spoken[: len(spoken) // 2]
    sampling = Sampling(max_tokens=_TURN_TOKENS, repeat_penalty=1.05, stop=("User:", "Assistant:"))
    written = ""
    async with aclosing(llm.reply(request, sampling, aside=True)) as items:
        async for item in items:
            if isinstance(item, Retracted):
                written = ""
            written += item if isinstance(item, str) else ""
    sentences = _SENTENCE_END.split(" ".join(written.split()))
    if len(sentences) > 1 and not _SENTENCE_END.search(f"{sentences[-1]} "):
        sentences.pop()  # cut off by its length
    borrowed = _OF_EXAMPLES - _words(spoken)
    return [each for each in sentences if not _words(each) & borrowed]


def _request(spoken: str) -> list[ChatMessage]:
    request = [ChatMessage("system", _TASK)]
    for said, told in _EXAMPLES:
        request += [ChatMessage("user", said), ChatMessage("assistant", told)]
    return [*request, ChatMessage("user", spoken)]


def _done(messages: Sequence[ChatMessage]) -> Iterator[str]:
    """What tools were called for, in the LLM's own arguments.

    What they answered is left out: times, prices and places free grow old, and the LLM can call again.
    """
    failed = {message.tool_call_id for message in messages if message.content.startswith('{"error"')}
    for call in (call for message in messages for call in message.tool_calls):
        if call.arguments and call.call_id not in failed:
            arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
            yield f"The assistant used {call.name}: {_cut(arguments, _ARGUMENTS_CHARACTERS)}."


async def _shortened(notes: Iterable[str], llm: Llm, max_tokens: int) -> str:
    """The notes in one line. If they are too long, the oldest go, mere questions first."""
    kept = list(notes)
    while len(kept) > 1 and (await llm.prompt([ChatMessage("system", " ".join(kept))])).tokens > max_tokens:
        kept.remove(next(filter(_ONLY_ASKED.match, kept), kept[0]))
    return " ".join(kept)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _cut(text: str, characters: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= characters else f"{text[:characters]}…"
