"""Which images a language model can be shown: PNG and JPEG, whole and of a bearable size.

They are decoded by llama.cpp's multimodal library (mtmd), which needs no model for it.
"""

import ctypes
import logging
import zlib
from contextlib import ExitStack
from typing import Any, Final

import llama_cpp
from llama_cpp import mtmd_cpp as mtmd

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.llama.image_file import PNG_HEAD, ImageFile, image_file, png_chunks, png_rows

MAX_IMAGE_BYTES: Final = 8_000_000
"""Of an image file. A photograph of a telephone has 2 to 5 MB."""

MAX_IMAGE_PIXELS: Final = 25_000_000
"""Of an image, whatever its file has."""

MAX_DECODED_BYTES: Final = 160_000_000
"""What decoding an image may hold at once: enough for the most pixels at 8 bits in three colours."""

MAX_IMAGE_ASPECT: Final = 20
"""How many times as long as the other one side may be. Beyond it, scaling leaves nothing to see."""

MAX_SCANNED_PIXELS: Final = 250_000_000
"""Of a JPEG, over all of its scans. A progressive one has about ten, and each goes over all of its pixels."""

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


def checked_image(data: bytes, mime_type: str) -> bytes:
    """The image in `data`, without what follows it in the file.

    Raises `VoiceError` INVALID_MESSAGE, saying what to send instead, unless it is one to be seen. What counts
    is the content; `mime_type` is what the client said, for the message. It decodes the image, which
    takes time and memory: call it in a thread, and for one image at a time.
    """
    with ExitStack() as stack:
        decode_image(data, mime_type, stack)
    file = image_file(data)
    return data if file is None else data[: file.end]


def decode_image(data: bytes, mime_type: str, stack: ExitStack) -> Any:
    """The image as the library holds it, freed with `stack`; VoiceError if it is none or too large."""
    if len(data) > MAX_IMAGE_BYTES:
        raise _refusal(f"The image has {len(data) / 1e6:.1f} MB.")
    # Before decoding: a file of some KB can claim a gigapixel.
    file = image_file(data)
    if file is None:
        raise _refusal(f"The attachment ({mime_type}) is no PNG or JPEG.")
    _refuse_large(file)
    if data.startswith(PNG_HEAD):
        _refuse_bomb(data, file)
    # Of a JPEG that was cut off the library takes what there is, and the rest is grey.
    bitmap = None
    if data.startswith(PNG_HEAD) or file.end is not None:
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        # Without a model the library decodes all the same: it only asks it about sound.
        bitmap = mtmd.mtmd_helper_bitmap_init_from_buf(None, buffer, len(data), False)  # type: ignore[arg-type]
    if bitmap is None:
        raise _refusal(f"The image ({mime_type}) is damaged.")
    stack.callback(mtmd.mtmd_bitmap_free, bitmap)
    return bitmap


def _refuse_large(file: ImageFile) -> None:
    """Raise `VoiceError` if decoding the image would take too much."""
    width, height = file.width, file.height
    if width * height > MAX_IMAGE_PIXELS:
        raise _refusal(f"The image has {width} x {height} pixels.")
    if min(width, height) < 1 or max(width, height) > MAX_IMAGE_ASPECT * min(width, height):
        raise _refusal(
            f"The image has {width} x {height} pixels, and one side may be at most {MAX_IMAGE_ASPECT} times "
            "as long as the other."
        )
    if file.decoded_bytes > MAX_DECODED_BYTES:
        raise _refusal(
            f"The image of {width} x {height} pixels takes {file.decoded_bytes / 1e6:.0f} MB to decode, and "
            f"at most {MAX_DECODED_BYTES / 1e6:.0f} MB may be used. Make it smaller, or save it with 8 bits "
            "a colour."
        )
    if file.scans * width * height > MAX_SCANNED_PIXELS:
        most = MAX_SCANNED_PIXELS // (width * height)
        raise _refusal(f"The image has {file.scans} scans, and at most {most} of its size are read.")


def _refuse_bomb(data: bytes, file: ImageFile) -> None:
    """Raise `VoiceError` if a PNG holds more than its size says: the library believes what it holds."""
    left = png_rows(data, file.width, file.height)
    inflater = zlib.decompressobj()
    for name, begin, end in png_chunks(data):
        packed = data[begin:end] if name == b"IDAT" else b""
        while packed and not inflater.eof:
            try:
                left -= len(inflater.decompress(packed, _INFLATE_BYTES))
            except zlib.error as error:
                raise _refusal("The image is damaged (its compressed data).") from error
            if left < 0:
                raise _refusal(f"The image holds more than its {file.width} x {file.height} pixels.")
            packed = inflater.unconsumed_tail


def _refusal(what: str) -> VoiceError:
    return VoiceError(ErrorCode.INVALID_MESSAGE, Component.SERVER, f"{what} {SEND_INSTEAD}")
