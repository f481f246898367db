"""The guards of a call's packets: how many, how large, and what a broken one breaks."""

import logging

import pytest
from aioice import Candidate, ice
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport
from aiortc.rtcdtlstransport import SRTP_PROFILES
from OpenSSL import SSL

from localvoice.transports.webrtc.patches import dtls as dtls_guard
from localvoice.transports.webrtc.patches.connection import IceGuard, PacketRates
from tests.support.dtls_pair import call
from tests.support.fakes import until

CLIENT = ("127.0.0.1", 5000)
SOUND, REPORT, MESSAGE = b"\x80\x60" + bytes(50), b"\x80\xc8" + bytes(50), b"\x17" + bytes(50)


class Reader:
    """Takes what comes over the data channel."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    async def _handle_data(self, data: bytes) -> None:
        self.read.append(data)
        if data == b"breaks":
            raise ZeroDivisionError


def guard_for_client() -> IceGuard:
    """With the client's port known."""
    guard = IceGuard(lambda: None)
    guard.client = frozenset({CLIENT[0]})
    assert guard.authenticated(CLIENT)
    return guard


@pytest.mark.parametrize("packet", [b"", SOUND + bytes(1_449)], ids=["empty", "too large"])
def test_what_no_parser_takes_is_dropped(packet: bytes) -> None:
    guard = guard_for_client()
    assert not guard.admits(packet, CLIENT)
    assert guard.admits(SOUND, CLIENT)


@pytest.mark.parametrize(
    ("packet", "most"), [(SOUND, 250), (REPORT, 20), (MESSAGE, 1_000)], ids=["sound", "reports", "messages"]
)
def test_a_flood_is_cut_to_a_rate_and_told_once(
    packet: bytes, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    sieve = PacketRates(0.0)
    passed = sum(sieve.admits(packet, number / 10_000) for number in range(100_000))
    assert 10 * most <= passed <= 10 * most + 5 * most
    for other in (SOUND, REPORT, MESSAGE):
        assert sieve.admits(other, 10.0) or other is packet, "other kinds have their own share"
    assert len(caplog.records) == 1


def test_what_a_browser_sends_passes() -> None:
    sieve = PacketRates(0.0)
    assert all(sieve.admits(SOUND, number / 100) for number in range(10_000))
    assert all(sieve.admits(REPORT, number / 5) for number in range(1_000))
    assert all(sieve.admits(MESSAGE, 200.0) for _ in range(500))


async def test_a_transport_receives_through_the_sieve() -> None:
    gatherer = RTCIceGatherer(iceServers=[])
    certificate = RTCCertificate.generateCertificate()
    guard_for_client().guard(RTCDtlsTransport(RTCIceTransport(gatherer), [certificate]))
    socket = ice.StunProtocol(gatherer._connection)
    socket.local_candidate = Candidate.from_sdp("1 1 udp 1 127.0.0.1 5001 typ host")
    for packet in (b"", bytes(2_000), SOUND):
        socket.datagram_received(packet, CLIENT)
    received = gatherer._connection._queue
    assert received.get_nowait() == (SOUND, 1) and received.empty()
    for _ in range(900):
        socket.datagram_received(REPORT, CLIENT)
    assert received.qsize() < 900, "no more than a conversation needs"


async def test_all_records_of_a_packet_are_read() -> None:
    async with call() as attacked:
        reader = Reader()
        attacked.ours._register_data_receiver(reader)
        ssl = attacked.theirs._ssl
        assert ssl is not None
        records = []
        for number in range(20):
            ssl.send(b"%d" % number)
            records.append(ssl.bio_read(1_500))
        await attacked.theirs.transport._send(b"".join(records))
        await until(lambda: len(reader.read) == 20)
        assert reader.read == [b"%d" % number for number in range(20)]


async def test_what_breaks_a_parser_costs_that_packet_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async with call() as attacked:
        reader = Reader()
        attacked.ours._register_data_receiver(reader)
        for data in [b"breaks"] * 20 + [b"fine"]:
            await attacked.theirs._send_data(data)
        await until(lambda: reader.read[-1:] == [b"fine"])
        assert attacked.ours.state == "connected"
    assert [each.levelno for each in caplog.records] == [logging.WARNING]
    assert "ZeroDivisionError" in caplog.text and "Traceback" not in caplog.text


async def test_what_no_packet_has_caused_is_not_tried_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with call() as attacked:

        async def fails() -> bytes:
            raise ZeroDivisionError

        monkeypatch.setattr(attacked.path, "_recv", fails)
        with pytest.raises(ZeroDivisionError):
            await dtls_guard.recv_next(attacked.ours)


async def test_a_connection_whose_encryption_is_broken_is_closed_to_what_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with call() as attacked:

        class Broken:
            def send(self, data: bytes) -> None:
                raise SSL.Error

        with monkeypatch.context() as patched:
            patched.setattr(attacked.ours, "_ssl", Broken())
            with pytest.raises(ConnectionError):
                await attacked.ours._send_data(b"x")


def test_a_handshake_is_not_repeated() -> None:
    context = RTCCertificate.generateCertificate()._create_ssl_context(SRTP_PROFILES)
    assert context.set_options(0) & SSL.OP_NO_RENEGOTIATION
