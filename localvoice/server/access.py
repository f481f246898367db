"""Access by token: the link, header or cookie that carries it, guesses, and connections that show none."""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from aiohttp import web

from localvoice.transports.limits import TokenBucket

log = logging.getLogger(__name__)

_GUESSES_PER_SECOND: Final = 3.0
_GUESS_BURST: Final = 10.0
_MAX_GUESSERS: Final = 1024
"""Addresses remembered for wrong tokens, the latest; a few hundred bytes each."""
_LIFETIME_SECONDS: Final = 60.0
"""aiohttp closes a connection that asks for nothing after ten; this ends one that asks now and then."""
_CALM_SHARE: Final = 4
"""The flood is over when less than one in so many of the places is taken."""
_PAGE: Final = "./"
"""The page, from every path of the server: a reverse proxy may put a path of its own before them."""


class AuthResult(Enum):
    """What a request shows."""

    VALID = auto()
    MISSING = auto()
    """Neither token nor cookie."""
    WRONG = auto()
    TOO_MANY = auto()
    """A token from an address that guessed too often; it wasn't compared."""


class TokenAuth:
    """Compares what clients show with the token, in constant time, and limits wrong tokens by address."""

    def __init__(self, token: str, secret: bytes) -> None:
        """`secret`, hard to guess, makes the cookie, which is valid as long as both stay the same."""
        self._token = token.encode()
        # Browsers send the cookies of a host to all of its ports, so the cookie is not the token. The secret
        # in it keeps it from being computed from a guessed token, so cookies need no limit of their own.
        self.cookie = hmac.new(secret, b"localvoice cookie " + self._token, hashlib.sha256).hexdigest()
        self._guesses: OrderedDict[str, TokenBucket] = OrderedDict()

    def check(self, client: str, token: str | None, cookie: str | None, now: float) -> AuthResult:
        """Check a request from the address `client` at `now` (s).

        The right cookie is valid whatever token comes with it and however many wrong ones came from its
        address. The right token is valid whatever cookie comes with it.
        """
        if cookie is not None and _same(cookie, self.cookie.encode()):
            return AuthResult.VALID
        if token is not None:
            return self._check_token(address_group(client), token, now)
        return AuthResult.MISSING if cookie is None else AuthResult.WRONG

    def _check_token(self, group: str, token: str, now: float) -> AuthResult:
        bucket = self._guesses.get(group)
        # The limit comes before the comparison: a guess that is compared anyway is still a guess.
        if bucket is not None and bucket.wait(now):
            return AuthResult.TOO_MANY
        if _same(token, self._token):
            return AuthResult.VALID
        bucket = self._guesses.setdefault(group, TokenBucket(_GUESSES_PER_SECOND, _GUESS_BURST, now))
        bucket.take(now)
        self._guesses.move_to_end(group)
        if len(self._guesses) > _MAX_GUESSERS:
            self._guesses.popitem(last=False)
        return AuthResult.WRONG


def check_token(request: web.Request, auth: TokenAuth, link: str | None, cross_site: bool) -> None:
    """Raises `HTTPUnauthorized`, `HTTPForbidden` or `HTTPTooManyRequests` without the token.

    `link` is the token of a link, if there is one; `cross_site` says that the request comes from another
    site.
    """
    kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = link if link is not None else bearer.strip() if kind.lower() == "bearer" else None
    cookie = request.cookies.get(_cookie_name(request))
    match auth.check(request.remote or "", token, cookie, asyncio.get_running_loop().time()):
        case AuthResult.MISSING:
            headers = {"WWW-Authenticate": "Bearer"}
            if cross_site:
                # A browser holds the cookie back where a link on another site's page is followed, but not
                # when our own answer sends it on.
                headers["Refresh"] = f"0; url={_PAGE}"
            raise web.HTTPUnauthorized(
                text="Open the link with the token that localvoice showed when it started. Programs send it "
                "as `Authorization: Bearer TOKEN`, WebSockets of a browser as `?token=TOKEN`.\n",
                headers=headers,
            )
        case AuthResult.WRONG:
            raise web.HTTPForbidden(
                text="That token isn't valid, or not any more. Open the link that localvoice showed when it "
                "last started.\n"
            )
        case AuthResult.TOO_MANY:
            raise web.HTTPTooManyRequests(
                text="Too many wrong tokens came from your address. Try again in a second.\n",
                headers={"Retry-After": "1"},
            )


