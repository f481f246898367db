"""Private parts of llama-cpp-python. Looked at: 0.3.36, the only version that pyproject.toml allows."""

import ctypes
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import llama_cpp
from jinja2 import TemplateError
from llama_cpp import llama_chat_format
from llama_cpp import mtmd_cpp as mtmd
from llama_cpp._utils import suppress_stdout_stderr

logger = logging.getLogger(__name__)

L = TypeVar("L", bound=llama_cpp.Llama)

_TOLD_LEVELS: Final = (3, 4)
"""ggml's warnings and errors. They are for developers only: what fails is raised as an exception as well, and
a stopped prompt, which is no failure, is an error to ggml."""


def _log(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    if level in _TOLD_LEVELS:
        logger.debug("%s", text.decode("utf-8", "replace").rstrip())


_LOG_CALLBACK: Final = llama_cpp.llama_log_callback(_log)
"""Held here for as long as the library may call it."""


@cache
def tame_output() -> None:
    """Have the library write to our log, and keep the binding from hiding the output of the whole process.

    While it loads a model, the binding points standard output and error at /dev/null, for all other threads
    too. With the log callback in place there is nothing left to hide.
    """
    llama_cpp.llama_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))
    mtmd.mtmd_helper_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))
    suppress_stdout_stderr.__init__ = lambda self, disable=True: setattr(self, "disable", True)  # type: ignore[method-assign]


def load(make: Callable[[], L]) -> L:
    """The model that this makes, also where its chat template can't be parsed.

    The binding parses it for its own chats, which we don't use, and doesn't load the model where that fails.
    """
    try:
        return make()
    except TemplateError:
        name = "Jinja2ChatFormatter"
        parser = getattr(llama_chat_format, name)
        setattr(llama_chat_format, name, _Unparsed)
        try:
            return make()
        finally:
            setattr(llama_chat_format, name, parser)


class _Unparsed:
    def __init__(self, **_template: Any) -> None:
        """It is left alone."""

    def to_chat_handler(self) -> None:
        return None


def sampler_of(llama: llama_cpp.Llama) -> Any:
    """What picks the next token of the completion that is being written. A model has a single one."""
    return llama._sampler


def set_sampler(llama: llama_cpp.Llama, sampler: Any) -> None:
    """Go on with the completion that this sampler is of."""
    llama._sampler = sampler


def has_logits(llama: llama_cpp.Llama) -> bool:
    """Whether those behind the last token are there, and the next one can be picked."""
    return not llama._requires_eval


def compute(llama: llama_cpp.Llama, tokens: Sequence[int], logits_at: Iterable[int]) -> None:
    """Compute at most a batch of tokens behind those in the cache, with logits also at these indexes.

    The binding's own `eval` has logits for the last token alone, or for all.
    """
    batch, known = llama._batch, llama.n_tokens
    batch.set_batch(batch=tokens, n_past=known, logits_all=False)
    for index in logits_at:
        batch.batch.logits[index] = True
    llama._ctx.decode(batch)
    llama.input_ids[known : known + len(tokens)] = tokens
    llama.n_tokens = known + len(tokens)
    llama._requires_eval = False


def free_with(llama: llama_cpp.Llama, free: Callable[[Any], object], thing: Any) -> None:
    """Have `free(thing)` called when the model is freed, and before it."""
    llama._stack.callback(free, thing)
