"""A client's WebRTC transport: opened when the client offers, if this machine can do WebRTC at all."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import ServerMessage
from localvoice.transports.webrtc.addresses import has_network

if TYPE_CHECKING:
    from localvoice.transports.webrtc.peer import WebRtcPeer


class WebRtcTransport:
    """At most one peer connection at a time; without one, everything goes over the WebSocket."""

    def __init__(
        self, make: "Callable[[type[WebRtcPeer]], WebRtcPeer]", on_sound: Callable[[bool], None]
    ) -> None:
        """`make` makes a peer of the class, which is imported when it is needed.

        `on_sound` is told False where the agent's voice is no longer on an audio track.
        """
        self._make = make
        self._on_sound = on_sound
        self._peer: WebRtcPeer | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def answer(self, sdp: str) -> dict[str, str]:
        """The answer to an offer. Raises `VoiceError` WEBRTC_UNAVAILABLE or CONNECTION_FAILED.

        An offer that can't be used leaves the current peer connection as it was.
        """
        if self._peer is not None and self._peer.continues(sdp):
            return await self._peer.answer(sdp)
        async with AsyncExitStack() as unless_answered:
            peer = self._open()
            unless_answered.push_async_callback(peer.close)
            answer = await peer.answer(sdp)
            unless_answered.pop_all()
        before, self._peer = self._peer, peer  # at once: the client may go while the old one ends
        await self._end(before)
        return answer

    def send(self, message: ServerMessage) -> None:
        """Send a payload over the data channel, if there is one; signalling stays on the WebSocket."""
        if self._peer is not None and not message.signalling:
            self._peer.send(message.encode())

    async def close(self) -> None:
        peer, self._peer = self._peer, None
        await self._end(peer)

    async def _end(self, peer: "WebRtcPeer | None") -> None:
        if peer is not None:
            # In a task of its own: it must finish also if the client goes and this is cancelled.
            ending = asyncio.create_task(peer.close(), name="end of a peer connection")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        if self._ending:
            await asyncio.wait(self._ending)
            self._on_sound(False)

    def _open(self) -> "WebRtcPeer":
        try:
            # Without aiortc, clients still talk over the WebSocket.
            from localvoice.transports.webrtc.peer import WebRtcPeer
        except ImportError as error:
            raise _unavailable(f"aiortc can't be loaded here ({error})") from error
        if not has_network():
            # Neither browsers nor aioice connect over the loopback alone.
            raise _unavailable("this machine has no network interface up except its loopback")
        return self._make(WebRtcPeer)


def _unavailable(reason: str) -> VoiceError:
    return VoiceError(
        ErrorCode.WEBRTC_UNAVAILABLE,
        Component.WEBRTC,
        f"WebRTC can't be used: {reason}. Send `audio` or `audio-chunk` messages over the WebSocket instead.",
    )
