"""The server over a real socket: pages, strangers, addresses and single messages."""

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

from localvoice.config import ConfigError, Settings
from localvoice.contract.client_messages import MAX_MESSAGE_BYTES
from localvoice.conversation.agent import Agent
from localvoice.observability.stopwatch import now
from localvoice.server.app import VoiceServer
from localvoice.server.security import HEADERS
from tests.support.fakes import fake_engines
from tests.support.server_site import Site, serving

# --- pages and strangers ---


async def test_the_page_its_files_and_its_health() -> None:
    async with serving() as site:
        for path, kind in (("/", "text/html"), ("/index.html", "text/html"), ("/app.js", "javascript")):
            async with site.http.get(site.url + path) as response:
                assert response.status == 200 and kind in response.content_type
                assert {name: response.headers[name] for name in HEADERS} == HEADERS
        async with site.http.get(site.url + "/health") as response:
            health = await response.json()
        assert health["ok"] is True
        assert health["models"] == {"stt": "fake-ears", "llm": "fake-mind", "tts": "fake-voice"}
        for path in ("/../config.py", "/%2e%2e/app.py", "/..%2fapp.py", "/.git/config", "/web/index.html"):
            async with site.http.get(site.url + path) as response:
                assert response.status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.nip.io"},
        {"Host": "evil@127.0.0.1"},
        {"Host": "localhost:port"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
    ids=str,
)
async def test_strangers_are_turned_away_everywhere(headers: dict[str, str]) -> None:
    async with serving() as site:
        for path in ("/", "/ws", "/health", "/app.js", "/nowhere"):
            async with site.http.get(site.url + path, headers=headers) as response:
                assert response.status == 403, path
        for path in ("/", "/ws"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await site.http.ws_connect(site.url + path, headers=headers)
            assert caught.value.status == 403
        assert await site.counts() == (0, 0)


async def test_every_reply_has_the_headers_of_a_safe_page_and_none_for_other_origins() -> None:
    cases: list[tuple[str, str, dict[str, str], int]] = [
        ("GET", "/", {}, 200),
        ("GET", "/health", {}, 200),
        ("GET", "/nowhere", {}, 404),
        ("POST", "/", {}, 405),
        ("GET", "/ws", {}, 400),  # no upgrade
        ("GET", "/", {"Host": "evil.example"}, 403),
        ("OPTIONS", "/", {"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"}, 403),
        ("OPTIONS", "/health", {"Access-Control-Request-Method": "GET"}, 405),
    ]
    async with serving() as site:
        for method, path, headers, status in cases:
            async with site.http.request(method, site.url + path, headers=headers) as response:
                assert response.status == status, (method, path)
                assert {name: response.headers.get(name) for name in HEADERS} == HEADERS, (method, path)
                assert not [name for name in response.headers if name.lower().startswith("access-control")]
        async with site.http.ws_connect(site.url) as socket:
            assert {name: socket._response.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("expected", ["100-continue", "a miracle"])
@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", "evil.example", 403),
        ("POST", "/ws", "evil.example", 403),
        ("GET", "/nowhere", "evil.example", 403),
        ("OPTIONS", "*", "evil.example", 403),
        ("GET", "/", "localhost", 200),
        ("POST", "/", "localhost", 405),
    ],
)
async def test_what_a_client_expects_is_no_way_past_the_guard(
    method: str, path: str, host: str, status: int, expected: str
) -> None:
    async with serving() as site:
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\neXpect: {expected}\r\nConnection: close\r\n"
        answer = await answer_to(site, f"{head}\r\n".encode())
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert HEADERS["Content-Security-Policy"].encode() in answer


