"""One client's WebSocket: signalling, heartbeat, and the session that it carries."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from localvoice.application.hooks import notify
from localvoice.application.stopwatch import Stopwatch
from localvoice.audio.playout import Playout
from localvoice.contract.client_messages import (
    Offer,
    Ping,
    Reconnect,
)
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import (
    Pong,
    Ready,
    ReconnectAck,
    ServerMessage,
    Signal,
    TranscriptMessage,
    Tts,
)
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.conversations import Sessions
from localvoice.conversation.session import Session
from localvoice.engines.work import Work
from localvoice.observability.log_context import failure, log_context
from localvoice.server.decoding import Decoding
from localvoice.server.intake import Intake, reported
from localvoice.server.limits import Admission
from localvoice.server.peering import Peering
from localvoice.server.places import Places, Seat
from localvoice.server.presence import Presence
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.watchdog import Watchdog
from localvoice.transports.webrtc.candidates import Route
from localvoice.transports.websocket import OUT_RATE, speak_in_messages

log = logging.getLogger(__name__)

_UNSENT_MESSAGES: Final = 2_000
"""A long reply token by token is 500 messages; a client that is further behind doesn't read any more."""
_HANDOVER_SECONDS: Final = 5.0
"""How long a connection that gives its session away may take to end its turn."""


@dataclass(frozen=True)
class Services:
    """What all connections of a server share."""

    agent: Agent
    sessions: Sessions
    admission: Admission
    """How many connections and sessions there may be."""
    places: Places
    """How many of them may converse."""
    refuse: Callable[[web.WebSocketResponse, VoiceError], Awaitable[None]]
    """Tells a client why there is no place for it, and closes its socket."""
    decoding: Decoding
    """Decodes the files in their messages."""


