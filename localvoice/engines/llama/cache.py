"""The model's cache: many conversations that take turns in it, and stopping in the middle of a step."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import llama_cpp
import numpy as np

from localvoice.engines.llama.gaps import Gap, gaps, without
from localvoice.engines.llama.kept import WORTH_A_CHANGE, Kept, Tokens, best_start, shared
from localvoice.engines.llama.lease import CacheLease
from localvoice.engines.llama.marks import SEQUENCE, Marks, pointer
from localvoice.engines.llama.patches import has_logits, sampler_of, set_sampler

MOST_KEPT: Final = 8
"""Conversations kept in addition to the one in the cache."""
KEPT_MB: Final = 256
"""What they may take together, where a profile doesn't say it."""
MARKS_SHARE: Final = 2
"""The marks of the conversation in the cache take no more than one part of so many."""
OPENINGS_SHARE: Final = 2
"""What all conversations begin with isn't kept if it takes more than one part of so many."""
ASIDE_SHARE: Final = 2
"""A question aside isn't kept if it takes more than one part of so many: the room is for conversations."""
READ_STEP: Final = 32
"""Tokens of a prompt that the CPU computes at a time, and reads before others may have the model. More are
hardly faster, and take more memory."""


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
        memory = llama_cpp.llama_get_memory(llama.ctx)
        self._moves = not self.parts and bool(llama_cpp.llama_memory_can_shift(memory))
        """Whether what comes behind something that is left out can be moved up."""
        self._talk: object = None
        """What the cache holds a part of."""
        self._kept: list[Kept] = []  # the first is forgotten first
        self._openings: list[Kept] = []  # what all conversations begin with: it is never forgotten
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
        llama = self._llama
        try:
            with lease.aborting(llama):
                yield
        except RuntimeError:
            # After an aborted step the last token's logits are gone. Without that token the next prompt can't
            # be taken for one that is evaluated already.
            llama.n_tokens = max(0, llama.n_tokens - 1)
            lease.stop.check()
            raise

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

    def keep_opening(self) -> None:
        """All conversations may begin with what is in the cache, and nothing in it was said in one."""
        if self._taken(self._openings) + self._size() <= self._kept_bytes / OPENINGS_SHARE:
            self._openings.append(self._copy())

    def forget(self) -> None:
        """Keep no conversation, in the cache or outside of it, except those of open leases."""
        llama = self._llama
        if self._open is not None:
            self._open.sampler = sampler_of(llama)
            self._open.kept = self._put_away()
        self._kept, self._open, self._interrupted = [], None, None
        self._prompt, self._aside, self._worth, self._talk = 0, False, 0, None
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
        self._find(prompt, lease)
        lease.prompt = len(prompt)
        if left_out := self._gaps(prompt, self._tokens(), self._talk, lease):
            self._leave_out(left_out, prompt, lease)
        self._talk = lease.talk
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

    def _find(self, prompt: Sequence[int], lease: CacheLease) -> None:
        """Have the cache hold the conversation that begins most like the prompt."""

        def closed_up(tokens: Tokens, talk: object) -> Tokens:
            return without(tokens, self._gaps(prompt, tokens, talk, lease))

        present = closed_up(self._tokens(), self._talk)
        away = [*self._kept, *self._openings]
        held = [*(kept.marks for kept in away), self._marks.each]
        places = [[mark.length for mark in marks] for marks in held]
        if self.cuts:
            places[-1].append(shared(prompt, self._tokens()))
        tokens = [closed_up(kept.tokens, kept.talk) for kept in away]
        index = best_start(prompt, present, tokens, not self.parts, places)
        start = None if index is None else away[index]
        self._kept = [kept for kept in self._kept if kept is not start]
        if start is self._interrupted:
            self._interrupted = None
        stays = shared(prompt, present) if start is None else 0
        # Where the whole last prompt stays, it is the same talk: only the end of a reply is taken back. What
        # the talk leaves out never comes back.
        same = stays >= self._prompt or len(present) < self._llama.n_tokens
        if self._worth - stays >= WORTH_A_CHANGE and not (stays and same):
            self._put_away(interrupted=lease.aside and not self._aside)
        self._worth = 0
        if start is not None:
            self._load(start)
            rest = len(start.tokens) - shared(prompt, start.tokens)
            stays_away = start in self._openings or self._gaps(prompt, start.tokens, start.talk, lease)
            if rest >= WORTH_A_CHANGE and not stays_away:
                self._keep(start)  # another conversation, of which only the beginning is of use

    def _gaps(self, prompt: Sequence[int], tokens: Tokens, talk: object, lease: CacheLease) -> list[Gap]:
        """What the prompt leaves out of these tokens, where they are of the same talk.

        What is moved up knows of the words that are left out: none of it may reach another talk.
        """
        same = self._moves and talk is not None and talk is lease.talk
        return gaps(prompt, tokens) if same else []

    def _leave_out(self, left_out: Iterable[Gap], prompt: Sequence[int], lease: CacheLease) -> None:
        """Take these parts out of the cache, and move up what comes behind them."""
        llama = self._llama
        memory = llama_cpp.llama_get_memory(llama.ctx)
        self._marks.take_back(llama.n_tokens)  # what an aborted step left there
        for start, end in left_out:
            llama_cpp.llama_memory_seq_rm(memory, SEQUENCE, start, end)
            llama_cpp.llama_memory_seq_add(memory, SEQUENCE, end, -1, start - end)
            rest = llama.input_ids[end : llama.n_tokens].copy()
            llama.n_tokens = start + len(rest)
            llama.input_ids[start : llama.n_tokens] = rest
        # The next step turns the keys by their new positions. Stopped in the middle, some would stay as they
        # were; so it is a short one that isn't stopped.
        llama.n_tokens = min(shared(prompt, self._tokens()), len(prompt) - 1)
        with lease.not_aborting(llama):
            llama.eval(prompt[llama.n_tokens : llama.n_tokens + 1])

    def _size(self) -> int:
        return int(llama_cpp.llama_state_seq_get_size(self._llama.ctx, SEQUENCE))

    def _tokens(self) -> Tokens:
        return self._llama.input_ids[: self._llama.n_tokens]

    def _put_away(self, interrupted: bool = False) -> Kept:
        """Keep what is in the cache; `interrupted`: by a question aside."""
        kept = self._copy()
        if interrupted:
            self._interrupted = kept
        self._keep(kept, first_to_go=self._aside if self._open is None else self._open.aside)
        self._worth = 0
        return kept

    def _copy(self) -> Kept:
        llama = self._llama
        self._marks.take_back(llama.n_tokens)  # what an aborted step left there
        state = np.empty(self._size(), np.uint8)
        if not llama_cpp.llama_state_seq_get_data(llama.ctx, pointer(state), state.size, SEQUENCE):
            raise RuntimeError("llama.cpp gave no state of the conversation")
        return Kept(self._tokens().copy(), state, self._marks.each, self._talk)

    def _taken(self, some: Iterable[Kept]) -> int:
        return sum(kept.nbytes for kept in some)

    def _keep(self, new: Kept, first_to_go: bool = False) -> None:
        """Keep it instead of those that it holds nearly whole."""
        others = [
            kept
            for kept in self._kept
            if len(kept.tokens) - shared(kept.tokens, new.tokens) >= WORTH_A_CHANGE
        ]
        self._kept = [new, *others] if first_to_go else [*others, new]
        room = self._kept_bytes - self._taken(self._openings)
        while len(self._kept) > MOST_KEPT or self._taken(self._kept) > room:
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
        self._marks.each, self._talk = kept.marks, kept.talk
        if not kept.tokens.size:
            return
        if not llama_cpp.llama_state_seq_set_data(llama.ctx, pointer(kept.state), kept.state.size, SEQUENCE):
            raise RuntimeError("llama.cpp didn't take the state of the conversation back")
        llama.n_tokens = kept.tokens.size
        llama.input_ids[: kept.tokens.size] = kept.tokens
