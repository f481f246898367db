"""What each family of language models reads again, in tokens, at the points of a conversation.

The models are small and random, with the kinds of memory that the large ones have: what is read again depends
on these alone. "thinks" is a chat template that begins a reply with empty reasoning, and shows none of it in
the history.

- next: the user's next turn, up to its first token; what was written before has been read between the turns.
- between: what is read between two turns.
- draft: the user's words, after a reply to half of them was begun and dropped.
- cut: the turn after a reply that was interrupted.
- other: the turn after another conversation had the model.
- all: the whole prompt of the last, which a model without a cache reads in each turn.
- state: kilobytes that are put away of this conversation (and of its marks), in the small model.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from localvoice.engines.chat import ChatMessage, Sampling
from localvoice.engines.llama.engine import LlamaLlm
from tests.support.random_gguf import CHATML, EMPTY_THOUGHT, FAMILIES, Family, write_model
from tests.support.small_llama import PLAN

COLUMNS = ("next", "between", "draft", "cut", "other", "all", "state")
REPLY_TOKENS = 40
SYSTEM = ChatMessage("system", "Talk with me. Be kind and short, and say what you think. " * 6)
FIRST, HALF, WHOLE, NEXT = "Hello there.", "Tell me about", "Tell me about the sea.", "And what then?"


class Reader:
    """A model whose steps are counted."""

    def __init__(self, llm: LlamaLlm) -> None:
        self._llm = llm
        self._read = 0
        llama: Any = llm._model._llama
        evaluate = llama.eval

        def counted(tokens: Sequence[int]) -> None:
            self._read += len(tokens)
            evaluate(tokens)

        llama.eval = counted

    async def answer(self, talk: list[ChatMessage], words: str, tokens: int = REPLY_TOKENS) -> int:
        """Have the talk go on; how much was read up to the first token of the reply, of so many at most."""
        talk.append(ChatMessage("user", words))
        self._read, first, said = 0, 0, ""
        async with aclosing(self._llm.reply(talk, Sampling(max_tokens=REPLY_TOKENS))) as items:
            async for item in items:
                first = first or self._read
                said += item if isinstance(item, str) else ""
                if (tokens := tokens - 1) <= 0:
                    break
        talk.append(ChatMessage("assistant", said))
        return first or self._read

    async def prepare(self, talk: list[ChatMessage]) -> int:
        """How much is read of it between two turns."""
        self._read = 0
        await self._llm.prepare(talk)
        return self._read


async def measured(llm: LlamaLlm) -> tuple[int, ...]:
    """The figures, in the order of the columns."""
    reader, talk, other = Reader(llm), [SYSTEM], [SYSTEM]
    await reader.prepare(talk)
    await reader.answer(talk, FIRST)
    between = await reader.prepare(talk)
    following = await reader.answer(talk, NEXT)
    await reader.prepare(talk)
    await reader.answer(list(talk), HALF, tokens=4)
    draft = await reader.answer(talk, WHOLE, tokens=8)
    interrupted = await reader.answer(talk, NEXT)
    await reader.prepare(talk)
    await reader.answer(other, FIRST)
    back = await reader.answer(talk, NEXT)
    cache = llm._model._cache
    cache._put_away()
    state = cache._kept[-1].nbytes // 1000
    await llm.forget()
    return following, between, draft, interrupted, back, await reader.answer(talk[:-2], NEXT), state


async def rows(family: Family, folder: Path) -> list[tuple[str, ...]]:
    """A row for each kind of template."""
    found = []
    for kind, template in (("", CHATML), (", thinks", EMPTY_THOUGHT)):
        path = write_model(family, folder / f"{family.name}.gguf", template)
        llm = await LlamaLlm.load(family.name, path, PLAN)
        try:
            found.append((family.name + kind, *map(str, await measured(llm))))
        finally:
            await llm.close()
    return found


def main() -> None:
    """Print the table."""
    table = Table("family", *COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            for row in asyncio.run(rows(family, Path(folder))):
                table.add_row(*row)
    Console().print(table)
