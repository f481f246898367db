"""Packets that a fuzzer begins with: what a client sends, and what has stopped or broken a server."""

import struct
from typing import Final

TSN: Final = 1_000
"""With which both ends of the fuzzed association begin."""

Seed = tuple[bytes, ...]
"""Packets, one after the other."""

OPUS: Final = b"\xf8\xff\xfe"


def packed(*packets: bytes) -> bytes:
    """As one input: each behind its length."""
    return b"".join(struct.pack("!H", len(each)) + each for each in packets)


def chunk(kind: int, body: bytes, flags: int = 0) -> bytes:
    """An SCTP chunk, padded."""
    return struct.pack("!BBH", kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4)


def data(number: int, contents: bytes, flags: int = 3, stream: int = 1, kind: int = 51) -> bytes:
    """A part of a message: `number` counts from the first that the peer sends."""
    return chunk(0, struct.pack("!LHHL", TSN + number, stream, number % 2**16, kind) + contents, flags)


def parameter(kind: int, body: bytes) -> bytes:
    """Of a chunk that has some."""
    return struct.pack("!HH", kind, 4 + len(body)) + body


OPEN: Final = data(0, struct.pack("!BBHLHH", 3, 0, 0, 0, 4, 0) + b"data", kind=50)
SACK: Final = struct.pack("!LL", TSN - 1, 131_072)


def message_seeds() -> list[Seed]:
    """Of the data channel."""
    reset = parameter(13, struct.pack("!LLLH", 7, 7, TSN, 1))
    return [
        (OPEN, data(1, b'{"type":"text"}'), chunk(3, SACK + bytes(4))),
        (OPEN, data(1, b"a", 2), data(2, b"b", 0) + data(3, b"c", 1)),
        (OPEN, data(3, b"late"), data(2, b"x", 4), data(1, b"first")),
        (OPEN, chunk(3, SACK + struct.pack("!HH", 280, 0) + struct.pack("!HH", 1, 65_535) * 280)),
        (OPEN, chunk(3, SACK + struct.pack("!HHHH", 1, 0, 9, 3))),
        (OPEN, chunk(192, struct.pack("!LHHHH", TSN + 5, 1, 1, 60_000, 3))),
        (chunk(192, struct.pack("!L", TSN + 1) + b"".join(struct.pack("!HH", n, 1) for n in range(250))),),
        (OPEN, chunk(130, reset), chunk(130, parameter(16, struct.pack("!LL", TSN, 1)))),
        (chunk(130, parameter(17, struct.pack("!LHH", 1, 1, 0)) * 90),),
        (chunk(4, parameter(1, b"heart")) * 60,),
        (chunk(1, struct.pack("!LLHHL", 1, 1, 1, 1, 1) + parameter(0xC000, b"")),),
        (chunk(10, b"cookie" * 4), chunk(11, b""), chunk(9, parameter(3, bytes(8)))),
        (data(100_000, b"far"), data(40, b"ahead")),
        (chunk(7, struct.pack("!L", TSN)), chunk(14, b""), chunk(6, b"")),
        tuple(b"".join(data(n + 32 * m, b"x", 4) for n in range(32)) for m in range(3)),
    ]


def sound(number: int, source: int = 1, body: bytes = OPUS, first: int = 0x80) -> bytes:
    """An RTP packet of Opus."""
    return struct.pack("!BBHLL", first, 96, number, number * 960, source) + body


def report(kind: int, count: int, body: bytes) -> bytes:
    """An RTCP packet."""
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def sound_seeds(ours: int) -> list[Seed]:
    """Of sound and reports; `ours` is the source that our own sound has."""
    own = struct.pack("!LL", 1, ours)
    level = struct.pack("!HHBBBB", 0xBEDE, 1, 0x20, 5, 0, 0)
    return [
        tuple(sound(number) for number in range(8)),
        tuple(sound(1, source) for source in range(40)),
        (sound(1, body=level + OPUS, first=0x90), sound(3), sound(2), sound(65_000)),
        (sound(1, body=b"\xff\x00"), sound(2), sound(3, body=bytes(300))),
        (report(200, 0, struct.pack("!LQLLL", 1, 1 << 60, 3, 4, 5)),),
        (report(201, 1, struct.pack("!LLBBHLLLL", 1, ours, 255, 0, 1, 2, 3, 4, 5)),),
        (report(202, 1, struct.pack("!LBB", 1, 1, 2) + b"me" + bytes(4)),),
        (report(203, 1, struct.pack("!L", 1)), sound(9)),
        (report(205, 1, own + struct.pack("!HH", 5, 0xFFFF) * 300),),
        (report(206, 15, own + b"REMB" + bytes([200, 0, 0, 0])), report(206, 1, own)),
    ]
