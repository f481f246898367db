"""A client that is killed, at every stage of a turn: its work ends at once, and nothing of it stays behind."""

import asyncio
from typing import Any

import pytest
from fakes import until
from server_site import Client, serving
from turn_stages import GROUPS, STAGES, Cast

from localvoice.agent.hooks import Hooks

CANCELLED_SECONDS = 0.25


def cut(client: Client) -> None:
    """As the kernel does it for a process that is killed: no close frame, the socket is reset."""
    lost = client.socket._response.connection
    assert lost is not None and lost.transport is not None
    lost.transport.abort()


def tasks() -> set[asyncio.Task[Any]]:
    """Without those in which aiohttp waits for the next request."""
    return {
        task
        for task in asyncio.all_tasks()
        if getattr(task.get_coro(), "__qualname__", "") != "RequestHandler.start"
    }


class Noted:
    """How often the hooks that end something were called."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.gone: list[str] = []

    def hooks(self) -> Hooks:
        return Hooks(
            on_turn_start=lambda context, _: self.started.append(context.turn_id),
            on_turn_end=lambda context, _: self.ended.append(context.turn_id),
            on_disconnect=lambda session, _: self.gone.append(session),
        )


@pytest.mark.parametrize("stage", STAGES)
async def test_a_killed_clients_work_is_cancelled(stage: str, caplog: pytest.LogCaptureFixture) -> None:
    cast, noted = Cast(), Noted()
    brought: dict[str, Any] = {"tools": cast.tools, "hooks": noted.hooks()}
    async with serving(cast.engines, GROUPS, brought) as site:
        before = tasks()
        async with site.client() as client:
            await STAGES[stage](client, cast, 1)
            killed = asyncio.get_running_loop().time()
            cut(client)
            await until(lambda: bool(noted.gone))
            assert cast.work.under_way == []
            assert cast.work.ended - killed <= CANCELLED_SECONDS
        await site.until_alone()
        await asyncio.sleep(0.05)
        assert tasks() <= before
    assert noted.gone == [client.received[0]["id"]]
    assert sorted(noted.started) == sorted(noted.ended)
    assert not [record for record in caplog.records if record.levelname == "ERROR"], "clients do go"
