"""The model's cache: many conversations that take turns in it, and stopping in the middle of a step."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import llama_cpp
import numpy as np

from localvoice.engines.jobs import Stop
from localvoice.engines.llama.kept import WORTH_A_CHANGE, Kept, Tokens, best_start, shared
from localvoice.engines.llama.marks import SEQUENCE, Marks, pointer
from localvoice.engines.llama.patches import has_logits, sampler_of, set_sampler

MOST_KEPT: Final = 8
"""Conversations kept in addition to the one in the cache."""
KEPT_MB: Final = 256
"""What they may take together, where a profile doesn't say it."""
MARKS_SHARE: Final = 2
"""The marks of the conversation in the cache take no more than one part of so many."""
ASIDE_SHARE: Final = 2
"""A question aside isn't kept if it takes more than one part of so many: the room is for conversations."""
READ_STEP: Final = 32
"""Tokens of a prompt that the CPU computes at a time, and reads before others may have the model. More are
hardly faster, and take more memory."""
_ABORT_IF_NOT_EMPTY: Final = ctypes.cast(ctypes.CDLL(None).strlen, llama_cpp.ggml_abort_callback)
"""llama.cpp asks hundreds of times a token whether to abort. A callback into Python would take the
interpreter's lock each time; C's own strlen answers from a one-byte string: 0 while it is empty, else 1."""


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


class PromptCache:
    """The one conversation in the model's cache, and those that are kept outside of it.

    Changing takes some ms; reading a conversation again would take seconds.
    """

    def __init__(self, llama: llama_cpp.Llama, read_step: int = READ_STEP, kept_mb: float = KEPT_MB) -> None:
        """Reads a prompt in steps of so many tokens; keeps so many MB outside of the cache."""
        self._llama = llama
        self._read_step = read_step
        self._kept_bytes = kept_mb * 2**20
        self._marks = Marks(llama, self._kept_bytes / MARKS_SHARE)
        self.cuts: Final = not self._marks.recurrent
        """Whether what was read since the conversation was loaded can be taken back, to any token."""
        self.parts: Final = self._marks.needed
        """Whether it is of use to know where prompts part."""
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
            if not whole and not self.cuts:
                self._marks.take_back_to_last()  # a step that was aborted has spoilt the state
            count = self._llama.n_tokens
            self._prompt, self._aside = lease.prompt, lease.aside
            self._worth = count if whole else min(count, lease.prompt)
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
        self._marks.each = ()
        # With what the cells hold: to take tokens back only marks them as free.
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(llama.ctx), True)
        llama.reset()  # type: ignore[no-untyped-call]
        llama.input_ids.fill(0)

    def read(self, lease: CacheLease, prompt: Sequence[int], parting: int = 0) -> Iterator[str]:
        """Evaluate the prompt except for its last tokens, in steps, each to be taken inside of `held`.
        They yield "", an item that brings no text.

        Afterwards the cache holds what is evaluated of it, or more. At `parting`, before which token other
        prompts are likely to part from it, a model that can't take back tokens leaves a mark.
        """
        llama = self._llama
        self._find(prompt, lease.aside)
        lease.prompt = len(prompt)
        known = shared(prompt, self._tokens())
        if known == len(prompt):
            return
        self._marks.take_back(known)
        if min(prompt[llama.n_tokens :]) < 0:
            return  # an image: only the job that brings it can look at it, and in one go
        if llama.n_tokens == parting:
            self._marks.make()
        while llama.n_tokens < parting or len(prompt) - llama.n_tokens > self._read_step:
            end = llama.n_tokens + self._read_step
            llama.eval(prompt[llama.n_tokens : min(end, parting) if llama.n_tokens < parting else end])
            if llama.n_tokens == parting:
                self._marks.make()
            yield ""

    def mark(self) -> None:
        """The next prompt may well part from this one here."""
        self._marks.make()

    def fit(self, prompt: Sequence[int]) -> None:
        """Take back what isn't of the prompt, where the binding can't: it would read the prompt again."""
        if not self.parts:
            return
        known, count = shared(prompt, self._tokens()), self._llama.n_tokens
        if known < count or known == len(prompt) and not has_logits(self._llama):
            self._marks.take_back(min(known, len(prompt) - 1))

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
        held = [*(kept.marks for kept in self._kept), self._marks.each]
        places = [[mark.length for mark in marks] for marks in held]
        if self.cuts:
            places[-1].append(shared(prompt, self._tokens()))
        tokens = [kept.tokens for kept in self._kept]
        index = best_start(prompt, self._tokens(), tokens, not self.parts, places)
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
        return int(llama_cpp.llama_state_seq_get_size(self._llama.ctx, SEQUENCE))

    def _tokens(self) -> Tokens:
        return self._llama.input_ids[: self._llama.n_tokens]

    def _put_away(self, interrupted: bool = False) -> Kept:
        """Keep what is in the cache; `interrupted`: by a question aside."""
        llama = self._llama
        self._marks.take_back(llama.n_tokens)  # what an aborted step left there
        state = np.empty(self._size(), np.uint8)
        if not llama_cpp.llama_state_seq_get_data(llama.ctx, pointer(state), state.size, SEQUENCE):
            raise RuntimeError("llama.cpp gave no state of the conversation")
        kept = Kept(self._tokens().copy(), state, self._marks.each)
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
        while len(self._kept) > MOST_KEPT or sum(kept.nbytes for kept in self._kept) > self._kept_bytes:
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
        self._marks.each = kept.marks
        if not kept.tokens.size:
            return
        if not llama_cpp.llama_state_seq_set_data(llama.ctx, pointer(kept.state), kept.state.size, SEQUENCE):
            raise RuntimeError("llama.cpp didn't take the state of the conversation back")
        llama.n_tokens = kept.tokens.size
        llama.input_ids[: kept.tokens.size] = kept.tokens
