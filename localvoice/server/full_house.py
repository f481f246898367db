"""A newcomer while all places are taken: only who comes back to a conversation that has one is let in."""

import asyncio
import secrets
from contextlib import suppress
from typing import Final

from aiohttp import WSMsgType, web

from localvoice.contract.client_messages import Reconnect, parse
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import Ready
from localvoice.server.places import Places

ASK_SECONDS: Final = 0.16
"""For a client to say who it is, which it does on hearing `ready`. All others are refused after it, within a
quarter of a second; and who comes again and again, comes less often: each time wakes threads that compute."""
_LEAVING_SECONDS: Final = 0.02
"""A conversation whose client has just hung up, as a page does that is loaded anew, needs some ms to end."""
_MESSAGES: Final = 3
"""A client may send a ping before its `reconnect`."""


async def returning(socket: web.WebSocketResponse, stun_url: str, places: Places) -> str | None:
    """The id of the session that the client comes back to; None while there are places for all.

    It has been told that we are ready, then. Raises `VoiceError` RATE_LIMITED if there is no place for it.
    """
    if places.full:
        await asyncio.sleep(_LEAVING_SECONDS)
    if not places.full:
        return None
    with suppress(ConnectionError, TimeoutError):
        # The id of a session that would be: a client needs one to tell its own from.
        await socket.send_str(Ready(secrets.token_urlsafe(16), ({"urls": stun_url},)).encode())
        async with asyncio.timeout(ASK_SECONDS):
            for _ in range(_MESSAGES):
                session_id = await _wanted(socket)
                if session_id is not None and places.has(session_id):
                    return session_id
            await asyncio.sleep(ASK_SECONDS)
    raise places.refusal()


async def _wanted(socket: web.WebSocketResponse) -> str | None:
    message = await socket.receive()
    if message.type is not WSMsgType.TEXT:
        return None
    try:
        wanted = parse(message.data)
    except VoiceError:
        return None
    return wanted.session_id if isinstance(wanted, Reconnect) else None
