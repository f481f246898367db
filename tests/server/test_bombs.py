"""What is small on the wire and large in memory: the server inflates nothing that comes from outside."""

import asyncio
import resource
import struct
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import pytest
from aiohttp import WSCloseCode
from yarl import URL

from tests.support.server_site import Site, serving

BOMB_MEGABYTES = 100
MASK = bytes(4)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as running:
        yield running


def grown() -> int:
    """Megabytes that the process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (
        1024 if sys.platform == "linux" else 1024**2
    )


@cache
def packed(wbits: int, end: int) -> bytes:
    packer = zlib.compressobj(9, wbits=wbits)
    data = b"".join(packer.compress(b" " * 1_000_000) for _ in range(BOMB_MEGABYTES))
    return data + packer.flush(end)


@pytest.fixture
def message() -> bytes:
    """As permessage-deflate packs it."""
    return packed(-15, zlib.Z_SYNC_FLUSH)[:-4]


@pytest.fixture
def body() -> bytes:
    """As gzip packs it."""
    return packed(31, zlib.Z_FINISH)


@asynccontextmanager
async def bare_socket(site: Site) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]]:
    """A WebSocket by hand, with what the server answered to the wish to compress."""
    url = URL(site.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
    )
    try:
        yield reader, writer, await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def close_code(reader: asyncio.StreamReader) -> int:
    """Read frames until the one that closes; its code."""
    async with asyncio.timeout(10):
        while True:
            kind, length = await reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
            body = await reader.readexactly(length)
            if kind & 0x0F == 8:
                code, *_ = struct.unpack(">H", body[:2])
                return int(code)


async def test_a_message_is_never_inflated(site: Site, message: bytes) -> None:
    assert len(message) < 120_000
    async with bare_socket(site) as (reader, writer, answer):
        assert answer.startswith(b"HTTP/1.1 101")
        assert b"permessage-deflate" not in answer
        before = grown()
        writer.write(struct.pack(">BBQ", 0xC1, 0x80 | 127, len(message)) + MASK + message)
        assert await close_code(reader) == WSCloseCode.PROTOCOL_ERROR
    assert grown() - before < 20
    async with site.client():
        pass  # the others go on


async def test_a_long_message_ends_its_connection_before_it_is_all_there(site: Site) -> None:
    async with bare_socket(site) as (reader, writer, _):
        before = grown()
        writer.write(struct.pack(">BBQ", 0x81, 0x80 | 127, BOMB_MEGABYTES * 1_000_000) + MASK)
        assert await close_code(reader) == WSCloseCode.MESSAGE_TOO_BIG
    assert grown() - before < 20


async def test_a_request_is_never_inflated(site: Site, body: bytes) -> None:
    """It would take half a second of the event loop, which fails a test as well."""
    before = grown()
    for path in ("/", "/health", "/ws"):
        for method in ("POST", "GET"):
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            async with site.http.request(method, site.url + path, data=body, headers=headers) as response:
                assert response.status in (200, 400, 405)
    assert grown() - before < 20


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/..%2fapp.py",
        "/%2e%2e/app.py",
        "/%2e%2e%2fapp.py",
        "/..%5capp.py",
        "/....//app.py",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/index.html%00.js",
        "/./../../config.py",
        "/app.js/../../app.py",
    ],
)
async def test_no_path_climbs_out_of_the_page(site: Site, path: str) -> None:
    url = URL(site.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(None, 2)[1] in (b"400", b"404"), answer[:200]
