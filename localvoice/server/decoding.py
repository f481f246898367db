"""Files in messages, decoded for all clients of the process: off the event loop, and one at a time.

A picture of some kB may take a hundred MB while it is decoded. So that clients together take no more than
one alone, each kind of file has one thread.
"""

import weakref
from collections.abc import Sequence
from typing import Final

from localvoice.audio.frames import AudioFrame
from localvoice.contract.client_messages import Attachment
from localvoice.engines.types import Image
from localvoice.engines.worker import Worker
from localvoice.server.limits import limited
from localvoice.server.payloads import decode_image, decode_utterance

PICTURE_BYTES: Final = 64_000_000
"""Of all pictures that are kept for what their clients say next, or are being answered."""
_FULL_SECONDS: Final = 5
"""When to try again: after the next answer of another client."""


class Decoding:
    """Shared by all connections of a server."""

    def __init__(self) -> None:
        self._pictures = Worker("pictures")
        self._sounds = Worker("sounds")
        self._kept: weakref.WeakSet[Image] = weakref.WeakSet()

    async def pictures(self, attachments: Sequence[Attachment]) -> list[Image]:
        """The pictures; they count until they are kept nowhere any more.

        Raises `VoiceError` INVALID_MESSAGE if one can't be used, RATE_LIMITED if too many are kept.
        """
        images: list[Image] = []
        for attachment in attachments:
            image = await self._pictures.run(decode_image, attachment)
            if sum(len(each.data) for each in (*self._kept, image)) > PICTURE_BYTES:
                words = f"The server keeps as many pictures as it can ({PICTURE_BYTES // 1_000_000} MB)"
                raise limited(words, _FULL_SECONDS)
            self._kept.add(image)
            images.append(image)
        return images

    async def utterance(self, data: str, most: float) -> AudioFrame:
        """The sound of an `audio` message, at most so many seconds. Raises `VoiceError`."""
        return await self._sounds.run(decode_utterance, data, most)

    async def close(self) -> None:
        """End the threads."""
        await self._pictures.close()
        await self._sounds.close()
