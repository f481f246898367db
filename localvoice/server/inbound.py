"""What one client sends: kept within its limits, parsed, decoded, and given to its session."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from localvoice.config import LimitSettings
from localvoice.contract.client_messages import (
    MAX_MESSAGE_BYTES,
    AnyMessage,
    Attachments,
    Audio,
    AudioChunk,
    Forget,
    Offer,
    Ping,
    Reconnect,
    Text,
    invalid_message,
    parse,
    size_of,
)
from localvoice.contract.errors import VoiceError
from localvoice.conversation.session import Session
from localvoice.observability.log_context import log_context
from localvoice.observability.stopwatch import now
from localvoice.server.payloads import PayloadDecoder, decode_chunk
from localvoice.server.slots import ConnectionSlot
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.limits import TokenBucket, rate_limited

_TELL_SECONDS: Final = 1.0
"""A client that floods is told at most this often."""
_BURST_SECONDS: Final = 4
"""Bytes that may come at once, in seconds of the rate: a client may send a few pictures together."""
_QUEUED_MESSAGES: Final = 1_000
"""On the data channel; a picture takes half a second to decode, and no client sends so much meanwhile."""
_QUEUED_CHARS: Final = 16 * 2**20
"""All of these together: a client may send as much at once."""


class MessageLimits:
    """How many messages, bytes and turns one connection may send. A flood costs next to nothing."""

    def __init__(self, settings: LimitSettings) -> None:
        """Needs a running event loop, whose clock counts."""
        # Sound has a share of its own: its chunks come by the dozen and cost little.
        chunks = settings.audio_chunks_per_second
        rate, burst = settings.messages_per_second, settings.message_burst
        size = settings.megabytes_per_second * 2**20
        self._messages = TokenBucket(rate, burst, now())
        self._received = TokenBucket(rate + chunks, burst + 2 * chunks, now())
        self._bytes = TokenBucket(size, max(_BURST_SECONDS * size, MAX_MESSAGE_BYTES), now())
        # A minute's worth may come at once: people type ahead, and a client that reconnects sends again.
        self._turns = TokenBucket(settings.turns_per_minute / 60, settings.turns_per_minute, now())
        self._told = -math.inf
        self.pause = 0.0
        """Seconds for which nothing more should be read: a flood then waits in the client's own socket."""

    def admit_received(self, size: int) -> bool:
        """Whether to look at a message of `size` bytes, sound included; False drops it. Sets `pause`.

        At most once a second, raises `VoiceError` RATE_LIMITED instead of giving False: the client is told.
        """
        size = min(size, MAX_MESSAGE_BYTES)  # a larger one isn't read, whatever its size
        for bucket, what, cost in ((self._received, "messages", 1), (self._bytes, "bytes", size)):
            self.pause = bucket.take(now(), cost)
            if self.pause:
                return self._refuse(what, self.pause)
        return True

    def admit_message(self) -> bool:
        """Whether to handle a message that isn't sound; otherwise as `admit_received`."""
        return self._admit(self._messages, "messages")

    def admit_turn(self) -> bool:
        """Whether to begin the turn that a message asks for; otherwise as `admit_received`."""
        return self._admit(self._turns, "turns")

    def _admit(self, bucket: TokenBucket, what: str) -> bool:
        wait = bucket.take(now())
        return self._refuse(what, wait) if wait else True

    def _refuse(self, what: str, wait: float) -> Literal[False]:
        if now() - self._told < _TELL_SECONDS:
            return False
        self._told = now()
        raise rate_limited(f"Too many {what} on this connection", wait)


class InboundMessages:
    """Messages of one connection, over its WebSocket and its data channel."""

    def __init__(
        self,
        limits: LimitSettings,
        session: Session,
        inbox: FrameInbox,
        slot: ConnectionSlot,
        leave: Callable[[], object],
        decoder: PayloadDecoder,
        max_seconds: float,
    ) -> None:
        """`inbox` takes sound, `leave` ends the connection; an utterance has at most `max_seconds`.

        Needs a running event loop.
        """
        self._limits = MessageLimits(limits)
        self._session = session
        self._decoder = decoder
        self._max_seconds = max_seconds
        self._inbox = inbox
        self._slot = slot
        self._leave = leave
        self._channel: asyncio.Queue[str] = asyncio.Queue(_QUEUED_MESSAGES)
        self._queued_chars = 0

    @property
    def pause(self) -> float:
        """Seconds for which nothing more should be read."""
        return self._limits.pause

    def admits(self, data: str | bytes) -> bool:
        """Whether to look at this; False drops it. Raises `VoiceError` where the client is to be told."""
        return self._limits.admit_received(size_of(data))

    def read(self, text: str) -> AnyMessage | None:
        """The message; None drops it. Raises `VoiceError` where the client is to be told."""
        return self._parsed(text) if self.admits(text) else None

    async def handle(self, message: Audio | AudioChunk | Attachments | Text | Forget) -> None:
        """Act on a message that isn't signalling. Raises `VoiceError` if that fails."""
        if isinstance(message, Audio | Text) and not self._slot.may_converse():
            self._leave()
            return
        match message:
            case Audio(data=data, attachments=attachments):
                speech = await self._decoder.utterance(data, self._max_seconds)
                images = await self._decoder.images(attachments)
                if self._limits.admit_turn():
                    self._session.conversation.attach(images)
                    self._session.answer_utterance(speech)
            case AudioChunk():
                self._hear(message)
            case Attachments(attachments=attachments):
                self._session.conversation.attach(await self._decoder.images(attachments))
            case Text(text=words):
                if self._limits.admit_turn():
                    self._session.answer_text(words)
            case Forget(all=everything):
                if self._limits.admit_turn():
                    self._session.forget(everything)

    def _hear(self, chunk: AudioChunk) -> None:
        if self._inbox.admits():
            self._inbox.put(decode_chunk(chunk))

    def on_channel_text(self, text: str) -> None:
        """Queue what comes over the data channel, for `read_channel`."""
        try:
            if not self.admits(text):
                return
        except VoiceError as error:
            self._session.report(error)
            return
        if self._channel.full() or self._queued_chars + len(text) > _QUEUED_CHARS:
            self._leave()
            return
        self._queued_chars += len(text)
        self._channel.put_nowait(text)

    async def read_channel(self) -> None:
        """Handle what comes over the data channel, until cancelled."""
        while True:
            text = await self._channel.get()
            self._queued_chars -= len(text)
            with log_context(session_id=self._session.conversation.id):
                await report_failure(self._session, self._handle_channel_text(text))

    async def _handle_channel_text(self, text: str) -> None:
        message = self._parsed(text)
        if isinstance(message, Ping | Offer | Reconnect):
            raise invalid_message(f"{message.type} belongs on the WebSocket")
        if message is not None:
            await self.handle(message)

    def _parsed(self, text: str) -> AnyMessage | None:
        try:
            message = parse(text)
        except VoiceError:
            if self._limits.admit_message():
                raise
            return None
        return message if isinstance(message, AudioChunk) or self._limits.admit_message() else None


async def report_failure(session: Session, handling: Awaitable[None]) -> None:
    """Answer a bad message with one error; the connection goes on."""
    try:
        await handling
    except VoiceError as error:
        session.report(error)
    except Exception as error:
        session.report_unforeseen(error)
