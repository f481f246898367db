"""The HTTP server: the page, its health, and a WebSocket for each client."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from localvoice.application.stopwatch import now
from localvoice.config import ServerSettings
from localvoice.contract.client_messages import MAX_MESSAGE_BYTES
from localvoice.contract.errors import VoiceError
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.conversations import Sessions
from localvoice.conversation.store import SessionStore
from localvoice.engines.work import counted
from localvoice.engines.worker import troubles
from localvoice.observability.prometheus import PrometheusMetrics
from localvoice.server.connection import Connection, Services
from localvoice.server.decoding import Decoding
from localvoice.server.doorkeeper import Doorkeeper
from localvoice.server.entrance import Entrance, open_entrance
from localvoice.server.full_house import returning
from localvoice.server.http import Socket, check_handshake, open_runner, socket_protocols
from localvoice.server.limits import Admission
from localvoice.server.listener import Listener, strangers_of_this_process
from localvoice.server.places import Places
from localvoice.server.precheck import cannot_listen
from localvoice.server.presence import Presence
from localvoice.server.refusals import Refusals
from localvoice.server.security import Access, guard, is_loopback, is_upgrade, own_end
from localvoice.server.sockets import give_up_soon
from localvoice.transports.webrtc.candidates import Route
from localvoice.transports.webrtc.stun import NetworkStun, StunAnswerer
from localvoice.version import __version__

log = logging.getLogger(__name__)

_WEB: Final = Path(__file__).parent / "web"
_DRAIN_SECONDS: Final = 3.0
"""At the end, for those who are being answered: a sentence or two. With the rest it has to stay below ten."""
_CLOSE_SECONDS: Final = 1.0
"""In which a client has to answer that its WebSocket is closed; one that has vanished never does."""


class VoiceServer:
    """The server of one process: engines that are loaded, sessions that live."""

    def __init__(self, agent: Agent, entrance: Entrance | None = None) -> None:
        """Without an entrance, the settings' own. Raises `ConfigError` as `open_entrance` does."""
        self._entrance = entrance or open_entrance(agent.settings.server)
        self.links: tuple[str, ...] = ()
        """Addresses of the page while the server runs, the best one for another device first."""
        self._agent = agent
        self._settings = agent.settings
        self._connections: set[Connection] = set()
        self._ended = asyncio.Event()
        self._draining = False
        self._strangers = strangers_of_this_process()

    @property
    def conversations(self) -> int:
        """How many this machine serves at a time, while the server runs."""
        return self._places.count

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listen until the block is left; gives the first of `links`. Raises `ConfigError` if it can't."""
        settings = self._settings.server
        store = await asyncio.to_thread(_store, settings)  # a passphrase takes half a second to become a key
        self._sessions = Sessions(settings.session_minutes, self._agent.direct, store, self._on_end)
        await self._sessions.load()
        self._stun, self._network_stun = await StunAnswerer.open(), NetworkStun()
        limits = self._settings.limits
        self._places = Places(limits, self._agent.engines.turn_seconds, self._tell_places)
        self._refusals = Refusals(self._agent)
        admission, decoding = Admission(limits), Decoding()
        self._services = Services(
            self._agent, self._sessions, admission, self._places, self._refusals.close, decoding
        )
        sweeper = asyncio.create_task(self._sessions.keep_sweeping(), name="session sweeper")
        forgetter = asyncio.create_task(self._keep_forgetting(), name="session forgetter")
        runner = await open_runner(self._application())
        try:
            listener = await self._listen(runner)
            try:
                self.links = self._entrance.links(listener.port)
                yield self.links[0]
            finally:
                await listener.close()
            await self._drain()
        finally:
            for connection in self._connections:
                connection.leave()
            await runner.cleanup()
            sweeper.cancel()
            forgetter.cancel()
            await self._sessions.close()
            await decoding.close()
            self._stun.close()
            self._network_stun.close()

    async def _drain(self) -> None:
        """Take no new clients, and let the others hear the end of their answers, if that is near."""
        self._draining = True
        if self._connections:
            answers = [asyncio.create_task(each.settle(), name="drain") for each in self._connections]
            await asyncio.wait(answers, timeout=_DRAIN_SECONDS)
            for answer in answers:
                answer.cancel()
            await asyncio.wait(answers)

    async def _listen(self, runner: web.AppRunner) -> Listener:
        host, port, certificate = self._entrance.host, self._settings.server.port, self._entrance.certificate
        try:
            assert runner.server is not None  # it is set up
            context = None if certificate is None else certificate.context
            return await Listener.open(host, port, runner.server, context, self._strangers)
        except OSError as error:
            raise cannot_listen(host, port, error) from error

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard()])
        application.router.add_get("/", self._root)
        application.router.add_get("/ws", self._socket)
        application.router.add_get("/health", self._health)
        if isinstance(self._agent.metrics, PrometheusMetrics):
            application.router.add_get("/metrics", self._metrics)
        # Each file by its name: nothing outside the folder can be asked for.
        for file in _WEB.iterdir():
            if file.is_file():
                application.router.add_get(f"/{file.name}", _file_handler(file))
        return application

    def _guard(self) -> Middleware:
        entrance, settings = self._entrance, self._settings.server
        certificate, hosts = entrance.certificate, {name.lower() for name in settings.allowed_hosts}
        door = None if entrance.token is None else Doorkeeper(entrance.token, entrance.secret)
        if certificate is None:
            access = Access(settings.allowed_origins, hosts, door)
        else:
            access = Access(settings.allowed_origins, {*hosts, *certificate.names}, door, network=True)
        return guard(access, self._know)

    def _know(self, request: web.Request) -> None:
        """The connection of this request is no stranger's."""
        peer = None if request.transport is None else request.transport.get_extra_info("peername")
        if peer:
            self._strangers.admit(peer[:2])

    async def _root(self, request: web.Request) -> web.StreamResponse:
        if is_upgrade(request):
            return await self._socket(request)
        return web.FileResponse(_WEB / "index.html")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self._draining:
            raise web.HTTPServiceUnavailable(text="The server is ending.")
        interim = _wants_interim(request)
        # What is too large is answered as any broken message; only what is far too large ends the connection.
        # Nothing is inflated: it would cost a core on a network where bytes are cheap, and invite bombs.
        # Pings come to us, who count them: aiohttp answers a flood of them without ever letting others in.
        socket = Socket(
            timeout=_CLOSE_SECONDS,
            protocols=socket_protocols(request),
            autoping=False,
            max_msg_size=2 * MAX_MESSAGE_BYTES,
            compress=False,
        )
        check_handshake(request, socket)
        give_up_soon(request.get_extra_info("socket"))
        try:
            await self._admit(request, socket, interim)
        except VoiceError as error:  # no place for it
            if not (socket.prepared or socket_protocols(request)):
                return await self._refusals.answer(error)
            with suppress(ConnectionError):  # it may have gone already
                await socket.prepare(request)
                await self._refusals.close(socket, error)
        except ConnectionError:
            log.debug("a client went before it was let in")
        return socket

    async def _admit(self, request: web.Request, socket: Socket, interim: bool) -> None:
        """Serve a client, if there is a place for it. Raises `VoiceError` RATE_LIMITED if there is none."""
        async with self._stun_for(request) as stun_url:
            resumes = await returning(request, socket, stun_url, self._places)
            with self._services.admission.connection(), counted() as work:
                await socket.prepare(request)
                self._know(request)
                presence = Presence(request.get_extra_info("socket"), socket.pong)
                route = Route(request.remote or "", own_end(request))
                await self._serve(
                    Connection(self._services, socket, presence, route, stun_url, work, resumes, interim)
                )

    @asynccontextmanager
    async def _stun_for(self, request: web.Request) -> AsyncIterator[str]:
        """The STUN answerer for a client; for one on the network, at the address that it came in by."""
        client = request.remote or ""
        own = own_end(request)
        if is_loopback(client) or not own:
            yield self._stun.url
            return
        with self._network_stun.answering(client):
            yield await self._network_stun.at(own)

    def _count(self) -> None:
        self._agent.metrics.gauge(Metric.CONNECTIONS_ACTIVE, len(self._connections))
        self._agent.metrics.gauge(Metric.SESSIONS_ACTIVE, len(self._sessions))

    def _tell_places(self, taken: int, count: int) -> None:
        self._agent.metrics.gauge(Metric.CONVERSATIONS_ACTIVE, taken)
        self._agent.metrics.gauge(Metric.CONVERSATIONS_CAPACITY, count)

    def _on_end(self, conversation: Conversation) -> None:
        self._count()
        if not conversation.turns:
            return  # its client went on with an earlier one, or never spoke
        self._ended.set()
        metrics = self._agent.metrics
        metrics.timing(Metric.SESSION_DURATION, 1000 * (now() - conversation.started))
        metrics.increment(Metric.SESSION_TURNS, conversation.turns)

    async def _keep_forgetting(self) -> None:
        """What the LLM has read of a conversation goes with it; that of the others is read anew at once."""
        while True:
            await self._ended.wait()
            self._ended.clear()
            try:
                await self._agent.engines.llm.forget()
            except VoiceError as error:
                log.warning("%s", error)
            for connection in self._connections:
                connection.read_ahead()  # or their next answers would wait for it

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        assert isinstance(self._agent.metrics, PrometheusMetrics)  # the route is there only then
        body, content_type = self._agent.metrics.render()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _serve(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._count()
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            self._count()

    async def _health(self, request: web.Request) -> web.StreamResponse:
        engines, trouble = self._agent.engines, troubles()
        return web.json_response(
            {
                "ok": not trouble,
                "trouble": trouble,
                "version": __version__,
                "profile": self._settings.profile,
                "models": {"stt": engines.stt.name, "llm": engines.llm.name, "tts": engines.tts.name},
                "sessions": len(self._sessions),
                "sessions_saved": not self._sessions.saving_fails,
                "connections": len(self._connections),
                "conversations": {"now": self._places.taken, "most": self._places.count},
            },
            status=503 if trouble else 200,
        )


def _wants_interim(request: web.Request) -> bool:
    """Whether a client asks, as `?interim=true`, for transcripts of what is still being said."""
    wanted = request.query.get("interim", "false")
    if wanted not in ("true", "false"):
        raise web.HTTPBadRequest(text="interim must be true or false, as in /ws?interim=true.\n")
    return wanted == "true"


def _file_handler(file: Path) -> Handler:
    async def send(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers={"Cache-Control": "no-cache"})

    return send


def _store(settings: ServerSettings) -> SessionStore | None:
    if settings.sessions_dir is None:
        return None
    key = settings.sessions_key
    return SessionStore(settings.sessions_dir, None if key is None else key.get_secret_value())
