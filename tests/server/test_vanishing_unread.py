"""A client that is killed while the server reads nothing of it: its work ends as soon as otherwise."""

import asyncio
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from localvoice.server import inbound
from localvoice.server.certificate import keep_certificate
from localvoice.server.connection import ClientConnection
from localvoice.server.endpoint import Endpoint
from tests.support.cut_clients import CANCELLED_SECONDS, Noted, tasks
from tests.support.fakes import until
from tests.support.folders import SUPPORT
from tests.support.lan_server import TOKEN, trusting
from tests.support.metronome import queued_seconds
from tests.support.processes import python_process
from tests.support.server_site import Site, serving
from tests.support.turn_stages import GROUPS, Cast

HELD_SECONDS = 1.0
"""Between two messages that are read of a flood."""
LIMITS = {"messages_per_second": 0.5 / HELD_SECONDS, "audio_chunks_per_second": 0.5 / HELD_SECONDS}


class Decoding:
    """In place of a picture's decoder: takes as long as a test needs it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()

    def __call__(self, attachment: object) -> None:
        self.begun.set()
        self.end.wait(10)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[ClientConnection]:
    """The connections that there were."""
    made: list[ClientConnection] = []
    serve = ClientConnection.serve

    async def noted(self: ClientConnection) -> None:
        made.append(self)
        await serve(self)

    monkeypatch.setattr(ClientConnection, "serve", noted)
    return made


@asynccontextmanager
async def site(folder: Path, secure: bool, cast: Cast, noted: Noted) -> AsyncIterator[Site]:
    endpoint = trusted = None
    if secure:
        endpoint = Endpoint("127.0.0.1", TOKEN, keep_certificate(folder, ["127.0.0.1"]))
        trusted = trusting(folder)
    groups = GROUPS | {"limits": GROUPS["limits"] | LIMITS | {"message_burst": 10}}
    brought = {"hooks": noted.hooks()}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with serving(cast.engines, groups, brought, endpoint, trusted or True, headers) as found:
        yield found


def client(*arguments: str) -> AbstractAsyncContextManager[Process]:
    return python_process(str(SUPPORT / "killed_client.py"), *arguments, stdin=PIPE)


async def until_stuck(connection: ClientConnection) -> None:
    """Wait until the socket takes no more of a flood: the kernel has all that it has room for."""
    lost = connection._socket._reader
    assert lost is not None
    await until(lambda: lost._protocol._reading_paused)
    await asyncio.sleep(0.5)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("end", ["reset", "fin"])
@pytest.mark.parametrize("afterwards", ["picture", "flood", "wall"])
@pytest.mark.parametrize("stage", ["thinking", pytest.param("writing", marks=pytest.mark.faults)])
async def test_its_work_is_cancelled(
    stage: str,
    afterwards: str,
    end: str,
    secure: bool,
    held: list[ClientConnection],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cast, noted, decoding = Cast(), Noted(), Decoding()
    monkeypatch.setattr(inbound, "decode_image", decoding)
    loop = asyncio.get_running_loop()
    async with site(tmp_path, secure, cast, noted) as server:
        before = tasks()
        try:
            async with client(f"{server.url}/ws", stage, afterwards, end, TOKEN) as process:
                await until(lambda: "llm" in cast.work.under_way)
                assert process.stdin is not None
                process.stdin.write(b"\n")
                if afterwards == "picture":
                    await until(decoding.begun.is_set)
                else:
                    await until(lambda: held[0]._inbound.pause > 0)
                if afterwards == "wall":
                    await until_stuck(held[0])
                await asyncio.sleep(0.1)
                killed, queued = loop.time(), queued_seconds()
                process.kill()
                await until(lambda: cast.work.under_way == [], 3.0)
                # On a busy machine the server waits for a core, through no fault of its own.
                took = cast.work.ended - killed - (queued_seconds() - queued)
                assert took <= CANCELLED_SECONDS
                print(f"killed while {stage}, {afterwards} unread, {end}: after {1000 * took:.0f} ms")
        finally:
            decoding.end.set()
        await server.until_alone()
        await asyncio.sleep(0.05)
        assert tasks() <= before
    assert not [record for record in caplog.records if record.levelname == "ERROR"], "clients do go"
    assert noted.started == noted.ended and len(noted.gone) == 1
