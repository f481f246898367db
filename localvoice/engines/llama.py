"""The language model: a GGUF through llama-cpp-python.

llama.cpp keeps the last conversation's state, and a prompt that begins like it costs only its new tokens:
the second turn's first word comes at once. One stop flag reaches into the C code, so that a barge-in also
ends a long prompt in the middle.
"""

import ctypes
import logging
import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import llama_cpp
from llama_cpp._utils import suppress_stdout_stderr

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.protocols import ChatMessage, Sampling
from localvoice.engines.seeing import IMAGE_TOKENS, SeeingLlama
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.worker import AHEAD, Stop, Stopped, Worker

ALL_LAYERS: Final = -1
"""For `gpu_layers`: everything on the GPU."""

GPU_BATCH: Final = 512
"""Tokens of a prompt that a GPU computes at a time."""

CPU_BATCH: Final = 128
"""Tokens of a prompt that the CPU computes at a time. 512 are no faster there, and take up to 34 MB more."""

SEED: Final = 1
"""The same conversation gets the same answers, at any temperature."""

logger = logging.getLogger(__name__)

_TOLD_LEVELS: Final = (3, 4)
"""ggml's warnings and errors. For developers only: what fails comes as an exception as well, and a stopped
prompt, which is no failure, is an error to ggml."""


def _log(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    if level in _TOLD_LEVELS:
        logger.debug("%s", text.decode("utf-8", "replace").rstrip())


_LOG_CALLBACK: Final = llama_cpp.llama_log_callback(_log)
"""Held here for as long as the library may call it."""

llama_cpp.llama_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))

# While it loads a model, the binding points the process's standard output and error at /dev/null, under all
# other threads. With the log callback in place there is nothing left to hide.
suppress_stdout_stderr.__init__ = lambda self, disable=True: setattr(self, "disable", True)  # type: ignore[method-assign]

_ABORT_IF_NOT_EMPTY: Final = ctypes.cast(ctypes.CDLL(None).strlen, llama_cpp.ggml_abort_callback)
"""llama.cpp asks some 600 times a token whether to abort. A callback into Python would take the interpreter's
lock each time; C's own strlen answers from a one-byte string: 0 while it is empty, 1 when it isn't."""


def supports_gpu() -> bool:
    """Whether llama-cpp-python was built for a GPU."""
    return bool(llama_cpp.llama_supports_gpu_offload())


