"""What is asked of a client's TCP connection beyond what asyncio offers: on Linux, and nothing elsewhere."""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Final

_UNACKNOWLEDGED_MS: Final = 10_000
"""Then the kernel gives up a client that acknowledges nothing; it would try for a quarter of an hour."""


def give_up_soon(connection: socket.socket | None) -> None:
    """No reply is written for a client whose cable was pulled. Elsewhere the heartbeat tells, later."""
    if connection is not None and sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)


def send_together(connection: socket.socket | None) -> None:
    """All that is written until the event loop goes on leaves in one packet, and wakes its reader once."""
    if connection is not None and sys.platform == "linux":
        _hold(connection, True)
        asyncio.get_running_loop().call_soon(_hold, connection, False)


def _hold(connection: socket.socket, on: bool) -> None:
    if sys.platform == "linux":
        with suppress(OSError):  # closed meanwhile
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)
