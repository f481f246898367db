"""A client's peer connection: its microphone in, the agent's voice out, messages on a data channel."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiortc import MediaStreamTrack, RTCDataChannel, RTCRtpCodecParameters, RTCSessionDescription

from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from localvoice.contract.client_messages import size_of
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.liveness import PacketLiveness, Watchdog
from localvoice.transports.webrtc import patches
from localvoice.transports.webrtc.addresses import (
    AddressPair,
    addresses_to_bind,
    client_addresses,
    connection_failed,
)
from localvoice.transports.webrtc.patches.connection import IceGuard, PeerConnection, detach_track, sends_opus
from localvoice.transports.webrtc.patches.dtls import replace_jitter_buffer
from localvoice.transports.webrtc.sdp import SdpOffer, SectionsInUse, dtls_fingerprint, unusable
from localvoice.transports.webrtc.sound import IncomingSound, SpeechTrack

log = logging.getLogger(__name__)
patches.install()

_FAINTEST_SPEECH: Final = 64
"""Sample, of 32768, above which the user may be speaking: -54 dBFS, about the faintest the VAD detects."""
_MAX_CHANNEL_MESSAGE: Final = 256 * 1024
_MAX_BUFFERED: Final = 1024 * 1024
"""Bytes waiting on the data channel; above it, messages go over the WebSocket alone, which carries all."""
_CLOSE_SECONDS: Final = 3.0
_CONNECT_SECONDS: Final = 20.0
"""From the first answer on. aioice gives up after half a minute, and never if it has no candidate."""


class WebRtcPeer:
    """A peer connection, opened and renegotiated by the client's offers."""

    def __init__(
        self,
        addresses: AddressPair,
        inbox: FrameInbox,
        playout: Playout,
        on_message: Callable[[str], None],
        on_sound: Callable[[bool], None],
        on_failure: Callable[[VoiceError], None],
        on_gone: Callable[[], None],
    ) -> None:
        """`addresses` are those of the WebSocket: where to listen and where to send.

        `on_message` gets the data channel's texts; `on_sound`, whether the audio track carries the agent's
        voice; `on_gone` is called when the client sends nothing any more.
        """
        self._addresses = addresses
        self._inbox = inbox
        self._speech = SpeechTrack(playout)
        self._on_message = on_message
        self._on_sound = on_sound
        self._on_failure = on_failure
        self._liveness = PacketLiveness(on_gone)
        self._channel: RTCDataChannel | None = None
        self._fingerprint = ""
        self._in_use = SectionsInUse()
        self._sounding = False  # as `on_sound` was told last
        self._connected = False  # or was, after which the client may end it as it likes
        self._failed = False  # and the client was told
        self._connect_timeout: asyncio.Task[None] | None = None
        self._guard = IceGuard(self._liveness.received)
        self._connection = PeerConnection(self._guard)
        self._connection.on("track", self._on_track)
        self._connection.on("datachannel", self._on_channel)
        self._connection.on("connectionstatechange", self._on_state)

    def continues(self, sdp: str) -> bool:
        """Whether an offer renegotiates this connection rather than opening a new one."""
        works = self._connection.connectionState not in ("failed", "closed")
        return works and dtls_fingerprint(sdp) == self._fingerprint

    async def answer(self, sdp: str) -> dict[str, str]:
        """The answer to an offer, with all candidates. Raises `VoiceError` CONNECTION_FAILED.

        If an offer can't be used, a connection that works goes on as it was.
        """
        known = client_addresses(self._addresses.client)
        self._guard.client = known
        self._guard.bound = addresses_to_bind(self._addresses.own, sdp)
        try:
            # Once connected, aiortc doesn't use candidates, and would only collect them.
            offer = SdpOffer(sdp, self._in_use, frozenset() if self._connected else known)
            await self._connection.keep([(each.kind, each.mid) for each in offer.in_use])
            await self._connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            self._attach_speech(offer.speech)
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except VoiceError:
            raise
        except Exception as error:
            # aiortc raises all kinds of errors here, KeyError and AssertionError among them.
            raise unusable(f"reading it ended with {error!r}") from error
        self._in_use = offer.used
        self._fingerprint = dtls_fingerprint(sdp)
        self._tell_sound()
        if self._connect_timeout is None:
            self._connect_timeout = asyncio.create_task(self._await_connection(), name="connect timeout")
        local = self._connection.localDescription
        return {"type": local.type, "sdp": offer.answer(local.sdp)}

    def send(self, text: str) -> None:
        """Send a message over the data channel, if it is open and keeps up."""
        channel = self._channel
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount <= _MAX_BUFFERED:
            try:
                channel.send(text)
            except ValueError as error:  # above the client's size limit
                log.debug("a message is not sent over the data channel: %s", error)

    async def close(self) -> None:
        self._connection.remove_all_listeners()  # nothing that happens from now on is reported
        self._speech.stop()
        self._liveness.stop()
        if self._connect_timeout is not None:
            self._connect_timeout.cancel()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._connection.close()
        except TimeoutError:
            log.warning("a WebRTC connection did not close in %.0f s; its parts are stopped", _CLOSE_SECONDS)
        except Exception:
            # aiortc can't close what a broken offer leaves half made.
            log.debug("a WebRTC connection can't be closed as a whole", exc_info=True)
        await self._connection.stop_all()

    def _attach_speech(self, mid: str | None) -> None:
        """Put the agent's voice on this section alone: two would divide the 20 ms frames."""
        for transceiver in self._connection.getTransceivers():
            if transceiver.mid != mid:
                detach_track(transceiver)
            elif transceiver.sender.track is None:
                transceiver.sender.replaceTrack(self._speech)
                self._speech.encodes = sends_opus(transceiver)
                transceiver.direction = "sendrecv"

    def _on_track(self, track: MediaStreamTrack) -> None:
        for transceiver in self._connection.getTransceivers():
            if transceiver.receiver.track is track and track.kind == "audio":
                replace_jitter_buffer(transceiver.receiver, self._incoming)

    def _incoming(self, codecs: Mapping[int, RTCRtpCodecParameters]) -> IncomingSound:
        return IncomingSound(
            codecs, self._on_frame, self._on_undecodable, lambda: self._speech.resting, self._admits
        )

    def _on_undecodable(self, reason: str) -> None:
        self._on_failure(
            VoiceError(
                ErrorCode.AUDIO_PROCESSING_ERROR,
                Component.WEBRTC,
                f"The microphone's sound can't be decoded ({reason}). Check the microphone, then connect "
                "again.",
            )
        )

    def _admits(self) -> bool:
        try:
            return self._inbox.admits()
        except VoiceError as error:
            self._on_failure(error)
            return False

    def _on_frame(self, frame: AudioFrame) -> None:
        self._inbox.put(frame)
        self._liveness.heard()
        if frame.samples.max(initial=0) > _FAINTEST_SPEECH:
            self._speech.wake()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._on_channel_message)

    def _on_channel_message(self, message: Any) -> None:
        readable = isinstance(message, str) and size_of(message) <= _MAX_CHANNEL_MESSAGE
        self._on_message(message if readable else "")  # which is answered like any other broken message

    def _on_state(self) -> None:
        state = self._connection.connectionState
        log.debug("WebRTC connection is %s", state)
        self._tell_sound()
        self._connected = self._connected or state == "connected"
        if state == "failed":
            self._fail()

    async def _await_connection(self) -> None:
        await Watchdog(_CONNECT_SECONDS).expired()
        if not self._connected:
            self._fail()

    def _fail(self) -> None:
        if not self._failed:
            self._failed = True
            reason = "no network path to this machine. Try again; text still works."
            self._on_failure(connection_failed(f"The WebRTC connection failed: {reason}"))

    def _tell_sound(self) -> None:
        sounding = self._connection.connectionState == "connected" and any(
            each.sender.track is self._speech for each in self._connection.getTransceivers()
        )
        if sounding != self._sounding:
            self._sounding = sounding
            self._on_sound(sounding)
