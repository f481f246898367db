"""Talks with small random models of every family, which count what is read."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from localvoice.engines.chat import ChatMessage, ReplyItem, Sampling, ToolOffer, ToolSpec
from localvoice.engines.llama.engine import LlamaLlm
from tests.support.llama_reads import counted_reads
from tests.support.random_gguf import CHATML, EMBEDDING, EMPTY_THOUGHT, FAMILIES, Family, write_model
from tests.support.small_llama import PLAN
from tests.support.tiny_projector import write_projector

SYSTEM = ChatMessage("system", "Talk with me. Be kind and short, and say what you think. " * 6)
LIGHT = ToolSpec(
    "switch_light",
    "Switch the light.",
    {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
)
KINDS = [
    pytest.param(family, template, id=f"{family.name}-{kind}")
    for family in FAMILIES
    for kind, template in (("chatml", CHATML), ("thinks", EMPTY_THOUGHT))
]
RECURRENT = [kind for kind in KINDS if isinstance(each := kind.values[0], Family) and each.recurrent]


def user(words: str) -> ChatMessage:
    return ChatMessage("user", words)


def assistant(words: str) -> ChatMessage:
    return ChatMessage("assistant", words)


class Counted:
    """A model, and how much it reads."""

    def __init__(self, llm: LlamaLlm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.llm = llm
        self._reads = counted_reads(llm, monkeypatch)

    @property
    def taken(self) -> int:
        """Tokens computed since this was last asked, read and written."""
        count = sum(self._reads)
        self._reads.clear()
        return count

    async def items(
        self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None, aside: bool = False
    ) -> list[ReplyItem]:
        async with aclosing(self.llm.reply(messages, Sampling(max_tokens=20), offer, aside)) as reply:
            return [item async for item in reply]

    async def says(self, messages: Sequence[ChatMessage], up_to: int = 1000, aside: bool = False) -> str:
        """Its reply, which is left after so many letters."""
        said = ""
        async with aclosing(self.llm.reply(messages, Sampling(max_tokens=20), aside=aside)) as reply:
            async for item in reply:
                said += item if isinstance(item, str) else ""
                if len(said) >= up_to:
                    break
        return said

    async def says_cold(self, messages: Sequence[ChatMessage]) -> str:
        """Its reply when it knows nothing yet."""
        await self.llm.forget()
        return await self.says(messages)


@asynccontextmanager
async def loaded(
    family: Family,
    template: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept_mb: int = 16,
    sees: bool = False,
) -> AsyncIterator[Counted]:
    path = write_model(family, folder / f"{family.name}.gguf", template)
    projector = write_projector(folder / "mmproj.gguf", EMBEDDING) if sees else None
    llm = await LlamaLlm.load(
        family.name, path, PLAN, context_tokens=4096, projector=projector, kept_mb=kept_mb
    )
    try:
        yield Counted(llm, monkeypatch)
    finally:
        await llm.close()
