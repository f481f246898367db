"""What of a reply is for the listener: reasoning is left out, and so is what belongs to a chat template.

Models mark their reasoning in many ways, and write it where they were asked not to. None of it may reach a
caption, the history or the voice.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from enum import Enum
from typing import Final

from localvoice.engines.chat import ReplyItem, Retracted, Thinking

BLOCKS: Final = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|channel>": "<channel|>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
"""What reasoning begins with, and what ends it."""
TOLD_SECONDS: Final = 2.0
"""The listener is told of reasoning that takes longer: they would take it for a fault."""
MOST_SECONDS: Final = 15.0
"""Reasoning that takes longer is ended, and the answer begins: so long one can wait for it in a talk."""

CHANNEL: Final = "<|channel|>"
"""In the replies of some models, what the name of one of several channels follows."""
CHANNELS_BEGIN: Final = "<|start|>assistant"
_FINAL: Final = "final"
_MESSAGE: Final = "<|message|>"
FINAL_CHANNEL: Final = f"{CHANNEL}{_FINAL}{_MESSAGE}"
"""The one that is for the listener."""
_HEADERS: Final = frozenset(
    (
        CHANNEL,
        "<|start|>",
        "<|im_start|>",
        "<|start_header_id|>",
        "<|start_of_role|>",
        "<start_of_turn>",
        "<|turn>",
    )
)
"""What a message's header begins with: its role or its channel follows."""
_HEADER_ENDS: Final = frozenset((_MESSAGE, "<|end_header_id|>", "<|end_of_role|>"))
_OTHERS: Final = frozenset(
    (
        *(
            "<|end|>",
            "<|return|>",
            "<|call|>",
            "<|im_end|>",
            "<|endoftext|>",
            "<|eot_id|>",
            "<|end_of_text|>",
        ),
        *("<|begin_of_text|>", "<|user|>", "<|assistant|>", "<|system|>", "<end_of_turn>", "<turn|>"),
        *("<s>", "</s>", "<bos>", "<eos>", "[INST]", "[/INST]"),
    )
)
"""Other control tokens of chat templates. As text they are written by models that take them for words."""
_OWN_ROLES: Final = ("assistant", "model")


class _Where(Enum):
    SPEECH = "speech"
    HEADER = "header"
    REASONING = "reasoning"


