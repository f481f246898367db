"""A coverage-guided fuzzer of what a connected peer sends: `fuzz_packets.py messages|sound FOLDER [OPTION]`.

What it is given is some packets, each behind its length in two bytes. Each has to be dealt with in little
processor time, whatever it is, with few answers, and little may be kept of it. Packets that break it lie in
the folder afterwards. The options are libFuzzer's, which ends the process.
"""

import asyncio
import gc
import logging
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from tests.support.memory import resident_mb

atheris: Any = import_module("atheris")  # is not there on every machine, nor are its types

with atheris.instrument_imports(include=["aiortc", "localvoice"], exclude=["aiortc.codecs"]):
    import aiortc.rtcsctptransport as sctp_module
    from aiortc.rtcdtlstransport import State
    from aiortc.rtp import RtpPacket

    import localvoice.transports.webrtc.peer as _webrtc  # noqa: F401 - installs the guards
    from localvoice.transports.webrtc.patches import dtls as dtls_guard
    from localvoice.transports.webrtc.patches import sctp as sctp_guard
    from tests.support.dtls_pair import Call
    from tests.support.packet_seeds import TSN, message_seeds, packed, sound_seeds
    from tests.support.sctp_pair import Association

PACKET_SECONDS: Final = 0.05
"""Processor time for one packet; instrumented code takes several times as long as usual."""
ANSWERS: Final = 40
KEPT_MB: Final = 64
WARM: Final = 2_000
"""Inputs after which memory should not grow any more."""
LARGEST: Final = 1_500


class Slow(Exception):
    """A packet held up the event loop."""


def packets_of(data: bytes) -> Iterator[bytes]:
    """The packets of one input."""
    at = 0
    while at + 2 <= len(data):
        (length,) = struct.unpack_from("!H", data, at)
        yield data[at + 2 : at + 2 + length][:LARGEST]
        at += 2 + length


class Watch:
    """Measures what each packet costs, and what is left of all of them."""

    def __init__(self) -> None:
        self._inputs = 0
        self._warm_mb = 0.0

    async def packet(self, deal_with: Callable[[], Awaitable[None]]) -> None:
        """Raises `Slow` if it takes too long."""
        begun = time.thread_time()
        await deal_with()
        spent = time.thread_time() - begun
        if spent > PACKET_SECONDS:
            raise Slow(f"{spent:.3f} s for one packet")

    def input_done(self) -> None:
        """Raises MemoryError if the process has grown."""
        self._inputs += 1
        if self._inputs == WARM:
            self._warm_mb = resident_mb()
        elif self._inputs % 500 == 0 and self._inputs > WARM:
            grown = resident_mb() - self._warm_mb
            if grown > KEPT_MB:
                raise MemoryError(f"{grown:.0f} MB more after {self._inputs} inputs")


async def fuzz_messages(watch: Watch, data: bytes) -> None:
    """SCTP: each packet has a right checksum and tag, and is otherwise as given."""
    pair = Association()
    try:
        await pair.begin()
        for body in packets_of(data):
            pair.wire.sent.clear()
            packet = pair.packet(body, tag=0 if body[:1] == b"\x01" else None)
            await watch.packet(partial(pair.ours._handle_data, packet))
            assert len(pair.wire.sent) <= ANSWERS, "a packet is answered by many"
            assert all(len(each) <= 1_189 for each in pair.wire.sent), "an answer doesn't fit into a packet"
            await asyncio.sleep(0)
            streams: Any = pair.ours._inbound_streams
            assert len(streams) <= sctp_guard._STREAMS
            assert sum(each.waiting for each in streams.values()) <= sctp_guard._WAITING
            assert len(pair.ours._sack_misordered) <= sctp_guard._OUT_OF_ORDER
            assert len(pair.ours._data_channels) <= sctp_guard._STREAMS
    finally:
        await pair.end()


class Plain:
    """Stands for libsrtp: encrypts nothing, but takes no packet that is too large."""

    def process(self, packet: bytes) -> bytes:
        assert len(packet) <= LARGEST - 148, "a packet of ours is too large"
        return packet

    protect = protect_rtcp = process

    def unprotect(self, packet: bytes) -> bytes:
        return packet

    unprotect_rtcp = unprotect

    def remove_stream(self, source: int) -> None:
        pass


async def plain_call() -> Call:
    """A call without its encryption."""
    call = Call()
    call.ours._state = call.theirs._state = State.CONNECTED
    plain: Any = Plain()
    vars(call.ours)["_rx_srtp"] = dtls_guard.BoundedSources(plain, call.ours._rtp_router.receivers)
    vars(call.ours)["_tx_srtp"] = plain
    vars(call.ours)["_ssl"] = SimpleNamespace(DTLSv1_get_timeout=lambda: None)
    call.ours.encrypted = True
    sent = {
        number: RtpPacket(payload_type=96, sequence_number=number, payload=bytes(80)) for number in range(128)
    }
    vars(call.sender)["_RTCRtpSender__rtp_history"].update(sent)
    await call.listen()
    return call


async def fuzz_sound(watch: Watch, call: Call, data: bytes) -> None:
    """RTP and RTCP, as they are when libsrtp has decrypted them."""
    for body in packets_of(data):
        if not body or not 127 < body[0] < 192:
            continue
        call.path.came.put_nowait(body)
        answers = call.theirs.transport.came  # type: ignore[attr-defined]
        before = answers.qsize()
        try:
            await watch.packet(lambda: dtls_guard._recv_next(call.ours))
        except struct.error:
            pass  # costs the packet: the guard around this drops what can't be read
        assert answers.qsize() <= before + ANSWERS, "a packet is answered by many"
        while not answers.empty():
            answers.get_nowait()
    await asyncio.sleep(0)
    for each in (call.receiver, call.sender):
        task = vars(each)[f"_{type(each).__name__}__rtcp_task"]
        assert not task.done(), "no reports are sent any more"
    assert len(vars(call.receiver)["_RTCRtpReceiver__remote_streams"]) <= dtls_guard._SOURCES + 1
    assert len(call.ours._rtp_router.ssrc_table) <= dtls_guard._SOURCES


def main(target: str, folder: Path, options: list[str]) -> None:
    """Fuzz until libFuzzer has had enough; it ends the process with 77 at the first fault."""
    logging.disable(logging.ERROR)  # what a peer's packets cause is not news here
    vars(sctp_module)["random32"] = lambda: TSN
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    watch = Watch()
    seeds = message_seeds()
    deal_with: Callable[[bytes], Coroutine[Any, Any, None]] = partial(fuzz_messages, watch)
    if target == "sound":
        often = SimpleNamespace(random=lambda: -0.49)
        sys.modules["aiortc.rtcrtpreceiver"].__dict__["random"] = often
        call = loop.run_until_complete(plain_call())
        seeds, deal_with = sound_seeds(call.sender._ssrc), partial(fuzz_sound, watch, call)
    gc.freeze()

    def one_input(data: bytes) -> None:
        try:
            loop.run_until_complete(deal_with(data))
        except Slow:
            # A garbage collection or a page that had to be fetched can be the reason: once more.
            loop.run_until_complete(deal_with(data))
        watch.input_done()

    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"{number:03}").write_bytes(packed(*seed))
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
