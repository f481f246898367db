"""The model's cache: many conversations that take turns in it, and stopping in the middle of a step."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import llama_cpp
import numpy as np
import numpy.typing as npt

from localvoice.engines.jobs import Stop
from localvoice.engines.llama.patches import sampler_of, set_sampler

Tokens = npt.NDArray[np.intc]
"""Shape (tokens,)."""

MOST_KEPT: Final = 8
"""Conversations kept in addition to the one in the cache."""
KEPT_MB: Final = 256
"""What they may take together, where a profile doesn't say it."""
ASIDE_SHARE: Final = 2
"""A question aside isn't kept if it takes more than one part of so many: the room is for conversations."""
WORTH_A_CHANGE: Final = 16
"""Tokens whose reading must be saved by keeping a conversation, or by changing to one. The change itself
takes as long as reading a few."""
READ_STEP: Final = 32
"""Tokens of a prompt that the CPU computes at a time, and reads before others may have the model. More are
hardly faster, and take more memory."""
_ABORT_IF_NOT_EMPTY: Final = ctypes.cast(ctypes.CDLL(None).strlen, llama_cpp.ggml_abort_callback)
"""llama.cpp asks hundreds of times a token whether to abort. A callback into Python would take the
interpreter's lock each time; C's own strlen answers from a one-byte string: 0 while it is empty, else 1."""
_SEQUENCE: Final = 0
"""The one that the binding uses."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A conversation outside of the cache: what was read and written of it, and llama.cpp's state of it."""

    tokens: Tokens
    state: npt.NDArray[np.uint8]


class CacheLease:
    """One job's use of the cache. Between its steps other jobs may have the cache."""

    def __init__(self, stop: Stop, aside: bool = False) -> None:
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


def shared(one: Sequence[int] | Tokens, other: Sequence[int] | Tokens) -> int:
    """How many tokens both have in common at their beginning."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(np.asarray(one[:length]) != np.asarray(other[:length]))
    return int(differ[0]) if differ.size else length


def cut(llama: llama_cpp.Llama, length: int) -> bool:
    """Take back what the cache holds behind so many tokens; False where the model can't."""
    return bool(llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(llama.ctx), _SEQUENCE, length, -1))


def best_start(prompt: Sequence[int], present: Tokens, kept: Sequence[Tokens], cuts: bool) -> int | None:
    """Index of the kept conversation to read the prompt on from; None: the one in the cache, `present`.

    A model whose state can't be cut (`cuts` is false) only goes on where a conversation ended.
    """

    def saved(tokens: Tokens) -> int:
        known = shared(prompt, tokens)
        return known if cuts or known == len(tokens) else 0

    each = [(saved(tokens), -len(tokens)) for tokens in kept]  # among equals the shortest is loaded soonest
    best = max(range(len(kept)), key=each.__getitem__, default=None)
    return best if best is not None and each[best][0] >= saved(present) + WORTH_A_CHANGE else None


