"""Packets on a call's UDP socket that aren't its client's: nothing answers them, and they change nothing."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aioice import Connection, stun
from aioice.ice import StunProtocol
from aiortc import RTCIceTransport

from localvoice.transports.webrtc.addresses import addresses_to_bind, network_addresses
from localvoice.transports.webrtc.patches import connection as ice_guard
from localvoice.transports.webrtc.patches.connection import IceGuard
from localvoice.transports.webrtc.peer import WebRtcPeer
from tests.support.fakes import FakeStt, fake_engines, until
from tests.support.server_site import Client, serving
from tests.support.webrtc_browser import Browser, calling, needs_a_network
from tests.support.webrtc_peers import peers as peers
from tests.support.webrtc_strangers import (
    BROKEN_STUN,
    PACKETS,
    STUN_REQUEST,
    candidates,
    server_end,
    stranger,
)

FIREFOX = "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 1 0 IN IP4 0.0.0.0\r\n"
OTHERS = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"
CLIENT = ("127.0.0.1", 5000)


@contextmanager
def unhandled() -> Iterator[list[str]]:
    """What goes wrong in callbacks of the event loop, with its traceback in the log."""
    loop, found = asyncio.get_running_loop(), list[str]()
    loop.set_exception_handler(lambda _, context: found.append(str(context)))
    try:
        yield found
    finally:
        loop.set_exception_handler(None)


async def still_converses(client: Client, browser: Browser) -> None:
    """Both ways: it hears us, and we hear it."""
    browser.microphone.speech_frames = 40
    await client.expect("transcript")
    await client.expect("tts-complete")
    assert any(browser.seconds_heard()) and browser.connection.connectionState == "connected"


def ice_of(peer: WebRtcPeer) -> Connection:
    (transport,) = peer._connection._transports
    return transport.transport._connection


def way_of(peer: WebRtcPeer) -> tuple[StunProtocol, tuple[str, int]]:
    """The socket that a call goes over, and the client's address."""
    ((_, pair),) = ice_of(peer)._nominated.items()
    return pair.protocol, pair.remote_addr


# --- where it listens ---


def test_a_client_on_this_machine_is_served_at_the_loopback_alone() -> None:
    assert addresses_to_bind("127.0.0.1", OTHERS) == ["127.0.0.1"]
    assert addresses_to_bind("127.0.0.2", OTHERS) == ["127.0.0.1"]
    assert addresses_to_bind("::1", OTHERS) == ["::1", "127.0.0.1"]
    assert addresses_to_bind("", OTHERS) == ["127.0.0.1"], "its connection is lost"


def test_firefox_pairs_no_address_with_the_loopback_and_is_offered_the_others() -> None:
    assert addresses_to_bind("127.0.0.1", FIREFOX) == ["127.0.0.1", *network_addresses()]


def test_a_client_on_the_network_is_served_where_it_came_in() -> None:
    for offer in (OTHERS, FIREFOX):
        assert addresses_to_bind("192.168.1.5", offer) == ["192.168.1.5"]


@needs_a_network
async def test_a_call_in_default_mode_has_no_socket_on_the_network(peers: list[WebRtcPeer]) -> None:
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await browser.add_microphone()
        assert {address for address, _ in candidates(browser.connection.remoteDescription.sdp)} == {
            "127.0.0.1"
        }
        bound = [each.transport.get_extra_info("sockname")[0] for each in ice_of(peers[0])._protocols]
        assert bound == ["127.0.0.1"]


# --- whose packets it takes ---


@needs_a_network
async def test_no_packet_of_a_stranger_ends_a_call_or_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(fake_engines(FakeStt("How are you?"))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            with stranger() as other, unhandled() as wrong:
                for packet in PACKETS.values():
                    other.sendto(packet, server_end(browser))
                await still_converses(client, browser)
                with pytest.raises(BlockingIOError):
                    other.recv(2_000)
            assert not wrong and not caplog.records


@needs_a_network
async def test_no_packet_from_the_clients_own_port_ends_a_call(peers: list[WebRtcPeer]) -> None:
    """As an attacker sends it who forges the sender, or the client itself."""
    async with serving(fake_engines(FakeStt("How are you?"))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            socket, address = way_of(peers[0])
            with unhandled() as wrong:
                for name, packet in PACKETS.items():
                    socket.datagram_received(packet, address)
                    await client.sync()
                    assert peers[0]._connection.connectionState == "connected", name
                await still_converses(client, browser)
            assert not wrong


def guard_for_client() -> tuple[IceGuard, list[None]]:
    signs: list[None] = []
    guard = IceGuard(lambda: signs.append(None))
    guard.client = frozenset({CLIENT[0]})
    return guard, signs


def test_what_is_let_through() -> None:
    guard, signs = guard_for_client()
    assert guard.admits(STUN_REQUEST, CLIENT) and not guard.admits(STUN_REQUEST, ("192.0.2.99", 5000))
    assert not guard.admits(b"\x80", CLIENT), "it has not shown the password"
    assert guard.authenticated(CLIENT)
    assert guard.admits(b"\x80", CLIENT) and guard.admits(b"\x16", (*CLIENT, 0, 0)), "as IPv6 has it"
    assert not guard.admits(b"\x80", (CLIENT[0], 5001)), "another program on its machine"
    assert not guard.admits(b"", CLIENT) and not guard.admits(bytes(1_501), CLIENT)
    assert len(signs) == 1, "only what has shown the password"


def test_a_client_may_use_so_many_ports_and_no_more() -> None:
    guard, _ = guard_for_client()
    taken = [guard.authenticated((CLIENT[0], port)) for port in range(1, 100)]
    assert taken.count(True) == ice_guard._MAX_SENDERS
    assert guard.authenticated((CLIENT[0], 1)), "one that is known stays"


# --- what counts as a sign of life ---


@needs_a_network
async def test_only_what_the_client_alone_can_send_is_a_sign_of_life(
    peers: list[WebRtcPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    signs: list[None] = []
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        (peer,) = peers
        await asyncio.sleep(0.3)  # the channel's opening
        monkeypatch.setattr(peer._guard, "on_packet", lambda: signs.append(None))
        socket, address = way_of(peer)
        for packet in PACKETS.values():
            socket.datagram_received(packet, address)
        await client.sync()
        assert not signs
        await browser.add_microphone()
        await until(lambda: len(signs) > 2)  # its sound


@needs_a_network
async def test_ices_questions_and_messages_are_signs_of_life(
    peers: list[WebRtcPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    signs: list[None] = []
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        (peer,) = peers
        monkeypatch.setattr(peer._guard, "on_packet", lambda: signs.append(None))
        assert browser.channel is not None
        browser.channel.send('{"type":"text","text":"Hi."}')
        await client.expect("llm")
        assert signs
        signs.clear()
        ice: RTCIceTransport = browser.connection.sctp.transport.transport  # type: ignore[union-attr]
        own = ice._connection
        ((_, pair),) = own._nominated.items()
        await pair.protocol.request(
            own.build_request(pair, nominate=False),
            pair.remote_addr,
            integrity_key=str(own.remote_password).encode(),
        )
        assert signs


def test_broken_stun_is_more_than_aioice_expects() -> None:
    """Fails when aioice reports it as it does other broken packets: then it need not be caught here."""
    with pytest.raises(Exception, match="requires a buffer of 4 bytes"):
        stun.parse_message(BROKEN_STUN)
