"""Silent TCP connections: they shut out no other client and fill no log, even without file descriptors."""

import asyncio
import logging
import os
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from localvoice.process.configure import raise_file_limit
from tests.support.lan_server import BEARER, lan_site
from tests.support.server_site import Site, serving


def address(site: Site) -> tuple[str, int]:
    host, port = site.url.split("//")[1].split(":")
    return host, int(port)


@asynccontextmanager
async def silent(site: Site, count: int) -> AsyncIterator[list[socket.socket]]:
    """So many connections that say nothing."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(await asyncio.to_thread(socket.create_connection, address(site), 10))
            for _ in range(count)
        ]


@contextmanager
def files(more: int) -> Iterator[None]:
    """This process may open so many files more than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1 + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def all_files_taken() -> Iterator[ExitStack]:
    """No more can be opened until what is given is closed."""
    with ExitStack() as taken:
        with suppress(OSError):
            while True:
                taken.enter_context(open(os.devnull))
        yield taken


async def until_open(connections: list[socket.socket], at_most: int) -> None:
    """Wait until no more of them are open."""
    for each in connections:
        each.setblocking(False)
    async with asyncio.timeout(10):
        while sum(map(is_open, connections)) > at_most:  # noqa: ASYNC110 - asked of the kernel
            await asyncio.sleep(0.02)


def is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(2**16) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


async def test_silent_connections_shut_out_no_client_and_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with lan_site(tmp_path) as site, site.http.get(site.url + "/health", headers=BEARER) as first:
        assert first.status == 200
        async with silent(site, 300) as connections:
            await until_open(connections, 128)
            async with site.http.get(site.url + "/health", headers=BEARER) as response:
                assert response.status == 200
    warnings = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert "without showing a token" in warnings[0]
    assert len(warnings) == 1 or warnings[1:] == ["the connections without a token are few again"]


async def test_who_shows_the_token_or_converses_stays(tmp_path: Path) -> None:
    for serve, headers in ((lan_site(tmp_path), BEARER), (serving(), {})):
        async with serve as site, site.http.ws_connect(site.url + "/ws", headers=headers) as socket:
            await socket.receive_json()
            async with silent(site, 200) as connections:
                await until_open(connections, 128)
                await socket.send_json({"type": "ping", "timestamp": 1})
                assert (await socket.receive_json())["type"] == "pong"


def half_closed(server: tuple[str, int]) -> socket.socket:
    """A connection by TLS that the server wants to end, and whose client doesn't answer that."""
    connection = socket.create_connection(server, 10)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    encrypted = context.wrap_bio(arriving, leaving)
    while True:
        try:
            encrypted.do_handshake()
            break
        except ssl.SSLWantReadError:
            connection.sendall(leaving.read())
            arriving.write(connection.recv(2**16))
    encrypted.write(b"no HTTP\r\n\r\n")
    connection.sendall(leaving.read())
    return connection


async def test_connections_that_a_client_keeps_from_closing_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localvoice.server.listener._MAX_PENDING", 8)
    async with lan_site(tmp_path) as site:
        with ExitStack() as stack:
            connections = [
                stack.enter_context(await asyncio.to_thread(half_closed, address(site))) for _ in range(12)
            ]
            await until_open(connections, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="what is open is asked of /proc")
async def test_without_file_descriptors_others_wait_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localvoice.server.listener._CALM_SECONDS", 0.5)
    monkeypatch.setattr("localvoice.server.listener._SWEEP_SECONDS", 0.1)
    loop = asyncio.get_running_loop()
    async with serving() as site:
        with files(more=40), ExitStack() as stack:
            clients = [stack.enter_context(socket.socket()) for _ in range(20)]
            taken = stack.enter_context(all_files_taken())
            for each in clients:
                each.setblocking(False)
                await loop.sock_connect(each, address(site))
            await asyncio.sleep(0.5)
            taken.close()
            async with site.http.get(site.url + "/health") as response:
                assert response.status == 200
            await asyncio.sleep(1)
    told = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(told) == 2 and "ulimit -n" in told[0] and told[1] == "connections are accepted again"


def test_the_command_line_may_open_as_many_files_as_the_system_allows() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 3000));"
        "import localvoice; localvoice.configure_process();"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3000", "3000"]


def test_a_limit_that_is_higher_already_stays() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == before[1] and (soft == before[0] or soft <= 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
