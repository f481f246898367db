"""What the server changes in aiohttp: a WebSocket's reader, how much may wait unread, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FunctionType
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from localvoice.server import patches
from localvoice.server.patches import WebSocket
from tests.support.fakes import until


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[WebSocket, aiohttp.ClientWebSocketResponse]]:
    """Both ends of a WebSocket; the client answers no ping by itself."""
    sockets = list[WebSocket]()

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = WebSocket(protocols=("one",), **options)
        await socket.prepare(request)
        sockets.append(socket)
        async for _ in socket:
            pass
        return socket

    application = web.Application()
    application.router.add_get("/", handle)
    async with (
        TestServer(application) as server,
        aiohttp.ClientSession() as http,
        http.ws_connect(server.make_url("/"), autoping=False, protocols=("one",)) as client,
    ):
        await until(lambda: bool(sockets))
        yield sockets[0], client


def test_what_is_replaced_is_there_to_replace() -> None:
    start, ours = web.WebSocketResponse._post_start, WebSocket._post_start
    assert isinstance(ours, FunctionType) and ours.__code__ is start.__code__
    replaced = {name for name, value in ours.__globals__.items() if start.__globals__.get(name) is not value}
    assert replaced == {"WebSocketReader", "DEFAULT_CHUNK_SIZE"}
    assert replaced <= {*start.__code__.co_names}, "aiohttp uses them no more: look at its `_post_start`"


async def test_a_websocket_starts_as_aiohttps_does_but_for_its_reader() -> None:
    async with opened() as (socket, client):
        assert isinstance(vars(socket)["_parser"], patches._Reader)
        assert vars(socket)["_reader"]._limit == 2 * patches._QUEUE_BYTES
        assert socket.ws_protocol == client.protocol == "one"


async def test_a_client_that_answers_no_ping_is_dropped() -> None:
    """The copy of aiohttp's method that stood here began no heartbeat."""
    async with opened(heartbeat=0.2) as (socket, client), asyncio.timeout(8):
        assert (await client.receive()).type is WSMsgType.PING
        await until(lambda: socket.closed)


async def test_whatever_comes_puts_the_next_ping_off() -> None:
    async with opened(heartbeat=4) as (socket, client):
        first = vars(socket)["_heartbeat_when"]
        await client.send_str("more")
        await until(lambda: vars(socket)["_heartbeat_when"] > first)
