"""PNGs, made byte by byte."""

import struct
import zlib


def png(width: int, height: int, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    rows = (b"\0" + bytes(colour) * width) * height
    return png_of(width, height, zlib.compress(rows))


def png_of(width: int, height: int, data: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
