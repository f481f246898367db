"""Admission of new clients: handshake, connection limits, a server that is full, and how each is refused.

The page offers a subprotocol: it understands a WebSocket that is closed with 1013, and when to try again.
Other clients, such as LLMRTC's, take an open WebSocket for a connection and wait for `ready`, so they get
HTTP 503 instead. A client can name the session that it returns to only on an open WebSocket: while a slot is
kept for a client that was cut off, all new clients get a WebSocket.
"""

import asyncio
import logging
import math
import secrets
import socket as sockets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from localvoice.application.hooks import ErrorContext, notify
from localvoice.config import LimitSettings
from localvoice.contract.client_messages import Reconnect, parse
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import ErrorMessage, Ready
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.observability.stopwatch import now, unix_ms
from localvoice.server.slots import ConversationSlots
from localvoice.transports.limits import TokenBucket, rate_limited

log = logging.getLogger(__name__)

SUBPROTOCOL: Final = "localvoice"
"""The `Sec-WebSocket-Protocol` of clients that understand a close with 1013."""
BEAT_SECONDS: Final = 0.05
"""New clients of a full server are handled together, on a beat. Each step for a client that is refused wakes
a thread on a core where models compute, and their other threads wait for that one."""
ASK_SECONDS: Final = 3 * BEAT_SECONDS
"""How long a client has, after `ready`, to name the session that it returns to. All others are refused then,
within 0.25 s."""
_HANG_UP_SECONDS: Final = 0.02
"""A session whose client has just hung up, as a page does that is reloaded, needs some ms to end."""
_MESSAGES: Final = 3
"""A client may send a ping before its `reconnect`."""
_RETRY_SECONDS: Final = 5
"""When to try again if all connections are in use: nothing tells when one of them ends."""
_LOG_LINES: Final = 10
"""Refusals logged as warnings in a minute: a flood must not fill the log."""


def subprotocols(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The subprotocols that a client offers and this server speaks: `SUBPROTOCOL`, or none."""
    offered = [each.strip() for each in headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]
    return (SUBPROTOCOL,) if SUBPROTOCOL in offered else ()


def check_handshake(request: web.Request, socket: web.WebSocketResponse) -> None:
    """Raises `HTTPBadRequest` if it is not a WebSocket handshake, before it counts as a new session."""
    ascii_key = request.headers.get(hdrs.SEC_WEBSOCKET_KEY, "").isascii()  # aiohttp fails on any other
    if request.method != hdrs.METH_GET or not ascii_key or not socket.can_prepare(request):
        raise web.HTTPBadRequest(text="This is not a WebSocket handshake.\n")


class ConnectionLimits:
    """How many connections a server has at a time, and how many new sessions a minute."""

    def __init__(self, settings: LimitSettings) -> None:
        self._most = settings.connections
        self._sessions = TokenBucket(settings.sessions_per_minute / 60, settings.sessions_per_minute, now())
        self._connections = 0

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Count a connection and its new session. Raises `VoiceError` RATE_LIMITED if it is one too many."""
        if self._connections >= self._most:
            raise rate_limited(f"All {self._most} connections of this server are in use", _RETRY_SECONDS)
        if wait := self._sessions.take(now()):
            raise rate_limited("Too many new sessions on this server", wait)
        self._connections += 1
        try:
            yield
        finally:
            self._connections -= 1


async def returning_session(
    request: web.Request, socket: web.WebSocketResponse, stun_url: str, slots: ConversationSlots
) -> str | None:
    """The id of the session that a client returns to while the server is full; None if it isn't full.

    In the first case the socket is open and `ready` was sent. Raises `VoiceError` RATE_LIMITED if there is no
    slot for the client; then the socket is open if the client is to be told on it.
    """
    beat = BEAT_SECONDS * math.ceil((now() + _HANG_UP_SECONDS) / BEAT_SECONDS)
    if slots.full:
        await asyncio.sleep(beat - now())
    if not slots.full:
        return None
    if not (subprotocols(request.headers) or slots.awaiting_return):
        raise slots.refusal()
    send_together(request.get_extra_info("socket"))
    await socket.prepare(request)
    deadline = beat + ASK_SECONDS
    with suppress(ConnectionError, TimeoutError):
        # The id of a session that would be: a client needs one to tell its own from.
        await socket.send_str(Ready(secrets.token_urlsafe(16), ({"urls": stun_url},)).encode())
        async with asyncio.timeout_at(deadline):
            for _ in range(_MESSAGES):
                session_id = await _requested_session(socket)
                if session_id is not None and slots.has(session_id):
                    return session_id
        await asyncio.sleep(deadline - now())
    raise slots.refusal()


async def _requested_session(socket: web.WebSocketResponse) -> str | None:
    message = await socket.receive()
    if message.type is WSMsgType.TEXT:
        with suppress(VoiceError):
            wanted = parse(message.data)
            return wanted.session_id if isinstance(wanted, Reconnect) else None
    return None


class Refusals:
    """Refuses clients, and reports each refusal as an error."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._lines = TokenBucket(_LOG_LINES / 60, _LOG_LINES, now())

    async def close(self, socket: web.WebSocketResponse, error: VoiceError) -> None:
        """Tell a client why, and close its WebSocket with 1013 and the seconds to wait."""
        await self._report(error)
        with suppress(ConnectionError):  # it may have gone already
            send_together(socket.get_extra_info("socket"))
            await socket.send_str(ErrorMessage(error.code, error.message).encode())
            # The seconds for programs; the message says them to people.
            reason = f"retry-after={error.retry_after}".encode()
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=reason)

    async def answer(self, error: VoiceError) -> web.Response:
        """The answer to a handshake that opens no WebSocket: 503 with the seconds to wait."""
        await self._report(error)
        return web.Response(
            status=503,
            headers={"Retry-After": str(error.retry_after)},
            text=ErrorMessage(error.code, error.message).encode(),
            content_type="application/json",
        )

    async def _report(self, error: VoiceError) -> None:
        tags = {"code": error.code, "component": error.component}
        log.log(logging.DEBUG if self._lines.take(now()) else logging.WARNING, "%s", error, extra=tags)
        self._agent.metrics.increment(Metric.ERRORS, 1, tags)
        context = ErrorContext(error.code, error.component, None, None, unix_ms())
        await notify(self._agent.hooks.on_error, error, context)


def send_together(connection: sockets.socket | None) -> None:
    """On Linux, send all that is written in this step of the event loop as one packet: one wake-up there."""
    if connection is not None and sys.platform == "linux":
        _cork(connection, True)
        asyncio.get_running_loop().call_soon(_cork, connection, False)


def _cork(connection: sockets.socket, on: bool) -> None:
    if sys.platform == "linux":
        with suppress(OSError):  # closed meanwhile
            connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_CORK, on)
