"""Clients that vanish, and what is left of them in a server."""

import asyncio
from typing import Any

import pytest

from localvoice.application.hooks import Hooks
from tests.support.server_site import Client

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


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How often at each stage."""
    asked = request.config.getoption("--faults")
    return int(asked) if asked else 1
