"""Whether the LLM's next message is speech or a tool's call, read from its logits, and the call itself."""

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

from localvoice.engines.llama import tool_prompt
from localvoice.engines.llama.cache import cut, shared
from localvoice.engines.llama.grammar import call_grammar
from localvoice.engines.llama.patches import compute
from localvoice.engines.llama.prompt import SEED, Prompts, failure
from localvoice.engines.types import ToolCall, ToolOffer, ToolSpec

Logits = npt.NDArray[np.floating[Any]]
"""What the model thinks of each token as the next one, shape (vocabulary,)."""
Look = Callable[[Sequence[int]], Logits]
"""The model's logits behind these tokens."""

_CALL_TOKENS: Final = 512
"""For the arguments of one call: a model in a loop must come to an end."""
_RELUCTANCE: Final = 1.2
"""Nats by which calling must be likelier than talking. Small models call a little too gladly: measured with
`make bench WHAT=tools`."""


class Chooser:
    """Chooses for one model; blocking, for its one thread.

    Most messages are speech. So the line that speech begins with is read together with the end of the
    prompt: reading it afterwards would cost as much as two tokens of the reply. Where a tool is called, it is
    taken back.
    """

    def __init__(self, llama: llama_cpp.Llama, prompts: Prompts, cuts: bool) -> None:
        """`cuts`: whether the model can take back what it has read."""
        self._llama = llama
        self._prompts = prompts
        self._cuts = cuts

    def choose(self, prompt: list[int], offer: ToolOffer, heads: Mapping[str, list[int]]) -> ToolSpec | None:
        """The tool to call; None is to talk. `heads`: tokens of the lines that a message may begin with.

        The prompt's end may still be unread. Raises `VoiceError` LLM_ERROR if the context has no room for it.
        """
        if len(prompt) + max(map(len, heads.values())) >= self._llama.n_ctx():
            raise self._prompts.too_long()
        names = list(heads)
        talk = heads.get(tool_prompt.talk_name(offer))
        foreseen = {} if talk is None else self._foresee(prompt, talk, [*heads.values()])

        def look(path: Sequence[int]) -> Logits:
            known = foreseen.get(tuple(path))
            return self._behind([*prompt, *path]) if known is None else known

        reserved = None if talk is None else names.index(tool_prompt.talk_name(offer))
        return tool_prompt.choices(offer)[names[choose(list(heads.values()), look, reserved, _RELUCTANCE)]]

    def _foresee(
        self, prompt: list[int], talk: list[int], heads: Sequence[list[int]]
    ) -> dict[tuple[int, ...], Logits]:
        """Read the prompt's end and the line of speech: the logits where other lines part from it."""
        llama = self._llama
        known = min(llama.n_tokens, len(prompt) - 1)
        tokens = prompt[known:] + talk
        parting = {shared(talk, head) for head in heads if head != talk}
        if not self._cuts or not parting or min(tokens) < 0 or len(tokens) > llama.n_batch:
            return {}
        llama.n_tokens = known
        cut(llama, known)
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
        with closing(self._llama.generate(prompt, temp=0.0, logits_processor=processors)) as made:
            next(made)
        return seen[0]


def write_call(llama: llama_cpp.Llama, prompt: list[int], tool: ToolSpec) -> Generator[str, None, ToolCall]:
    """The call of the tool, as its schema wants it; nothing is heard of it before it is whole."""
    room = min(_CALL_TOKENS, llama.n_ctx() - len(prompt))
    chunks: Any = llama.create_completion(
        prompt,
        temperature=0.0,
        repeat_penalty=1.0,
        max_tokens=room,
        grammar=_grammar(llama, tool),
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
