"""The agent's voice as messages, for a client without an audio track."""

import asyncio
import base64
from collections.abc import Callable
from typing import Final

from localvoice.audio.playout import Playout
from localvoice.contract.messages import ServerMessage, TtsChunk

_CHUNK_SECONDS: Final = 0.1
_LEAD_SECONDS: Final = 0.3
"""Sent ahead of its time, so that a busy client doesn't stutter; it throws it away at `tts-cancelled`."""


async def speak_in_messages(playout: Playout, emit: Callable[[ServerMessage], None]) -> None:
    """Send what is to be heard as `tts-chunk`s, at the pace at which it is heard, until cancelled."""
    loop = asyncio.get_running_loop()
    count = int(_CHUNK_SECONDS * playout.rate)
    while True:
        await playout.sounding()
        due = loop.time() - _LEAD_SECONDS
        while playout.playing:
            samples = playout.read(count)
            emit(TtsChunk(base64.b64encode(samples.astype("<i2").tobytes()).decode(), playout.rate))
            due += _CHUNK_SECONDS
            await asyncio.sleep(due - loop.time())
