"""The public API: an agent built from settings, hooks, tools and a playbook, served or driven by hand.

from localvoice import LocalVoice, load_settings, tool

@tool
def opening_hours(day: str) -> str:
    '''Tell when the shop is open on a day of the week.'''
    return "from nine to five"

LocalVoice(load_settings(profile="quality"), tools=[opening_hours]).run()
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from localvoice.application.hooks import Hooks
from localvoice.config import Settings
from localvoice.contract.metrics import Metrics
from localvoice.engines.types import OwnEngines
from localvoice.process.configure import configure_process
from localvoice.process.ending import Ending, run_until_signal
from localvoice.process.output import open_terminal
from localvoice.setting_sources import load_settings
from localvoice.tools import Tool

if TYPE_CHECKING:
    from localvoice.contract.messages import ServerMessage
    from localvoice.conversation.agent import Agent
    from localvoice.playbook.schema import Playbook
    from localvoice.server.app import VoiceServer
    from localvoice.server.endpoint import Endpoint
    from localvoice.transports.dialogue import Dialogue, Live


class LocalVoice:
    """A voice agent of one process. The models are loaded when it is run, and closed when it ends."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        hooks: Hooks | None = None,
        tools: Iterable[Tool] = (),
        playbook: "Playbook | Path | None" = None,
        handlers: Mapping[str, Callable[..., Any]] | None = None,
        metrics: Metrics | None = None,
        engines: OwnEngines | None = None,
        console: Console | None = None,
    ) -> None:
        """All of it is optional; without settings they come from the file and the environment.

        `tools` are offered with the built-in ones. `playbook` is one made in Python or a path to YAML;
        `handlers` are what it calls by name. `metrics` replaces what the settings name, and `engines` the
        profile's models.
        """
        self._settings = settings if settings is not None else load_settings()
        self._console = console or open_terminal(stderr=True)
        self._parts = hooks, tuple(tools), playbook, handlers, metrics, engines

    def run(self) -> None:
        """Call `configure_process`, then serve the page and all clients until Ctrl-C or SIGTERM.

        The first signal ends it in order, within ten seconds; a second one kills the process.

        Raises `ConfigError`, `CatalogError`, `ModelFilesError` or `VoiceError` if it can't start; each says
        what to do.
        """
        configure_process()
        run_until_signal(self._run, lambda: self._console.print("Ending …"))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve until the block is left; gives the address of the page, in LAN mode with its token.

        Raises as `run` does.
        """
        async with self._serving() as (server, _):
            yield server.links[0]

    @asynccontextmanager
    async def dialogue(self) -> AsyncIterator["Dialogue"]:
        """Talk to the agent without a server: `answer = await dialogue.say(frame)`. Raises as `run` does."""
        from localvoice.transports.dialogue import dialogue

        async with self._agent() as agent, dialogue(agent) as talk:
            yield talk

    @asynccontextmanager
    async def live(
        self, on_message: "Callable[[ServerMessage], None]", rate: int = 24_000
    ) -> AsyncIterator["Live"]:
        """Talk in real time without a server: `live.hear(frame)`, `live.read(count)`. Raises as `run` does.

        `on_message` gets what a client would be sent, and must not block; `rate`, in Hz, is for `read`.
        """
        from localvoice.transports.dialogue import live

        async with self._agent() as agent, live(agent, on_message, rate) as call:
            yield call

    @asynccontextmanager
    async def _serving(self) -> "AsyncIterator[tuple[VoiceServer, Endpoint]]":
        from localvoice.server.app import VoiceServer
        from localvoice.server.endpoint import check_before_loading, open_endpoint

        # Before the models are loaded for nothing.
        endpoint = await asyncio.to_thread(open_endpoint, self._settings.server)
        await asyncio.to_thread(check_before_loading, self._settings.server, endpoint.host)
        async with self._agent() as agent:
            server = VoiceServer(agent, endpoint)
            async with server.running():
                yield server, endpoint

    def _agent(self) -> "AbstractAsyncContextManager[Agent]":
        # Imported here: this loads the engines' libraries.
        from localvoice.startup import ready_agent

        return ready_agent(self._settings, self._console, *self._parts)

    async def _run(self, ending: Ending) -> None:
        from localvoice.server.endpoint import announced

        async with self._serving() as (server, endpoint):
            with announced(self._console, endpoint, server.links):
                self._console.print(f"As many as {server.conversations} can talk to it at the same time.\n")
                await ending.asked()
