"""What the server changes below aiohttp's public surface, as in aiohttp 3.14.5.

Public settings can't do any of this: choose the request class, answer before a route is found, replace the
reader of a WebSocket. `pyproject.toml` keeps aiohttp below 3.15.
"""

import logging
from functools import partial
from types import FunctionType
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.helpers import reify
from aiohttp.http import WebSocketError, WebSocketReader
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from localvoice.server.admission import subprotocols
from localvoice.server.security import HEADERS

_log = logging.getLogger(__name__)

_HEAD_SECONDS: Final = 10.0
"""For the head of a request; a client that sends it byte by byte would hold a socket for ever."""
_SHUTDOWN_SECONDS: Final = 4.0
_QUEUE_BYTES: Final = 2**16
"""Of a WebSocket's unread messages; above twice as much, aiohttp stops reading. Its own limit is four times
this, for each connection."""
_SMALL_FRAMES: Final = 16
"""Of one message. Browsers send some messages in several frames, but in large ones."""
_SMALL_FRAME_BYTES: Final = 1024
_MESSAGE_OPCODES: Final = (WSMsgType.CONTINUATION, WSMsgType.TEXT, WSMsgType.BINARY)


class _Request(web.Request):
    """Its answer always has the headers of a safe page, also if no route was found or it is not HTTP."""

    @reify
    def headers(self) -> CIMultiDictProxy[str]:
        wanted = CIMultiDict(super().headers)
        wanted.popall(hdrs.EXPECT, None)  # aiohttp answers it before the middleware is asked
        if not subprotocols(wanted):
            wanted.popall(
                hdrs.SEC_WEBSOCKET_PROTOCOL, None
            )  # aiohttp logs those that the server doesn't speak
        return CIMultiDictProxy(wanted)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # In place of the application's `on_response_prepare`, which aiohttp calls only where a route was
        # found.
        response.headers.update(HEADERS)


class _Reader(WebSocketReader):
    """Refuses unmasked frames, and messages in many small frames.

    aiohttp joins the frames of a message before the server sees any of it, so no limit of the server's counts
    them, and everything else waits meanwhile.
    """

    _small_frames = 0

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:
        # Only the type tells whether a frame was masked: aiohttp unmasks in place, in a bytearray.
        if isinstance(payload, bytes):
            raise WebSocketError(
                WSCloseCode.PROTOCOL_ERROR, "A client has to mask its frames (RFC 6455, 5.1)"
            )
        if fin:
            self._small_frames = 0
        elif opcode in _MESSAGE_OPCODES and len(payload) < _SMALL_FRAME_BYTES:
            self._small_frames += 1
            if self._small_frames > _SMALL_FRAMES:
                raise WebSocketError(WSCloseCode.MESSAGE_TOO_BIG, "Too many small frames of one message")
        super()._handle_frame(fin, opcode, payload, compressed)


class WebSocket(web.WebSocketResponse):
    """Closed with 1009 when a message comes in many small frames, and with 1002 when one is unmasked."""

    # aiohttp's own method, in which these two names stand for ours. A copy of it would fall behind aiohttp's.
    _post_start = FunctionType(
        web.WebSocketResponse._post_start.__code__,
        {
            **web.WebSocketResponse._post_start.__globals__,
            "WebSocketReader": _Reader,
            "DEFAULT_CHUNK_SIZE": _QUEUE_BYTES,
        },
    )


async def open_runner(application: web.Application) -> web.AppRunner:
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_log,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        keepalive_timeout=_HEAD_SECONDS,
        lingering_time=0,  # the rest of a body isn't read: it may never end
        auto_decompress=False,  # bodies aren't read, and inflating one of 1 MB blocks everything for seconds
    )
    await runner.setup()
    assert runner.server is not None  # it is set up
    runner.server.request_factory = partial(application._make_request, _cls=_Request)
    return runner


def _is_ours(record: logging.LogRecord) -> bool:
    """Drops tracebacks of requests that are not HTTP, which are answered with 400.

    Any client could fill the log with them, and a line that is cut short may hold the token.
    """
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_log.addFilter(_is_ours)
