"""A language model of your own: here one that an OpenAI-compatible server on this machine runs.

python examples/own_llm.py http://127.0.0.1:8080/v1 qwen3
"""

import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import httpx

from localvoice import (
    ChatMessage,
    Component,
    CutOff,
    ErrorCode,
    LocalVoice,
    OwnEngines,
    Prompt,
    ReplyItem,
    Sampling,
    ToolOffer,
    VoiceError,
)

LETTERS_A_TOKEN = 3
"""Fewer than English has, so that a prompt is never longer than it is thought to be."""
TOKENS_A_MESSAGE = 8
"""For the marks that the server's chat template puts round each."""


class ServedLlm:
    """Implements `localvoice.Llm`, without tools and pictures."""

    sees = False

    def __init__(self, server: str, model: str, context_tokens: int = 4096) -> None:
        """`server` is the address of its API, such as http://127.0.0.1:8080/v1."""
        self.name = model
        self.context_tokens = context_tokens
        # The agent has deadlines of its own. Without `trust_env` no proxy reads what is said.
        self._http = httpx.AsyncClient(base_url=server, timeout=None, trust_env=False)

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        """The answer while it is being written; closing it early closes the connection."""
        request = {
            "model": self.name,
            "messages": [{"role": each.role, "content": each.content} for each in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop": list(sampling.stop) or None,
            "stream": True,
        }
        try:
            async with self._http.stream("POST", "chat/completions", json=request) as response:
                response.raise_for_status()
                async for choice in _choices(response):
                    if text := choice["delta"].get("content"):
                        yield text
                    if choice.get("finish_reason") == "length":
                        yield CutOff()
        except (httpx.HTTPError, ValueError, LookupError) as error:
            # The agent asks again, then tells the user this sentence, and takes the next turn.
            raise VoiceError(
                ErrorCode.LLM_ERROR,
                Component.LLM,
                f"The language model's server at {self._http.base_url} gave no answer ({error!r}). Start it.",
                retryable=True,
            ) from error

    async def prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> Prompt:
        """The messages, with a guess at their tokens that is too high rather than too low."""
        tokens = sum(len(each.content) // LETTERS_A_TOKEN + TOKENS_A_MESSAGE for each in messages)
        return Prompt(messages, offer, tokens)

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        """Nothing: the server reads a prompt when it comes."""

    async def forget(self) -> None:
        """Nothing is kept here. What the server keeps, its own settings decide."""

    async def warm_up(self) -> None:
        """One word: a server that isn't there is told of at the start, not in the first turn."""
        async for _ in self.reply([ChatMessage("user", "Say yes.")], Sampling(max_tokens=1)):
            pass

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _choices(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The first choice of each event in the stream. Raises `ValueError` or `LookupError` for what is none."""
    async for line in response.aiter_lines():
        event = line.removeprefix("data:").strip()
        if line.startswith("data:") and event != "[DONE]":
            yield json.loads(event)["choices"][0]


def build(server: str = "http://127.0.0.1:8080/v1", model: str = "default") -> LocalVoice:
    """The agent. Hearing and voice are the profile's, whose language model isn't needed."""
    return LocalVoice(engines=OwnEngines(llm=ServedLlm(server, model)))


def main() -> None:
    """Serve until Ctrl-C."""
    build(*sys.argv[1:3]).run()


if __name__ == "__main__":
    main()
