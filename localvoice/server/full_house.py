"""A newcomer while all places are taken: only one that returns to a conversation with a place is let in.

Our own page names a subprotocol: it understands a WebSocket that is closed with 1013, and when to come again.
Other clients, such as LLMRTC's, take an open WebSocket for a connection and wait for what never comes, so
they get HTTP 503 instead of one. A client can only say on an open WebSocket which conversation it returns
to: while one that was cut off is awaited, all newcomers get a WebSocket.

Newcomers are dealt with on a beat that they share, and in as few steps as can be: each step for one who'll be
refused wakes a thread on a core where models compute, and their other threads wait for that one.
"""

import asyncio
import math
import secrets
from contextlib import suppress
from typing import Final

from aiohttp import WSMsgType, web

from localvoice.contract.client_messages import Reconnect, parse
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import Ready
from localvoice.server.http import socket_protocols
from localvoice.server.places import Places
from localvoice.server.sockets import send_together

BEAT_SECONDS: Final = 0.05
"""From one beat to the next."""
ASK_SECONDS: Final = 3 * BEAT_SECONDS
"""For a client to say who it is, which it does on hearing `ready`. All others are refused after it, within a
quarter of a second; whoever comes again at once, just after a beat, waits for four of them."""
_LEAVING_SECONDS: Final = 0.02
"""A conversation whose client has just hung up, as a page does that is loaded anew, needs some ms to end."""
_MESSAGES: Final = 3
"""A client may send a ping before its `reconnect`."""


async def returning(
    request: web.Request, socket: web.WebSocketResponse, stun_url: str, places: Places
) -> str | None:
    """The id of the session that a client returns to while all places are taken; None while there are some.

    In the first case the socket is open and the client has been told that we are ready. Raises `VoiceError`
    RATE_LIMITED if the client finds no place; then the socket is open if the client is to be told on it.
    """
    beat = _next_beat()
    if places.full:
        await _sleep_until(beat)
    if not places.full:
        return None
    if not (socket_protocols(request) or places.awaits):
        raise places.refusal()
    send_together(request.get_extra_info("socket"))
    await socket.prepare(request)
    with suppress(ConnectionError, TimeoutError):
        # The id of a session that would be: a client needs one to tell its own from.
        await socket.send_str(Ready(secrets.token_urlsafe(16), ({"urls": stun_url},)).encode())
        async with asyncio.timeout_at(beat + ASK_SECONDS):
            for _ in range(_MESSAGES):
                session_id = await _wanted(socket)
                if session_id is not None and places.has(session_id):
                    return session_id
        await _sleep_until(beat + ASK_SECONDS)
    raise places.refusal()


def _next_beat() -> float:
    """When newcomers of this moment are dealt with; the event loop's time."""
    soonest = asyncio.get_running_loop().time() + _LEAVING_SECONDS
    return BEAT_SECONDS * math.ceil(soonest / BEAT_SECONDS)


async def _sleep_until(when: float) -> None:
    await asyncio.sleep(when - asyncio.get_running_loop().time())


async def _wanted(socket: web.WebSocketResponse) -> str | None:
    message = await socket.receive()
    if message.type is not WSMsgType.TEXT:
        return None
    try:
        wanted = parse(message.data)
    except VoiceError:
        return None
    return wanted.session_id if isinstance(wanted, Reconnect) else None
