"""Whether the LLM's next message is speech or a tool's call: read from its logits, before it is written."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp import LogitsProcessorList

from localvoice.engines.llama import tool_prompt
from localvoice.engines.llama.cache import shared
from localvoice.engines.llama.prompt import Prompts
from localvoice.engines.llama.tool_choice import choose
from localvoice.engines.types import ToolOffer, ToolSpec

Logits = npt.NDArray[np.float32]
"""What the model thinks of each token as the next one, shape (vocabulary,)."""

_RELUCTANCE: Final = 1.2
"""Nats by which calling must be likelier than talking. Small models call a little too gladly: measured with
`make bench-tools`."""


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
        llama._ctx.kv_cache_seq_rm(-1, known, -1)
        llama._batch.set_batch(batch=tokens, n_past=known, logits_all=False)
        behind = {depth: len(tokens) - len(talk) + depth - 1 for depth in parting}
        for index in behind.values():
            llama._batch.batch.logits[index] = True
        llama._ctx.decode(llama._batch)
        llama.input_ids[known : known + len(tokens)] = tokens
        llama.n_tokens = known + len(tokens)
        llama._requires_eval = False
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
