"""Places to go back to, for models that can't take back any token that they have read.

The state of a recurrent layer is that behind the last token alone. A layer with a sliding window has the keys
and values of all tokens, until the conversation is put away: then only those of the window are kept. So both
are copied where prompts are likely to part, and the copy is put back where the tokens behind are taken back.
"""

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import llama_cpp
import numpy as np
import numpy.typing as npt

MOST_MARKS: Final = 3
"""Of one conversation: what all begin with, and the two latest."""
SEQUENCE: Final = 0
"""The one that the binding uses."""
_SUCH_LAYERS: Final = llama_cpp.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY


@dataclass(frozen=True, eq=False)
class Mark:
    """What such layers hold behind so many tokens of a conversation."""

    length: int
    state: npt.NDArray[np.uint8]


class Marks:
    """Those of the conversation in the cache; empty for ever if the model can take back any token."""

    def __init__(self, llama: llama_cpp.Llama, most_bytes: float) -> None:
        self._llama = llama
        self._most_bytes = most_bytes
        model = llama.model
        self.recurrent: Final = bool(
            llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model)
        )
        self.needed: Final = self.recurrent or llama_cpp.llama_model_n_swa(model) > 0
        self.each: tuple[Mark, ...] = ()
        """In their order."""

    def make(self) -> None:
        """Keep the state that the model is in."""
        length = self._llama.n_tokens
        if not self.needed or not length or any(mark.length == length for mark in self.each):
            return
        state = np.empty(
            llama_cpp.llama_state_seq_get_size_ext(self._llama.ctx, SEQUENCE, _SUCH_LAYERS), np.uint8
        )
        if not llama_cpp.llama_state_seq_get_data_ext(
            self._llama.ctx, pointer(state), state.size, SEQUENCE, _SUCH_LAYERS
        ):
            raise RuntimeError("llama.cpp gave no state for a mark")
        self.each = (*self.each, Mark(length, state))
        if len(self.each) > MOST_MARKS:
            self.each = (self.each[0], *self.each[1 - MOST_MARKS :])
        while len(self.each) > 1 and sum(mark.state.nbytes for mark in self.each) > self._most_bytes:
            self.each = self.each[1:]

    def take_back(self, length: int) -> None:
        """Forget what the cache holds behind so many tokens, or behind the nearest place before."""
        llama = self._llama
        if cut(llama, length):
            llama.n_tokens = length
        elif (mark := next((mark for mark in reversed(self.each) if mark.length <= length), None)) is None:
            llama.reset()  # type: ignore[no-untyped-call]
        elif not llama_cpp.llama_state_seq_set_data_ext(
            llama.ctx, pointer(mark.state), mark.state.size, SEQUENCE, _SUCH_LAYERS
        ) or not _remove(llama, mark.length):
            raise RuntimeError("llama.cpp didn't take the state of a mark back")
        else:
            llama.n_tokens = mark.length
        self.each = tuple(mark for mark in self.each if mark.length <= llama.n_tokens)

    def take_back_to_last(self) -> None:
        """Forget what the cache holds behind the last of them."""
        self.take_back(self.each[-1].length if self.each else 0)


def cut(llama: llama_cpp.Llama, length: int) -> bool:
    """Take back what the cache holds behind so many tokens; False, with nothing done, where it can't be."""
    memory, window = llama_cpp.llama_get_memory(llama.ctx), llama_cpp.llama_model_n_swa(llama.model)
    if window and 0 < length <= llama_cpp.llama_memory_seq_pos_max(memory, SEQUENCE):
        # llama.cpp would do it, and the next token see a window with a hole.
        seen_from = max(0, length - window + 1)
        if llama_cpp.llama_memory_seq_pos_min(memory, SEQUENCE) > seen_from:
            return False
    return _remove(llama, length)


def _remove(llama: llama_cpp.Llama, length: int) -> bool:
    return bool(llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(llama.ctx), SEQUENCE, length, -1))


def pointer(state: npt.NDArray[np.uint8]) -> Any:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
