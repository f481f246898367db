"""Clients without places, for `overload.py`: `overload_refused.py ADDRESS COUNT [--hammer]`.

They come again when they were told to, or at once if they are to hammer. Ends with its standard input, and
then prints what they met: milliseconds from coming to being told, and to the close with 1013.

In life these are other machines, so what they compute must not be taken from the served. They use bare
sockets, with a thread each, for a quarter of what a WebSocket library takes; and they are nice, so that
one of them that wakes doesn't halt a model's thread. Where all cores are busy they may hear of their refusal
later than it came, never sooner, and come more seldom: `overload.py` prints how often.
"""

import base64
import json
import os
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

REFUSAL = "RATE_LIMITED"
TEXT, CLOSE, TRY_AGAIN_LATER = 0x81, 0x88, 1013
"""What frames begin with, and what the last one says."""
PATIENCE_SECONDS = 60.0
NICENESS = 10
"""With 19, beside two programs that keep both cores busy, they came 36 times a second, not 51, and heard of
their refusals up to 0.6 s late; with 10 neither."""


class Frames:
    """What a server sends on a socket; it masks nothing."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""

    def headers(self) -> bytes:
        """All that comes before the first frame."""
        while b"\r\n\r\n" not in self._unread:
            self._read()
        headers, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return headers

    def next(self) -> tuple[int, bytes]:
        """First byte and content of a frame."""
        first, size = self._take(2)
        if size == 126:
            size = int.from_bytes(self._take(2))
        return first, self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._read()
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken

    def _read(self) -> None:
        self._unread += self._connection.recv(4096) or sys.exit("The server hung up without a word.")


class Refused:
    """What all clients met."""

    def __init__(self, address: str) -> None:
        self._host, self._port = urlsplit(address).hostname or "", urlsplit(address).port or 80
        self.told, self.closed = list[float](), list[float]()
        self.ended = threading.Event()

    def come(self, heeds: bool) -> None:
        """Until `ended` is set. Who heeds what it is told waits so many seconds."""
        while not self.ended.is_set():
            try:
                seconds = self._once()
            except BaseException as error:
                print(f"A client was refused in another way than it should be: {error!r}", file=sys.stderr)
                os._exit(1)  # the others, too
            if heeds:
                self.ended.wait(seconds)

    def _once(self) -> int:
        """Come and be refused; the seconds to wait."""
        key = base64.b64encode(os.urandom(16)).decode()
        begun = time.perf_counter()
        with socket.create_connection((self._host, self._port), PATIENCE_SECONDS) as connection:
            connection.sendall(
                f"GET /ws HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Protocol: localvoice\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            frames = Frames(connection)
            assert frames.headers().startswith(b"HTTP/1.1 101 ")
            message = {"type": ""}
            while message["type"] != "error":
                first, content = frames.next()
                assert first == TEXT
                message = json.loads(content)
            told = time.perf_counter()
            first, content = frames.next()
            closed = time.perf_counter()
            assert message["code"] == REFUSAL
            assert first == CLOSE and int.from_bytes(content[:2]) == TRY_AGAIN_LATER
            connection.sendall(bytes((CLOSE, 0x80 | 2, 0, 0, 0, 0)) + content[:2])  # masked with zeros
        self.told.append(1000 * (told - begun))
        self.closed.append(1000 * (closed - begun))
        return int(message["message"].split("Try again in ")[1].removesuffix(" s."))


def main(address: str, count: int, heeds: bool) -> None:
    """Until the standard input ends."""
    os.nice(NICENESS)
    refused, begun = Refused(address), time.perf_counter()
    comers = [threading.Thread(target=refused.come, args=(heeds,)) for _ in range(count)]
    for comer in comers:
        comer.start()
    sys.stdin.read()
    refused.ended.set()
    for comer in comers:
        comer.join()
    seconds = time.perf_counter() - begun
    print(json.dumps({"told": refused.told, "closed": refused.closed, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "--hammer" not in sys.argv)
