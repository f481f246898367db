"""Who may talk to the server."""

import pytest

from localvoice.config import ConfigError
from localvoice.server.security import check_listen_address, is_allowed_origin, is_own_host


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
        "2130706433",
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
    with pytest.raises(ConfigError, match="tunnel"):
        check_listen_address(host)
