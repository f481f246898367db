"""Two ends of an SCTP association without a network, one of which may send what it likes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiortc.rtcsctptransport import Chunk, DataChunk, RTCSctpTransport, serialize_packet, tsn_plus_one

from localvoice.transports.webrtc import peer as _  # noqa: F401 - installs the guards
from localvoice.transports.webrtc.patches.sctp import InboundStream

FIRST, LAST, UNORDERED = 2, 1, 4
OPENING, TEXT = 50, 51


def waiting_bytes(stream: InboundStream) -> int:
    """How many bytes wait in it."""
    parts = sum(len(part.user_data) for part in stream._parts.values())
    return parts + sum(len(message[2]) for message in stream._early.values())


class Wire:
    """Stands for the DTLS transport of one end: keeps what it sends."""

    state = "connected"

    def __init__(self, role: str) -> None:
        self._role = role
        self.sent: list[bytes] = []

    async def _send_data(self, data: bytes) -> None:
        self.sent.append(data)

    def _register_data_receiver(self, receiver: object) -> None:
        pass

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass


class Association:
    """Our end, as a server has it, and the peer's."""

    def __init__(self) -> None:
        self.wire, self._their_wire = Wire("client"), Wire("server")
        self.ours = RTCSctpTransport(self.wire)  # type: ignore[arg-type]
        self.theirs = RTCSctpTransport(self._their_wire)  # type: ignore[arg-type]

    async def begin(self) -> None:
        """Both ends send INIT, as with WebRTC."""
        await self.ours.start(None, 5000)
        await self.theirs.start(None, 5000)
        while self.wire.sent or self._their_wire.sent:
            for wire, other in ((self.wire, self.theirs), (self._their_wire, self.ours)):
                sent, wire.sent = wire.sent, []
                for packet in sent:
                    await other._handle_data(packet)
        assert self.established

    @property
    def established(self) -> bool:
        """Whether it still is."""
        return self.ours._association_state is self.ours.State.ESTABLISHED

    async def attack(self, *chunks: Chunk | bytes, tag: int | None = None) -> None:
        """Give our end a packet of these chunks."""
        await self.ours._handle_data(self.packet(*chunks, tag=tag))

    def packet(self, *chunks: Chunk | bytes, tag: int | None = None) -> bytes:
        """As the peer sends it, whatever the chunks are."""
        body: Any = b"".join(map(bytes, chunks))
        tag = self.ours._local_verification_tag if tag is None else tag
        return serialize_packet(5000, 5000, tag, body)

    def part(self, data: bytes, flags: int = FIRST | LAST, stream: int = 1, kind: int = TEXT) -> DataChunk:
        """The peer's next part of a message; call it and send nothing to leave one out."""
        chunk = DataChunk(flags=flags)
        chunk.tsn, chunk.stream_id, chunk.protocol, chunk.user_data = (
            self.theirs._local_tsn,
            stream,
            kind,
            data,
        )
        self.theirs._local_tsn = tsn_plus_one(chunk.tsn)
        return chunk

    async def end(self) -> None:
        """Stop both, with their timers."""
        await self.ours.stop()
        await self.theirs.stop()


@asynccontextmanager
async def association() -> AsyncIterator[Association]:
    """An established one."""
    made = Association()
    try:
        await made.begin()
        yield made
    finally:
        await made.end()
