"""Base64 in messages: sound and pictures, checked before anyone else sees them."""

import binascii
import re
from typing import Final

import numpy as np

from localvoice.audio.frames import AudioFrame
from localvoice.audio.sound_file import SEND_INSTEAD, read_sound
from localvoice.contract.client_messages import MAX_CHUNK_SECONDS, Attachment, AudioChunk, invalid_message
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.llama.vision import checked_image
from localvoice.engines.types import Image

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")


def decode_utterance(data: str, most: float) -> AudioFrame:
    """The sound of an `audio` message, `most` seconds of it. Raises `VoiceError` INVALID_AUDIO_FORMAT."""
    try:
        sound = _from_base64(data)
    except ValueError as error:  # binascii's own, or letters that aren't ASCII
        raise VoiceError(
            ErrorCode.INVALID_AUDIO_FORMAT,
            Component.SERVER,
            f"The audio isn't base64. Send a whole file, base64-encoded, in `data`. {SEND_INSTEAD}",
        ) from error
    return read_sound(sound, most)


def decode_chunk(chunk: AudioChunk) -> AudioFrame:
    """The sound of an `audio-chunk` message. Raises `VoiceError` INVALID_AUDIO_FORMAT."""
    try:
        data = _from_base64(chunk.data)
    except ValueError as error:
        raise _bad_chunk("it isn't base64") from error
    if not data or len(data) % 2:
        raise _bad_chunk(f"{len(data)} bytes are no whole 16-bit samples")
    frame = AudioFrame(np.frombuffer(data, "<i2").astype(np.int16), chunk.sample_rate)
    if frame.seconds > MAX_CHUNK_SECONDS:
        raise _bad_chunk(f"it holds {frame.seconds:.2f} s")
    return frame


def decode_image(attachment: Attachment) -> Image:
    """The picture of an attachment. Raises `VoiceError` INVALID_MESSAGE."""
    url = _DATA_URL.match(attachment.data)
    encoded = attachment.data[url.end() :] if url else attachment.data
    try:
        data = _from_base64(encoded)
    except ValueError as error:
        raise invalid_message("attachments.data isn't base64") from error
    mime_type = attachment.mime_type or (url[1] if url else "image/png")
    return Image(checked_image(data, mime_type), mime_type, attachment.alt)


def _from_base64(text: str) -> bytes:
    """Raises `ValueError` for anything else. The standard `b64decode` finds that too, and is slower."""
    return binascii.a2b_base64(text, strict_mode=True)


def _bad_chunk(reason: str) -> VoiceError:
    return VoiceError(
        ErrorCode.INVALID_AUDIO_FORMAT,
        Component.SERVER,
        f"This audio-chunk can't be used: {reason}. Send base64 of mono s16le samples, 40 to 60 ms at a time "
        f"and never more than {1000 * MAX_CHUNK_SECONDS:.0f} ms.",
    )
