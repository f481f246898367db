"""The HTTP server: the page, its health, and a WebSocket for each client."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from localvoice import __version__
from localvoice.agent.sessions import Sessions
from localvoice.config import ConfigError, Settings
from localvoice.contract.messages import MAX_MESSAGE_BYTES
from localvoice.engines.protocols import Engines
from localvoice.server.connection import Connection, Services
from localvoice.server.security import check_listen_address, guard
from localvoice.transports.stun import StunAnswerer

log = logging.getLogger(__name__)

_WEB: Final = Path(__file__).parent / "web"
_SHUTDOWN_SECONDS: Final = 5.0


@dataclass(frozen=True)
class ModelNames:
    """Catalogue names of the models in use, for people to see."""

    stt: str
    llm: str
    tts: str


class VoiceServer:
    """The server of one process: engines that are loaded, sessions that live."""

    def __init__(self, settings: Settings, engines: Engines) -> None:
        """Raises `ConfigError` for an address that others could reach."""
        check_listen_address(settings.server.host)
        self._settings = settings
        self._engines = engines
        self._sessions = Sessions(settings.server.session_minutes)
        self._connections: set[Connection] = set()
        self._services: Services | None = None
        self._models = ModelNames(engines.stt.name, engines.llm.name, engines.tts.name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listen until the block is left; gives the address of the page. Raises `ConfigError` if it can't."""
        stun = await StunAnswerer.open()
        self._services = Services(self._settings, self._engines, self._sessions, stun.url)
        sweeper = asyncio.create_task(self._sessions.keep_sweeping(), name="session sweeper")
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            yield await self._listen(runner)
        finally:
            for connection in self._connections:
                connection.leave()
            await runner.cleanup()
            sweeper.cancel()
            stun.close()

    async def _listen(self, runner: web.AppRunner) -> str:
        host, port = self._settings.server.host, self._settings.server.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(
                f"The server can't listen on {host}:{port} ({error.strerror or error}). If another one runs "
                "already, use that, or give this one a port of its own with --port."
            ) from error
        # Port 0 took a free one: only the socket knows which.
        return f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[guard(self._settings.server.allowed_origins)])
        application.router.add_get("/", self._root)
        application.router.add_get("/ws", self._socket)
        application.router.add_get("/health", self._health)
        # Each file by its name: nothing outside the folder can be asked for.
        for file in _WEB.iterdir():
            if file.is_file():
                application.router.add_get(f"/{file.name}", _file_handler(file))
        return application

    async def _root(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        return web.FileResponse(_WEB / "index.html")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        assert self._services is not None  # set before the server listens
        # What is too large is answered as any broken message; only what is far too large ends the connection.
        socket = web.WebSocketResponse(max_msg_size=4 * MAX_MESSAGE_BYTES)
        await socket.prepare(request)
        connection = Connection(self._services, socket)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
        return socket

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                "ok": True,
                "version": __version__,
                "profile": self._settings.profile,
                "models": asdict(self._models),
                "sessions": len(self._sessions),
                "connections": len(self._connections),
            }
        )


def _file_handler(file: Path) -> Handler:
    async def send(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers={"Cache-Control": "no-cache"})

    return send
