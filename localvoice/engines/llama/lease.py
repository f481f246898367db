"""One job's use of the model's cache."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import llama_cpp

from localvoice.engines.jobs import Stop
from localvoice.engines.llama.kept import Kept

_ABORT_IF_NOT_EMPTY: Final = ctypes.cast(ctypes.CDLL(None).strlen, llama_cpp.ggml_abort_callback)
"""llama.cpp asks hundreds of times a token whether to abort. A callback into Python would take the
interpreter's lock each time; C's own strlen answers from a one-byte string: 0 while it is empty, else 1."""
_NEVER: Final = llama_cpp.ggml_abort_callback()


class CacheLease:
    """One job's use of the cache. Between its steps other jobs may have the cache."""

    def __init__(self, stop: Stop, aside: bool = False, talk: object = None) -> None:
        self.talk = talk
        """What it is a part of (`Prompt.talk`)."""
        self.stop = stop
        """Ends it, also in the middle of a step."""
        self.aside = aside
        """Whether it is no part of a conversation: where there are too many, it is dropped first."""
        self.abort = ctypes.create_string_buffer(2)
        """What the C code asks: of each job its own, or one that is stopped late would stop the next."""
        stop.on_set(lambda: setattr(self.abort, "value", b"1"))
        self.prompt = 0
        """Tokens of its prompt; 0 before it is read."""
        self.kept: Kept | None = None
        """While another has the cache: all that was in it."""
        self.sampler: Any = None
        """While another has the cache: the binding's sampler, which picks the next token."""

    @contextmanager
    def aborting(self, llama: llama_cpp.Llama) -> Iterator[None]:
        """Inside, a step of the model ends when the job is stopped, with a `RuntimeError`."""
        self._set_abort(llama)
        try:
            yield
        finally:
            llama_cpp.llama_set_abort_callback(llama.ctx, _NEVER, None)

    @contextmanager
    def not_aborting(self, llama: llama_cpp.Llama) -> Iterator[None]:
        """Inside of that: a step that must not end in the middle."""
        llama_cpp.llama_set_abort_callback(llama.ctx, _NEVER, None)
        try:
            yield
        finally:
            self._set_abort(llama)

    def _set_abort(self, llama: llama_cpp.Llama) -> None:
        flag = ctypes.cast(self.abort, ctypes.c_void_p)
        llama_cpp.llama_set_abort_callback(llama.ctx, _ABORT_IF_NOT_EMPTY, flag)
