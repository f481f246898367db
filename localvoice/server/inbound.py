"""What one client sends: kept within its limits, parsed, decoded, and given to its session."""

import asyncio
import binascii
import math
import re
import weakref
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Literal

import numpy as np

from localvoice.audio.frames import AudioFrame
from localvoice.audio.recordings import SEND_INSTEAD, read_sound
from localvoice.config import LimitSettings, Settings
from localvoice.contract.client_messages import (
    MAX_CHUNK_SECONDS,
    MAX_MESSAGE_BYTES,
    AnyMessage,
    Attachment,
    Attachments,
    Audio,
    AudioChunk,
    ForgetMessage,
    Offer,
    Ping,
    Reconnect,
    Text,
    invalid_message,
    parse,
    size_of,
)
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.conversation.session import Session
from localvoice.engines.llama.images import checked_image
from localvoice.engines.pictures import Image
from localvoice.engines.worker import Worker
from localvoice.observability.log_context import log_context
from localvoice.observability.stopwatch import now
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
MAX_IMAGE_BYTES: Final = 64_000_000
"""All pictures together that wait for their clients' next turns or are being answered."""
_RETRY_SECONDS: Final = 5
"""By then another client's turn is likely to be over, and its pictures gone."""
_from_base64: Final = partial(binascii.a2b_base64, strict_mode=True)
"""Raises `ValueError` for anything else. The standard `b64decode` does so too, and is slower."""
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")


class MessageLimits:
    """How many messages, bytes and turns one connection may send. A flood costs next to nothing.

    Each `admit_…` is True for what may be handled, and False for what is dropped. At most once a second it
    raises `VoiceError` RATE_LIMITED in place of False, for the client to be told.
    """

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
        """Whether to look at a message of `size` bytes, sound included. Sets `pause`."""
        size = min(size, MAX_MESSAGE_BYTES)  # a larger one isn't read, whatever its size
        for bucket, what, cost in ((self._received, "messages", 1), (self._bytes, "bytes", size)):
            self.pause = bucket.take(now(), cost)
            if self.pause:
                return self._refuse(what, self.pause)
        return True

    def admit_message(self) -> bool:
        """Whether to handle a message that isn't sound."""
        wait = self._messages.take(now())
        return self._refuse("messages", wait) if wait else True

    def admit_turn(self) -> bool:
        """Whether to begin the turn that a message asks for."""
        wait = self._turns.take(now())
        return self._refuse("turns", wait) if wait else True

    def _refuse(self, what: str, wait: float) -> Literal[False]:
        if now() - self._told < _TELL_SECONDS:
            return False
        self._told = now()
        raise rate_limited(f"Too many {what} on this connection", wait)


class InboundMessages:
    """Messages of one connection, over its WebSocket and its data channel."""

    def __init__(
        self,
        settings: Settings,
        session: Session,
        inbox: FrameInbox,
        slot: ConnectionSlot,
        leave: Callable[[], object],
        decoder: "PayloadDecoder",
    ) -> None:
        """`inbox` takes sound, `leave` ends the connection. Needs a running event loop."""
        self._limits = MessageLimits(settings.limits)
        self._max_seconds = settings.listening.max_utterance_seconds
        self._session = session
        self._inbox = inbox
        self._slot = slot
        self._leave = leave
        self._decoder = decoder
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

    async def handle(self, message: Audio | AudioChunk | Attachments | Text | ForgetMessage) -> None:
        """Act on a message that isn't signalling. Raises `VoiceError` if that fails."""
        if isinstance(message, Audio | Text) and not self._slot.may_converse():
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
            case ForgetMessage(all=everything):
                if self._limits.admit_turn():
                    self._session.forget(everything)

    def _hear(self, chunk: AudioChunk) -> None:
        if self._inbox.admits():
            self._inbox.put(_decode_chunk(chunk))

    def on_channel_text(self, text: str) -> None:
        """Queue it for `read_channel`."""
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
    except Exception as error:
        session.report_any(error)


class PayloadDecoder:
    """Decodes sound and pictures for all connections of a server, off the event loop.

    A picture of some kB may take 100 MB while it is decoded. There is one thread for pictures and one for
    sound, so that all clients together take no more memory than one.
    """

    def __init__(self) -> None:
        self._image_thread = Worker("pictures")
        self._sound_thread = Worker("sounds")
        self._images: weakref.WeakSet[Image] = weakref.WeakSet()

    async def images(self, attachments: Sequence[Attachment]) -> list[Image]:
        """The pictures, which count towards `MAX_IMAGE_BYTES` while anything refers to them.

        Raises `VoiceError` INVALID_MESSAGE if one can't be used, RATE_LIMITED if too many are kept.
        """
        images: list[Image] = []
        for attachment in attachments:
            image = await self._image_thread.run(decode_image, attachment)
            if sum(len(each.data) for each in (*self._images, image)) > MAX_IMAGE_BYTES:
                words = f"The server keeps as many pictures as it can ({MAX_IMAGE_BYTES // 1_000_000} MB)"
                raise rate_limited(words, _RETRY_SECONDS)
            self._images.add(image)
            images.append(image)
        return images

    async def utterance(self, data: str, max_seconds: float) -> AudioFrame:
        """The sound of an `audio` message. Raises `VoiceError` INVALID_AUDIO_FORMAT."""
        return await self._sound_thread.run(decode_utterance, data, max_seconds)

    async def close(self) -> None:
        await self._image_thread.close()
        await self._sound_thread.close()


def decode_utterance(data: str, max_seconds: float) -> AudioFrame:
    """The sound of a whole file in base64. Raises `VoiceError` INVALID_AUDIO_FORMAT."""
    try:
        sound = _from_base64(data)
    except ValueError as error:  # binascii's own, or letters that aren't ASCII
        raise _bad_audio(
            f"The audio isn't base64. Send a whole file, base64-encoded, in `data`. {SEND_INSTEAD}"
        ) from error
    return read_sound(sound, max_seconds)


def decode_image(attachment: Attachment) -> Image:
    """The picture, from base64 or a data URL. Raises `VoiceError` INVALID_MESSAGE."""
    url = _DATA_URL.match(attachment.data)
    encoded = attachment.data[url.end() :] if url else attachment.data
    try:
        data = _from_base64(encoded)
    except ValueError as error:
        raise invalid_message("attachments.data isn't base64") from error
    mime_type = attachment.mime_type or (url[1] if url else "image/png")
    return Image(checked_image(data, mime_type), mime_type, attachment.alt)


def _decode_chunk(chunk: AudioChunk) -> AudioFrame:
    try:
        data = _from_base64(chunk.data)
    except ValueError as error:
        raise _bad_chunk("it isn't base64") from error
    if not data or len(data) % 2:
        raise _bad_chunk(f"{len(data)} bytes are not a whole number of 16-bit samples")
    frame = AudioFrame(np.frombuffer(data, "<i2").astype(np.int16), chunk.sample_rate)
    if frame.seconds > MAX_CHUNK_SECONDS:
        raise _bad_chunk(f"it holds {frame.seconds:.2f} s")
    return frame


def _bad_chunk(reason: str) -> VoiceError:
    return _bad_audio(
        f"This audio-chunk can't be used: {reason}. Send base64 of mono s16le samples, 40 to 60 ms at a time "
        f"and never more than {1000 * MAX_CHUNK_SECONDS:.0f} ms."
    )


def _bad_audio(words: str) -> VoiceError:
    return VoiceError(ErrorCode.INVALID_AUDIO_FORMAT, Component.SERVER, words)
