"""SIGTERM and Ctrl-C at every stage, in a real process: clients are told, nothing is lost, and it ends."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.server_site import Client
from tests.support.signalled_server import AT_ONCE_SECONDS, Server, running
from tests.support.turn_stages import STAGES, Cast

pytestmark = pytest.mark.elsewhere

MOST_SECONDS = 10.0
QUICK = ("loading", signal.SIGTERM), ("warming", signal.SIGINT), (signal.SIGTERM, signal.SIGINT)
"""What runs also without --faults, of some that are alike."""


@asynccontextmanager
async def serving(
    preparation: str = "none", folder: Path | None = None, words: str = ""
) -> AsyncIterator[tuple[Server, Client]]:
    """A server that hears the words, and a client of it."""
    environment = {} if folder is None else {"LOCALVOICE_SERVER_SESSIONS_DIR": str(folder)}
    environment |= {"LOCALVOICE_LISTENING_PARTIAL_MS": "0", "STAGED_WORDS": words}
    async with running(preparation, "serve", "--port", "0", environment=environment) as server:
        address = await server.until(r"http://\S+")
        async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
            client = Client(socket)
            await client.expect("ready")
            yield server, client


class Elsewhere(Cast):
    """Engines in another process, of which nothing can be seen here."""

    async def at_work(self, what: str) -> None:
        await asyncio.sleep(0.2)


async def end(server: Server, number: signal.Signals = signal.SIGTERM) -> float:
    """Have it end in order, and say how long that took."""
    server.tell(number)
    code, took = await server.ended()
    assert code == 0 and took <= MOST_SECONDS, server.printed
    assert "Ending" in server.printed
    return took


@pytest.mark.faults
@pytest.mark.parametrize("stage", STAGES)
async def test_it_ends_in_order(stage: str) -> None:
    async with serving(words=f"{stage} 1.") as (server, client):
        await STAGES[stage](client, Elsewhere(), 1)
        took = asyncio.ensure_future(end(server))
        assert await client.closed() == aiohttp.WSCloseCode.GOING_AWAY
        assert await took < 6
        print(f"SIGTERM while {stage}: {await took:.2f} s")


@pytest.mark.faults
async def test_ctrl_c_is_the_same() -> None:
    async with serving() as (server, client):
        await client.sync()
        ending = asyncio.ensure_future(end(server, signal.SIGINT))
        assert await client.closed() == aiohttp.WSCloseCode.GOING_AWAY
        assert await ending < 2


@pytest.mark.faults
async def test_an_answer_that_is_near_its_end_is_heard() -> None:
    async with serving() as (server, client):
        await client.send("text", text="check 1.")
        await client.expect("tts-start")
        ending = asyncio.ensure_future(end(server))
        await client.expect("tts-complete")
        assert await client.closed() == aiohttp.WSCloseCode.GOING_AWAY
        await ending


@pytest.mark.faults
async def test_nobody_is_let_in_any_more() -> None:
    async with serving() as (server, client):
        await client.send("text", text="playing 1.")
        await client.expect("tts-chunk")
        address = await server.until(r"http://[\w.:]+")
        async with aiohttp.ClientSession() as http, aiohttp.ClientSession() as other:
            async with http.get(f"{address}/health") as kept:  # and so its connection
                await kept.read()
            server.tell(signal.SIGTERM)
            await server.until("Ending")
            await asyncio.sleep(0.3)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await http.ws_connect(f"{address}/ws")
            with pytest.raises(aiohttp.ClientConnectorError):
                await other.ws_connect(f"{address}/ws")
        assert (await server.ended())[0] == 0


@pytest.mark.faults
async def test_what_was_heard_is_there_after_the_restart(tmp_path: Path) -> None:
    async with serving(folder=tmp_path / "sessions") as (server, client):
        await client.send("text", text="playing 1.")
        await client.expect("tts-chunk")
        session = client.received[0]["id"]
        await end(server)
    async with serving(folder=tmp_path / "sessions") as (server, client):
        await client.send("reconnect", sessionId=session)
        assert (await client.expect("reconnect-ack"))["historyRecovered"] is True
        saved = (tmp_path / "sessions").glob("*.json")
        assert "Reply to playing 1" in "".join(path.read_text() for path in saved)
        await end(server)


BEFORE = [
    pytest.param(preparation, number, marks=[] if (preparation, number) in QUICK else pytest.mark.faults)
    for preparation in ("begun", "loading", "warming")
    for number in (signal.SIGTERM, signal.SIGINT)
]


@pytest.mark.parametrize(("preparation", "number"), BEFORE)
async def test_before_it_is_ready(preparation: str, number: signal.Signals) -> None:
    async with running(preparation, "serve", "--port", "0") as server:
        await server.until(preparation)
        if preparation == "begun":
            await asyncio.sleep(0.3)  # amid its imports
        server.tell(number)
        code, took = await server.ended()
        assert code == 0 and took < 4
        print(f"{number.name} while {preparation}: {took:.2f} s")


async def test_talk_on_the_sound_card_ends_as_well() -> None:
    async with running("none", "talk") as server:
        await server.until("Talk")
        assert await end(server) < 2


async def test_a_model_that_never_comes_back_is_left_behind() -> None:
    async with serving("stuck") as (server, client):
        await client.send("text", text="Hi.")
        await client.expect("llm-chunk")
        ending = asyncio.ensure_future(end(server))
        assert await client.closed() == aiohttp.WSCloseCode.GOING_AWAY
        print(f"SIGTERM with a stuck model: {await ending:.2f} s")


@pytest.mark.faults
async def test_an_event_loop_that_stands_still_is_cut_off() -> None:
    async with serving("blocked") as (server, client):
        await client.send("text", text="Hi.")
        await asyncio.sleep(0.5)
        server.tell(signal.SIGTERM)
        code, took = await server.ended()
        assert code == 0 and took <= MOST_SECONDS
        assert "cut off" in server.printed
        print(f"SIGTERM with an event loop that stands still: {took:.2f} s")


PAIRS = [
    pytest.param(first, second, marks=[] if (first, second) in QUICK else pytest.mark.faults)
    for first in (signal.SIGTERM, signal.SIGINT)
    for second in (signal.SIGTERM, signal.SIGINT)
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_a_second_signal_ends_it_at_once(first: signal.Signals, second: signal.Signals) -> None:
    async with serving("stuck") as (server, client):
        await client.send("text", text="Hi.")
        await client.expect("llm-chunk")
        server.tell(first)
        await server.until("Ending")
        server.tell(second)
        code, took = await server.ended()
        assert (code, took < AT_ONCE_SECONDS) == (-second, True)
