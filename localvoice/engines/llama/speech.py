"""Speech: what the model writes behind a prompt, as text for the listener.

A model may reason before it answers, whatever it is told. That is written, and not given; it has limits of
its own, and where it comes to one, the answer is begun for it.
"""

import codecs
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import llama_cpp
from llama_cpp import LogitsProcessorList

from localvoice.engines.chat import CutOff, ReplyItem, Retracted, Sampling, Thinking
from localvoice.engines.llama import tool_prompt
from localvoice.engines.llama.cache import PromptCache
from localvoice.engines.llama.pace import Pace
from localvoice.engines.llama.prompt import SEED, Prompts
from localvoice.engines.reasoning import MOST_SECONDS, Patience, SpokenText

_CLOSING_TOKENS: Final = 16
"""Room for what ends a reasoning, at least."""


@dataclass
class _Reply:
    """How far a reply has come."""

    text: SpokenText
    left: int
    """Tokens that its answer may still have."""
    patience: Patience = field(default_factory=Patience)
    cut_off: bool = False


class SpeechWriter:
    """Writes for one model; blocking, for its one thread."""

    def __init__(self, llama: llama_cpp.Llama, prompts: Prompts, pace: Pace, cache: PromptCache) -> None:
        self._llama = llama
        self._prompts = prompts
        self._pace = pace
        self._cache = cache

    def write(
        self, prompt: list[int], sampling: Sampling, guarded: bool = False
    ) -> Generator[ReplyItem, None, None]:
        """Text deltas, at the limit a `CutOff`; "" is an item that brings nothing. See also `ReplyItem`.

        If `guarded`, nothing of a call is in them.
        """
        stops = (*sampling.stop, *(tool_prompt.NEVER_SAID if guarded else ()))
        reply = _Reply(SpokenText(stops, self._prompts.controls), sampling.max_tokens)
        yield from self._go_on(prompt, sampling, reply, self._prompts.call_tokens if guarded else [])
        if closing := reply.text.closing:
            prompt = [*self._llama.input_ids[: self._llama.n_tokens].tolist(), *self._prompts.mark(closing)]
            yield reply.text.feed(closing)
            yield from self._go_on(prompt, sampling, reply)
        yield reply.text.flush()
        if reply.cut_off:
            yield CutOff()

    def _go_on(
        self, prompt: list[int], sampling: Sampling, reply: _Reply, forbidden: list[int] | None = None
    ) -> Iterator[ReplyItem]:
        """Write until the reply has its end, comes to a limit, or has reasoned for too long."""
        text, decode = reply.text, codecs.getincrementaldecoder("utf-8")("ignore").decode
        room = self._llama.n_ctx() - len(prompt)
        for token in self._pace.keep(self._tokens(prompt, sampling, forbidden or [])):
            if not self._cache.cuts and self._llama.n_tokens == len(prompt) and self._prompts.goes_on_alike:
                self._cache.mark()
            said = text.feed(decode(self._prompts.piece(token)))
            if text.retracted:
                self._prompts.close_reasoning(*text.block)
                yield Retracted()
            yield said
            room -= 1
            reply.left -= not text.closing
            seconds = reply.patience.seconds(bool(text.closing))
            if reply.patience.tells(seconds):
                yield Thinking()
            if text.over or seconds >= MOST_SECONDS:
                return
            if text.closing and room <= reply.left + _CLOSING_TOKENS:
                return
            if room <= 0 or reply.left <= 0:
                reply.cut_off = True
                return

    def _tokens(self, prompt: list[int], sampling: Sampling, forbidden: list[int]) -> Iterator[int]:
        """What the model picks, up to a token that ends its turn."""

        def forbid(tokens: Any, scores: Any) -> Any:
            if len(tokens) == len(prompt):  # stopped at the first token, the reply would be empty
                scores[forbidden] = -math.inf
            return scores

        self._cache.fit(prompt)
        self._llama.set_seed(SEED)
        numbers: dict[str, Any] = {
            "temp": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repeat_penalty,
        }
        processors = LogitsProcessorList([forbid]) if forbidden else None
        vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        for token in self._llama.generate(prompt, **numbers, logits_processor=processors):
            if llama_cpp.llama_vocab_is_eog(vocabulary, token):
                return
            yield token