@pytest.mark.parametrize("sent", [b"no http\r\n\r\n", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"])
async def test_an_answer_to_what_is_no_http_has_these_headers_too(sent: bytes) -> None:
    async with serving() as site:
        answer = await answer_to(site, sent)
        assert b" 400 " in answer.splitlines()[0]
        for name, value in HEADERS.items():
            assert f"\r\n{name}: {value}\r\n".encode() in answer


async def answer_to(site: Site, sent: bytes) -> bytes:
    """All that comes until the server closes."""
    url = urlsplit(site.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(sent)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),  # a link that the user follows
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
async def test_what_a_page_from_elsewhere_fetches_without_an_origin_is_refused(
    headers: dict[str, str], status: int
) -> None:
    """As by <img> and <script>."""
    async with serving() as site, site.http.get(site.url + "/app.js", headers=headers) as response:
        assert response.status == status


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: {own}", "Host: evil.example"],
        ["Host: evil.example", "Host: {own}"],
        ["Host: {own}", "Origin: http://{own}", "Origin: http://evil.example"],
        ["Host: "],
        [],
    ],
    ids=["a second host", "a second host, ours", "a second origin", "an empty host", "no host"],
)
async def test_doubled_or_missing_headers_are_refused(lines: list[str]) -> None:
    async with serving() as site:
        own = site.url.removeprefix("http://")
        reader, writer = await asyncio.open_connection(*own.split(":"))
        request = [
            "GET /health HTTP/1.1",
            *(line.format(own=own) for line in lines),
            "Connection: close",
            "",
            "",
        ]
        writer.write("\r\n".join(request).encode())
        status = (await reader.read()).split(b" ", 2)[1]
        writer.close()
        await writer.wait_closed()
        assert status in (b"400", b"403")


async def test_a_page_that_is_allowed_may_connect() -> None:
    async with serving(allowed_origins=["http://localhost:3000"]) as site:
        async with site.http.ws_connect(site.url, headers={"Origin": "http://localhost:3000"}) as socket:
            assert (await socket.receive_json())["type"] == "ready"
        async with site.http.ws_connect(site.url) as socket:  # no browser, so no Origin
            assert (await socket.receive_json())["type"] == "ready"


def test_an_address_that_others_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0"):
        VoiceServer(Agent(Settings.model_validate({"server": {"host": "0.0.0.0"}}), fake_engines()))


async def test_a_port_in_use_is_named() -> None:
    async with serving() as site:
        port = int(site.url.rsplit(":", 1)[1])
        with pytest.raises(ConfigError, match=f"{port}.*--port"):
            async with serving(port=port):
                pass


@pytest.mark.parametrize(
    "head", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "], ids=["none", "trickles"]
)
async def test_a_client_that_never_finishes_a_request_is_dropped(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localvoice.server.patches._HEAD_SECONDS", 0.4)
    async with serving() as site:
        address = urlsplit(site.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(head)
            begun = now()
            async with asyncio.timeout(5):
                while not reader.at_eof() and not writer.is_closing():
                    writer.write(b"x" if head else b"")
                    await asyncio.wait([asyncio.ensure_future(reader.read(1))], timeout=0.05)
            assert now() - begun < 2
        finally:
            writer.close()
        async with site.client() as client:
            await client.sync()


async def test_ipv6_loopback_has_an_address_that_works() -> None:
    try:
        async with serving(host="::1") as site:
            assert site.url.startswith("http://[::1]:")
            async with site.client() as client:
                await client.sync()
    except ConfigError:
        pytest.skip("this machine has no IPv6 loopback")


# --- messages ---


@pytest.mark.parametrize("path", ["/", "/ws"])
async def test_ready_and_a_ping(path: str) -> None:
    async with serving() as site, site.client(path) as client:
        ready = client.received[0]
        assert ready["protocolVersion"] == 1 and len(ready["id"]) >= 22
        (stun,) = ready["iceServers"]
        assert stun["urls"].startswith("stun:127.0.0.1:"), "asked by clients that would ask a public one"
        await client.send("ping", timestamp=1_700_000_000_123)
        assert (await client.expect("pong"))["timestamp"] == 1_700_000_000_123


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        "",
        "[]",
        '{"type":"shutdown"}',
        '{"type":"ping"}',
        '{"type":"text","text":""}',
        "[" * 50_000,
        b"\x00\x01\x02",
        " " * (MAX_MESSAGE_BYTES + 1),
    ],
    ids=lambda value: repr(value[:20]),
)
async def test_a_broken_message_gets_one_error_and_costs_nothing_else(message: str | bytes) -> None:
    async with serving() as site, site.client() as client:
        if isinstance(message, bytes):
            await client.socket.send_bytes(message)
        else:
            await client.socket.send_str(message)
        await client.sync()
        assert client.kinds() == ["ready", "error", "pong"]
        assert client.errors() == ["INVALID_MESSAGE"]


async def test_a_gigantic_message_ends_that_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as site, site.client() as other:
        async with site.client() as client:
            lost = client.socket._response.connection
            assert lost is not None and lost.transport is not None
            size = (5 * MAX_MESSAGE_BYTES).to_bytes(8, "big")
            lost.transport.write(b"\x81\xff" + size + b"mask" + b" " * 10_000)
            assert await client.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        await other.sync()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
