"""A program whose event loop stands still ends, and says where it stood: real processes."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from localvoice import LocalVoice, Settings, cli
from localvoice.process import configure, ending
from tests.support.error_watch import SAID
from tests.support.fakes import silent
from tests.support.folders import SUPPORT
from tests.support.server_site import Client
from tests.support.signalled_server import AT_ONCE_SECONDS, Server, running
from tests.support.standing_process import MOST_SECONDS, SLOW_SECONDS
from tests.support.turn_stages import speak

STANDING = SUPPORT / "standing_process.py"
WINDOW_SECONDS = 0.04
"""One window for the VAD, and not yet two."""


@asynccontextmanager
async def serving(how: str) -> AsyncIterator[tuple[Server, Client]]:
    async with running(how, "none", "serve", "--port", "0", program=STANDING) as server:
        address = await server.until(r"http://\S+")
        async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
            client = Client(socket)
            await client.expect("ready")
            yield server, client


async def ended(server: Server) -> tuple[int, float]:
    """Its exit code, and after how many seconds."""
    begun = time.monotonic()
    rest, _ = await asyncio.wait_for(server.process.communicate(), 30)
    server.printed += rest.decode()
    assert server.process.returncode is not None
    return server.process.returncode, time.monotonic() - begun


@pytest.mark.elsewhere
@pytest.mark.parametrize("how", ["python", "native"])
async def test_a_loop_that_stands_still_ends_the_process(how: str) -> None:
    async with serving(how) as (server, client):
        await client.send("text", text=SAID)
        await client.expect("llm")
        await speak(client, silent(WINDOW_SECONDS))
        exit_code, took = await ended(server)
    assert exit_code == 1
    assert 0.8 * MOST_SECONDS <= took <= 1.3 * MOST_SECONDS + AT_ONCE_SECONDS
    assert f" in {how}\n" in server.printed and " in _probability_of\n" in server.printed, "where it stood"
    assert "stood still" in server.printed
    assert SAID not in server.printed
    print(f"{how}: ended after {took:.2f} s, where {MOST_SECONDS} s are allowed")


def state(server: Server) -> str:
    """The kernel's letter for what the process does."""
    return Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.elsewhere
async def test_one_that_is_slow_goes_on() -> None:
    async with serving("slow") as (server, client):
        begun = time.monotonic()
        for _ in range(4):
            await speak(client, silent(WINDOW_SECONDS))
            await client.sync()
        assert time.monotonic() - begun > 2 * MOST_SECONDS and SLOW_SECONDS < MOST_SECONDS
        assert server.process.returncode is None


@pytest.mark.elsewhere
async def test_a_process_that_was_stopped_goes_on() -> None:
    async with serving("slow") as (server, client):
        server.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3 * MOST_SECONDS)
        assert state(server) == "T"
        server.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(2.5 * MOST_SECONDS)
        await client.sync()
        server.tell(signal.SIGTERM)
        assert (await server.ended())[0] == 0


class _Guarded(Exception):
    """Raised in place of guarding the loop of these tests."""


@pytest.mark.parametrize("begin", [cli.main, LocalVoice(Settings()).run])
def test_the_command_line_and_run_are_guarded(
    begin: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def guard() -> None:
        raise _Guarded

    for other in ("guard_memory", "use_one_arena"):
        monkeypatch.setattr(configure, other, lambda: None)
    monkeypatch.setattr(configure, "guard_loop", guard)
    monkeypatch.setattr(cli, "app", lambda: pytest.fail("it is too late"))
    with pytest.raises(_Guarded):
        begin()


async def test_an_application_that_uses_the_library_is_not() -> None:
    before = threading.enumerate()
    with ending.guarded_loop():
        assert threading.enumerate() == before
