"""The LLM's next message, written behind a prompt: speech, or the call of a tool.

The model's logits tell which of the two it is. Most messages are speech, so the line that speech begins with
is read together with the end of the prompt: reading it afterwards would cost as much as two tokens of the
reply. Where a tool is called, it is taken back.
"""

import json
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp import LogitsProcessorList
from llama_cpp.llama_grammar import LlamaGrammar

from localvoice.engines.chat import (
    CALL_OR_NOTHING,
    ChatMessage,
    ReplyItem,
    Sampling,
    ToolCall,
    ToolOffer,
    ToolSpec,
)
from localvoice.engines.llama import tool_prompt
from localvoice.engines.llama.cache import PromptCache
from localvoice.engines.llama.grammar import call_grammar
from localvoice.engines.llama.kept import shared
from localvoice.engines.llama.marks import cut
from localvoice.engines.llama.pace import Pace
from localvoice.engines.llama.patches import compute
from localvoice.engines.llama.prompt import SEED, Prompts, failure
from localvoice.engines.llama.speech import SpeechWriter
from localvoice.engines.threads import ThreadPlan

Logits = npt.NDArray[np.floating[Any]]
"""What the model thinks of each token as the next one, shape (vocabulary,)."""
Look = Callable[[Sequence[int]], Logits]
"""The model's logits behind these tokens."""

_CALL_TOKENS: Final = 512
"""For the arguments of one call: a model in a loop must come to an end."""
_RELUCTANCE: Final = 1.2
"""Nats by which calling must be likelier than talking. Small models call a little too gladly: measured with
`make bench WHAT=tools`."""


class Writer:
    """Writes for one model; blocking, for its one thread."""

    def __init__(
        self, llama: llama_cpp.Llama, prompts: Prompts, plan: ThreadPlan, cache: PromptCache
    ) -> None:
        self._llama = llama
        self._prompts = prompts
        self._speech = SpeechWriter(llama, prompts, Pace(llama, plan), cache)
        self._cache = cache

    def speech(
        self, prompt: list[int], sampling: Sampling, guarded: bool = False
    ) -> Generator[ReplyItem, None, None]:
        """See `SpeechWriter.write`."""
        return self._speech.write(prompt, sampling, guarded)

    def speech_or_call(
        self, prompt: list[int], messages: Sequence[ChatMessage], sampling: Sampling, offer: ToolOffer
    ) -> Generator[ReplyItem, None, None]:
        """Speech, or one call; "" is an item that brings nothing yet. The prompt's end may still be unread.

        Raises `VoiceError` LLM_ERROR if the context has no room for the line that names the tool.
        """
        heads = self._prompts.heads(offer)
        if len(prompt) + max(map(len, heads.values())) >= self._llama.n_ctx():
            raise self._prompts.too_long()
        talk = tool_prompt.talk_name(offer)
        tool = self._choose(prompt, offer, heads)
        if tool is not None:
            call = yield from self._call(prompt + heads[tool.name], tool)
            # The model saw the answer and didn't understand that it is one: asking again gives no other.
            repeated = (call.name, call.arguments) in tool_prompt.answered_calls(messages)
            if not repeated or talk not in heads:
                yield call
                return
        if offer.choice == CALL_OR_NOTHING:
            return
        yield from self.speech(prompt + heads[talk], sampling, guarded=True)

    def _choose(self, prompt: list[int], offer: ToolOffer, heads: Mapping[str, list[int]]) -> ToolSpec | None:
        """The tool to call; None is to talk. `heads`: tokens of the lines that a message may begin with."""
        names, paths = list(heads), list(heads.values())
        talk = tool_prompt.talk_name(offer)
        foreseen = self._foresee(prompt, heads[talk], paths) if talk in heads else {}

        def look(path: Sequence[int]) -> Logits:
            known = foreseen.get(tuple(path))
            return self._behind([*prompt, *path]) if known is None else known

        reserved = names.index(talk) if talk in heads else None
        return tool_prompt.choices(offer)[names[choose(paths, look, reserved, _RELUCTANCE - offer.lean)]]

    def _foresee(
        self, prompt: list[int], talk: list[int], heads: Sequence[list[int]]
    ) -> dict[tuple[int, ...], Logits]:
        """Read the prompt's end and the line of speech: the logits where other lines part from it."""
        llama = self._llama
        known = min(llama.n_tokens, len(prompt) - 1)
        tokens = prompt[known:] + talk
        parting = {shared(talk, head) for head in heads if head != talk}
        if not self._cache.cuts or not parting or min(tokens) < 0 or len(tokens) > llama.n_batch:
            return {}
        if not cut(llama, known):
            return {}
        llama.n_tokens = known
        behind = {depth: len(tokens) - len(talk) + depth - 1 for depth in parting}
        compute(llama, tokens, behind.values())
        return {tuple(talk[:depth]): self._logits(index) for depth, index in behind.items()}

    def _logits(self, index: int) -> Logits:
        pointer = llama_cpp.llama_get_logits_ith(self._llama.ctx, index)
        return np.ctypeslib.as_array(pointer, shape=(self._llama.n_vocab(),)).copy()

    def _behind(self, prompt: list[int]) -> Any:
        seen: list[Any] = []

        def look(_tokens: Any, logits: Any) -> Any:
            seen.append(logits.copy())
            return logits

        processors = LogitsProcessorList([look])
        self._cache.fit(prompt)
        with closing(self._llama.generate(prompt, temp=0.0, logits_processor=processors)) as made:
            next(made)
        return seen[0]

    def _call(self, prompt: list[int], tool: ToolSpec) -> Generator[str, None, ToolCall]:
        """The call of the tool, as its schema wants it; nothing is heard of it before it is whole."""
        room = min(_CALL_TOKENS, self._llama.n_ctx() - len(prompt))
        self._cache.fit(prompt)
        chunks: Any = self._llama.create_completion(
            prompt,
            temperature=0.0,
            repeat_penalty=1.0,
            max_tokens=room,
            grammar=_grammar(self._llama, tool),
            seed=SEED,
            stream=True,
        )
        text, reason = "", None
        for chunk in chunks:
            text += chunk["choices"][0]["text"]
            reason = chunk["choices"][0]["finish_reason"]
            yield ""
        if reason != "stop":
            raise failure(
                f"The language model's call of the tool {tool.name} had no end within {room} tokens. Ask for "
                "less at once, give the tool fewer arguments, or set a larger context_tokens."
            )
        return ToolCall(f"call_{secrets.token_hex(8)}", tool.name, json.loads(text))


