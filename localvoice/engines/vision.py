"""Which images a language model can be shown: PNG and JPEG, whole and of a bearable size.

They are decoded by llama.cpp's multimodal library (mtmd), which needs no model for it.
"""

import ctypes
import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import llama_cpp
from llama_cpp import mtmd_cpp as mtmd

from localvoice.contract.errors import Component, ErrorCode, VoiceError

MAX_IMAGE_BYTES: Final = 8_000_000
"""Of an image file. A photograph of a telephone has 2 to 5 MB."""

MAX_IMAGE_PIXELS: Final = 25_000_000
"""Of an image: decoded it takes three bytes a pixel, whatever its file has."""

MAX_IMAGE_ASPECT: Final = 20
"""How many times as long as the other one side may be. Beyond it, scaling leaves nothing to see."""

MAX_SCANS: Final = 100
"""Of a JPEG. A progressive one has about ten; each goes over all of its pixels and may take 30 bytes."""

_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the kind of colour."""
_INFLATE_BYTES: Final = 1 << 20

SEND_INSTEAD: Final = (
    f"Send a PNG or JPEG of at most {MAX_IMAGE_BYTES // 1_000_000} MB and {MAX_IMAGE_PIXELS // 1_000_000} "
    "megapixels."
)

logger = logging.getLogger(__name__)

_TOLD_LEVELS: Final = (3, 4)
"""Warnings and errors, for developers: what fails comes as an exception as well."""


def _log(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    if level in _TOLD_LEVELS:
        logger.debug("%s", text.decode("utf-8", "replace").rstrip())


_LOG_CALLBACK: Final = llama_cpp.llama_log_callback(_log)
"""Held here for as long as the library may call it."""

mtmd.mtmd_helper_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))


def check_image(data: bytes, mime_type: str) -> None:
    """Raise `VoiceError` INVALID_MESSAGE, saying what to send instead, unless `data` is an image to be seen.

    What counts is the content; `mime_type` is what the client said, for the message. It decodes the image,
    about 10 ms a megapixel: call it in a thread.
    """
    with ExitStack() as stack:
        decode_image(data, mime_type, stack)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as the head of a PNG or JPEG has them; None for anything else."""
    if data.startswith(_PNG_HEAD) and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if (frame := _jpeg_frame(data)) is None:
        return None
    height, width = struct.unpack(">HH", data[frame + 5 : frame + 9])
    return width, height


def _jpeg_frame(data: bytes) -> int | None:
    """Where in a JPEG the segment is that has its size."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind in (0xC0, 0xC1, 0xC2):
            return at
        # 0xFF is padding; every other segment before that one says how long it is.
        at += 1 if kind == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def decode_image(data: bytes, mime_type: str, stack: ExitStack) -> Any:
    """The image as the library holds it, freed with `stack`; VoiceError if it is none or too large."""
    if len(data) > MAX_IMAGE_BYTES:
        raise _refusal(f"The image has {len(data) / 1e6:.1f} MB.")
    # Before decoding: a file of some KB can claim a gigapixel.
    size = image_size(data)
    if size is None:
        raise _refusal(f"The attachment ({mime_type}) is no PNG or JPEG.")
    width, height = size
    if width * height > MAX_IMAGE_PIXELS:
        raise _refusal(f"The image has {width} x {height} pixels.")
    if min(size) < 1 or max(size) > MAX_IMAGE_ASPECT * min(size):
        raise _refusal(
            f"The image has {width} x {height} pixels, and one side may be at most {MAX_IMAGE_ASPECT} times "
            "as long as the other."
        )
    _refuse_bomb(data, width, height)
    # Of a JPEG that was cut off the library takes what there is, and the rest is grey.
    frame = _jpeg_frame(data)
    bitmap = None
    if frame is None or b"\xff\xd9" in data[frame:]:
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        # Without a model the library decodes all the same: it only asks it about sound.
        bitmap = mtmd.mtmd_helper_bitmap_init_from_buf(None, buffer, len(data), False)  # type: ignore[arg-type]
    if bitmap is None:
        raise _refusal(f"The image ({mime_type}) is damaged.")
    stack.callback(mtmd.mtmd_bitmap_free, bitmap)
    return bitmap


def _refuse_bomb(data: bytes, width: int, height: int) -> None:
    """Raise `VoiceError` if an image takes more than its size says: the library believes what it holds."""
    if not data.startswith(_PNG_HEAD):
        if (scans := data.count(b"\xff\xda")) > MAX_SCANS:
            raise _refusal(f"The image has {scans} scans, and at most {MAX_SCANS} are read.")
        return
    depth, colour = data[24:26]
    bits = depth * _PNG_CHANNELS.get(colour, 4)
    # Interlaced, it has up to two rows for each, and each begins with a byte of its own.
    left = height * ((width * bits + 7) // 8 + 4) + 16
    inflater = zlib.decompressobj()
    for packed in _png_data(data):
        while packed and not inflater.eof:
            try:
                left -= len(inflater.decompress(packed, _INFLATE_BYTES))
            except zlib.error as error:
                raise _refusal("The image is damaged (its compressed data).") from error
            if left < 0:
                raise _refusal(f"The image holds more than its {width} x {height} pixels.")
            packed = inflater.unconsumed_tail


def _png_data(data: bytes) -> Iterator[bytes]:
    """What of a PNG is inflated, piece by piece."""
    at = len(_PNG_HEAD)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            yield data[at + 8 : at + 8 + length]
        at += 12 + length


def _refusal(what: str) -> VoiceError:
    return VoiceError(ErrorCode.INVALID_MESSAGE, Component.SERVER, f"{what} {SEND_INSTEAD}")
