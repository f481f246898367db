"""A connection that can't be opened: it costs itself alone, and the log tells of it once."""

import asyncio
import logging

import pytest

from localvoice.server.listener import Listener, PendingConnections, listening_sockets


class Greeting(asyncio.Protocol):
    """Sends each client a word."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"hello\n")
        transport.close()


class Factory:
    """Makes protocols once it has raised its errors."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    def __call__(self) -> asyncio.Protocol:
        if self._errors:
            raise self._errors.pop(0)
        return Greeting()


async def heard(port: int) -> bytes:
    """What a client of this port is sent until the server closes the connection."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await reader.read()
        finally:
            writer.close()


async def test_connections_that_cannot_be_opened_end_alone(caplog: pytest.LogCaptureFixture) -> None:
    factory = Factory(ValueError("one"), RuntimeError("another"), ValueError("one more"))
    # Each connection ends the one before it, which reads how that was opened.
    listener = Listener(listening_sockets("127.0.0.1", 0), factory, None, PendingConnections(1))
    try:
        assert [await heard(listener.port) for _ in range(5)] == [b"", b"", b"", b"hello\n", b"hello\n"]
    finally:
        await listener.close()
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.exc_info[0] for record in told if record.exc_info] == [ValueError, RuntimeError]
    assert all("can't be opened" in record.getMessage() for record in told if record.exc_info)
