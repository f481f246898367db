"""Access by token: the link or header that carries it, the cookie that replaces it, and guesses."""

import asyncio
import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from enum import Enum, auto
from typing import Final

from aiohttp import web

from localvoice.transports.limits import TokenBucket

_GUESSES_PER_SECOND: Final = 3.0
_GUESS_BURST: Final = 10.0
_MAX_GUESSERS: Final = 1024
"""Addresses remembered for wrong tokens, the latest; a few hundred bytes each."""
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


def address_group(client: str) -> str:
    """What counts as one address: an IPv6 client has a whole /64, and would have as many tries."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _same(shown: str, right: bytes) -> bool:
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), right)  # headers may hold any bytes