class SpokenText:
    """Takes a reply as it is written, and gives what is for the listener. Knows no clock.

    Text is held back only while it may be the beginning of a mark.
    """

    def __init__(self, ends: Collection[str] = (), controls: Collection[str] = ()) -> None:
        """`ends` are texts at which the reply is over; `controls` are control tokens of the model's own."""
        self.over = False
        """Whether the reply has come to its end: what follows isn't its own."""
        self.retracted = False
        """Whether the text that the last `feed` followed has turned out to be reasoning."""
        self._ends = frozenset(ends)
        self._marks = self._ends | BLOCKS.keys() | set(BLOCKS.values()) | _HEADERS | _HEADER_ENDS | _OTHERS
        self._marks |= frozenset(controls)
        self._first = frozenset(mark[0] for mark in self._marks)
        self._lengths = sorted({len(mark) for mark in self._marks}, reverse=True)
        self._beginnings = frozenset(mark[:length] for mark in self._marks for length in range(1, len(mark)))
        self._where = _Where.SPEECH
        self._closer = ""
        """What ends the reasoning; empty in a channel."""
        self._header = ""
        self._in_channels = False
        self._said = self._given = False
        self._held = ""

    @property
    def closing(self) -> str:
        """What ends the reasoning that the reply is in; empty while there is none."""
        if self._where is _Where.REASONING and self._closer:
            return self._closer
        silent = self._in_channels and self._where is not _Where.SPEECH
        return f"<|end|>{CHANNELS_BEGIN}{FINAL_CHANNEL}" if silent else ""

    @property
    def block(self) -> tuple[str, str]:
        """What the reply's latest reasoning begins with, or would have, and what ends it."""
        return next(pair for pair in BLOCKS.items() if pair[1] == self._closer)

    def feed(self, text: str) -> str:
        """What the listener is to hear next; it may be empty."""
        self._held += text
        self.retracted = False
        given: list[str] = []
        while not self.over:
            at, mark = self._next_mark()
            given += self._take(self._held[:at])
            self._held = self._held[at + len(mark) :]
            if not mark:
                break
            if self._come_to(mark):
                given.clear()
        text = "".join(given)
        self._given = self._given or bool(text.strip())
        return text

    def flush(self) -> str:
        """The reply is at its end: what was held back of it."""
        held, self._held = self._held, ""
        return "" if self.over else "".join(self._take(held))

    def _next_mark(self) -> tuple[int, str]:
        """Where the next mark is, and what; without one, where the text begins that may become one."""
        held = self._held
        for at, character in enumerate(held):
            if character in self._first:
                for length in self._lengths:
                    if held[at : at + length] in self._marks:
                        return at, held[at : at + length]
                if held[at:] in self._beginnings:
                    return at, ""
        return len(held), ""

    def _take(self, text: str) -> list[str]:
        if self.over:
            return []
        match self._where:
            case _Where.SPEECH:
                if not self._said and self._closer:
                    text = text.lstrip()  # the lines between reasoning and answer
                self._said = self._said or bool(text.strip())
                return [text]
            case _Where.HEADER:
                self._header += text
                if "\n" in self._header and not self._in_channels:
                    name, rest = self._header.split("\n", 1)
                    self._header = name
                    self._end_header()
                    return self._take(rest)
        return []

    def _come_to(self, mark: str) -> bool:
        """Whether what was said before is taken back."""
        if mark in self._ends and self._where is not _Where.REASONING:
            self.over = True
        elif self._where is _Where.REASONING and self._closer:
            if mark == self._closer:
                self._where = _Where.SPEECH
        elif mark in BLOCKS:
            self._where, self._closer = _Where.REASONING, BLOCKS[mark]
        elif mark in BLOCKS.values():
            self._closer = mark
            self.retracted = self.retracted or self._given
            self._said = self._given = False
            return True
        else:
            self._come_to_control(mark)
        return False

    def _come_to_control(self, mark: str) -> None:
        if mark == CHANNEL:
            self._in_channels = True
        if mark in _HEADERS and (self._in_channels or not self._said):
            self._where, self._header = _Where.HEADER, ""
        elif mark in _HEADER_ENDS and self._where is _Where.HEADER:
            self._end_header()
        elif self._where is _Where.SPEECH:
            self.over = self._said  # before the first word it is the header of this very reply
        elif self._where is _Where.REASONING:
            self._where = _Where.SPEECH  # between two channels

    def _end_header(self) -> None:
        name = self._header.strip()
        self._closer = ""
        if self._in_channels:
            spoken = name.startswith((_FINAL, *_OWN_ROLES))
            self._where = _Where.SPEECH if spoken else _Where.REASONING
        else:
            self._where = _Where.SPEECH
            self.over = not name.startswith(_OWN_ROLES)


def left_open(text: str) -> str:
    """What would end the reasoning that the end of this text begins; empty if it begins none."""
    text = text.rstrip()
    return next((closer for opener, closer in BLOCKS.items() if text.endswith(opener)), "")


class Patience:
    """How long a reply's reasoning is waited for."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun: float | None = None
        self._told = False

    def seconds(self, reasoning: bool) -> float:
        """For how long the reply has been reasoning now; 0 while it doesn't."""
        if not reasoning:
            self._begun = None
            return 0.0
        if self._begun is None:
            self._begun = self._now()
        return self._now() - self._begun

    def tells(self, seconds: float) -> bool:
        """Whether the listener is to be told of it, after so many seconds: once in a reply."""
        told, self._told = self._told, self._told or seconds >= TOLD_SECONDS
        return self._told and not told


async def spoken(reply: AsyncGenerator[ReplyItem, None]) -> AsyncGenerator[ReplyItem, None]:
    """The reply of any LLM without its reasoning, which ends it where it lasts too long."""
    text, patience = SpokenText(), Patience(asyncio.get_running_loop().time)
    async with aclosing(reply) as items:
        async for item in items:
            if not isinstance(item, str):
                if rest := text.flush():
                    yield rest
                yield item
                continue
            said = text.feed(item)
            if text.retracted:
                yield Retracted()
            if said:
                yield said
            seconds = patience.seconds(bool(text.closing))
            if patience.tells(seconds):
                yield Thinking()
            if text.over or seconds >= MOST_SECONDS:
                return
    if rest := text.flush():
        yield rest
