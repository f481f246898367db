"""Frames that have come in and wait for the session."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import numpy as np

from localvoice.audio.frames import AudioFrame

_WAITING_FRAMES: Final = 250
"""5 s of 20 ms frames: the session takes microseconds for each, so a fuller inbox means a stuck process, and
old sound is then worth less than new."""
_GAP_SECONDS: Final = 0.2
"""A source that is silent for so long is muted or gone; frames come every 20 ms."""
_SILENCE_GAPS: Final = 10
"""2 s of silence are put after the last frame: enough to end any utterance that was under way."""


class FrameInbox:
    """A bounded queue of frames, in which a source that stops sounds silent rather than stuck."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[AudioFrame | None] = asyncio.Queue(_WAITING_FRAMES)

    def put(self, frame: AudioFrame) -> None:
        """Add a frame; when too many wait, the oldest gives way."""
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
