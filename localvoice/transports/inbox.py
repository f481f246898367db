"""Received frames that wait for the session: no more than a client can speak."""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Final

import numpy as np

from localvoice.audio.frames import AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.transports.limits import TokenBucket

_PER_SECOND: Final = 1.02
"""Seconds of sound a second: no sound card's clock is off by as much."""
_AT_ONCE: Final = 15.0
"""Seconds of sound at once, after a network or a process stood still."""
_TELL_SECONDS: Final = 60.0
"""A client whose sound is dropped is told at most this often."""
_WAITING_FRAMES: Final = 250
"""5 s of 20 ms frames. The session takes microseconds for each, so a full inbox means that the process was
stuck, and old sound is then worth less than new."""
_GAP_SECONDS: Final = 0.2
"""Frames come every 20 ms; a source that sends none for so long is muted or gone."""
_SILENCE_GAPS: Final = 10
"""2 s of silence follow the last frame: enough to end any utterance that was under way."""


class FrameInbox:
    """A bounded queue of frames, in which a source that stops sounds silent.

    All sound of one connection comes through here, whatever transport it takes. All connections share one
    processor, so none may send sound faster than it is spoken.
    """

    def __init__(self) -> None:
        self._frames: asyncio.Queue[AudioFrame | None] = asyncio.Queue(_WAITING_FRAMES)
        self._allowed: TokenBucket | None = None  # made on the running event loop, whose clock counts
        self._told = -math.inf

    def admits(self) -> bool:
        """Whether more sound may come now; False drops it. Ask before decoding it.

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
        """Add a frame; a full queue drops its oldest."""
        now = asyncio.get_running_loop().time()
        self._allowance(now).spend(now, frame.seconds)
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)

    def end(self) -> None:
        """End the iteration after the frames that wait."""
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
            await asyncio.sleep(0)  # `get` on a queue that isn't empty doesn't yield to other tasks

    def _allowance(self, now: float) -> TokenBucket:
        if self._allowed is None:
            self._allowed = TokenBucket(_PER_SECOND, _AT_ONCE, now)
        return self._allowed