def _grammar(llama: llama_cpp.Llama, tool: ToolSpec) -> LlamaGrammar:
    try:
        text = call_grammar(tool.parameters)
    except ValueError as error:
        raise failure(
            f"The tool {tool.name} can't be called: {error}. Change its parameters.", retryable=False
        ) from error
    # The binding takes a grammar that llama.cpp refuses for one that it accepts, and crashes with it.
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, text.encode(), b"root")
    if not sampler:
        raise failure(
            f"The tool {tool.name} can't be called: llama.cpp refuses the grammar of its parameters. "
            "Give it fewer or simpler ones.",
            retryable=False,
        )
    llama_cpp.llama_sampler_free(sampler)
    return LlamaGrammar.from_string(text)


def choose(paths: Sequence[Sequence[int]], look: Look, reserved: int | None = None, bias: float = 0.0) -> int:
    """Index of the path that the model prefers; none may be the beginning of another.

    `reserved` is the index of a path that is weighed against all others together, with `bias`, in nats, in
    its favour. So what can be done in many ways stands against what can be done in one.
    """
    alive = list(range(len(paths)))
    depth = 0
    while len(alive) > 1:
        ways: dict[int, list[int]] = {}
        for index in alive:
            ways.setdefault(paths[index][depth], []).append(index)
        if len(ways) > 1:
            alive = _preferred(ways, look(paths[alive[0]][:depth]), reserved, bias)
        depth += 1
    return alive[0]


def _preferred(ways: dict[int, list[int]], logits: Logits, reserved: int | None, bias: float) -> list[int]:
    own = next((token for token, indexes in ways.items() if indexes == [reserved]), None)
    others = [token for token in ways if token != own]
    if own is not None and logits[own] + bias >= np.logaddexp.reduce(logits[others].astype(np.float64)):
        return ways[own]
    return ways[max(others, key=lambda token: float(logits[token]))]
