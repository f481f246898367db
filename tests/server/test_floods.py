"""What a client may send without a message of ours in it: pings, and requests whose body never ends."""

import asyncio
import logging
import time

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType
from yarl import URL

from tests.support.server_site import serving


@pytest.mark.parametrize("kind", [WSMsgType.PING, WSMsgType.PONG], ids=["pings", "pongs"])
async def test_a_flood_of_pings_is_held_back_like_one_of_messages(kind: WSMsgType) -> None:
    async with serving() as site, site.http.ws_connect(site.url + "/ws", autoping=False) as socket:
        await socket.receive()
        begun = time.monotonic()
        for _ in range(600):
            await (socket.ping(b"mine") if kind is WSMsgType.PING else socket.pong(b"mine"))
        found: list[WSMsgType] = []
        async with site.client() as other:  # who isn't kept waiting
            await other.send("text", text="Hi.")
            await other.expect("tts-complete")
        while True:
            try:
                async with asyncio.timeout(0.5):
                    message = await socket.receive()
            except TimeoutError:
                break
            if message.type is WSMsgType.PONG and message.data != b"mine":
                continue  # the server looks whether we are still there
            found.append(message.type)
            if message.type is WSMsgType.TEXT:
                assert "RATE_LIMITED" in message.data
                break
        assert found[-1:] == [WSMsgType.TEXT], "it is told"
        most = 160 + 80 * (time.monotonic() - begun)
        assert found.count(WSMsgType.PONG) <= (most if kind is WSMsgType.PING else 0)


async def test_a_ping_is_answered() -> None:
    async with serving() as site, site.http.ws_connect(site.url + "/ws", autoping=False) as socket:
        await socket.receive()
        await socket.ping(b"there?")
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.PONG, b"there?")


async def test_the_rest_of_a_request_that_goes_on_and_on_is_not_waited_for() -> None:
    async with serving() as site:
        url = URL(site.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"POST / HTTP/1.1\r\nHost: {url.authority}\r\nContent-Length: 1000000000\r\n\r\n"
        writer.write(head.encode() + b"x" * 1_000)
        async with asyncio.timeout(2):
            answer = await reader.read()  # to the end: the connection is closed
        assert answer.startswith(b"HTTP/1.1 405 ")
        writer.close()


@pytest.mark.parametrize(
    "request_line",
    ["GET /?token=a+secret+of+ours HTTP/9.9", "G\x1b[31mT / HTTP/1.1", f"GET /{'a' * 20_000} HTTP/1.1"],
    ids=["cut short", "no method", "too long"],
)
async def test_what_is_no_http_leaves_nothing_in_the_log(
    request_line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as site:
        url = URL(site.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"{request_line}\r\nHost: {url.authority}\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
        writer.close()
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("method", "version", "key"),
    [
        ("GET", "13", "\xff"),
        ("GET", "13", "too short"),
        ("GET", "99", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("HEAD", "13", "dGhlIHNhbXBsZSBub25jZQ=="),
    ],
)
async def test_a_broken_handshake_is_a_bad_request_and_no_session(
    method: str, version: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(groups={"limits": {"sessions_per_minute": 1}}) as site:
        url = URL(site.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"{method} /ws HTTP/1.1\r\nHost: {url.authority}\r\n"
        head += "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        head += f"Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        writer.write(head.encode("latin-1"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        async with site.http.get(site.url + "/ws") as plain:
            assert plain.status == 400
        async with site.client() as client:
            await client.sync()
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "a byte each"])
async def test_a_message_in_pieces_without_end_is_not_waited_for(payload: bytes) -> None:
    async with serving() as site, site.http.ws_connect(site.url + "/ws") as socket:
        await socket.receive()
        piece(socket, b'{"', WSMsgType.TEXT)
        piece(socket, payload, count=40)
        while (message := await socket.receive(5)).type is WSMsgType.TEXT:
            pass
        assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.MESSAGE_TOO_BIG)
        await site.until_alone()


async def test_a_message_in_large_pieces_or_a_few_small_ones_is_read() -> None:
    async with serving() as site, site.http.ws_connect(site.url + "/ws") as socket:
        await socket.receive()
        for pieces in (
            [b'{"type":"ping",', b"", b'"timestamp":1}'],
            [b'{"type":"ping","timestamp":1', *[b" " * 2_000] * 50, b"}"],
        ):
            piece(socket, pieces[0], WSMsgType.TEXT)
            for each in pieces[1:-1]:
                piece(socket, each)
                await socket.ping()
            piece(socket, pieces[-1], fin=True)
            assert (await socket.receive_json(timeout=5))["type"] == "pong"


@pytest.mark.parametrize("size", [0, 2, 200, 70_000])
async def test_a_frame_that_is_not_masked_ends_the_connection(size: int) -> None:
    async with serving() as site, site.http.ws_connect(site.url + "/ws") as socket:
        await socket.receive()
        piece(socket, b"{}" * (size // 2), WSMsgType.TEXT, fin=True, masked=False)
        while (message := await socket.receive(5)).type is WSMsgType.TEXT:
            assert "INVALID_MESSAGE" not in message.data, "it isn't even read"
        assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.PROTOCOL_ERROR)
        await site.until_alone()


def piece(
    socket: aiohttp.ClientWebSocketResponse,
    payload: bytes,
    kind: WSMsgType = WSMsgType.CONTINUATION,
    count: int = 1,
    fin: bool = False,
    masked: bool = True,
) -> None:
    """Send a part of a message as often as this; `fin` ends it."""
    mask, size = bytes(4) if masked else b"", len(payload)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2)
        if size < 2**16
        else b"\x7f" + size.to_bytes(8)
    )
    head = bytes([kind | 0x80 * fin, length[0] | 0x80 * masked]) + length[1:]
    socket._writer.transport.write((head + mask + payload) * count)