class PromptCache:
    """The one conversation in the model's cache, and those that are kept outside of it.

    Changing takes some ms; reading a conversation again would take seconds.
    """

    def __init__(self, llama: llama_cpp.Llama, read_step: int = READ_STEP, kept_mb: float = KEPT_MB) -> None:
        """Reads a prompt in steps of so many tokens; keeps so many MB outside of the cache."""
        self._llama = llama
        self._read_step = read_step
        self._kept_bytes = kept_mb * 2**20
        model = llama.model
        self.cuts = not (llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model))
        """Whether what was read last can be taken back."""
        self._kept: list[Kept] = []  # the first is forgotten first
        self._interrupted: Kept | None = None
        """Whose conversation goes on after the latest question aside. It is kept however large it is."""
        self._open: CacheLease | None = None
        """The lease that has the cache, and goes on."""
        self._prompt = 0
        """Tokens of the prompt of the lease that had it last and is over."""
        self._aside = False
        """Whether that was a question aside."""
        self._worth = 0
        """Tokens in the cache that may be asked for again, while no lease is open."""

    @contextmanager
    def held(self, lease: CacheLease) -> Iterator[None]:
        """Inside, the cache is as the lease left it; with a new lease it holds any conversation.

        Raises `Stopped` if the user is stopped there.
        """
        if self._open is not lease:
            self._change(lease)
        llama, flag = self._llama, ctypes.cast(lease.abort, ctypes.c_void_p)
        llama_cpp.llama_set_abort_callback(llama.ctx, _ABORT_IF_NOT_EMPTY, flag)
        try:
            yield
        except RuntimeError:
            # After an aborted step the last token's logits are gone. Without that token the next prompt can't
            # be taken for one that is evaluated already.
            llama.n_tokens = max(0, llama.n_tokens - 1)
            lease.stop.check()
            raise
        finally:
            llama_cpp.llama_set_abort_callback(llama.ctx, llama_cpp.ggml_abort_callback(), None)

    def end(self, lease: CacheLease, whole: bool) -> None:
        """The lease is over. What one that isn't `whole` wrote behind its prompt is not kept."""
        lease.kept = lease.sampler = None
        if self._open is not lease:
            return
        self._open = None
        if lease.prompt:
            count = self._llama.n_tokens
            left = min(count, lease.prompt) if self.cuts else 0
            self._prompt, self._aside = lease.prompt, lease.aside
            self._worth = count if whole else left
        if lease.aside:
            if self._size() > self._kept_bytes / ASIDE_SHARE:
                self._worth = 0
            if self._interrupted is not None:
                self._go_back(self._interrupted)

    def forget(self) -> None:
        """Keep no conversation, in the cache or outside of it, except those of open leases."""
        llama = self._llama
        if self._open is not None:
            self._open.sampler = sampler_of(llama)
            self._open.kept = self._put_away()
        self._kept, self._open, self._interrupted = [], None, None
        self._prompt, self._aside, self._worth = 0, False, 0
        # With what the cells hold: to take tokens back only marks them as free.
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(llama.ctx), True)
        llama.reset()  # type: ignore[no-untyped-call]
        llama.input_ids.fill(0)

    def read(self, lease: CacheLease, prompt: Sequence[int]) -> Iterator[str]:
        """Evaluate the prompt except for its last tokens, in steps, each to be taken inside of `held`.
        They yield "", an item that brings no text.

        Afterwards the cache holds what is evaluated of it, or more.
        """
        llama = self._llama
        self._find(prompt, lease.aside)
        lease.prompt = len(prompt)
        known = shared(prompt, self._tokens())
        if known == len(prompt):
            return
        if cut(llama, known):
            llama.n_tokens = known
        else:
            llama.reset()  # type: ignore[no-untyped-call]
        if min(prompt[llama.n_tokens :]) < 0:
            return  # an image: only the job that brings it can look at it, and in one go
        while len(prompt) - llama.n_tokens > self._read_step:
            llama.eval(prompt[llama.n_tokens : llama.n_tokens + self._read_step])
            yield ""

    def _change(self, lease: CacheLease) -> None:
        if self._open is not None:
            self._open.sampler = sampler_of(self._llama)
            self._open.kept = self._put_away()
        if lease.kept is not None:
            self._change_to(lease.kept)
            set_sampler(self._llama, lease.sampler)
            lease.kept = lease.sampler = None
        self._open = lease

    def _go_back(self, waiting: Kept) -> None:
        """Give the cache back to the conversation that waited for a question aside.

        Its next prompt is urgent, and until then both would take room.
        """
        self._interrupted = None
        self._change_to(waiting)
        self._prompt = self._worth = len(waiting.tokens)
        self._aside = False

    def _change_to(self, wanted: Kept) -> None:
        self._kept = [kept for kept in self._kept if kept is not wanted]
        if self._worth >= WORTH_A_CHANGE:
            self._put_away()
        self._load(wanted)

    def _find(self, prompt: Sequence[int], aside: bool) -> None:
        """Have the cache hold the conversation that begins most like the prompt."""
        index = best_start(prompt, self._tokens(), [kept.tokens for kept in self._kept], self.cuts)
        start = None if index is None else self._kept.pop(index)
        if start is self._interrupted:
            self._interrupted = None
        stays = shared(prompt, self._tokens()) if start is None else 0
        # Where the whole last prompt stays, it is the same talk: only the end of a reply is taken back.
        if self._worth - stays >= WORTH_A_CHANGE and (not stays or stays < self._prompt):
            self._put_away(interrupted=aside and not self._aside)
        self._worth = 0
        if start is not None:
            self._load(start)
            if len(start.tokens) - shared(prompt, start.tokens) >= WORTH_A_CHANGE:
                self._keep(start)  # another conversation, of which only the beginning is of use

    def _size(self) -> int:
        return int(llama_cpp.llama_state_seq_get_size(self._llama.ctx, _SEQUENCE))

    def _tokens(self) -> Tokens:
        return self._llama.input_ids[: self._llama.n_tokens]

    def _put_away(self, interrupted: bool = False) -> Kept:
        """Keep what is in the cache; `interrupted`: by a question aside."""
        llama = self._llama
        cut(llama, llama.n_tokens)  # what an aborted step left there
        state = np.empty(self._size(), np.uint8)
        if not llama_cpp.llama_state_seq_get_data(llama.ctx, _pointer(state), state.size, _SEQUENCE):
            raise RuntimeError("llama.cpp gave no state of the conversation")
        kept = Kept(self._tokens().copy(), state)
        if interrupted:
            self._interrupted = kept
        self._keep(kept, first_to_go=self._aside if self._open is None else self._open.aside)
        self._worth = 0
        return kept

    def _keep(self, new: Kept, first_to_go: bool = False) -> None:
        """Keep it instead of those that it holds nearly whole."""
        others = [
            kept
            for kept in self._kept
            if len(kept.tokens) - shared(kept.tokens, new.tokens) >= WORTH_A_CHANGE
        ]
        self._kept = [new, *others] if first_to_go else [*others, new]
        while len(self._kept) > MOST_KEPT or sum(kept.state.nbytes for kept in self._kept) > self._kept_bytes:
            first = next((kept for kept in self._kept if kept is not self._interrupted), None)
            if first is None:
                break
            self._kept.remove(first)
        if self._interrupted not in self._kept:  # the new one holds it
            self._interrupted = None

    def _load(self, kept: Kept) -> None:
        llama = self._llama
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(llama.ctx), False)
        llama.reset()  # type: ignore[no-untyped-call]  # the logits are those of the other conversation
        if not kept.tokens.size:
            return
        if not llama_cpp.llama_state_seq_set_data(
            llama.ctx, _pointer(kept.state), kept.state.size, _SEQUENCE
        ):
            raise RuntimeError("llama.cpp didn't take the state of the conversation back")
        llama.n_tokens = kept.tokens.size
        llama.input_ids[: kept.tokens.size] = kept.tokens


def _pointer(state: npt.NDArray[np.uint8]) -> Any:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