class LlamaLlm:
    """One chat model in a worker of its own. Made by `load`."""

    def __init__(self, name: str, worker: Worker, model: "_Model") -> None:
        self._name = name
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
    ) -> "LlamaLlm":
        """Load a GGUF in its worker; `gpu_layers` -1 puts all layers on the GPU.

        With its `projector`, another GGUF, it sees images. Raises `VoiceError` LLM_ERROR naming the file.
        """
        worker = Worker("llm")
        try:
            model = await worker.run(_Model, model_path, plan, gpu_layers, context_tokens, projector)
        except BaseException as error:
            await worker.close()
            if not isinstance(error, Exception) or isinstance(error, VoiceError):
                raise
            raise _failure(
                f"The language model {model_path.name} can't be loaded ({error}). Download it again."
            ) from error
        return cls(name, worker, model)

    @property
    def name(self) -> str:
        """The model's catalogue name."""
        return self._name

    @property
    def sees(self) -> bool:
        """Whether it looks at the images of a message; otherwise it is told their `alt` text."""
        return self._model.sees

    @property
    def context_tokens(self) -> int:
        """Size of the model's context."""
        return self._model.context_tokens

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without the chat template's own."""
        return self._model.count_tokens(text)

    async def reply(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[str, None]:
        """The assistant's next message, as text deltas while it is being written. Hold it in `aclosing()`."""
        if sampling.max_tokens < 1:
            raise _failure(f"A reply needs room: set max_tokens to at least 1, not {sampling.max_tokens}.")
        # A whole reply fits into the queue: a slow listener never keeps the model from other sessions.
        deltas = self._worker.stream(
            lambda stop: self._model.reply(messages, sampling, stop), ahead=max(AHEAD, sampling.max_tokens)
        )
        try:
            async with aclosing(deltas):
                async for delta in deltas:
                    yield delta
        except VoiceError:
            raise
        except Stopped as error:
            raise _failure("The language model was shut down while it was writing.") from error
        except Exception as error:
            raise _failure(
                f"The language model failed ({error}). Ask again; if it fails every time, restart localvoice."
            ) from error

    async def prepare(self, messages: Sequence[ChatMessage]) -> None:
        """Read messages that the next prompt will begin with; llama.cpp then reads only what differs."""
        async with aclosing(self.reply(messages, Sampling(max_tokens=1))) as deltas:
            async for _ in deltas:
                pass

    async def warm_up(self) -> None:
        """Map the weights into memory and start the threads."""
        await self.prepare([ChatMessage("user", "Hello")])

    async def close(self) -> None:
        """End the worker; a reply that is being written ends too."""
        await self._worker.close()


class _Model:
    """The model itself; blocking, for one thread. Only `count_tokens` may be called from any."""

    def __init__(
        self, path: Path, plan: ThreadPlan, gpu_layers: int, context_tokens: int, projector: Path | None
    ) -> None:
        if gpu_layers and not supports_gpu():
            raise _failure(
                "llama-cpp-python was built without GPU support: set gpu_layers to 0, or install it again "
                'with CMAKE_ARGS="-DGGML_CUDA=on".'
            )
        options: dict[str, Any] = {
            "n_gpu_layers": gpu_layers,
            "n_ctx": context_tokens,
            "n_batch": GPU_BATCH if gpu_layers else CPU_BATCH,
            "n_threads": plan.llm_decode,
            "n_threads_batch": plan.llm_prompt,
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
            raise _failure(
                f"The language model {path.name} was made for a context of {trained} tokens: "
                f"set context_tokens to that or less, not {context_tokens}."
            )
        self.context_tokens = context_tokens
        self._control = _control_tokens(self._llama)

    def count_tokens(self, text: str) -> int:
        return len(self._llama.tokenize(text.encode("utf-8", "replace"), add_bos=False))

    def reply(
        self, messages: Sequence[ChatMessage], sampling: Sampling, stop: Stop
    ) -> Generator[str, None, None]:
        if isinstance(self._llama, SeeingLlama):
            with self._llama.showing([image for message in messages for image in message.images], stop):
                yield from self._write(messages, sampling, stop)
        else:
            yield from self._write(messages, sampling, stop)

    def _write(
        self, messages: Sequence[ChatMessage], sampling: Sampling, stop: Stop
    ) -> Generator[str, None, None]:
        llama = self._llama
        # A flag for each job: one that is stopped late, when it is over, must not stop the next.
        abort = ctypes.create_string_buffer(2)
        stop.on_set(lambda: setattr(abort, "value", b"1"))
        llama_cpp.llama_set_abort_callback(
            llama.ctx, _ABORT_IF_NOT_EMPTY, ctypes.cast(abort, ctypes.c_void_p)
        )
        try:
            chunks: Any = llama.create_chat_completion(
                [{"role": message.role, "content": self._content(message)} for message in messages],  # type: ignore[misc]
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                repeat_penalty=sampling.repeat_penalty,
                max_tokens=sampling.max_tokens,
                stop=list(sampling.stop),
                seed=SEED,
                stream=True,
            )
            for chunk in chunks:
                if delta := chunk["choices"][0]["delta"].get("content"):
                    yield delta
        except RuntimeError:
            # After an aborted step the last token's logits are gone. Without that token the next prompt can't
            # be taken for one that is evaluated already.
            llama.n_tokens = max(0, llama.n_tokens - 1)
            stop.check()
            raise
        except ValueError as error:
            if "exceed context window" not in str(error):
                raise
            raise _failure(
                f"The conversation is too long for the model's context of {self.context_tokens} tokens. "
                "Start a new one, send fewer messages to the model, or set a larger context_tokens."
            ) from error
        finally:
            llama_cpp.llama_set_abort_callback(llama.ctx, llama_cpp.ggml_abort_callback(), None)

    def _content(self, message: ChatMessage) -> Any:
        """What the chat template gets as the message's content."""
        text = self._plain(message.content)
        if isinstance(self._llama, SeeingLlama):
            return self._llama.content(text, len(message.images))
        alts = (self._plain(image.alt).strip() for image in message.images)
        return "\n".join([*(f"[image: {alt}]" for alt in alts if alt), text])

    def _plain(self, text: str) -> str:
        """The text without control tokens: nobody ends a turn, or speaks as the system, by typing."""
        text, removed = text.encode("utf-8", "replace").decode(), 1
        while removed:  # what one leaves behind may be another
            text, removed = self._control.subn("", text)
        return text


def _control_tokens(llama: llama_cpp.Llama) -> re.Pattern[str]:
    """Matches each of the vocabulary's control tokens, such as <|im_end|>."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    texts = (
        llama_cpp.llama_vocab_get_text(vocabulary, token).decode("utf-8", "replace")
        for token in range(llama.n_vocab())
        if llama_cpp.llama_vocab_is_control(vocabulary, token)
    )
    longest_first = sorted(filter(None, texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _failure(message: str) -> VoiceError:
    return VoiceError(ErrorCode.LLM_ERROR, Component.LLM, message)
