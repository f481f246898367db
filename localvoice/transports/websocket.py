"""The agent's voice as messages, for a client without an audio track."""

import asyncio
import base64
from collections.abc import Callable
from typing import Final

from localvoice.audio.playout import Playout
from localvoice.contract.messages import ServerMessage, TtsChunk

OUT_RATE: Final = 48_000
"""Hz that is sent here and on the WebRTC track: Opus' own rate, so nothing is resampled twice."""
_CHUNK_SECONDS: Final = 0.1
_LEAD_SECONDS: Final = 0.3
"""Sent ahead, so that a busy client doesn't stutter; it drops what it has not played at `speech-start` and at
`tts-cancelled`."""
_CLIENT_SECONDS: Final = 0.12
"""The page buffers so much before it plays the first chunk."""


async def speak_in_messages(playout: Playout, emit: Callable[[ServerMessage], None] | None) -> None:
    """Send what is played as `tts-chunk` messages, at the pace of playing, until cancelled.

    Without `emit` the client has the whole reply already, and only the time in which it plays passes.
    """
    loop = asyncio.get_running_loop()
    count = int(_CHUNK_SECONDS * playout.rate)
    playout.ahead = _LEAD_SECONDS + _CHUNK_SECONDS + _CLIENT_SECONDS
    try:
        while True:
            await playout.sounding()
            due = loop.time() - _LEAD_SECONDS
            while playout.playing:
                samples = playout.read(count)
                if emit is not None:
                    emit(TtsChunk(base64.b64encode(samples.astype("<i2").tobytes()).decode(), playout.rate))
                due += _CHUNK_SECONDS
                await asyncio.sleep(due - loop.time())
    finally:
        playout.ahead = 0.0  # the next reader may not read ahead
