"""How much clients may ask for, on the monotonic clock. A flood costs next to nothing."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from localvoice.config import LimitSettings
from localvoice.contract.client_messages import MAX_MESSAGE_BYTES
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.transports.token_bucket import TokenBucket

_TELL_SECONDS: Final = 1.0
"""A client in a flood is told at most so often."""
_FULL_SECONDS: Final = 5
"""When to try again where nobody knows: a connection ends when its client likes."""
_BURST_SECONDS: Final = 4
"""Of bytes: a few pictures may come at once."""


class Limiter:
    """One connection's limits."""

    def __init__(self, settings: LimitSettings) -> None:
        """To be made on a running event loop, whose clock counts."""
        now = _now()
        self._messages = TokenBucket(settings.messages_per_second, settings.message_burst, now)
        # Sound has a share of its own: chunks of it come by the dozen, and cost little.
        chunks = settings.audio_chunks_per_second
        self._unread = TokenBucket(
            settings.messages_per_second + chunks, settings.message_burst + 2 * chunks, now
        )
        size = settings.megabytes_per_second * 2**20
        self._bytes = TokenBucket(size, max(_BURST_SECONDS * size, MAX_MESSAGE_BYTES), now)
        # A minute's worth may come at once: people who type do, and a client that comes back does.
        self._turns = TokenBucket(settings.turns_per_minute / 60, settings.turns_per_minute, now)
        self._told = -math.inf
        self.behind = 0.0
        """Seconds for which nothing more should be read. A flood that waits in the client's own socket costs
        the others nothing."""

    def check_unread(self, size: int) -> bool:
        """Whether to read what has come, of so many bytes; False drops it. Sound and other messages together.

        Sets `behind`. Raises `VoiceError` RATE_LIMITED, for the client to be told, in place of False at most
        once a second.
        """
        size = min(size, MAX_MESSAGE_BYTES)  # past that it is not read, whatever its size
        self.behind = 0.0
        for bucket, what, cost in ((self._unread, "messages", 1), (self._bytes, "bytes", size)):
            self.behind = bucket.take(_now(), cost)
            if self.behind:
                return self._tell(what, self.behind)
        return True

    def check_message(self) -> bool:
        """Whether to handle what has been read and isn't sound; otherwise as `check_unread`."""
        return self._passes(self._messages, "messages")

    def check_turn(self) -> bool:
        """Whether to answer what the user has typed or sent; otherwise as `check_unread`."""
        return self._passes(self._turns, "turns")

    def _passes(self, bucket: TokenBucket, what: str) -> bool:
        wait = bucket.take(_now())
        return self._tell(what, wait) if wait else True

    def _tell(self, what: str, wait: float) -> Literal[False]:
        if _now() - self._told < _TELL_SECONDS:
            return False
        self._told = _now()
        raise limited(f"Too many {what} on this connection", math.ceil(wait))


class Admission:
    """The process's limits: connections at a time, and the sessions that begin with them."""

    def __init__(self, settings: LimitSettings) -> None:
        """To be made on a running event loop, whose clock counts."""
        self._most = settings.connections
        self._sessions = TokenBucket(settings.sessions_per_minute / 60, settings.sessions_per_minute, _now())
        self._connections = 0

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Holds a place for a connection and its session; `VoiceError` RATE_LIMITED if none is free."""
        if self._connections >= self._most:
            raise limited(f"All {self._most} connections of this server are in use", _FULL_SECONDS)
        wait = self._sessions.take(_now())
        if wait:
            raise limited("Too many new sessions on this server", math.ceil(wait))
        self._connections += 1
        try:
            yield
        finally:
            self._connections -= 1


def limited(what: str, seconds: int) -> VoiceError:
    """Whoever asked too much is told when to try again."""
    words = f"{what}. Try again in {seconds} s."
    return VoiceError(ErrorCode.RATE_LIMITED, Component.SERVER, words, retry_after=seconds)


def _now() -> float:
    return asyncio.get_running_loop().time()
