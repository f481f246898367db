"""The language model itself: blocking, for the one thread of its worker."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import llama_cpp
from llama_cpp import LogitsProcessorList

from localvoice.engines.jobs import Stop
from localvoice.engines.llama import tool_prompt
from localvoice.engines.llama.cache import READ_STEP, CacheLease, PromptCache
from localvoice.engines.llama.patches import tame_output
from localvoice.engines.llama.prompt import SEED, Prompts, failure
from localvoice.engines.llama.tool_choice import Chooser, write_call
from localvoice.engines.llama.vision import IMAGE_TOKENS, SeeingLlama
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.types import ChatMessage, CutOff, ReplyItem, Sampling, ToolOffer

GPU_BATCH: Final = 512
"""Tokens of a prompt that a GPU computes at a time."""

KeyBits = Literal[8, 16]
_KEY_TYPES: Final[dict[KeyBits, int]] = {8: llama_cpp.GGML_TYPE_Q8_0, 16: llama_cpp.GGML_TYPE_F16}
FIRST_TOKENS: Final = 6
"""Of a reply: about as many as its first speakable piece has. Until it is complete, nothing else of the turn
computes, and the user waits."""
_SLOW: Final = 1.5
"""Times the usual time of a token on the plan's threads, at which all cores are no gain: another program has
one of them, and the threads wait for one another there."""
_WEIGHT: Final = 0.1
"""Of the latest token in what is usual."""

T = TypeVar("T")


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
        """Keep nothing of any conversation except those that go on."""
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
        self, messages: Sequence[ChatMessage], sampling: Sampling, offer: ToolOffer | None, lease: CacheLease
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
                call = yield from write_call(self._llama, prompt + heads[tool.name], tool)
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


class Pace:
    """Sets the threads of one model before each token. Blocking, for the model's one thread."""

    def __init__(self, llama: llama_cpp.Llama, plan: ThreadPlan) -> None:
        self._llama = llama
        self._plan = plan
        self._usual = 0.0
        """Seconds of a token on the plan's threads; 0 before there was one."""

    def keep(self, tokens: Iterator[T]) -> Iterator[T]:
        """The tokens of one reply, each written with as many threads as are quickest for the listener.

        Between two tokens others may have the model, with any number of threads.
        """
        hurry = True
        number = 0
        while True:
            hurry = hurry and number < FIRST_TOKENS
            self._set(self._plan.llm_prompt if hurry else self._plan.llm_decode)
            start = time.monotonic()
            try:
                token = next(tokens)
            except StopIteration:
                return
            finally:
                self._set(self._plan.llm_decode)
            if number:  # with the first one the rest of the prompt was read
                hurry = self._judge(time.monotonic() - start, hurry)
            number += 1
            yield token

    def _judge(self, seconds: float, hurry: bool) -> bool:
        if hurry:
            return not self._usual or seconds < _SLOW * self._usual
        self._usual += (_WEIGHT if self._usual else 1.0) * (seconds - self._usual)
        return False

    def _set(self, threads: int) -> None:
        llama_cpp.llama_set_n_threads(self._llama.ctx, threads, self._plan.llm_prompt)
