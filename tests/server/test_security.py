"""Who may talk to the server."""

import asyncio
from contextlib import nullcontext

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from localvoice.config import ConfigError, ServerSettings
from localvoice.server.endpoint import check_allowed, check_listen_address, open_endpoint
from localvoice.server.security import AccessPolicy, access_middleware, is_allowed_origin, is_own_host


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8787",
        "LocalHost:8787",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.8.8.8:1",
        "[::1]:8787",
        "[::1]",
    ],
)
def test_own_hosts(host: str) -> None:
    assert is_own_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example:8787",
        "127.0.0.1.nip.io",
        "127.0.0.1.evil.example:8787",
        "notlocalhost",
        "evil@127.0.0.1",
        "127.0.0.1@evil.example",
        "localhost:80@evil.example",
        "evil.example#localhost",
        "evil.example/localhost",
        "evil.example\\localhost",
        "localhost evil.example",
        "0.0.0.0",
        "192.168.1.5:8787",
        "[::]",
        "[2001:db8::1]:8787",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "0177.0.0.1",
        "2130706433",
        "localhost.",
        "localhost.evil.com:8787",
        "127.0.0.1.evil.com",
        "user:secret@localhost:8787",
        "localhost:8787@evil.com",
        "[::ffff:192.168.1.5]",
        "[::1%25eth0]",
        "localhost:123456",
        "localhost:65536",
        "[::1]:99999",
        "localhost:٨",
        "localhost:-1",
        "localhost:80a",
        "localhost:",
        "ｌocalhost",
        # No host at all: turned away, and no crash either.
        "::1",
        "[::1",
        "localhost:port",
        "localhost:80:80",
        ":8787",
        "[v1.x]",
        "[",
        "]",
        "%",
        "\x00",
    ],
)
def test_other_hosts(host: str) -> None:
    assert not is_own_host(host)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "localhost:8787", True),
        ("http://localhost:8787", "localhost:8787", True),
        ("http://127.0.0.1:8787", "127.0.0.1:8787", True),
        ("https://localhost:8787", "localhost:8787", True),
        ("http://[::1]:8787", "[::1]:8787", True),
        ("http://localhost", "localhost", True),
        ("https://mine.example", "localhost:8787", True),
        ("", "localhost:8787", False),
        ("null", "localhost:8787", False),
        ("http://localhost:3000", "localhost:8787", False),
        ("http://localhost", "localhost:8787", False),
        ("http://127.0.0.1:8787", "localhost:8787", False),
        ("http://localhost:8787.evil.example", "localhost:8787", False),
        ("http://localhost.evil.example:8787", "localhost:8787", False),
        ("http://evil.example", "localhost:8787", False),
        ("http://mine.example", "localhost:8787", False),
        ("https://mine.example.evil.example", "localhost:8787", False),
        ("file://", "localhost:8787", False),
        ("chrome-extension://abc", "localhost:8787", False),
        ("http://localhost:8787/", "localhost:8787", False),
    ],
)
def test_origins(origin: str | None, host: str, allowed: bool) -> None:
    assert is_allowed_origin(origin, host, ["https://mine.example"]) is allowed


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_may_be_listened_on(host: str) -> None:
    check_listen_address(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "example.com", "*"])
def test_other_addresses_are_refused_with_what_to_do(host: str) -> None:
    with pytest.raises(ConfigError, match=r"--lan.*tunnel"):
        check_listen_address(host)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://mine.example",
        "https://mine.example:8443",
        "http://[::1]:3000",
        "null",
        "chrome-extension://abcdef",
        "capacitor://localhost",
    ],
)
def test_origins_that_can_be_allowed(origin: str) -> None:
    check_allowed([origin], [])


@pytest.mark.parametrize(
    "origin",
    [
        "https://mine.example/",
        "https://mine.example/page",
        "mine.example",
        "https://Mine.example",
        "https://mine.example:443",
        "http://mine.example:80",
        "https://*",
        "*",
        "",
    ],
)
def test_origins_that_no_browser_sends_are_refused_with_what_to_write(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.allowed_origins.*scheme://host:port"):
        check_allowed([origin], [])


@pytest.mark.parametrize(
    "host", ["voice.example", "Box", "my_voice", "*.home.example", "192.168.1.5", "fd00::2"]
)
def test_names_that_can_be_allowed(host: str) -> None:
    check_allowed([], [host])


@pytest.mark.parametrize(
    "host", ["https://voice.example", "voice.example:443", "voice.example/voice", "*", ""]
)
def test_names_that_are_none_are_refused_with_what_to_write(host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.allowed_hosts.*name alone"):
        open_endpoint(ServerSettings(allowed_hosts=(host,)))


# --- on the network ---

NAMES = ("box", "box.local", "localhost", "192.168.1.5", "fd00::2", "*.home.example")


@pytest.mark.parametrize(
    "host",
    [
        "box:8787",
        "BOX.local",
        "192.168.1.5:8787",
        "[fd00::2]:8787",
        "[FD00:0::2]:8787",
        "127.0.0.1",
        "voice.home.example",
    ],
)
def test_names_of_the_certificate(host: str) -> None:
    assert is_own_host(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "192.168.1.6:8787",
        "192.168.1.5.evil.com",
        "192.168.1.5.",
        "192.168.261",
        "3232235781",
        "box.evil.com",
        "box.",
        "evil-box",
        "[fd00::3]",
        "fd00::2",
        "home.example",
        "a.b.home.example",
        "*.home.example",
        "box@evil.com",
        "0.0.0.0",
    ],
)
def test_other_names_on_the_network(host: str) -> None:
    assert not is_own_host(host, NAMES)


@pytest.mark.parametrize(
    "origin", ["http://box:8787", "https://box", "wss://box:8787", "null", "HTTPS://box:8787"]
)
def test_on_the_network_an_origin_is_the_host_over_https(origin: str) -> None:
    assert is_allowed_origin("https://box:8787", "box:8787", [], ["https"])
    assert not is_allowed_origin(origin, "box:8787", [], ["https"])


# --- whom the guard lets by ---


class Peer(asyncio.Transport):
    """The connection of a client at an address."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 50_000), "sockname": ("127.0.0.1", 8787)})


async def welcome(request: web.Request) -> web.StreamResponse:
    return web.Response()


@pytest.mark.parametrize(
    ("client", "welcomed"), [("127.0.0.1", True), ("::1", True), ("192.168.1.77", False)]
)
async def test_without_a_token_only_this_machine_is_served_whatever_it_listens_on(
    client: str, welcomed: bool
) -> None:
    headers = {"Host": "localhost:8787"}
    request = make_mocked_request("GET", "/", headers, transport=Peer(client))
    with nullcontext() if welcomed else pytest.raises(web.HTTPForbidden):
        await access_middleware(AccessPolicy())(request, welcome)
