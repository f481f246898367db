"""What the agent says, on its way to the loudspeaker, and how much of it has been heard.

The turn writes pieces of the reply, a transport reads 20 ms at a time. `stop()` is barge-in: from the next
read on there is silence. All of it happens on one event loop; a transport whose sound card calls back on a
thread of its own reads on the loop and hands over.
"""

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from localvoice.audio.frames import AUDIBLE, AudioFrame, Samples

_AHEAD_SECONDS: Final = 8.0
"""Sound that may wait unplayed: two sentences, so that speech never starves, yet little is made in vain
when the user interrupts."""


@dataclass
class _Piece:
    text: str
    samples: int = 0
    played: int = 0


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
        self._last_read = 0.0
        self._chunks: deque[tuple[_Piece, Samples]] = deque()
        self._waiting = 0
        self._reply = _Reply(complete=True)
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """A new reply begins; what is left of the one before is thrown away."""
        self.stop()
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
        piece.samples += len(samples)
        self._chunks.append((piece, samples))
        self._waiting += len(samples)
        self._notify()

    def complete(self) -> None:
        """Nothing more will be written to this reply."""
        self._reply.complete = True
        self._notify()

    def stop(self) -> None:
        """Silence from the next read on. `heard` stays as it was at this moment."""
        self._reply.cut = self._unheard_seconds()
        self._chunks.clear()
        self._waiting = 0
        self._reply.complete = True
        self._notify()

    def read(self, count: int) -> Samples:
        """The next `count` samples, shape (count,), int16; silence where there is nothing to say."""
        out = np.zeros(count, np.int16)
        filled = 0
        while filled < count and self._chunks:
            piece, samples = self._chunks.popleft()
            taken = samples[: count - filled]
            out[filled : filled + len(taken)] = taken
            filled += len(taken)
            piece.played += len(taken)
            if len(taken) < len(samples):
                self._chunks.appendleft((piece, samples[len(taken) :]))
        if filled:
            self._last_read = asyncio.get_running_loop().time()
            self._waiting -= filled
            self._note_first_sound(out)
            self._notify()
        return out

    @property
    def playing(self) -> bool:
        """Whether there is sound left to read."""
        return bool(self._chunks)

    async def started(self) -> float | None:
        """Wait for the reply's first audible sample: the event loop's time at which it was read.

        None if the reply came to its end without one.
        """
        while self._reply.first_audible is None and not self._at_end:
            await self._wait_for_change()
        return self._reply.first_audible

    async def sounding(self) -> None:
        """Wait until there is sound to read."""
        while not self._chunks:
            await self._wait_for_change()

    async def finished(self) -> None:
        """Wait until the reply is complete and has been heard to its end, or was stopped."""
        while not self._at_end:
            await self._wait_for_change()
        if self._reply.cut is None:
            await asyncio.sleep(self._unheard_seconds())

    def heard(self) -> str:
        """The words of this reply that have been played; of a piece cut short, its share by length."""
        words: list[list[str]] = []
        unheard = round(self._unheard_seconds() * self.rate)
        for piece in reversed(self._reply.pieces):
            own = piece.text.split()
            played = max(0, piece.played - unheard)
            unheard -= piece.played - played
            share = played / piece.samples if piece.samples else 0.0
            words.insert(0, own if share >= 1 else own[: math.floor(share * len(own))])
        return " ".join(word for own in words for word in own)

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
