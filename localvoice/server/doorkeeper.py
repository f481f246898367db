"""The token that the network has to show: who knows it comes in, and nobody guesses it quickly."""

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from enum import Enum, auto
from typing import Final

from localvoice.server.limits import TokenBucket

COOKIE: Final = "__Host-localvoice"
"""With this prefix browsers take it over TLS alone, and give it to this host alone."""
_GUESSES_PER_SECOND: Final = 3.0
_GUESS_BURST: Final = 10.0
"""A page that was left open sends the token of yesterday some times."""
_CLIENTS: Final = 1024
"""Those who guessed wrong last; a few hundred bytes each."""


class Verdict(Enum):
    """What becomes of a request."""

    WELCOME = auto()
    MISSING = auto()
    """It shows neither token nor cookie."""
    WRONG = auto()
    TOO_MANY = auto()
    """Its address guessed too often of late, so what it shows wasn't even looked at."""


class Doorkeeper:
    """Compares what clients show with the token, in constant time, and counts wrong ones by address."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        # A browser gives its cookies to every port of a host, so what it keeps is not the token itself.
        self.cookie = hmac.new(self._token, b"localvoice cookie", hashlib.sha256).hexdigest()
        self._guesses: OrderedDict[str, TokenBucket] = OrderedDict()

    def judge(self, client: str, token: str | None, cookie: str | None, now: float) -> Verdict:
        """What to do with a request from the address `client` at `now` (s); the token goes first."""
        shown, right = (cookie, self.cookie.encode()) if token is None else (token, self._token)
        if shown is None:
            return Verdict.MISSING
        bucket = self._guesses.get(_group(client))
        # Looked at before the comparison: a guess that is compared anyway would be no less of a guess.
        if bucket is not None and bucket.wait(now):
            return Verdict.TOO_MANY
        # Headers may hold bytes that are no text.
        if hmac.compare_digest(shown.encode(errors="surrogateescape"), right):
            return Verdict.WELCOME
        self._count_guess(_group(client), now)
        return Verdict.WRONG

    def _count_guess(self, group: str, now: float) -> None:
        bucket = self._guesses.setdefault(group, TokenBucket(_GUESSES_PER_SECOND, _GUESS_BURST, now))
        bucket.take(now)
        self._guesses.move_to_end(group)
        if len(self._guesses) > _CLIENTS:
            self._guesses.popitem(last=False)


def _group(client: str) -> str:
    """An IPv6 client has a whole /64 to itself, and would have as many tries."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
