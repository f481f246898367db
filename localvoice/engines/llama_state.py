"""What the binding leaves out of llama.cpp: stopping amid a step, and a second conversation aside."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import llama_cpp
import numpy as np
import numpy.typing as npt

from localvoice.engines.worker import Stop

_ABORT_IF_NOT_EMPTY: Final = ctypes.cast(ctypes.CDLL(None).strlen, llama_cpp.ggml_abort_callback)
"""llama.cpp asks some 600 times a token whether to abort. A callback into Python would take the interpreter's
lock each time; C's own strlen answers from a one-byte string: 0 while it is empty, 1 when it isn't."""

_SEQUENCE: Final = 0
"""The one that the binding uses."""


@contextmanager
def stoppable(llama: llama_cpp.Llama, stop: Stop) -> Iterator[None]:
    """Let the stop flag reach into the C code, and turn what comes of it into `Stopped`."""
    # A flag for each job: one that is stopped late, when it is over, must not stop the next.
    abort = ctypes.create_string_buffer(2)
    stop.on_set(lambda: setattr(abort, "value", b"1"))
    llama_cpp.llama_set_abort_callback(llama.ctx, _ABORT_IF_NOT_EMPTY, ctypes.cast(abort, ctypes.c_void_p))
    try:
        yield
    except RuntimeError:
        # After an aborted step the last token's logits are gone. Without that token the next prompt can't be
        # taken for one that is evaluated already.
        llama.n_tokens = max(0, llama.n_tokens - 1)
        stop.check()
        raise
    finally:
        llama_cpp.llama_set_abort_callback(llama.ctx, llama_cpp.ggml_abort_callback(), None)


@dataclass(frozen=True)
class _Kept:
    """A conversation out of the cache."""

    tokens: npt.NDArray[np.intc]
    """What was read of it, shape (tokens,)."""
    state: Any
    """As llama.cpp writes it: 12 to 30 kB a token."""


class Aside:
    """A second conversation beside the one in the cache: a question to the model that is no part of the talk.

    Going there and back takes some ms; reading the talk anew would take seconds.
    """

    def __init__(self, llama: llama_cpp.Llama) -> None:
        self._llama = llama
        self._kept: _Kept | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The cache holds the conversation aside; afterwards, whatever happens, the one before."""
        talk = _take(self._llama)
        _put(self._llama, self._kept)
        try:
            yield
        finally:
            self._kept = _take(self._llama)
            _put(self._llama, talk)


def _take(llama: llama_cpp.Llama) -> _Kept | None:
    size = llama_cpp.llama_state_seq_get_size(llama.ctx, _SEQUENCE)
    state = (ctypes.c_uint8 * size)()
    if not llama_cpp.llama_state_seq_get_data(llama.ctx, state, size, _SEQUENCE):
        return None  # it will be read anew
    return _Kept(llama.input_ids[: llama.n_tokens].copy(), state)


def _put(llama: llama_cpp.Llama, kept: _Kept | None) -> None:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(llama.ctx), False)
    llama.reset()  # type: ignore[no-untyped-call]  # the logits are those of the other conversation
    if kept and llama_cpp.llama_state_seq_set_data(llama.ctx, kept.state, len(kept.state), _SEQUENCE):
        llama.n_tokens = len(kept.tokens)
        llama.input_ids[: len(kept.tokens)] = kept.tokens
