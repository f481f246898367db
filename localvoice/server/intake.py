"""What one client sends: kept within limits, parsed, and given to its session."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from localvoice.config import LimitSettings
from localvoice.contract.client_messages import (
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
from localvoice.server.decoding import Decoding
from localvoice.server.limits import Limiter
from localvoice.server.payloads import decode_chunk
from localvoice.server.places import Seat
from localvoice.transports.inbox import FrameInbox

_UNREAD_MESSAGES: Final = 1_000
"""Of the data channel; a picture takes half a second to read, and no client sends so much meanwhile."""
_UNREAD_CHARS: Final = 16 * 2**20
"""Of all of these: a client may send as much at once."""


class Intake:
    """The way in for one connection, over its WebSocket and its data channel."""

    def __init__(
        self,
        limits: LimitSettings,
        session: Session,
        inbox: FrameInbox,
        seat: Seat,
        leave: Callable[[], object],
        decoding: Decoding,
        most_seconds: float,
    ) -> None:
        """`inbox` takes the sound, `leave` ends the connection, `decoding` is shared; an utterance
        has at most `most_seconds`.

        To be made on a running event loop.
        """
        self._limiter = Limiter(limits)
        self._session = session
        self._decoding = decoding
        self._most_seconds = most_seconds
        self._inbox = inbox
        self._seat = seat
        self._leave = leave
        self._from_channel: asyncio.Queue[str] = asyncio.Queue(_UNREAD_MESSAGES)
        self._unread_chars = 0

    @property
    def behind(self) -> float:
        """Seconds for which nothing more should be read."""
        return self._limiter.behind

    def admits(self, data: str | bytes) -> bool:
        """Whether to look at this; False drops it. Raises `VoiceError` where the client is to be told."""
        return self._limiter.check_unread(size_of(data))

    def read(self, text: str) -> AnyMessage | None:
        """The message; None if it comes too soon. Raises `VoiceError` where the client is to be told."""
        return self._parsed(text) if self.admits(text) else None

    async def take(self, message: Audio | AudioChunk | Attachments | Text | Forget) -> None:
        """Do what a message wants that isn't signalling. Raises `VoiceError` if it can't be done."""
        if isinstance(message, Audio | Text) and not self._seat.may_converse():
            self._leave()
            return
        match message:
            case Audio(data=data, attachments=attachments):
                speech = await self._decoding.utterance(data, self._most_seconds)
                images = await self._decoding.pictures(attachments)
                if self._limiter.check_turn():
                    self._session.conversation.attach(images)
                    self._session.answer_utterance(speech)
            case AudioChunk():
                self._hear(message)
            case Attachments(attachments=attachments):
                self._session.conversation.attach(await self._decoding.pictures(attachments))
            case Text(text=words):
                if self._limiter.check_turn():
                    self._session.answer_text(words)
            case Forget(all=everything):
                if self._limiter.check_turn():
                    self._session.forget(everything)

    def _hear(self, chunk: AudioChunk) -> None:
        if self._inbox.admits():
            self._inbox.put(decode_chunk(chunk))

    def on_channel_message(self, text: str) -> None:
        """Signalling stays on the WebSocket; the data channel carries what is said."""
        try:
            if not self._limiter.check_unread(size_of(text)):
                return
        except VoiceError as error:
            self._session.report(error)
            return
        if self._from_channel.full() or self._unread_chars + len(text) > _UNREAD_CHARS:
            self._leave()  # as with messages that the client doesn't read
            return
        self._unread_chars += len(text)
        self._from_channel.put_nowait(text)

    async def read_channel(self) -> None:
        """Take what comes over the data channel, until cancelled."""
        while True:
            text = await self._from_channel.get()
            self._unread_chars -= len(text)
            with log_context(session_id=self._session.conversation.id):
                await reported(self._session, self._on_channel_text(text))

    async def _on_channel_text(self, text: str) -> None:
        message = self._parsed(text)
        if isinstance(message, Ping | Offer | Reconnect):
            raise invalid_message(f"{message.type} belongs on the WebSocket")
        if message is not None:
            await self.take(message)

    def _parsed(self, text: str) -> AnyMessage | None:
        try:
            message = parse(text)
        except VoiceError:
            if self._limiter.check_message():
                raise
            return None
        return message if isinstance(message, AudioChunk) or self._limiter.check_message() else None


async def reported(session: Session, handling: Awaitable[None]) -> None:
    """A bad message is answered with one error, and costs nothing else."""
    try:
        await handling
    except VoiceError as error:
        session.report(error)
    except Exception as error:
        session.report_unforeseen(error)
