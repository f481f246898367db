"""The language model: a GGUF through llama-cpp-python.

What was read of a conversation is kept, and a prompt that begins like it costs only its new tokens: the
second turn's first word comes at once, also when others spoke in between. One stop flag reaches into the C
code, so that a barge-in also ends a long prompt in the middle.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from localvoice.contract.errors import VoiceError
from localvoice.engines.jobs import Stop, Stopped
from localvoice.engines.llama.cache import KEPT_MB
from localvoice.engines.llama.model import KeyBits, LlamaModel
from localvoice.engines.llama.prompt import failure
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.types import CALL_NOTHING, ChatMessage, Prompt, ReplyItem, Sampling, ToolOffer
from localvoice.engines.worker import Worker, told

ALL_LAYERS: Final = -1
"""For `gpu_layers`: everything on the GPU."""


class LlamaLlm:
    """One chat model in a worker of its own. Made by `load`."""

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
        """Tokenise the messages, in a thread of its own: the model's may be at work on another's reply.

        Raises `VoiceError` LLM_ERROR if the offer's choice is none of its tools, or the template fails.
        """
        try:
            return await asyncio.to_thread(self._model.prompts.prompt, messages, offer)
        except VoiceError:
            raise
        except Exception as error:
            raise failure(
                f"The language model's chat template failed ({error}). Start a new conversation, or choose "
                "another model."
            ) from error

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        """The assistant's next message: text deltas while it is being written, or one whole tool call.

        Text that `max_tokens` ended is followed by a `CutOff`. Without an offer it is always text. A question
        `aside` leaves the conversations that have been read as they are, so that their next prompts cost no
        more. Hold it in `aclosing()`.
        """
        if sampling.max_tokens < 1:
            raise failure(
                f"A reply needs room: set max_tokens to at least 1, not {sampling.max_tokens}.",
                retryable=False,
            )
        items = self._stream(lambda stop: self._model.reply(messages, sampling, offer, aside, stop))
        async with aclosing(items):
            async for item in items:
                yield item

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        """Read messages that the next prompt will begin with, while no reply is being written."""
        if offer is not None:
            offer = replace(offer, choice=CALL_NOTHING)
        items = self._stream(lambda stop: self._model.read(messages, offer, stop), urgent=False)
        async with aclosing(items):
            async for _ in items:
                pass

    async def forget(self) -> None:
        """Keep nothing of what was read and written, of any conversation, except what still goes on.

        Which conversations hold the words of which can't be told: notes and questions aside repeat them.
        Raises `VoiceError` LLM_ERROR.
        """
        try:
            await self._worker.run(lambda: self._model.forget())
        except Stopped:
            pass  # the model is being shut down, and takes with it all that it knew
        except Exception as error:
            raise failure(
                f"The language model could not forget ({error}). Restart localvoice: that clears its memory."
            ) from error

    async def _stream(
        self, make: Callable[[Stop], Generator[ReplyItem, None, None]], urgent: bool = True
    ) -> AsyncGenerator[ReplyItem, None]:
        """The worker's items that bring something; what goes wrong as `VoiceError`."""
        try:
            async with aclosing(self._worker.stream(make, urgent=urgent)) as items:
                async for item in items:
                    if item:
                        yield item
        except VoiceError:
            raise
        except Stopped as error:
            words = "The language model was shut down while it was writing."
            raise failure(words, retryable=False) from error
        except Exception as error:
            raise failure(
                f"The language model failed ({error}). Ask again; if it fails every time, restart localvoice."
            ) from error

    async def warm_up(self) -> None:
        """Map the weights into memory and start the threads."""
        async with aclosing(self.reply([ChatMessage("user", "Hello")], Sampling(max_tokens=1))) as items:
            async for _ in items:
                pass

    async def close(self) -> None:
        """End the worker; a reply that is being written ends too."""
        await self._worker.close()
