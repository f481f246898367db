"""A proxy on localhost, SOCKS 5 and HTTP on one port, that finds every host at 127.0.0.1."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class TinyProxy:
    """A running proxy."""

    address: str = ""
    """host:port"""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Protocol and host of each connection that was asked for."""


@contextmanager
def tiny_proxy() -> Iterator[TinyProxy]:
    """A proxy as long as the block."""
    proxy = TinyProxy()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            client.settimeout(10)
            first = client.recv(65_536)
            if not first:
                return
            if first[0] == 5:
                host, port = _socks(client)
                proxy.asked.append(("socks", host))
                _relay(client, port, b"")
            else:
                found = re.match(rb"(\w+) http://([^:/]+):(\d+)(\S+)", first)
                assert found is not None
                proxy.asked.append(("http", found[2].decode()))
                _relay(client, int(found[3]), found[1] + b" " + found[4] + first[found.end() :])

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Handler)
    proxy.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _socks(client: socket.socket) -> tuple[str, int]:
    """The rest of the handshake (RFC 1928), without a login; the host and port that are wanted."""
    client.sendall(b"\x05\x00")
    request = client.recv(512)
    assert request[:4] == b"\x05\x01\x00\x03", "a connection to a host by name"
    name = request[5 : 5 + request[4]]
    client.sendall(b"\x05\x00\x00\x01" + bytes(6))
    return name.decode(), int.from_bytes(request[-2:])


def _relay(client: socket.socket, port: int, begun: bytes) -> None:
    """Both directions until one side ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as server:
        server.sendall(begun)

        def forth() -> None:
            while data := client.recv(65_536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=forth)
        thread.start()
        try:
            while data := server.recv(65_536):
                client.sendall(data)
        finally:
            client.shutdown(socket.SHUT_RDWR)
            thread.join()
