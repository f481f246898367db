"""One client's WebSocket: signalling, heartbeat, and the session that it carries."""

import asyncio
import base64
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from localvoice.agent.session import Session
from localvoice.agent.sessions import Conversation, Sessions
from localvoice.audio.frames import AudioFrame, read_wav
from localvoice.audio.playout import Playout
from localvoice.config import Settings
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import (
    Audio,
    Offer,
    Ping,
    Pong,
    Ready,
    Reconnect,
    ReconnectAck,
    ServerMessage,
    Signal,
    Text,
    invalid_message,
    parse,
)
from localvoice.engines.protocols import Engines
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.webrtc import OUT_RATE, WebRtcPeer
from localvoice.transports.websocket import speak_in_messages

log = logging.getLogger(__name__)

_UNSENT_MESSAGES: Final = 2_000
"""A long reply token by token is 500 messages; a client that is further behind doesn't read any more."""


@dataclass(frozen=True)
class Services:
    """What all connections of a server share."""

    settings: Settings
    engines: Engines
    sessions: Sessions
    stun_url: str
    """The STUN answerer on this machine."""


class Connection:
    """Serves one WebSocket until it closes."""

    def __init__(self, services: Services, socket: web.WebSocketResponse) -> None:
        self._services = services
        self._socket = socket
        self._outgoing: asyncio.Queue[ServerMessage] = asyncio.Queue(_UNSENT_MESSAGES)
        self._inbox = FrameInbox()
        self._playout = Playout(OUT_RATE)
        self._peer: WebRtcPeer | None = None
        self._speaker: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._deadline = asyncio.timeout(None)
        self._session = Session(
            services.sessions.create(), services.engines, self._playout, self.emit, services.settings
        )

    async def serve(self) -> None:
        """Run the connection: read, send and listen, until one of them is done."""
        self._take(self._session.conversation)
        self._on_sound(False)
        self.emit(Ready(self._session.conversation.id, ({"urls": self._services.stun_url},)))
        jobs = [
            asyncio.create_task(job, name=f"connection {name}")
            for name, job in (
                ("reader", self._read()),
                ("sender", self._send()),
                ("listener", self._session.listen(aiter(self._inbox))),
                ("leaving", self._leaving.wait()),
            )
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                if not job.cancelled() and (error := job.exception()) is not None:
                    log.error("a connection failed in a way that nobody foresaw", exc_info=error)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)
            await self._close()

    def emit(self, message: ServerMessage) -> None:
        """Send a message, payload on both channels; never waits."""
        if self._outgoing.full():
            self.leave()
            return
        self._outgoing.put_nowait(message)
        if self._peer is not None and not message.signalling:
            self._peer.send(message.encode())

    def leave(self) -> None:
        """End this connection soon."""
        self._leaving.set()

    async def _read(self) -> None:
        """Take messages until the client goes, or sends no ping for too long."""
        try:
            async with asyncio.timeout(self._services.settings.server.ping_seconds) as self._deadline:
                async for message in self._socket:
                    text = message.data if message.type is WSMsgType.TEXT else ""
                    await self._reported(self._on_message(text))
        except TimeoutError:
            log.info("a client sent no ping for too long and is let go")

    async def _send(self) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                await self._socket.send_str(message.encode())
            except ConnectionError:
                return  # the client has gone, which is no failure of ours

    async def _reported(self, handling: Awaitable[None]) -> None:
        """A bad message is answered with one error, and costs nothing else."""
        try:
            await handling
        except VoiceError as error:
            self._session.report(error)
        except Exception:
            self._session.report_unforeseen()

    async def _on_message(self, text: str) -> None:
        match parse(text):
            case Ping(timestamp=timestamp):
                self._session.conversation.touch()
                self._deadline.reschedule(
                    asyncio.get_running_loop().time() + self._services.settings.server.ping_seconds
                )
                self.emit(Pong(timestamp))
            case Offer(signal=description):
                await self._on_offer(description.sdp)
            case Reconnect(session_id=session_id):
                await self._on_reconnect(session_id)
            case Audio(data=data):
                self._session.answer_utterance(_decode_utterance(data))
            case Text(text=words):
                self._session.answer_text(words)

    def _on_channel_message(self, text: str) -> None:
        """Signalling stays on the WebSocket; the data channel carries what is said."""
        try:
            message = parse(text)
            if not isinstance(message, Text):
                raise invalid_message(f"{message.type} belongs on the WebSocket")
            self._session.answer_text(message.text)
        except VoiceError as error:
            self._session.report(error)

    async def _on_offer(self, sdp: str) -> None:
        if self._peer is not None and not self._peer.continues(sdp):
            await self._drop_peer()
        if self._peer is None:
            self._peer = WebRtcPeer(
                self._inbox, self._playout, self._on_channel_message, self._on_sound, self._session.report
            )
        try:
            self.emit(Signal(await self._peer.answer(sdp)))
        except VoiceError:
            await self._drop_peer()  # half an offer may have been taken: the next one starts afresh
            raise

    async def _on_reconnect(self, session_id: str) -> None:
        own = self._session.conversation
        try:
            earlier = self._services.sessions.resume(session_id)
        except VoiceError as error:
            self._session.report(error)
            self.emit(ReconnectAck(False, own.id, False))
            return
        if earlier is not own:
            if earlier.leave is not None:
                earlier.leave()  # the newest socket wins
            self._take(earlier)  # at once: another socket may ask for it while our own turn ends
            await self._session.resume(earlier)
            self._services.sessions.discard(own)
        self.emit(ReconnectAck(True, earlier.id, True))

    def _take(self, conversation: Conversation) -> None:
        conversation.leave = self.leave

    def _on_sound(self, by_track: bool) -> None:
        """Our voice goes over the audio track while there is one, otherwise in messages."""
        if by_track and self._speaker is not None:
            self._speaker.cancel()
            self._speaker = None
        elif not by_track and self._speaker is None:
            self._speaker = asyncio.create_task(
                speak_in_messages(self._playout, self.emit), name="speech in messages"
            )

    async def _drop_peer(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()
            self._on_sound(False)

    async def _close(self) -> None:
        await self._session.close()
        if self._session.conversation.leave == self.leave:
            self._session.conversation.leave = None
        await self._drop_peer()
        self._on_sound(True)
        await self._socket.close(code=WSCloseCode.GOING_AWAY if self._leaving.is_set() else WSCloseCode.OK)


def _decode_utterance(data: str) -> AudioFrame:
    try:
        wav = base64.b64decode(data, validate=True)
    except ValueError as error:  # binascii's own, or letters that aren't ASCII
        raise VoiceError(
            ErrorCode.INVALID_AUDIO_FORMAT,
            Component.SERVER,
            "The audio isn't base64. Send a whole WAV file, base64-encoded, in `data`.",
        ) from error
    return read_wav(wav)
