"""What the agent says, on its way to the loudspeaker, and how much of it has been heard.

The turn writes pieces of the reply, a transport reads 20 ms at a time. `hold()` and `stop()` are barge-in:
from the next read on there is silence, until it is known what the user means, or for good. All of it happens
on one event loop; a transport whose sound card calls back on a thread of its own reads on the loop and hands
over.
"""

import asyncio
import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from localvoice.audio.frames import AUDIBLE, AudioFrame, Samples

_AHEAD_SECONDS: Final = 8.0
"""Sound that may wait unplayed: two sentences, so that speech never starves, yet little is wasted
when the user interrupts."""
_REWIND_SECONDS: Final = 1.5
"""How far back it can go, in addition to what was read ahead: more than the longest words take."""
_UNSURE_SECONDS: Final = 0.05  # how exactly it is known what was heard when the sound was cut
_FADE_SECONDS: Final = 0.005  # for a beginning in mid-sound, which would click


@dataclass
class _Piece:
    text: str
    begin: int  # with which of the reply's samples
    samples: int = 0
    ends: list[int] = field(default_factory=list)
    """Where in its samples the words end, as far as the voice has told."""

    def word_ends(self) -> list[int]:
        """The same, words of equal length where the voice doesn't tell."""
        count = len(self.text.split())
        return self.ends or [self.samples * number // count for number in range(1, count + 1)]

    def heard(self, until: int) -> int:
        """How many of its words have been played to their ends, of the reply's samples so many."""
        played = min(until - self.begin, self.samples)
        return bisect_right(self.word_ends(), played) if played > 0 else 0


@dataclass
class _Reply:
    complete: bool = False
    pieces: list[_Piece] = field(default_factory=list)
    sound: Samples = field(default_factory=lambda: np.zeros(0, np.int16))
    """The latest that was read, for going back, and all that is still to be read."""
    start: int = 0  # which of the reply's samples `sound` begins with
    at: int = 0  # which of them is read next
    first_audible: float | None = None
    cut: float | None = None
    """Seconds that had been read and not yet heard when it was stopped."""

    @property
    def unread(self) -> Samples:
        return self.sound[self.at - self.start :]

    def rewind(self, count: int) -> None:
        """Make the latest samples that were read the next to be read, as far as they are still known."""
        self.at = max(self.start, self.at - count)


class Playout:
    """The sound of one reply at a time, at the transport's rate, mono."""

    def __init__(self, rate: int) -> None:
        """`rate`: samples a second that the transport reads."""
        self.rate = rate
        self.ahead = 0.0
        """Seconds from a sample being read to its being heard; a transport that reads ahead says so here."""
        self._last_read = -math.inf
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
        while len(reply.unread) > _AHEAD_SECONDS * self.rate and not reply.complete:
            await self._wait_for_change()
        if reply.complete:
            return  # stopped, perhaps while we waited
        if text or not reply.pieces:
            reply.pieces.append(_Piece(text, reply.at + len(reply.unread)))
        piece = reply.pieces[-1]
        samples = frame.resampled(self.rate).samples
        if not len(samples):
            return
        ends = (min(round(end * self.rate), len(samples)) for end in frame.word_ends)
        piece.ends += [piece.samples + end for end in ends]
        piece.samples += len(samples)
        reply.sound = np.concatenate([reply.sound, samples])
        self._changed.set()

    def complete(self) -> None:
        self._reply.complete = True
        self._changed.set()

    def hold(self) -> None:
        """Silence from the next read on, until `resume` or `stop`. What has not been heard is kept."""
        if self._held is None:
            self._held = asyncio.Event()
            self._reply.rewind(round(self._unheard_seconds() * self.rate))
            self._last_read = -math.inf
            self._changed.set()

    def resume(self) -> None:
        """Go on after a `hold`, from the beginning of the last word that may not have been heard whole."""
        if self._held is not None:
            self._held.set()
            self._held = None
            self._reply.rewind(self._since_whole_word())
            self._fade_in()
            self._changed.set()

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
        if self.playing and count:
            reply, now = self._reply, asyncio.get_running_loop().time()
            taken = reply.unread[:count]
            out[: len(taken)] = taken
            reply.at += len(taken)
            old = max(0, reply.at - reply.start - int((self.ahead + _REWIND_SECONDS) * self.rate))
            reply.sound, reply.start = reply.sound[old:], reply.start + old
            self._last_read = now
            if reply.first_audible is None and int(np.abs(taken, dtype=np.int32).max()) > AUDIBLE:
                reply.first_audible = now
            self._changed.set()
        return out

    @property
    def playing(self) -> bool:
        return len(self._reply.unread) > 0 and self._held is None

    async def started(self) -> float | None:
        """Wait for the reply's first audible sample: the event loop's time at which it was read.

        None if the reply came to its end without one.
        """
        while self._reply.first_audible is None and not self._at_end:
            await self._wait_for_change()
        return self._reply.first_audible

    async def sounding(self) -> None:
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
        until = self._reply.at - round(self._unheard_seconds() * self.rate)
        for piece in self._reply.pieces:
            words, count = piece.text.split(), piece.heard(until)
            heard += words[:count]
            to_come += words[count:]
        return heard, to_come

    def _discard(self) -> None:
        reply = self._reply
        reply.cut, reply.complete = self._unheard_seconds(), True
        reply.sound, reply.start = np.zeros(0, np.int16), reply.at
        self._changed.set()

    def _since_whole_word(self) -> int:
        """Samples since the end of the last word that was certainly heard, in the piece that was cut."""
        at = self._reply.at
        piece = next((each for each in reversed(self._reply.pieces) if each.begin < at), None)
        if piece is None:
            return 0
        played = at - piece.begin
        certain = played - round(_UNSURE_SECONDS * self.rate)
        return played - max((end for end in piece.word_ends() if end <= certain), default=0)

    def _fade_in(self) -> None:
        reply = self._reply
        rest = reply.unread
        count = min(len(rest), int(_FADE_SECONDS * self.rate))
        softly = (rest[:count] * np.linspace(0, 1, count)).astype(np.int16)
        reply.sound = np.concatenate([reply.sound[: reply.at - reply.start], softly, rest[count:]])

    def _unheard_seconds(self) -> float:
        if self._reply.cut is not None:
            return self._reply.cut
        if not self.ahead:
            return 0.0
        return max(0.0, self._last_read + self.ahead - asyncio.get_running_loop().time())

    @property
    def _at_end(self) -> bool:
        return self._reply.complete and not len(self._reply.unread)

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
