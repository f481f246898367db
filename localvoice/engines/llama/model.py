"""The language model itself: blocking, for the one thread of its worker."""

import json
import math
import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, Final, Literal

import llama_cpp
from llama_cpp import LogitsProcessorList
from llama_cpp.llama_grammar import LlamaGrammar

from localvoice.engines.jobs import Stop
from localvoice.engines.llama import tool_prompt
from localvoice.engines.llama.cache import READ_STEP, CacheLease, PromptCache
from localvoice.engines.llama.grammar import call_grammar
from localvoice.engines.llama.pace import Pace
from localvoice.engines.llama.patches import tame_output
from localvoice.engines.llama.prompt import Prompts, failure
from localvoice.engines.llama.tool_choice import Chooser
from localvoice.engines.llama.vision import IMAGE_TOKENS, SeeingLlama
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.types import (
    ChatMessage,
    CutOff,
    ReplyItem,
    Sampling,
    ToolCall,
    ToolOffer,
    ToolSpec,
)

GPU_BATCH: Final = 512
"""Tokens of a prompt that a GPU computes at a time."""
SEED: Final = 1
"""The same conversation gets the same answers, at any temperature."""

KeyBits = Literal[8, 16]
_KEY_TYPES: Final[dict[KeyBits, int]] = {8: llama_cpp.GGML_TYPE_Q8_0, 16: llama_cpp.GGML_TYPE_F16}
_CALL_TOKENS: Final = 512
"""For the arguments of one call: a model in a loop must come to an end."""


def supports_gpu() -> bool:
    """Whether llama-cpp-python was built for a GPU."""
    tame_output()
    return bool(llama_cpp.llama_supports_gpu_offload())