class Connection:
    """Serves one WebSocket until it closes."""

    def __init__(
        self,
        services: Services,
        socket: web.WebSocketResponse,
        presence: Presence,
        route: Route,
        stun_url: str,
        work: Work,
        resumes: str | None = None,
        interim: bool = False,
    ) -> None:
        """`route` is the way that the WebSocket came; at `stun_url` this machine answers STUN.

        `work` counts what the models do for it. `resumes`: the session that the client, who has been told
        that we are ready, wants back. `interim`: whether it wants transcripts of what is still being said.
        """
        self.id = secrets.token_hex(8)
        self._services = services
        self._socket = socket
        self._presence = presence
        self._stun_url = stun_url
        self._agent = services.agent
        self._outgoing: asyncio.Queue[ServerMessage] = asyncio.Queue(_UNSENT_MESSAGES)
        self._inbox = FrameInbox()
        self._playout = Playout(OUT_RATE)
        self._speaker: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._gone = asyncio.Event()
        self._handover: asyncio.Event | None = None
        self._heartbeat = Watchdog(services.agent.settings.server.ping_seconds)
        self._resumes = resumes
        self._interim = interim
        self._seat = Seat(services.places, work, lambda: self._session.conversation.id)
        self._session = Session(
            services.agent, services.sessions.create(), self._playout, self.emit, services.sessions.save
        )
        self._take(self._session.conversation)
        settings = services.agent.settings
        self._intake = Intake(
            settings.limits,
            self._session,
            self._inbox,
            self._seat,
            self.leave,
            services.decoding,
            settings.listening.max_utterance_seconds,
        )
        self._peering = Peering(
            route,
            self._inbox,
            self._playout,
            self._intake.on_channel_message,
            self._on_sound,
            self._session.report,
            self._on_gone,
        )

    async def serve(self) -> None:
        """Run the connection: read, send and listen, until one of them is done."""
        present = Stopwatch()
        self._on_sound(False)
        if self._resumes is None:
            self.emit(Ready(self._session.conversation.id, ({"urls": self._stun_url},)))
        else:
            await reported(self._session, self._on_reconnect(self._resumes))
        await notify(self._agent.hooks.on_connection, self._session.conversation.id, self.id)
        jobs = [
            asyncio.create_task(job, name=f"connection {name}")
            for name, job in (
                ("reader", self._read()),
                ("presence", self._watch()),
                ("heartbeat", self._listen_for_pings()),
                ("channel", self._intake.read_channel()),
                ("sender", self._send()),
                ("listener", self._session.listen(aiter(self._inbox))),
                ("leaving", self._leaving.wait()),
            )
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                if not job.cancelled() and (error := job.exception()) is not None:
                    log.error("a connection failed in a way that nobody foresaw: %s", failure(error))
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)
            try:
                await self._close()
            finally:
                await notify(self._agent.hooks.on_disconnect, self._session.conversation.id, present.timing())

    def emit(self, message: ServerMessage) -> None:
        """Send a message, payload on both channels; never waits."""
        if isinstance(message, Tts) and self._speaker is None:
            return  # the audio track carries it
        if isinstance(message, TranscriptMessage) and not (message.is_final or self._interim):
            return  # a client that didn't ask for it would take it for a question of its own
        if self._outgoing.full() or not self._seat.follow(message):
            self.leave()
            return
        self._outgoing.put_nowait(message)
        self._peering.send(message)

    def leave(self) -> asyncio.Event:
        """End this connection soon; the event is set when its conversation is free."""
        self._leaving.set()
        return self._gone

    def _on_gone(self) -> None:
        log.info("nothing comes from a client any more, and it is let go")
        self.leave()

    async def settle(self) -> None:
        """Wait until nothing is being answered."""
        await self._session.settle()

    def read_ahead(self) -> None:
        """Have the LLM read again what it has lost."""
        self._session.read_ahead()

    async def _read(self) -> None:
        """Take messages until the client goes."""
        async for message in self._socket:
            with self._presence.unread(), log_context(session_id=self._session.conversation.id):
                await reported(self._session, self._on_frame(message))
                await asyncio.sleep(self._intake.behind)

    async def _listen_for_pings(self) -> None:
        """Return when the client has sent none for too long. One may wait behind a message that is read."""
        await self._heartbeat.run_out(lambda: self._presence.reads)
        log.info("a client sent no ping for too long and is let go")

    async def _watch(self) -> None:
        """What it sent and was not read goes with it, as with a client that was never heard."""
        with suppress(ConnectionError):
            await self._presence.until_gone()

    async def _send(self) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                await self._socket.send_str(message.encode())
            except ConnectionError:
                return  # the client has gone, which is no failure of ours

    async def _on_frame(self, frame: WSMessage) -> None:
        if frame.type not in (WSMsgType.PING, WSMsgType.PONG):
            await self._on_message(frame.data if frame.type is WSMsgType.TEXT else "")
        elif self._intake.admits(frame.data) and frame.type is WSMsgType.PING:
            with suppress(ConnectionError):  # the client has gone
                await self._socket.pong(frame.data)

    async def _on_message(self, text: str) -> None:
        match self._intake.read(text):
            case None:
                return
            case Ping(timestamp=timestamp):
                self._session.conversation.touch()
                self._heartbeat.reset()
                self.emit(Pong(timestamp))
            case Offer(signal=description):
                self.emit(Signal(await self._peering.answer(description.sdp)))
            case Reconnect(session_id=session_id):
                await self._on_reconnect(session_id)
            case message:
                await self._intake.take(message)

    async def _on_reconnect(self, session_id: str) -> None:
        own = self._session.conversation
        try:
            earlier = self._services.sessions.resume(session_id)
        except VoiceError as error:
            self._session.report(error)
            self.emit(ReconnectAck(False, own.id, False))
            return
        if earlier is not own:
            # The newest socket wins; before it goes on, the older one's turn has to end and be remembered.
            self._handover = earlier.leave() if earlier.leave is not None else None
            self._take(earlier)  # at once: another socket may ask for it meanwhile
            self._services.sessions.discard(own)  # also at once: this one may be gone before it has the other
            await self._until_handed_over()
            await self._session.resume(earlier)
            self._seat.rest()  # the turn that the older socket left, if it did
            self._services.places.free(own.id)
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
        """Our voice goes over the audio track while there is one, otherwise in messages."""
        if by_track and self._speaker is not None:
            self._speaker.cancel()
            self._speaker = None
        elif not by_track and self._speaker is None:
            streaming = self._agent.settings.agent.streaming_speech
            self._speaker = asyncio.create_task(
                speak_in_messages(self._playout, self.emit if streaming else None), name="speech in messages"
            )

    async def _close(self) -> None:
        if self._seat.refusal is not None:
            await self._services.refuse(self._socket, self._seat.refusal)
        await self._session.close()
        await self._until_handed_over()  # whoever took from this one what it waited for waits for that, too
        self._gone.set()
        if self._taken.leave == self.leave:
            self._taken.leave = None
            self._seat.leave(cleanly=self._socket.close_code not in (None, WSCloseCode.ABNORMAL_CLOSURE))
        await self._peering.close()
        self._on_sound(True)
        await self._socket.close(code=WSCloseCode.GOING_AWAY if self._leaving.is_set() else WSCloseCode.OK)