def exchange_link(request: web.Request, auth: TokenAuth) -> web.Response:
    """Set the cookie and redirect to the page, so that the link stays in no address bar and no history."""
    response = web.Response(status=303, headers={"Location": _PAGE, "Cache-Control": "no-store"})
    name = _cookie_name(request)
    response.set_cookie(name, auth.cookie, path="/", secure=request.secure, httponly=True, samesite="Strict")
    return response


def _cookie_name(request: web.Request) -> str:
    """With both ports, because browsers send a cookie to all ports of its host.

    Our own port tells the servers of a machine apart; the one that the browser knows, those of several
    machines whose tunnels end on one. With the prefix `__Host-`, browsers take the cookie over TLS alone and
    for this host alone.
    """
    prefix = "__Host-" if request.secure else ""
    return f"{prefix}localvoice-{request.url.port}-{local_address(request)[1]}"


def local_address(request: web.Request) -> tuple[str, int]:
    """This machine's end of a request's connection; ("", 0) if that is lost already."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return (name[0], name[1]) if name else ("", 0)


@dataclass(eq=False)
class PendingConnection:
    """A connection that was accepted."""

    source: tuple[str, int]
    """The client's address and port."""
    since: float
    """When it was accepted (s)."""
    socket: socket.socket
    abort: Callable[[], None]
    """Ends it at once."""

    @property
    def closed(self) -> bool:
        """Whether the socket is closed, not just closing: a client that doesn't read keeps it open."""
        return self.socket.fileno() < 0


class PendingConnections:
    """Connections that have shown no token; without a token, those without a WebSocket that is served.

    One address may have half of `most`, so it shuts out none but itself. Above the limit the oldest
    connection is ended, rather than the newest refused: a client that asks for something is pending for
    milliseconds.
    """

    def __init__(self, most: int) -> None:
        """`most` at a time."""
        self._most = most
        self._groups: dict[str, dict[tuple[str, int], PendingConnection]] = {}
        """By address or IPv6 network, the oldest first."""
        self._flooded = False

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._groups.values()))

    def add(self, connection: PendingConnection) -> None:
        """Count a new connection, and end an older one if it is one too many."""
        group = address_group(connection.source[0])
        self._groups.setdefault(group, {})[connection.source] = connection
        if self._is_full(group):
            self._drop_closed()
        if self._is_full(group):
            address = self._end_oldest(group if self._has_too_many(group) else self._largest())
            self._log_flood(address)

    def authenticated(self, source: tuple[str, int]) -> None:
        """The connection from this address and port is not pending any more."""
        group = self._groups.get(address_group(source[0]))
        if group is not None:
            group.pop(source, None)

    def make_room(self) -> bool:
        """End the oldest of the address that has most. False if there is none."""
        self._drop_closed()
        if self._groups:
            self._end_oldest(self._largest())
            return True
        return False

    def sweep(self, now: float) -> None:
        """End those that are too old; to be called each second or so."""
        for group in self._groups.values():
            for source, connection in list(group.items()):
                if now - connection.since > _LIFETIME_SECONDS:
                    del group[source]
                    connection.abort()
        self._drop_closed()
        if self._flooded and len(self) <= self._most // _CALM_SHARE:
            self._flooded = False
            log.warning("the flood of connections without a token is over")

    def _is_full(self, group: str) -> bool:
        return len(self) > self._most or self._has_too_many(group)

    def _has_too_many(self, group: str) -> bool:
        return len(self._groups.get(group, ())) > max(1, self._most // 2)

    def _largest(self) -> str:
        return max(self._groups, key=lambda group: len(self._groups[group]))

    def _end_oldest(self, group: str) -> str:
        """Gives the address that the connection came from."""
        oldest = next(iter(self._groups[group]))
        self._groups[group].pop(oldest).abort()
        return oldest[0]

    def _log_flood(self, address: str) -> None:
        if not self._flooded:
            self._flooded = True
            log.warning(
                "%s keeps many connections open without showing a token. The oldest of them are ended, and "
                "other clients are served as before",
                address,
            )

    def _drop_closed(self) -> None:
        for name, group in list(self._groups.items()):
            for source in [source for source, connection in group.items() if connection.closed]:
                del group[source]
            if not group:
                del self._groups[name]


def address_group(client: str) -> str:
    """What counts as one address: an IPv6 client has a whole /64, and would have as many tries."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _same(shown: str, right: bytes) -> bool:
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), right)  # headers may hold any bytes
