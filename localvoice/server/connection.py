"""One client's WebSocket: signalling, heartbeat, and the session that it carries."""

import asyncio
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from localvoice.application.hooks import notify
from localvoice.audio.playout import Playout
from localvoice.contract.client_messages import Offer, Ping, Reconnect
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import (
    Pong,
    Ready,
    ReconnectAck,
    ServerMessage,
    Signal,
    TranscriptMessage,
    TtsMessage,
)
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.conversations import Sessions
from localvoice.conversation.session import Session
from localvoice.engines.jobs import Work
from localvoice.observability.log_context import failure, log_context
from localvoice.observability.stopwatch import Stopwatch
from localvoice.server.admission import ConnectionLimits, Refusals
from localvoice.server.inbound import InboundMessages, PayloadDecoder, report_failure
from localvoice.server.slots import ConnectionSlot, ConversationSlots
from localvoice.server.webrtc import WebRtcTransport
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.liveness import SocketLiveness, Watchdog
from localvoice.transports.webrtc.addresses import AddressPair
from localvoice.transports.websocket import OUT_RATE, speak_in_messages

if TYPE_CHECKING:
    from localvoice.transports.webrtc.peer import WebRtcPeer

log = logging.getLogger(__name__)

_UNSENT_MESSAGES: Final = 2_000
"""A long reply, token by token, is 500 messages; a client that is further behind has stopped reading."""
_HANDOVER_SECONDS: Final = 5.0
"""For the turn of a connection whose session another one takes over."""


@dataclass(frozen=True)
class Services:
    """What all connections of a server share."""

    agent: Agent
    sessions: Sessions
    limits: ConnectionLimits
    slots: ConversationSlots
    refusals: Refusals
    decoder: PayloadDecoder