class LlamaModel:
    """The model itself; blocking, for one thread. Only `prompts.prompt` may be called from any."""

    def __init__(
        self,
        path: Path,
        plan: ThreadPlan,
        gpu_layers: int,
        context_tokens: int,
        projector: Path | None,
        key_bits: KeyBits,
        kept_mb: int,
    ) -> None:
        tame_output()
        if gpu_layers and not supports_gpu():
            raise failure(
                "llama-cpp-python was built without GPU support: set gpu_layers to 0, or install it again "
                'with CMAKE_ARGS="-DGGML_CUDA=on".'
            )
        options: dict[str, Any] = {
            "n_gpu_layers": gpu_layers,
            "n_ctx": context_tokens,
            "n_batch": GPU_BATCH if gpu_layers else READ_STEP,
            "n_threads": plan.llm_decode,
            "n_threads_batch": plan.llm_prompt,
            "type_k": _KEY_TYPES[key_bits],
            "seed": SEED,
            "verbose": False,
        }
        if projector is None:
            self._llama = llama_cpp.Llama(str(path), **options)
        else:
            self._llama = SeeingLlama(path, projector, plan.llm_prompt, options | {"n_batch": IMAGE_TOKENS})
        self.sees = projector is not None
        trained = llama_cpp.llama_model_n_ctx_train(self._llama.model)
        if context_tokens > trained:
            raise failure(
                f"The language model {path.name} was made for a context of {trained} tokens: "
                f"set context_tokens to that or less, not {context_tokens}."
            )
        self.context_tokens = context_tokens
        self.prompts = Prompts(self._llama, context_tokens)
        self._pace = Pace(self._llama, plan)
        self._cache = PromptCache(self._llama, GPU_BATCH if gpu_layers else READ_STEP, kept_mb)
        self._chooser = Chooser(self._llama, self.prompts, self._cache.cuts)

    def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None,
        aside: bool,
        stop: Stop,
    ) -> Generator[ReplyItem, None, None]:
        """The next message: text deltas, at the limit a `CutOff`, or one call.

        Raises `VoiceError` LLM_ERROR, or `Stopped`.
        It may be left between two items for another one, and gone on with: "" is an item that brings no text.
        """
        lease = CacheLease(stop, aside)
        return self._held(lease, self._reply(messages, sampling, offer, lease))

    def read(
        self, messages: Sequence[ChatMessage], offer: ToolOffer | None, stop: Stop
    ) -> Generator[ReplyItem, None, None]:
        """Read messages that the next prompt will begin with; the items are all ""."""
        lease = CacheLease(stop)
        return self._held(lease, self._read(messages, offer, lease))

    def forget(self) -> None:
        """Keep nothing of any conversation, but for those that go on."""
        self._cache.forget()

    def _held(
        self, lease: CacheLease, steps: Generator[ReplyItem, None, None]
    ) -> Generator[ReplyItem, None, None]:
        """The steps, each with the model's cache as the one before left it."""
        whole = False
        try:
            with closing(steps):
                while not whole:
                    with self._cache.held(lease):
                        item = next(steps, None)
                    whole = item is None
                    if item is not None:
                        yield item
        finally:
            self._cache.end(lease, whole)

    def _read(
        self, messages: Sequence[ChatMessage], offer: ToolOffer | None, lease: CacheLease
    ) -> Generator[str, None, None]:
        with self._seen(messages, lease.stop):
            prompt = self.prompts.tokens(messages, offer)
            for _ in self._cache.read(lease, prompt):
                yield ""
            if rest := prompt[self._llama.n_tokens :]:
                self._llama.eval(rest)

    def _reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None,
        lease: CacheLease,
    ) -> Generator[ReplyItem, None, None]:
        with self._seen(messages, lease.stop):
            prompt = self.prompts.tokens(messages, offer)
            for _ in self._cache.read(lease, prompt):
                yield ""
            if offer is None:
                yield from self._talk(prompt, sampling)
                return
            heads = self.prompts.heads(offer)
            tool = self._chooser.choose(prompt, offer, heads)
            if tool is not None:
                call = yield from self._call(prompt + heads[tool.name], tool)
                # The model saw the answer and didn't understand that it is one: asking again gives no other.
                repeated = (call.name, call.arguments) in tool_prompt.answered_calls(messages)
                if not repeated or tool_prompt.talk_name(offer) not in heads:
                    yield call
                    return
            yield from self._talk(prompt + heads[tool_prompt.talk_name(offer)], sampling, guarded=True)

    def _seen(self, messages: Sequence[ChatMessage], stop: Stop) -> AbstractContextManager[None]:
        """Inside, a model that sees has the messages' images."""
        if not isinstance(self._llama, SeeingLlama):
            return nullcontext()
        return self._llama.showing([image for message in messages for image in message.images], stop)

    def _talk(
        self, prompt: list[int], sampling: Sampling, guarded: bool = False
    ) -> Generator[str | CutOff, None, None]:
        """Speech. If `guarded`, nothing of a call is in it."""
        stop = [*sampling.stop, *tool_prompt.NEVER_SAID] if guarded else list(sampling.stop)
        chunks: Any = self._llama.create_completion(
            prompt,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            repeat_penalty=sampling.repeat_penalty,
            max_tokens=sampling.max_tokens,
            stop=stop,
            seed=SEED,
            stream=True,
            logits_processor=LogitsProcessorList([self._not_first()]) if guarded else None,
        )
        reason = None
        for chunk in self._pace.keep(chunks):
            yield chunk["choices"][0]["text"]
            reason = chunk["choices"][0]["finish_reason"]
        if reason == "length":
            yield CutOff()

    def _not_first(self) -> Callable[[Any, Any], Any]:
        """Forbids what a call begins with as the first token: stopped there, a reply would be empty."""
        first = True

        def forbid(_tokens: Any, scores: Any) -> Any:
            nonlocal first
            if first:
                scores[self.prompts.call_tokens] = -math.inf
                first = False
            return scores

        return forbid

    def _call(self, prompt: list[int], tool: ToolSpec) -> Generator[str, None, ToolCall]:
        """The call of the tool, as its schema wants it; nothing is heard of it before it is whole."""
        room = min(_CALL_TOKENS, self.context_tokens - len(prompt))
        chunks: Any = self._llama.create_completion(
            prompt,
            temperature=0.0,
            repeat_penalty=1.0,
            max_tokens=room,
            grammar=self._grammar(tool),
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

    def _grammar(self, tool: ToolSpec) -> LlamaGrammar:
        try:
            text = call_grammar(tool.parameters)
        except ValueError as error:
            raise failure(
                f"The tool {tool.name} can't be called: {error}. Change its parameters.", retryable=False
            ) from error
        # The binding takes a grammar that llama.cpp refuses for one that it accepts, and crashes with it.
        vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, text.encode(), b"root")
        if not sampler:
            raise failure(
                f"The tool {tool.name} can't be called: llama.cpp refuses the grammar of its parameters. "
                "Give it fewer or simpler ones.",
                retryable=False,
            )
        llama_cpp.llama_sampler_free(sampler)
        return LlamaGrammar.from_string(text)
