"""The WebRTC side of a connection: made when a client asks for it, if this machine can do it at all."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from localvoice.audio.playout import Playout
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import ServerMessage
from localvoice.transports.candidates import has_network
from localvoice.transports.inbox import FrameInbox

if TYPE_CHECKING:
    from localvoice.transports.webrtc import WebRtcPeer


class Peering:
    """At most one peer connection at a time; without one, all goes over the WebSocket."""

    def __init__(
        self,
        client: str,
        inbox: FrameInbox,
        playout: Playout,
        on_message: Callable[[str], None],
        on_sound: Callable[[bool], None],
        on_failure: Callable[[VoiceError], None],
        on_gone: Callable[[], None],
    ) -> None:
        """`client` is the address that its WebSocket comes from; the rest is as in `WebRtcPeer`."""
        self._client = client
        self._inbox = inbox
        self._playout = playout
        self._on_message = on_message
        self._on_sound = on_sound
        self._on_failure = on_failure
        self._on_gone = on_gone
        self._peer: WebRtcPeer | None = None

    async def answer(self, sdp: str) -> dict[str, str]:
        """The answer to an offer. Raises `VoiceError` WEBRTC_UNAVAILABLE or CONNECTION_FAILED."""
        if self._peer is not None and not self._peer.continues(sdp):
            await self.close()
        if self._peer is None:
            self._peer = self._open()
        try:
            return await self._peer.answer(sdp)
        except VoiceError:
            await self.close()  # half an offer may have been taken: the next one starts afresh
            raise

    def send(self, message: ServerMessage) -> None:
        """Put a payload on the data channel, where there is one; signalling stays on the WebSocket."""
        if self._peer is not None and not message.signalling:
            self._peer.send(message.encode())

    async def close(self) -> None:
        """End the peer connection, if there is one."""
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()
            self._on_sound(False)

    def _open(self) -> "WebRtcPeer":
        try:
            # Imported when needed: whoever has no aiortc still talks over the WebSocket.
            from localvoice.transports.webrtc import WebRtcPeer
        except ImportError as error:
            raise _unavailable(f"aiortc can't be loaded here ({error})") from error
        if not has_network():
            # Neither browsers nor aioice connect over the loopback alone.
            raise _unavailable("this machine has no network interface up beside its loopback")
        return WebRtcPeer(
            self._client,
            self._inbox,
            self._playout,
            self._on_message,
            self._on_sound,
            self._on_failure,
            self._on_gone,
        )


def _unavailable(reason: str) -> VoiceError:
    return VoiceError(
        ErrorCode.WEBRTC_UNAVAILABLE,
        Component.WEBRTC,
        f"WebRTC can't be used: {reason}. Send `audio` or `audio-chunk` messages over the WebSocket instead.",
    )
