"""The language model: a GGUF through llama-cpp-python.

What was read of a conversation is kept, and a prompt that begins like it costs only its new tokens: the
second turn's first word comes at once, also when others spoke in between. One stop flag reaches into the C
code, so that a barge-in also ends a long prompt in the middle.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import aclosing, closing, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import llama_cpp

from localvoice.engines.chat import CALL_NOTHING, OPENING, ChatMessage, Prompt, ReplyItem, Sampling, ToolOffer
from localvoice.engines.jobs import Stop, Stopped
from localvoice.engines.llama.cache import KEPT_MB, READ_STEP, PromptCache
from localvoice.engines.llama.lease import CacheLease
from localvoice.engines.llama.patches import load, tame_output
from localvoice.engines.llama.prompt import SEED, Prompts, failure
from localvoice.engines.llama.vision import IMAGE_TOKENS, SeeingLlama
from localvoice.engines.llama.writing import Writer
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.worker import Worker, told

ALL_LAYERS: Final = -1
"""For `gpu_layers`: everything on the GPU."""
GPU_BATCH: Final = 512
"""Tokens of a prompt that a GPU computes at a time."""

KeyBits = Literal[8, 16]
_KEY_TYPES: Final[dict[KeyBits, int]] = {8: llama_cpp.GGML_TYPE_Q8_0, 16: llama_cpp.GGML_TYPE_F16}


def supports_gpu() -> bool:
    tame_output()
    return bool(llama_cpp.llama_supports_gpu_offload())


class LlamaModel:
    """The model itself: blocking, for its worker's thread. Only `prompts.prompt` may be called from any."""

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
            self._llama = load(lambda: llama_cpp.Llama(str(path), **options))
        else:
            options["n_batch"] = IMAGE_TOKENS
            self._llama = load(lambda: SeeingLlama(path, projector, plan.llm_prompt, options))
        self.sees = projector is not None
        trained = llama_cpp.llama_model_n_ctx_train(self._llama.model)
        if context_tokens > trained:
            raise failure(
                f"The language model {path.name} was made for a context of {trained} tokens: "
                f"set context_tokens to that or less, not {context_tokens}."
            )
        self.context_tokens = context_tokens
        self.prompts = Prompts(self._llama, context_tokens)
        self._cache = PromptCache(self._llama, GPU_BATCH if gpu_layers else READ_STEP, kept_mb)
        self._writer = Writer(self._llama, self.prompts, plan, self._cache)

    def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None,
        aside: bool,
        stop: Stop,
    ) -> Generator[ReplyItem, None, None]:
        """The next message: text deltas, at the limit a `CutOff`, or one call.

        Raises `VoiceError` LLM_ERROR, or `Stopped`. It may be left between two items for another one, and
        gone on with: "" is an item that brings no text.
        """

        def write(prompt: list[int]) -> Iterable[ReplyItem]:
            if offer is None:
                return self._writer.speech(prompt, sampling)
            return self._writer.speech_or_call(prompt, messages, sampling, offer)

        lease = CacheLease(stop, aside, _talk(messages))
        return self._held(lease, self._steps(lease, messages, offer, write))

    def read(
        self, messages: Sequence[ChatMessage], offer: ToolOffer | None, stop: Stop
    ) -> Generator[ReplyItem, None, None]:
        """Read messages that the next prompt will begin with; the items are all ""."""

        talk = _talk(messages)

        def read_rest(prompt: list[int]) -> Iterable[ReplyItem]:
            if rest := prompt[self._llama.n_tokens :]:
                self._llama.eval(rest)
            if talk is OPENING:
                self._cache.keep_opening()
            return ()

        lease = CacheLease(stop, talk=None if talk is OPENING else talk)
        return self._held(lease, self._steps(lease, messages, offer, read_rest, ahead=True))

    def forget(self) -> None:
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

    def _steps(
        self,
        lease: CacheLease,
        messages: Sequence[ChatMessage],
        offer: ToolOffer | None,
        then: Callable[[list[int]], Iterable[ReplyItem]],
        ahead: bool = False,
    ) -> Generator[ReplyItem, None, None]:
        """Read the prompt, then do something with it. Inside, a model that sees has the messages' images."""
        images = [image for message in messages for image in message.images]
        llama = self._llama
        with llama.showing(images, lease.stop) if isinstance(llama, SeeingLlama) else nullcontext():
            prompt, parting = self.prompts.tokens(messages, offer), 0
            if self._cache.parts and messages and not images:
                parting = self.prompts.parting(messages, offer, prompt)
                if ahead and not self._cache.cuts:
                    prompt = prompt[: self.prompts.foreseen(messages, offer, prompt)]
            yield from self._cache.read(lease, prompt, parting)
            yield from then(prompt)


