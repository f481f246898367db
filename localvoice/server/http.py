"""HTTP below the routes: what aiohttp decides by itself, and has few settings for."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.helpers import reify
from aiohttp.http import WebSocketError, WebSocketReader, WebSocketWriter
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from localvoice.server.security import HEADERS

_log = logging.getLogger(__name__)

PROTOCOL: Final = "localvoice"
"""The subprotocol (`Sec-WebSocket-Protocol`) of clients that understand a close with 1013."""
_HEAD_SECONDS: Final = 10.0
"""In which a request's head has to come; a client that lets one trickle in would hold a socket for ever."""
_SHUTDOWN_SECONDS: Final = 4.0
_QUEUE_BYTES: Final = 2**16
"""Of messages that aren't read yet; past twice as much the client has to wait."""
_SMALL_PIECES: Final = 16
"""Of one message. Browsers send some messages in pieces, but in large ones."""
_PIECE_BYTES: Final = 1024
_OF_MESSAGES: Final = (WSMsgType.CONTINUATION, WSMsgType.TEXT, WSMsgType.BINARY)


class _Request(web.Request):
    """Its answer has the headers of a safe page, whatever made it; one to what is no HTTP as well."""

    @reify
    def headers(self) -> CIMultiDictProxy[str]:
        """Without `Expect`, which aiohttp would answer before the guard is asked. No body is wanted.

        And without subprotocols that we don't speak: aiohttp would log what the client sent.
        """
        found = super().headers
        unwanted = [hdrs.EXPECT] if hdrs.EXPECT in found else []
        if hdrs.SEC_WEBSOCKET_PROTOCOL in found and PROTOCOL not in _offered(found):
            unwanted.append(hdrs.SEC_WEBSOCKET_PROTOCOL)
        if not unwanted:
            return found
        others = CIMultiDict(found)
        for name in unwanted:
            del others[name]
        return CIMultiDictProxy(others)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)


def socket_protocols(request: web.Request) -> tuple[str, ...]:
    """Those of the subprotocols that a client offers that we speak: `PROTOCOL`, or none."""
    return (PROTOCOL,) if PROTOCOL in _offered(request.headers) else ()


def check_handshake(request: web.Request, socket: web.WebSocketResponse) -> None:
    """Raises `HTTPBadRequest` for what is no WebSocket handshake, before it counts as a new session."""
    ascii_key = request.headers.get(hdrs.SEC_WEBSOCKET_KEY, "").isascii()  # aiohttp stumbles over another one
    if request.method != hdrs.METH_GET or not ascii_key or not socket.can_prepare(request):
        raise web.HTTPBadRequest(text="This is no WebSocket handshake.\n")


def _offered(headers: Mapping[str, str]) -> list[str]:
    return [each.strip() for each in headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]


class Socket(web.WebSocketResponse):
    """A WebSocket that is closed with 1009 when a message comes in many small pieces, and with 1002 unmasked.

    Pieces are put together before we see any of it, so no limit of ours counts them, and all wait meanwhile.
    """

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter) -> None:
        # As the one that is overridden does it, but for the reader.
        self._ws_protocol, self._writer = protocol, writer
        self._reader = WebSocketDataQueue(request.protocol, _QUEUE_BYTES, loop=asyncio.get_running_loop())
        self._parser = _Reader(self._reader, self._max_msg_size, compress=False, decode_text=True)
        request.protocol.set_parser(self._parser)
        request.protocol.keep_alive(False)


class _Reader(WebSocketReader):
    _small_pieces = 0

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:
        # Nothing but the type says whether a frame was masked: what is unmasked in place is a bytearray.
        if isinstance(payload, bytes):
            raise WebSocketError(
                WSCloseCode.PROTOCOL_ERROR, "A client has to mask its frames (RFC 6455, 5.1)"
            )
        if fin:
            self._small_pieces = 0
        elif opcode in _OF_MESSAGES and len(payload) < _PIECE_BYTES:
            self._small_pieces += 1
            if self._small_pieces > _SMALL_PIECES:
                raise WebSocketError(WSCloseCode.MESSAGE_TOO_BIG, "Too many small pieces of one message")
        super()._handle_frame(fin, opcode, payload, compressed)


async def open_runner(application: web.Application) -> web.AppRunner:
    """The application, ready to be listened for."""
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_log,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        keepalive_timeout=_HEAD_SECONDS,
        lingering_time=0,  # nor is the rest of one read that goes on and on
        auto_decompress=False,  # bodies aren't read, and inflating one of 1 MB holds up all for seconds
    )
    await runner.setup()
    assert runner.server is not None  # it is set up
    runner.server.request_factory = partial(application._make_request, _cls=_Request)
    return runner


def _is_ours(record: logging.LogRecord) -> bool:
    """What is no HTTP is answered with 400. A traceback of each would let a stranger fill the log.

    A line that is cut short may hold the token.
    """
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_log.addFilter(_is_ours)