class ClientConnection:
    """Serves one WebSocket until it closes."""

    def __init__(
        self,
        services: Services,
        socket: web.WebSocketResponse,
        addresses: AddressPair,
        stun_url: str,
        work: Work,
        resumes: str | None = None,
        interim: bool = False,
    ) -> None:
        """`addresses` are those of the open `socket`; at `stun_url` this machine answers STUN.

        `work` counts what the models do for this client. `resumes` is the session that a client to which
        `ready` was sent wants back. `interim` asks for transcripts of what is still being said.
        """
        settings = services.agent.settings
        self._services = services
        self._agent = services.agent
        self._socket = socket
        self._addresses = addresses
        self._stun_url = stun_url
        self._resumes = resumes
        self._interim = interim
        self._liveness = SocketLiveness(socket.get_extra_info("socket"), socket.pong)
        self._heartbeat = Watchdog(settings.server.ping_seconds)
        self._outgoing: asyncio.Queue[ServerMessage] = asyncio.Queue(_UNSENT_MESSAGES)
        self._inbox = FrameInbox()
        self._playout = Playout(OUT_RATE)
        self._speaker: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._gone = asyncio.Event()
        self._handover: asyncio.Event | None = None
        self._slot = ConnectionSlot(services.slots, work, lambda: self.session.conversation.id, self.leave)
        self.session = Session(
            services.agent,
            services.sessions.create(),
            self._playout,
            self.emit,
            services.sessions.save,
            [self._slot.follow],
        )
        self._take(self.session.conversation)
        self._inbound = InboundMessages(
            settings, self.session, self._inbox, self._slot, self.leave, services.decoder
        )
        self._webrtc = WebRtcTransport(self._make_peer, self._on_sound)

    async def serve(self) -> None:
        """Run the connection: read, send and listen, until one of them is done."""
        present = Stopwatch()
        self._on_sound(False)
        if self._resumes is None:
            self.emit(Ready(self.session.conversation.id, ({"urls": self._stun_url},)))
        else:
            await report_failure(self.session, self._on_reconnect(self._resumes))
        await notify(self._agent.hooks.on_connection, self.session.conversation.id, secrets.token_hex(8))
        jobs = [
            asyncio.create_task(job, name=f"connection {name}")
            for name, job in (
                ("reader", self._read()),
                ("liveness", self._liveness.gone()),
                ("heartbeat", self._watch_heartbeat()),
                ("channel", self._inbound.read_channel()),
                ("sender", self._send()),
                ("listener", self.session.listen(aiter(self._inbox))),
                ("leaving", self._leaving.wait()),
            )
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                if not job.cancelled() and (error := job.exception()) is not None:
                    log.error("a connection failed unexpectedly: %s", failure(error))
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)
            try:
                await self._close()
            finally:
                await notify(self._agent.hooks.on_disconnect, self.session.conversation.id, present.timing())

    def emit(self, message: ServerMessage) -> None:
        """Send a message, payload on both channels; never waits."""
        if isinstance(message, TtsMessage) and self._speaker is None:
            return  # the audio track carries it
        if isinstance(message, TranscriptMessage) and not (message.is_final or self._interim):
            return  # a client that didn't ask for it would show it as a question of its own
        if self._outgoing.full() or self._slot.refusal is not None:
            self.leave()
            return
        self._outgoing.put_nowait(message)
        self._webrtc.send(message)

    def leave(self) -> asyncio.Event:
        """End this connection soon. The event is set when another one may take over its conversation."""
        self._leaving.set()
        return self._gone

    def _make_peer(self, peer: "type[WebRtcPeer]") -> "WebRtcPeer":
        return peer(
            self._addresses,
            self._inbox,
            self._playout,
            self._inbound.on_channel_text,
            self._on_sound,
            self.session.report,
            self._on_gone,
        )

    def _on_gone(self) -> None:
        log.info("a client sends nothing any more; its connection is closed")
        self.leave()

    async def _read(self) -> None:
        async for message in self._socket:
            with self._liveness.busy(), log_context(session_id=self.session.conversation.id):
                await report_failure(self.session, self._on_frame(message))
                await asyncio.sleep(self._inbound.pause)

    async def _watch_heartbeat(self) -> None:
        # A ping may wait behind a message that is being handled.
        await self._heartbeat.expired(lambda: self._liveness.reading)
        log.info("a client sent no ping for too long; its connection is closed")

    async def _send(self) -> None:
        with suppress(ConnectionError):  # the client has gone
            while True:
                message = await self._outgoing.get()
                await self._socket.send_str(message.encode())

    async def _on_frame(self, frame: WSMessage) -> None:
        if frame.type not in (WSMsgType.PING, WSMsgType.PONG):
            await self._on_message(frame.data if frame.type is WSMsgType.TEXT else "")
        elif self._inbound.admits(frame.data) and frame.type is WSMsgType.PING:
            with suppress(ConnectionError):  # the client has gone
                await self._socket.pong(frame.data)

    async def _on_message(self, text: str) -> None:
        match self._inbound.read(text):
            case None:
                return
            case Ping(timestamp=timestamp):
                self.session.conversation.touch()
                self._heartbeat.reset()
                self.emit(Pong(timestamp))
            case Offer(signal=description):
                self.emit(Signal(await self._webrtc.answer(description.sdp)))
            case Reconnect(session_id=session_id):
                await self._on_reconnect(session_id)
            case message:
                await self._inbound.handle(message)

    async def _on_reconnect(self, session_id: str) -> None:
        own = self.session.conversation
        try:
            earlier = self._services.sessions.resume(session_id)
        except VoiceError as error:
            self.session.report(error)
            self.emit(ReconnectAck(False, own.id, False))
            return
        if earlier is not own:
            # The newest WebSocket wins; before it goes on, the older one's turn has to end and be recorded.
            self._handover = earlier.leave() if earlier.leave is not None else None
            # At once: another WebSocket may ask for it, and the client may be gone before it has the other.
            self._take(earlier)
            self._services.sessions.discard(own)
            await self._until_handed_over()
            await self.session.resume(earlier)
            self._slot.rest()  # the turn that the older WebSocket left, if there is one
            self._services.slots.free(own.id)
        self._agent.metrics.increment(Metric.RECONNECTIONS)
        self.emit(ReconnectAck(True, earlier.id, True))

    def _take(self, conversation: Conversation) -> None:
        self._taken = conversation
        conversation.leave = self.leave

    async def _until_handed_over(self) -> None:
        if self._handover is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_HANDOVER_SECONDS):
                    await self._handover.wait()

    def _on_sound(self, by_track: bool) -> None:
        """The agent's voice goes over the audio track while there is one, otherwise in messages."""
        if by_track and self._speaker is not None:
            self._speaker.cancel()
            self._speaker = None
        elif not by_track and self._speaker is None:
            streaming = self._agent.settings.agent.streaming_speech
            self._speaker = asyncio.create_task(
                speak_in_messages(self._playout, self.emit if streaming else None), name="speech in messages"
            )

    async def _close(self) -> None:
        if self._slot.refusal is not None:
            await self._services.refusals.close(self._socket, self._slot.refusal)
        await self.session.close()
        await self._until_handed_over()  # a connection that takes over from this one waits for that, too
        self._gone.set()
        if self._taken.leave == self.leave:
            self._taken.leave = None
            self._slot.leave(cleanly=self._socket.close_code not in (None, WSCloseCode.ABNORMAL_CLOSURE))
        await self._webrtc.close()
        self._on_sound(True)
        await self._socket.close(code=WSCloseCode.GOING_AWAY if self._leaving.is_set() else WSCloseCode.OK)
