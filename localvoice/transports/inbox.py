"""Frames that have come in and wait for the session: no more than a client can speak."""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Final

import numpy as np

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.transports.token_bucket import TokenBucket

_PER_SECOND: Final = 1.02
"""Seconds of sound that may come each second: no clock of a sound card is off by so much."""
_AT_ONCE: Final = 15.0
"""Seconds of sound that may come at once, after a network or a process stood still."""
_TELL_SECONDS: Final = 60.0
"""A client whose sound is refused is told at most so often."""
_WAITING_FRAMES: Final = 250
"""5 s of 20 ms frames: the session takes microseconds for each, so a fuller inbox means a stuck process, and
old sound is then worth less than new."""
_GAP_SECONDS: Final = 0.2
"""A source that is silent for so long is muted or gone; frames come every 20 ms."""
_SILENCE_GAPS: Final = 10
"""2 s of silence are put after the last frame: enough to end any utterance that was under way."""


class FrameInbox:
    """A bounded queue of frames, in which a source that stops sounds silent rather than stuck.

    All the sound of one connection comes through here, whichever way it takes. To hear it costs as much as to
    be spoken to, and all connections share one processor: so none may send sound faster than it is spoken.
    """

    def __init__(self) -> None:
        self._frames: asyncio.Queue[AudioFrame | None] = asyncio.Queue(_WAITING_FRAMES)
        self._allowed: TokenBucket | None = None  # made on the running event loop, whose clock counts
        self._told = -math.inf

    def admits(self) -> bool:
        """Whether more sound may come now; False drops it, and is to be asked before it is decoded.

        Raises `VoiceError` RATE_LIMITED, for the client to be told, in place of False at most once a minute.
        """
        now = asyncio.get_running_loop().time()
        wait = self._allowance(now).wait(now, 0.0)
        if not wait:
            return True
        if now - self._told < _TELL_SECONDS:
            return False
        self._told = now
        raise VoiceError(
            ErrorCode.RATE_LIMITED,
            Component.SERVER,
            "Sound comes faster than it can be spoken, and some of it is dropped. Send it as it is recorded.",
            retry_after=math.ceil(wait),
        )

    def put(self, frame: AudioFrame) -> None:
        """Add a frame; when too many wait, the oldest gives way."""
        now = asyncio.get_running_loop().time()
        self._allowance(now).spend(now, frame.seconds)
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)

    def end(self) -> None:
        """No more frames will come: whoever iterates is done."""
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[AudioFrame]:
        """The frames as they come, and some silence where they stop."""
        gaps_left, rate = 0, 0
        while True:
            try:
                async with asyncio.timeout(_GAP_SECONDS if gaps_left else None):
                    frame = await self._frames.get()
            except TimeoutError:
                gaps_left -= 1
                yield AudioFrame(np.zeros(int(_GAP_SECONDS * rate), np.int16), rate)
                continue
            if frame is None:
                return
            gaps_left, rate = _SILENCE_GAPS, frame.rate
            yield frame
            await asyncio.sleep(0)  # a queue that isn't empty doesn't let others have their turn

    def _allowance(self, now: float) -> TokenBucket:
        if self._allowed is None:
            self._allowed = TokenBucket(_PER_SECOND, _AT_ONCE, now)
        return self._allowed
