"""The socket of a call on the server's side, and what a stranger may send there."""

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.support.webrtc_browser import Browser

_COOKIE: Final = 0x2112A442
_PRIORITY: Final = 0x0024
_ERROR_WITHOUT_PASSWORD: Final = b"\x01\x11"

STUN_REQUEST: Final = struct.pack("!HHI12s", 1, 0, _COOKIE, bytes(12))
BROKEN_STUN: Final = struct.pack("!HHI12sHHB3x", 1, 8, _COOKIE, bytes(12), _PRIORITY, 1, 0)
"""Its priority has one byte instead of four."""
PACKETS: Final = {
    "an empty one": b"",
    "a STUN request": STUN_REQUEST,
    "broken STUN": BROKEN_STUN,
    "a large one of SRTP": b"\x80" + bytes(1_600),
    "a large one of DTLS": b"\x16" + bytes(30_000),
    "half a DTLS record": bytes([22, 254, 253, 0, 1, 0, 0, 0]),
    "a DTLS alert": bytes([21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 0]),
    **{f"one byte, {first}": bytes([first]) for first in (0, 3, 4, 19, 20, 63, 64, 127, 128, 191, 192, 255)},
}


def candidates(sdp: str) -> list[tuple[str, int]]:
    """The addresses and ports that a description offers."""
    found = re.findall(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) ", sdp, re.MULTILINE)
    return [(address, int(port)) for address, port in found]


def server_end(browser: Browser) -> tuple[str, int]:
    """Where the server listens for a call."""
    return candidates(browser.connection.remoteDescription.sdp)[0]


@contextmanager
def stranger(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A socket of another program's, on this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind((address, 0))
        found.setblocking(False)
        yield found
