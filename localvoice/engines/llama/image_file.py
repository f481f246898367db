"""What the head of a PNG or JPEG file tells: its size, and what decoding it takes. Pure; decodes nothing."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
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
class ImageFile:
    """A picture that isn't decoded yet."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    decoded_bytes: int
    """About the most that is held while it is decoded."""
    scans: int = 1
    """How often decoding goes over all of its pixels."""
    end: int | None = None
    """Where the picture ends in the file; None if its end is missing."""


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as the head of a PNG or JPEG has them; None for anything else."""
    if data.startswith(PNG_HEAD) and data[12:16] == b"IHDR" and len(data) >= 26:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    for kind, at in _segments(data):
        if kind in _FRAMES and len(data) >= at + 7:
            height, width = struct.unpack(">HH", data[at + 3 : at + 7])
            return width, height
    return None


def image_file(data: bytes) -> ImageFile | None:
    """What the file says of itself; None if it is no PNG or JPEG."""
    if (size := image_size(data)) is None:
        return None
    return _png_file(data, *size) if data.startswith(PNG_HEAD) else _jpeg_file(data, *size)


def png_rows(data: bytes, width: int, height: int) -> int:
    """Bytes that the pixels of a PNG take at most when they are inflated."""
    # Interlaced, it has up to two rows for each, and each begins with a byte of its own.
    return height * ((width * _png_bits(data) + 7) // 8 + 4) + 16


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the body of each chunk."""
    at = len(PNG_HEAD)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, at + 8 + length
        at += 12 + length


def _png_bits(data: bytes) -> int:
    """Of a pixel."""
    depth, colour = data[24:26]
    return int(depth) * _PNG_CHANNELS.get(colour, 4)


def _png_file(data: bytes, width: int, height: int) -> ImageFile:
    ends = [end + 4 for name, _, end in png_chunks(data) if name == b"IEND"]
    pixels = width * height
    # First as they were packed, and as pixels of whole bytes; then as the model gets them.
    unpacked = pixels * max(1, _png_bits(data) // 8)
    decoded = max(png_rows(data, width, height) + unpacked, 2 * _RGB * pixels)
    return ImageFile(width, height, decoded, end=ends[0] if ends and ends[0] <= len(data) else None)


def _jpeg_file(data: bytes, width: int, height: int) -> ImageFile:
    pixels, scans, samples, end = width * height, 0, 0, None
    for kind, at in _segments(data):
        if kind in _FRAMES and not samples:
            # Of a progressive one all coefficients are held, too, two bytes for each sample.
            samples = _jpeg_samples(data[at:], pixels) * (3 if kind == _PROGRESSIVE else 1)
        scans += kind == _SCAN
        if kind == _END:
            end = at
    return ImageFile(width, height, max(samples + _RGB * pixels, 2 * _RGB * pixels), scans, end)


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
