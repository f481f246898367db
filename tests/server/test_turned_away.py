"""A full server and clients that don't name our subprotocol, such as LLMRTC's: HTTP 503, and no WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode

from localvoice.server import app
from localvoice.server.admission import SUBPROTOCOL
from localvoice.server.slots import KEEP_SECONDS
from tests.support.error_watch import Watch
from tests.support.full_server import converse, full, refusal
from tests.support.server_site import Client, Site, serving


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


@asynccontextmanager
async def stock(site: Site) -> AsyncIterator[Client]:
    """A client that says nothing of our subprotocol."""
    async with site.http.ws_connect(site.url) as socket:
        yield Client(socket)


async def turned_away(site: Site, path: str = "/") -> tuple[int, dict[str, Any]]:
    """The seconds to wait and the message, once the upgrade was refused."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with site.http.get(site.url + path, headers=headers) as response:
        assert response.status == 503
        return int(response.headers["Retry-After"]), json.loads(await response.text())


async def test_a_client_that_is_turned_away_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    limited: list[object] = []
    monkeypatch.setattr(app, "limit_unacknowledged", limited.append)
    async with full() as (site, _):
        limited.clear()
        await turned_away(site)
    assert len(limited) == 1 and limited[0] is not None, "its TCP connection"


@pytest.mark.parametrize("path", ["/", "/ws"])
async def test_a_new_client_without_our_subprotocol_gets_503_with_the_seconds_to_wait(
    path: str, watch: Watch
) -> None:
    async with full(brought=watch.brought()) as (site, (served,)):
        seconds, message = await turned_away(site, path)
        assert KEEP_SECONDS - 3 < seconds <= KEEP_SECONDS
        assert (message["type"], message["code"]) == ("error", "RATE_LIMITED")
        assert message["message"].endswith(f" in {seconds} s.")
        assert watch.metrics.count("llmrtc.errors", code="RATE_LIMITED", component="server") == 1
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await site.http.ws_connect(site.url, protocols=("chat",))
        assert refused.value.status == 503
        await converse(served)


@pytest.mark.parametrize("limits", [{"connections": 1}, {"sessions_per_minute": 1}], ids=str)
async def test_so_does_one_for_whom_there_is_no_connection(limits: dict[str, Any]) -> None:
    async with serving(groups={"limits": limits}) as site, site.client() as client:
        seconds, message = await turned_away(site)
        assert seconds > 0 and message["code"] == "RATE_LIMITED"
        await client.sync()


async def test_while_there_are_slots_it_is_served_as_any_other() -> None:
    async with serving() as site, stock(site) as client:
        assert (await client.expect("ready"))["protocolVersion"] == 1
        assert client.socket.protocol is None
        await converse(client)


async def test_it_returns_to_the_slot_that_is_kept_for_it() -> None:
    async with full() as (site, (served,)):
        served.socket._response.connection.transport.abort()  # type: ignore[union-attr]
        await site.until_alone()
        async with stock(site) as other:  # it might be the one that is awaited
            await refusal(other)
        async with stock(site) as again:
            await again.send("reconnect", sessionId=served.received[0]["id"])
            assert (await again.expect("reconnect-ack"))["success"] is True
            await converse(again)
            await turned_away(site)  # the place has its client again


async def test_one_that_begins_when_all_slots_are_taken_is_closed_and_then_gets_503() -> None:
    async with full(idle=1) as (site, (_, idle)):
        await idle.send("text", text="And me?")
        assert await idle.closed() == WSCloseCode.TRY_AGAIN_LATER
        await turned_away(site)


async def test_ours_is_named_in_the_answer_and_others_are_neither_named_nor_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as site:
        for offered, agreed in (((SUBPROTOCOL, "chat"), SUBPROTOCOL), (("a-secret",), None)):
            async with site.http.ws_connect(site.url, protocols=offered) as socket:
                assert socket.protocol == agreed
        await asyncio.sleep(0)
    assert "a-secret" not in caplog.text
