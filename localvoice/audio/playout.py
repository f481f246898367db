"""What the agent says, on its way to the loudspeaker, and how much of it has been heard.

The turn writes pieces of the reply, a transport reads 20 ms at a time. `hold()` and `stop()` are barge-in:
from the next read on there is silence, until it is known what the user means, or for good. All of it happens
on one event loop; a transport whose sound card calls back on a thread of its own reads on the loop and hands
over.
"""

import asyncio
import math
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from localvoice.audio.frames import AUDIBLE, AudioFrame, Samples

_AHEAD_SECONDS: Final = 8.0
"""Sound that may wait unplayed: two sentences, so that speech never starves, yet little is wasted
when the user interrupts."""
_REWIND_SECONDS: Final = 1.5
"""How far back it can go, in addition to what was read ahead: more than the longest words take."""
_UNSURE_SECONDS: Final = 0.05
"""How exactly it is known what was heard when the sound was cut."""
_FADE_SECONDS: Final = 0.005
"""For a beginning in mid-sound, which would click."""


@dataclass
class _Piece:
    text: str
    samples: int = 0
    played: int = 0
    ends: list[int] = field(default_factory=list)
    """Where in its samples the words end, as far as the voice has told."""

    def word_ends(self) -> list[int]:
        """The same, words of equal length where the voice doesn't tell."""
        count = len(self.text.split())
        return self.ends or [self.samples * number // count for number in range(1, count + 1)]


@dataclass
class _Reply:
    pieces: list[_Piece] = field(default_factory=list)
    complete: bool = False
    first_audible: float | None = None
    cut: float | None = None
    """Seconds that had been read and not yet heard when it was stopped."""


class Playout:
    """The sound of one reply at a time, at the transport's rate, mono."""

    def __init__(self, rate: int) -> None:
        """`rate`: samples a second that the transport reads."""
        self.rate = rate
        self.ahead = 0.0
        """Seconds from a sample being read to its being heard; a transport that reads ahead says so here."""
        self._last_read = -math.inf
        self._chunks: deque[tuple[_Piece, Samples]] = deque()
        self._waiting = 0
        self._read: deque[tuple[_Piece, Samples]] = deque()
        """The latest that was read, for going back."""
        self._kept = 0  # samples of it
        self._reply = _Reply(complete=True)
        self._changed = asyncio.Event()
        self._held: asyncio.Event | None = None

    def begin(self) -> None:
        """A new reply begins; what is left of the one before is thrown away."""
        self._discard()
        self._reply = _Reply()

    async def write(self, text: str, frame: AudioFrame) -> None:
        """Queue sound that says `text`; empty text continues the piece. Waits while much is unplayed."""
        reply = self._reply
        while self._waiting > _AHEAD_SECONDS * self.rate and not reply.complete:
            await self._wait_for_change()
        if reply.complete:
            return  # stopped, perhaps while we waited
        if text or not reply.pieces:
            reply.pieces.append(_Piece(text))
        piece = reply.pieces[-1]
        samples = frame.resampled(self.rate).samples
        if not len(samples):
            return
        ends = (min(round(end * self.rate), len(samples)) for end in frame.word_ends)
        piece.ends += [piece.samples + end for end in ends]
        piece.samples += len(samples)
        self._chunks.append((piece, samples))
        self._waiting += len(samples)
        self._notify()

    def complete(self) -> None:
        """Nothing more will be written to this reply."""
        self._reply.complete = True
        self._notify()

    def hold(self) -> None:
        """Silence from the next read on, until `resume` or `stop`. What has not been heard is kept."""
        if self._held is not None:
            return
        self._held = asyncio.Event()
        self._rewind(round(self._unheard_seconds() * self.rate))
        self._last_read = -math.inf
        self._notify()

    def resume(self) -> None:
        """Go on after a `hold`, from the beginning of the last word that may not have been heard whole."""
        if self._held is None:
            return
        self._held.set()
        self._held = None
        self._rewind(self._since_whole_word())
        if self._chunks:
            self._fade_in()
        self._notify()

    @property
    def held(self) -> bool:
        """Whether it is silent while the user speaks, until it is clear what they mean."""
        return self._held is not None

    async def released(self) -> None:
        """Wait until playout that is held resumes. After `stop` it never does: cancel the waiting task."""
        if self._held is not None:
            await self._held.wait()

    def stop(self) -> None:
        """Silence from the next read on. `heard` stays as it was at this moment."""
        self._discard()
        self._held = None

    def read(self, count: int) -> Samples:
        """The next `count` samples, shape (count,), int16; silence where there is nothing to say."""
        out = np.zeros(count, np.int16)
        filled = 0
        while filled < count and self.playing:
            piece, samples = self._chunks.popleft()
            taken = samples[: count - filled]
            out[filled : filled + len(taken)] = taken
            filled += len(taken)
            piece.played += len(taken)
            self._read.append((piece, taken))
            self._kept += len(taken)
            if len(taken) < len(samples):
                self._chunks.appendleft((piece, samples[len(taken) :]))
        if filled:
            self._last_read = asyncio.get_running_loop().time()
            self._waiting -= filled
            self._forget_old()
            self._note_first_sound(out)
            self._notify()
        return out

    @property
    def playing(self) -> bool:
        """Whether there is sound to read now."""
        return bool(self._chunks) and self._held is None

    async def started(self) -> float | None:
        """Wait for the reply's first audible sample: the event loop's time at which it was read.

        None if the reply came to its end without one.
        """
        while self._reply.first_audible is None and not self._at_end:
            await self._wait_for_change()
        return self._reply.first_audible

    async def sounding(self) -> None:
        """Wait until there is sound to read."""
        while not self.playing:
            await self._wait_for_change()

    async def finished(self) -> None:
        """Wait until the reply is complete and has been heard to its end, or was stopped."""
        while not self._at_end or (self._reply.cut is None and self._unheard_seconds() > 0):
            if self._at_end:
                await asyncio.sleep(self._unheard_seconds())
            else:
                await self._wait_for_change()

    def heard(self) -> str:
        """The words of this reply that have been played to their ends."""
        return " ".join(self.words()[0])

    def words(self) -> tuple[list[str], list[str]]:
        """The words of this reply that have been played to their ends, and those that are still to come."""
        heard: list[str] = []
        to_come: list[str] = []
        unheard = round(self._unheard_seconds() * self.rate)
        for piece in reversed(self._reply.pieces):
            played = max(0, piece.played - unheard)
            unheard -= piece.played - played
            own = piece.text.split()
            count = bisect_right(piece.word_ends(), played) if played else 0
            heard = own[:count] + heard
            to_come = own[count:] + to_come
        return heard, to_come

    def _discard(self) -> None:
        self._reply.cut = self._unheard_seconds()
        self._chunks.clear()
        self._read.clear()
        self._kept = 0
        self._waiting = 0
        self._reply.complete = True
        self._notify()

    def _rewind(self, count: int) -> None:
        """Make the latest samples that were read the next to be read, as far as they are still known."""
        while count > 0 and self._read:
            piece, samples = self._read.pop()
            again = samples[-count:]
            if len(again) < len(samples):
                self._read.append((piece, samples[: -len(again)]))
            self._chunks.appendleft((piece, again))
            piece.played -= len(again)
            self._kept -= len(again)
            self._waiting += len(again)
            count -= len(again)

    def _since_whole_word(self) -> int:
        """Samples since the end of the last word that was certainly heard, in the piece that was cut."""
        if not self._read:
            return 0
        piece = self._read[-1][0]
        certain = piece.played - round(_UNSURE_SECONDS * self.rate)
        return piece.played - max((end for end in piece.word_ends() if end <= certain), default=0)

    def _fade_in(self) -> None:
        piece, samples = self._chunks.popleft()
        count = min(len(samples), int(_FADE_SECONDS * self.rate))
        if count < len(samples):
            self._chunks.appendleft((piece, samples[count:]))
        self._chunks.appendleft((piece, (samples[:count] * np.linspace(0, 1, count)).astype(np.int16)))

    def _forget_old(self) -> None:
        """Keep no more of what was read than is ever gone back to."""
        enough = (self.ahead + _REWIND_SECONDS) * self.rate
        while self._kept - len(self._read[0][1]) >= enough:
            self._kept -= len(self._read.popleft()[1])

    def _unheard_seconds(self) -> float:
        """How much of what was read has not been heard yet."""
        if self._reply.cut is not None:
            return self._reply.cut
        if not self.ahead:
            return 0.0
        return max(0.0, self._last_read + self.ahead - asyncio.get_running_loop().time())

    @property
    def _at_end(self) -> bool:
        return self._reply.complete and not self._chunks

    def _note_first_sound(self, samples: Samples) -> None:
        if self._reply.first_audible is None and int(np.abs(samples, dtype=np.int32).max()) > AUDIBLE:
            self._reply.first_audible = asyncio.get_running_loop().time()

    def _notify(self) -> None:
        self._changed.set()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
