"""The token that clients have to show, and the cookie that a browser keeps in its place."""

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from enum import Enum, auto
from typing import Final

from localvoice.transports.token_bucket import TokenBucket

_GUESSES_PER_SECOND: Final = 3.0
_GUESS_BURST: Final = 10.0
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
    """Compares what clients show with the token, in constant time, and counts wrong tokens by address."""

    def __init__(self, token: str, secret: bytes) -> None:
        """`secret` makes the cookie. It must be hard to guess; the cookie lasts as long as it does."""
        self._token = token.encode()
        # Browsers give the cookies of a host to all of its ports, so the cookie is not the token. The secret
        # in it keeps it from being computed from a guessed token, so cookies need no limit of their own.
        self.cookie = hmac.new(secret, b"localvoice cookie " + self._token, hashlib.sha256).hexdigest()
        self._guesses: OrderedDict[str, TokenBucket] = OrderedDict()

    def judge(self, client: str, token: str | None, cookie: str | None, now: float) -> Verdict:
        """What to do with a request from the address `client` at `now` (s).

        The right cookie is always welcome, whatever token comes with it and however many wrong ones came
        from the same address. The right token is welcome whatever cookie comes with it.
        """
        if cookie is not None and _same(cookie, self.cookie.encode()):
            return Verdict.WELCOME
        if token is not None:
            return self._judge_token(address_group(client), token, now)
        return Verdict.MISSING if cookie is None else Verdict.WRONG

    def _judge_token(self, group: str, token: str, now: float) -> Verdict:
        bucket = self._guesses.get(group)
        # The limit comes before the comparison: a guess that is compared anyway is still a guess.
        if bucket is not None and bucket.wait(now):
            return Verdict.TOO_MANY
        if _same(token, self._token):
            return Verdict.WELCOME
        self._count_guess(group, now)
        return Verdict.WRONG

    def _count_guess(self, group: str, now: float) -> None:
        bucket = self._guesses.setdefault(group, TokenBucket(_GUESSES_PER_SECOND, _GUESS_BURST, now))
        bucket.take(now)
        self._guesses.move_to_end(group)
        if len(self._guesses) > _CLIENTS:
            self._guesses.popitem(last=False)


def _same(shown: str, right: bytes) -> bool:
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), right)  # headers may hold any bytes


def address_group(client: str) -> str:
    """What counts as one address: an IPv6 client has a whole /64 to itself, and would have as many tries."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