class LlamaLlm:
    """An `Llm`: one chat model in a worker of its own. Made by `load`."""

    def __init__(self, name: str, worker: Worker, model: LlamaModel) -> None:
        self.name: Final = name
        self.sees: Final = model.sees
        self.context_tokens: Final = model.context_tokens
        self._worker = worker
        self._model = model

    @classmethod
    async def load(
        cls,
        name: str,
        model_path: Path,
        plan: ThreadPlan,
        gpu_layers: int = 0,
        context_tokens: int = 4096,
        projector: Path | None = None,
        key_bits: KeyBits = 16,
        kept_mb: int = KEPT_MB,
    ) -> "LlamaLlm":
        """Load a GGUF in its worker; `gpu_layers` -1 puts all layers on the GPU.

        With its `projector`, another GGUF, it sees images. With `key_bits` 8 its cache is a quarter smaller.
        What it has read of conversations other than the one that it is at may take `kept_mb`. Raises
        `VoiceError` LLM_ERROR naming the file.
        """

        def load(_: Stop) -> LlamaModel:
            return LlamaModel(model_path, plan, gpu_layers, context_tokens, projector, key_bits, kept_mb)

        with told(failure, f"The language model {model_path.name} can't be loaded", "Download it again."):
            return await Worker.loaded("llm", load, partial(cls, name))

    async def prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> Prompt:
        # In a thread of its own: the model's may be at work on another's reply.
        advice = "Start a new conversation, or choose another model."
        with told(failure, "The language model's chat template failed", advice):
            return await asyncio.to_thread(self._model.prompts.prompt, messages, offer)

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        if sampling.max_tokens < 1:
            raise failure(
                f"A reply needs room: set max_tokens to at least 1, not {sampling.max_tokens}.",
                retryable=False,
            )
        numbers = sampling.filled(Sampling())  # the model's own are filled in by what knows the catalogue
        items = self._stream(lambda stop: self._model.reply(messages, numbers, offer, aside, stop))
        async with aclosing(items):
            async for item in items:
                yield item

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        if offer is not None:
            offer = replace(offer, choice=CALL_NOTHING)
        await _exhaust(self._stream(lambda stop: self._model.read(messages, offer, stop), urgent=False))

    async def forget(self) -> None:
        # Of all conversations: which of them hold whose words can't be told, since notes and questions aside
        # repeat them.
        advice = "Restart localvoice: that clears its memory."
        with told(failure, "The language model could not forget", advice), suppress(Stopped):
            # Where it is stopped, the model is being shut down, and takes with it all that it knew.
            await self._worker.run(lambda: self._model.forget())

    async def _stream(
        self, make: Callable[[Stop], Generator[ReplyItem, None, None]], urgent: bool = True
    ) -> AsyncGenerator[ReplyItem, None]:
        """The worker's items that bring something; what goes wrong as `VoiceError`."""
        advice = "Ask again; if it fails every time, restart localvoice."
        ended = failure("The language model was shut down while it was writing.", retryable=False)
        with told(failure, "The language model failed", advice, ended):
            async with aclosing(self._worker.stream(make, urgent=urgent)) as items:
                async for item in items:
                    if item:
                        yield item

    async def warm_up(self) -> None:
        await _exhaust(self.reply([ChatMessage("user", "Hello")], Sampling(max_tokens=1)))

    async def close(self) -> None:
        await self._worker.close()


def _talk(messages: Sequence[ChatMessage]) -> object:
    return messages.talk if isinstance(messages, Prompt) else None


async def _exhaust(items: AsyncGenerator[ReplyItem, None]) -> None:
    async with aclosing(items):
        async for _ in items:
            pass
