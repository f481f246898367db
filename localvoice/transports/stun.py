"""A STUN answerer on this machine, for clients that would otherwise ask a public one.

The stock browser client takes an empty list of ICE servers for "none given" and then asks a public server,
so it is given this one. It answers binding requests from this host, or from the one client that it is for,
and nothing else.
"""

import asyncio
from typing import Any

from aioice import stun


class _Answerer(asyncio.DatagramProtocol):
    def __init__(self, client: str | None = None) -> None:
        self._client = client
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self._client is not None and address[0] != self._client:
            return
        try:
            request = stun.parse_message(data)
        except ValueError:
            return
        if request.message_method != stun.Method.BINDING or request.message_class != stun.Class.REQUEST:
            return
        answer = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = address
        if self._transport is not None:
            self._transport.sendto(bytes(answer), address)


class StunAnswerer:
    """Listens on a free UDP port of one of this machine's addresses while it is open."""

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    @classmethod
    async def open(cls, own: str = "127.0.0.1", client: str | None = None) -> "StunAnswerer":
        """Start answering at an address of this machine, only to the address `client` where one is given."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Answerer(client), local_addr=(own, 0))
        return cls(transport)

    @property
    def url(self) -> str:
        """As it stands in a client's list of ICE servers."""
        host, port = self._transport.get_extra_info("sockname")[:2]
        return f"stun:[{host}]:{port}" if ":" in host else f"stun:{host}:{port}"

    def close(self) -> None:
        """Stop answering."""
        self._transport.close()
