"""The STUN answerer: a client learns its address from this machine, and garbage learns nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aioice import Candidate, stun
from aioice.ice import Connection as IceConnection
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localvoice.transports.webrtc.stun import NetworkStun, StunAnswerer
from tests.support.webrtc_strangers import BROKEN_STUN


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received.put_nowait(data)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Client, asyncio.DatagramTransport]]:
    answerer = await StunAnswerer.open()
    host, port = answerer.url.removeprefix("stun:").split(":")
    assert host == "127.0.0.1"
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=(host, int(port)))
    try:
        yield client, transport
    finally:
        transport.close()
        answerer.close()


def binding(kind: stun.Class = stun.Class.REQUEST) -> stun.Message:
    return stun.Message(stun.Method.BINDING, kind, transaction_id=b"twelve bytes")


async def test_a_client_is_told_its_own_address() -> None:
    async with connected() as (client, transport), asyncio.timeout(2):
        transport.sendto(bytes(binding()))
        answer = stun.parse_message(await client.received.get())
        assert answer.message_class == stun.Class.RESPONSE
        assert answer.transaction_id == b"twelve bytes"
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == transport.get_extra_info("sockname")


async def test_garbage_gets_nothing_and_does_no_harm() -> None:
    async with connected() as (client, transport), asyncio.timeout(2):
        for data in (b"", b"x", b"\0" * 20, b"\xff" * 1400, bytes(binding())[:-1], bytes(binding()) + b"\0"):
            transport.sendto(data)
        for kind in (stun.Class.RESPONSE, stun.Class.ERROR, stun.Class.INDICATION):
            transport.sendto(bytes(binding(kind)))
        transport.sendto(bytes(stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST)))
        last = binding()
        last.transaction_id = b"the last one"
        transport.sendto(bytes(last))
        answer = stun.parse_message(await client.received.get())
        assert answer.transaction_id == b"the last one", "the only answer"


@given(st.binary(max_size=60), st.binary(max_size=40))
@example(BROKEN_STUN, b"")
@settings(max_examples=300)
def test_no_bytes_raise(data: bytes, body: bytes) -> None:
    answerer = StunAnswerer()
    header = b"\0\1" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + b"t" * 12
    for packet in (data, header + body):
        answerer.datagram_received(packet, ("127.0.0.1", 9))


async def test_the_ice_library_of_our_own_peers_gets_its_address_from_it() -> None:
    answerer = await StunAnswerer.open()
    port = int(answerer.url.rsplit(":")[-1])
    connection = IceConnection(ice_controlling=True, stun_server=("127.0.0.1", port))
    try:
        async with asyncio.timeout(5):
            await connection.gather_candidates()
        assert all(isinstance(candidate, Candidate) for candidate in connection.local_candidates)
    finally:
        await connection.close()
        answerer.close()


async def test_on_the_network_one_answers_its_clients_and_only_while_they_are_that() -> None:
    answerers = NetworkStun()
    urls = await asyncio.gather(*(answerers.at("127.0.0.1") for _ in range(5)))
    assert len(set(urls)) == 1, "one for all who come in by an address"
    port = int(urls[0].rsplit(":")[-1])
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port))

    async def answers() -> int:
        transport.sendto(bytes(binding()))
        await asyncio.sleep(0.2)
        return asking.received.qsize()

    with answerers.answering("192.0.2.77"):
        assert await answers() == 0
        with answerers.answering("127.0.0.1"):
            with answerers.answering("127.0.0.1"):
                assert await answers() == 1
            assert await answers() == 2, "its other connection is left"
        assert await answers() == 2
    assert not answerers._clients
    transport.close()
    answerers.close()


async def test_it_stops() -> None:
    answerer = await StunAnswerer.open()
    port = int(answerer.url.rsplit(":")[-1])
    answerer.close()
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Client, local_addr=("127.0.0.1", port))
    transport.close()
