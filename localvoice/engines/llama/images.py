"""Which images a language model can be shown: PNG and JPEG, whole and of a bearable size.

They are decoded by llama.cpp's multimodal library (mtmd), which needs no model for it.
"""

import ctypes
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from llama_cpp import mtmd_cpp as mtmd

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.llama.patches import tame_output

MAX_IMAGE_BYTES: Final = 8_000_000
"""Of an image file: more than a photograph of a telephone has."""
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

_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_HEAD: Final = b"\xff\xd8"
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the kind of colour."""
_MARKER: Final = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
"""Begins a segment of a JPEG. Those left out stand within the data of a scan."""
_FRAMES: Final = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE: Final = 0xC2
_SCAN: Final = 0xDA
_END: Final = 0xD9
_MAX_SEGMENTS: Final = 1_000
"""Of a JPEG. One of a camera has some dozens; a stranger's could have a million."""
_RGB: Final = 3
"""Bytes of a pixel as the model gets it. At the end two copies of that are held."""


@dataclass(frozen=True)
class _ImageFile:
    width: int
    height: int
    decoded_bytes: int
    """About the most that is held while it is decoded."""
    scans: int = 1
    """How often decoding goes over all of its pixels."""
    end: int | None = None
    """Where the picture ends in the file; None if its end is missing."""
    inflated: int = 0
    """Bytes that the pixels of a PNG take at most when they are inflated."""


def checked_image(data: bytes, mime_type: str) -> bytes:
    """The image in `data`, without what follows it in the file.

    Raises `VoiceError` INVALID_MESSAGE, saying what to send instead, unless it is one to be seen. What counts
    is the content; `mime_type` is what the client said, for the message. It decodes the image, which
    takes time and memory: call it in a thread, and for one image at a time.
    """
    with ExitStack() as stack:
        decode_image(data, mime_type, stack)
    file = _image_file(data)
    return data if file is None else data[: file.end]


def decode_image(data: bytes, mime_type: str, stack: ExitStack) -> Any:
    """The image as the library holds it, freed with `stack`; VoiceError if it is none or too large."""
    tame_output()
    if len(data) > MAX_IMAGE_BYTES:
        raise _refusal(f"The image has {len(data) / 1e6:.1f} MB.")
    # Before decoding: a file of some KB can claim a gigapixel.
    file = _image_file(data)
    if file is None:
        raise _refusal(f"The attachment ({mime_type}) is no PNG or JPEG.")
    _refuse_large(file)
    if data.startswith(_PNG_HEAD):
        _refuse_bomb(data, file)
    # Of a JPEG that was cut off the library takes what there is, and the rest is grey.
    bitmap = None
    if data.startswith(_PNG_HEAD) or file.end is not None:
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        # Without a model the library decodes all the same: it only asks it about sound.
        bitmap = mtmd.mtmd_helper_bitmap_init_from_buf(None, buffer, len(data), False)  # type: ignore[arg-type]
    if bitmap is None:
        raise _refusal(f"The image ({mime_type}) is damaged.")
    stack.callback(mtmd.mtmd_bitmap_free, bitmap)
    return bitmap


def _refuse_large(file: _ImageFile) -> None:
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


def _refuse_bomb(data: bytes, file: _ImageFile) -> None:
    """Raise `VoiceError` if a PNG holds more than its size says: the library believes what it holds."""
    left = file.inflated
    inflater = zlib.decompressobj()
    for name, begin, end in _png_chunks(data):
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


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as the head of a PNG or JPEG has them; None for anything else."""
    if data.startswith(_PNG_HEAD) and data[12:16] == b"IHDR" and len(data) >= 26:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    for kind, at in _segments(data):
        if kind in _FRAMES and len(data) >= at + 7:
            height, width = struct.unpack(">HH", data[at + 3 : at + 7])
            return width, height
    return None


def _image_file(data: bytes) -> _ImageFile | None:
    if (size := image_size(data)) is None:
        return None
    return _png_file(data, *size) if data.startswith(_PNG_HEAD) else _jpeg_file(data, *size)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = len(_PNG_HEAD)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, at + 8 + length
        at += 12 + length


def _png_file(data: bytes, width: int, height: int) -> _ImageFile:
    depth, colour = data[24:26]
    bits = int(depth) * _PNG_CHANNELS.get(colour, 4)
    # Interlaced, it has up to two rows for each, and each begins with a byte of its own.
    inflated = height * ((width * bits + 7) // 8 + 4) + 16
    # First as they were packed, and as pixels of whole bytes; then as the model gets them.
    pixels = width * height
    decoded = max(inflated + pixels * max(1, bits // 8), 2 * _RGB * pixels)
    end = next((end + 4 for name, _, end in _png_chunks(data) if name == b"IEND"), len(data) + 1)
    return _ImageFile(width, height, decoded, end=end if end <= len(data) else None, inflated=inflated)


def _jpeg_file(data: bytes, width: int, height: int) -> _ImageFile:
    pixels, scans, samples, end = width * height, 0, 0, None
    for kind, at in _segments(data):
        if kind in _FRAMES and not samples:
            # Of a progressive one all coefficients are held, too, two bytes for each sample.
            samples = _jpeg_samples(data[at:], pixels) * (3 if kind == _PROGRESSIVE else 1)
        scans += kind == _SCAN
        if kind == _END:
            end = at
    return _ImageFile(width, height, max(samples + _RGB * pixels, 2 * _RGB * pixels), scans, end)


def _jpeg_samples(frame: bytes, pixels: int) -> int:
    """Of all colours together: some are kept at a half of the resolution."""
    factors = [(packed >> 4, packed & 15) for packed in frame[9 : 8 + 3 * frame[7] : 3]]
    if not factors:
        return pixels
    most = max(1, max(x for x, _ in factors) * max(y for _, y in factors))
    return pixels * sum(x * y for x, y in factors) // most


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind and begin, behind its marker, of each segment of a JPEG up to its end."""
    if not data.startswith(_JPEG_HEAD):
        return
    at = len(_JPEG_HEAD)
    for _ in range(_MAX_SEGMENTS):
        if (marker := _MARKER.search(data, at)) is None:
            return
        at = marker.end()
        yield marker[1][0], at
        if marker[1][0] == _END:
            return
        at += max(2, int.from_bytes(data[at : at + 2]))  # its length counts itself
