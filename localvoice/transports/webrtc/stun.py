"""A STUN server on this machine, for clients that would otherwise ask a public one.

The stock browser client takes an empty list of ICE servers for "none given" and then asks a public server, so
it is given this one. It answers binding requests from this host, or from the clients of the moment, and
nothing else.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aioice import stun


class StunAnswerer(asyncio.DatagramProtocol):
    """Answers on a free UDP port of one of this machine's addresses, only to `clients` if given."""

    def __init__(self, clients: Counter[str] | None = None) -> None:
        self._clients = clients
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, own: str = "127.0.0.1", clients: Counter[str] | None = None) -> "StunAnswerer":
        """Answer at an address of this machine. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        _, answerer = await loop.create_datagram_endpoint(lambda: cls(clients), local_addr=(own, 0))
        return answerer

    @property
    def url(self) -> str:
        assert self._transport is not None  # it is open
        host, port = self._transport.get_extra_info("sockname")[:2]
        return f"stun:[{host}]:{port}" if ":" in host else f"stun:{host}:{port}"

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self._clients is not None and address[0] not in self._clients:
            return
        try:
            request = stun.parse_message(data)
        except (ValueError, struct.error):  # struct.error: an attribute is too short for its type
            return
        kind = request.message_method, request.message_class
        if kind == (stun.Method.BINDING, stun.Class.REQUEST) and self._transport is not None:
            answer = stun.Message(
                stun.Method.BINDING,
                stun.Class.RESPONSE,
                request.transaction_id,
                {"XOR-MAPPED-ADDRESS": address},
            )
            self._transport.sendto(bytes(answer), address)


class NetworkStun:
    """An answerer at each address of this machine that clients come in by, opened for the first of them.

    All clients of an address share one: clients that are refused come by the dozen. Others get no answer.
    """

    def __init__(self) -> None:
        self._opened: dict[str, StunAnswerer] = {}
        self._clients = Counter[str]()
        self._opening = asyncio.Lock()

    async def at(self, own: str) -> str:
        """The URL of the answerer at an address of this machine."""
        async with self._opening:
            if own not in self._opened:
                self._opened[own] = await StunAnswerer.open(own, self._clients)
        return self._opened[own].url

    @contextmanager
    def answering(self, client: str) -> Iterator[None]:
        """While inside, requests from this address are answered."""
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def close(self) -> None:
        for each in self._opened.values():
            each.close()
