"""The HTTP server: the page, `/health`, `/metrics`, and a WebSocket for each client."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from localvoice.config import ServerSettings
from localvoice.contract.client_messages import MAX_MESSAGE_BYTES
from localvoice.contract.errors import VoiceError
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.conversations import Sessions
from localvoice.conversation.store import SessionStore
from localvoice.engines.jobs import counted
from localvoice.engines.worker import troubles
from localvoice.observability.prometheus import PrometheusMetrics
from localvoice.observability.stopwatch import now
from localvoice.server.admission import (
    ConnectionLimits,
    Refusals,
    check_handshake,
    returning_session,
    subprotocols,
)
from localvoice.server.connection import ClientConnection, Services
from localvoice.server.endpoint import Endpoint, cannot_listen, open_endpoint
from localvoice.server.inbound import PayloadDecoder
from localvoice.server.listener import Listener, PendingConnections, listening_sockets
from localvoice.server.patches import WebSocket, open_runner
from localvoice.server.security import AccessPolicy, TokenAuth, access_middleware, is_upgrade, own_end
from localvoice.server.slots import ConversationSlots
from localvoice.transports.liveness import limit_unacknowledged
from localvoice.transports.webrtc.addresses import AddressPair, is_loopback
from localvoice.transports.webrtc.stun import NetworkStun, StunAnswerer
from localvoice.version import __version__

log = logging.getLogger(__name__)

_WEB: Final = Path(__file__).parent / "web"
_DRAIN_SECONDS: Final = 3.0
"""At the end, for answers under way: a sentence or two. All of the shutdown has to take less than 10 s."""
_CLOSE_SECONDS: Final = 1.0
"""For a client to answer the close of its WebSocket; one that has vanished never does."""


class VoiceServer:
    """The server of one process, with loaded engines."""

    def __init__(self, agent: Agent, endpoint: Endpoint | None = None) -> None:
        """Without an endpoint, that of the settings. Raises `ConfigError` as `open_endpoint` does."""
        self._endpoint = endpoint or open_endpoint(agent.settings.server)
        self.links: tuple[str, ...] = ()
        """Addresses of the page while the server runs, the best one for another device first."""
        self._agent = agent
        self._settings = agent.settings
        self._connections: set[ClientConnection] = set()
        self._ended = asyncio.Event()
        self._draining = False
        self._pending = PendingConnections.of_this_process()

    @property
    def conversations(self) -> int:
        """How many conversations this machine serves at a time, while the server runs."""
        return self._services.slots.count

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listen until the block is left; gives the first of `links`. Raises `ConfigError` if that fails."""
        # In a thread: deriving a key from a passphrase takes half a second.
        store = await asyncio.to_thread(_store, self._settings.server)
        sessions = Sessions(self._settings.server.session_minutes, self._agent.direct, store, self._on_end)
        await sessions.load()
        self._stun, self._network_stun = await StunAnswerer.open(), NetworkStun()
        limits = self._settings.limits
        slots = ConversationSlots(limits, self._agent.engines.turn_seconds, self._count_slots)
        self._services = Services(
            self._agent, sessions, ConnectionLimits(limits), slots, Refusals(self._agent), PayloadDecoder()
        )
        sweeper = asyncio.create_task(sessions.keep_sweeping(), name="session sweeper")
        forgetter = asyncio.create_task(self._keep_forgetting(), name="session forgetter")
        runner = await open_runner(self._application())
        try:
            listener = await self._listen(runner)
            try:
                self.links = self._endpoint.links(listener.port)
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
            await sessions.close()
            await self._services.decoder.close()
            self._stun.close()
            self._network_stun.close()

    async def _drain(self) -> None:
        """Admit no new clients, and let answers under way end, if that takes only seconds."""
        self._draining = True
        if self._connections:
            answers = [asyncio.create_task(each.session.settle(), name="drain") for each in self._connections]
            await asyncio.wait(answers, timeout=_DRAIN_SECONDS)
            for answer in answers:
                answer.cancel()
            await asyncio.wait(answers)

    async def _listen(self, runner: web.AppRunner) -> Listener:
        host, port, certificate = self._endpoint.host, self._settings.server.port, self._endpoint.certificate
        try:
            sockets = await asyncio.to_thread(listening_sockets, host, port)
        except OSError as error:
            raise cannot_listen(host, port, error) from error
        assert runner.server is not None  # it is set up
        context = None if certificate is None else certificate.context
        return Listener(sockets, runner.server, context, self._pending)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._access_middleware()])
        application.router.add_get("/", self._root)
        application.router.add_get("/ws", self._socket)
        application.router.add_get("/health", self._health)
        if isinstance(self._agent.metrics, PrometheusMetrics):
            application.router.add_get("/metrics", self._metrics)
        # One route for each file: nothing outside the folder can be requested.
        for file in _WEB.iterdir():
            if file.is_file():
                application.router.add_get(f"/{file.name}", partial(_send_file, file))
        return application

    def _access_middleware(self) -> Middleware:
        certificate, token, settings = self._endpoint.certificate, self._endpoint.token, self._settings.server
        policy = AccessPolicy(
            settings.allowed_origins,
            {
                *(name.lower() for name in settings.allowed_hosts),
                *(() if certificate is None else certificate.names),
            },
            None if token is None else TokenAuth(token, self._endpoint.secret),
            network=certificate is not None,
        )
        return access_middleware(policy, self._on_authenticated)

    def _on_authenticated(self, request: web.Request) -> None:
        if peer := request.get_extra_info("peername"):
            self._pending.authenticated(peer[:2])

    async def _root(self, request: web.Request) -> web.StreamResponse:
        if is_upgrade(request):
            return await self._socket(request)
        return web.FileResponse(_WEB / "index.html")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self._draining:
            raise web.HTTPServiceUnavailable(text="The server is shutting down.\n")
        interim = _wants_interim(request)
        # A message that is too large is answered with an error; only a far larger one ends the connection.
        # Compression costs a core on a network where bytes are cheap, and invites bombs.
        # Pings are answered, and counted, by the connection: aiohttp answers a flood without a break.
        socket = WebSocket(
            timeout=_CLOSE_SECONDS,
            protocols=subprotocols(request.headers),
            autoping=False,
            max_msg_size=2 * MAX_MESSAGE_BYTES,
            compress=False,
        )
        check_handshake(request, socket)
        limit_unacknowledged(request.get_extra_info("socket"))
        try:
            await self._admit(request, socket, interim)
        except VoiceError as error:
            if not (socket.prepared or subprotocols(request.headers)):
                return await self._services.refusals.answer(error)
            with suppress(ConnectionError):  # it may have gone already
                await socket.prepare(request)
                await self._services.refusals.close(socket, error)
        except ConnectionError:
            log.debug("a client went before it was admitted")
        return socket

    async def _admit(self, request: web.Request, socket: WebSocket, interim: bool) -> None:
        """Serve a client. Raises `VoiceError` RATE_LIMITED if there is no room for it."""
        services = self._services
        async with self._stun_for(request) as stun_url:
            resumes = await returning_session(request, socket, stun_url, services.slots)
            with services.limits.connection(), counted() as work:
                await socket.prepare(request)
                self._on_authenticated(request)
                addresses = AddressPair(request.remote or "", own_end(request))
                connection = ClientConnection(services, socket, addresses, stun_url, work, resumes, interim)
                self._connections.add(connection)
                self._count()
                try:
                    await connection.serve()
                finally:
                    self._connections.discard(connection)
                    self._count()

    @asynccontextmanager
    async def _stun_for(self, request: web.Request) -> AsyncIterator[str]:
        """The URL of a STUN answerer for this client; on the network, at the address that it came in by."""
        client, own = request.remote or "", own_end(request)
        if is_loopback(client) or not own:
            yield self._stun.url
            return
        with self._network_stun.answering(client):
            yield await self._network_stun.at(own)

    def _count(self) -> None:
        self._agent.metrics.gauge(Metric.CONNECTIONS_ACTIVE, len(self._connections))
        self._agent.metrics.gauge(Metric.SESSIONS_ACTIVE, len(self._services.sessions))

    def _count_slots(self, taken: int, count: int) -> None:
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
        """After a conversation, have the LLM forget it; what it knew of the others is read again at once."""
        while True:
            await self._ended.wait()
            self._ended.clear()
            try:
                await self._agent.engines.llm.forget()
            except VoiceError as error:
                log.warning("%s", error)
            for connection in self._connections:
                connection.session.read_ahead()  # or the next answers would wait for it

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        assert isinstance(self._agent.metrics, PrometheusMetrics)  # the route is there only then
        body, content_type = self._agent.metrics.render()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _health(self, request: web.Request) -> web.StreamResponse:
        engines, trouble = self._agent.engines, troubles()
        sessions, slots = self._services.sessions, self._services.slots
        return web.json_response(
            {
                "ok": not trouble,
                "trouble": trouble,
                "version": __version__,
                "profile": self._settings.profile,
                "models": {"stt": engines.stt.name, "llm": engines.llm.name, "tts": engines.tts.name},
                "sessions": len(sessions),
                "sessions_saved": not sessions.saving_fails,
                "connections": len(self._connections),
                "conversations": {"now": slots.taken, "most": slots.count},
            },
            status=503 if trouble else 200,
        )


def _wants_interim(request: web.Request) -> bool:
    """Whether the client asks, with `?interim=true`, for transcripts of what is still being said."""
    wanted = request.query.get("interim", "false")
    if wanted not in ("true", "false"):
        raise web.HTTPBadRequest(text="interim must be true or false, as in /ws?interim=true.\n")
    return wanted == "true"


async def _send_file(file: Path, request: web.Request) -> web.StreamResponse:
    return web.FileResponse(file, headers={"Cache-Control": "no-cache"})


def _store(settings: ServerSettings) -> SessionStore | None:
    if settings.sessions_dir is None:
        return None
    key = settings.sessions_key
    return SessionStore(settings.sessions_dir, None if key is None else key.get_secret_value())
