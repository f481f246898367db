"""Sound and pictures in messages: base64, checked and decoded."""

import binascii
import re
import weakref
from collections.abc import Sequence
from typing import Final

import numpy as np

from localvoice.audio.frames import AudioFrame
from localvoice.audio.recordings import SEND_INSTEAD, read_sound
from localvoice.contract.client_messages import MAX_CHUNK_SECONDS, Attachment, AudioChunk, invalid_message
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.llama.images import checked_image
from localvoice.engines.types import Image
from localvoice.engines.worker import Worker
from localvoice.transports.limits import rate_limited

MAX_IMAGE_BYTES: Final = 64_000_000
"""All pictures together that wait for their clients' next turns or are being answered."""
_RETRY_SECONDS: Final = 5
"""By then another client's turn is likely to be over."""
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")


class PayloadDecoder:
    """Decodes for all connections of a server, off the event loop.

    A picture of some kB may take 100 MB while it is decoded. There is one thread for pictures and one for
    sound, so that all clients together take no more memory than one.
    """

    def __init__(self) -> None:
        self._image_thread = Worker("pictures")
        self._sound_thread = Worker("sounds")
        self._images: weakref.WeakSet[Image] = weakref.WeakSet()

    async def images(self, attachments: Sequence[Attachment]) -> list[Image]:
        """The pictures, which count towards `MAX_IMAGE_BYTES` while anything refers to them.

        Raises `VoiceError` INVALID_MESSAGE if one can't be used, RATE_LIMITED if too many are kept.
        """
        images: list[Image] = []
        for attachment in attachments:
            image = await self._image_thread.run(decode_image, attachment)
            if sum(len(each.data) for each in (*self._images, image)) > MAX_IMAGE_BYTES:
                words = f"The server keeps as many pictures as it can ({MAX_IMAGE_BYTES // 1_000_000} MB)"
                raise rate_limited(words, _RETRY_SECONDS)
            self._images.add(image)
            images.append(image)
        return images

    async def utterance(self, data: str, max_seconds: float) -> AudioFrame:
        """The sound of an `audio` message. Raises `VoiceError` INVALID_AUDIO_FORMAT."""
        return await self._sound_thread.run(decode_utterance, data, max_seconds)

    async def close(self) -> None:
        """End the threads."""
        await self._image_thread.close()
        await self._sound_thread.close()


def decode_utterance(data: str, max_seconds: float) -> AudioFrame:
    """The sound of an `audio` message, a whole file in base64. Raises `VoiceError` INVALID_AUDIO_FORMAT."""
    try:
        sound = _from_base64(data)
    except ValueError as error:  # binascii's own, or letters that aren't ASCII
        raise VoiceError(
            ErrorCode.INVALID_AUDIO_FORMAT,
            Component.SERVER,
            f"The audio isn't base64. Send a whole file, base64-encoded, in `data`. {SEND_INSTEAD}",
        ) from error
    return read_sound(sound, max_seconds)


def decode_chunk(chunk: AudioChunk) -> AudioFrame:
    """The sound of an `audio-chunk` message. Raises `VoiceError` INVALID_AUDIO_FORMAT."""
    try:
        data = _from_base64(chunk.data)
    except ValueError as error:
        raise _bad_chunk("it isn't base64") from error
    if not data or len(data) % 2:
        raise _bad_chunk(f"{len(data)} bytes are not a whole number of 16-bit samples")
    frame = AudioFrame(np.frombuffer(data, "<i2").astype(np.int16), chunk.sample_rate)
    if frame.seconds > MAX_CHUNK_SECONDS:
        raise _bad_chunk(f"it holds {frame.seconds:.2f} s")
    return frame


def decode_image(attachment: Attachment) -> Image:
    """The picture of an attachment, base64 or a data URL. Raises `VoiceError` INVALID_MESSAGE."""
    url = _DATA_URL.match(attachment.data)
    encoded = attachment.data[url.end() :] if url else attachment.data
    try:
        data = _from_base64(encoded)
    except ValueError as error:
        raise invalid_message("attachments.data isn't base64") from error
    mime_type = attachment.mime_type or (url[1] if url else "image/png")
    return Image(checked_image(data, mime_type), mime_type, attachment.alt)


def _from_base64(text: str) -> bytes:
    """Raises `ValueError` for anything else. The standard `b64decode` does so too, and is slower."""
    return binascii.a2b_base64(text, strict_mode=True)


def _bad_chunk(reason: str) -> VoiceError:
    return VoiceError(
        ErrorCode.INVALID_AUDIO_FORMAT,
        Component.SERVER,
        f"This audio-chunk can't be used: {reason}. Send base64 of mono s16le samples, 40 to 60 ms at a time "
        f"and never more than {1000 * MAX_CHUNK_SECONDS:.0f} ms.",
    )
