"""Which requests the server answers: those of its own pages, from this machine or with the token.

A browser lets any web page send requests to 127.0.0.1 and to addresses of its network. Two headers tell them
apart, and no page can forge them: `Host`, which is wrong where a page rebinds its own name to our address,
and `Origin`. Where a page's request has no `Origin`, as for a picture, browsers send `Sec-Fetch-Site`.
"""

import hashlib
import hmac
import ipaddress
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from localvoice.observability.stopwatch import now
from localvoice.transports.limits import TokenBucket
from localvoice.transports.webrtc.addresses import is_loopback

log = logging.getLogger(__name__)

# Strict, unlike a URL library: what that would repair, no browser sends.
_AUTHORITY: Final = re.compile(
    r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?"
)
_HIGHEST_PORT: Final = 2**16 - 1
_NAMES_KNOWN: Final = 256
"""Hosts and addresses in each cache: the same few are checked several times for each request."""
_QUOTED: Final = 200
"""Characters of a client's header that go into the log."""
_HEALTH: Final = "/health"
_PREFLIGHT: Final = {"Access-Control-Allow-Methods": "GET", "Access-Control-Allow-Headers": "Authorization"}
_GUESSES_PER_SECOND: Final = 3.0
_GUESS_BURST: Final = 10.0
_MAX_GUESSERS: Final = 1024
"""Addresses remembered for wrong tokens, the latest; a few hundred bytes each."""
_PAGE: Final = "./"
"""The page, from every path of the server: a reverse proxy may put a path of its own before them."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def is_own_host(host: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header is the loopback or one of `names`, on any port: a tunnel may change the port."""
    found = _AUTHORITY.fullmatch(host)
    if found is None or int(found["port"] or 0) > _HIGHEST_PORT:  # aiohttp fails on such a port
        return False
    name = _canonical((found["name"] or found["ipv6"]).lower())
    wildcard = "*." + name.partition(".")[2]  # in the user's own certificate; it stands for one label
    return is_loopback(name) or name in names or wildcard in names


def is_allowed_origin(
    origin: str | None, host: str, others: Collection[str], schemes: Collection[str] = ("http", "https")
) -> bool:
    """Whether a page of this origin may use the server. Programs send no `Origin`; browsers always do."""
    return origin is None or origin in [f"{scheme}://{host}" for scheme in schemes] or origin in others


class AuthResult(Enum):
    VALID = auto()
    MISSING = auto()
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
        """Check what an address shows at `now` (s): the right token or the right cookie is enough.

        Wrong tokens from its address delay only those who show a token, not those who have the cookie.
        """
        if cookie is not None and _same(cookie, self.cookie.encode()):
            return AuthResult.VALID
        if token is not None:
            return self._check_guess(address_group(client), token, now)
        return AuthResult.MISSING if cookie is None else AuthResult.WRONG

    def _check_guess(self, group: str, token: str, now: float) -> AuthResult:
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


def _same(shown: str, right: bytes) -> bool:
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), right)  # headers may hold any bytes


def address_group(client: str) -> str:
    """What counts as one address: an IPv6 client has a whole /64, and would have as many tries."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


@dataclass(frozen=True)
class AccessPolicy:
    """Which requests are answered."""

    origins: Collection[str] = ()
    """Other web pages that may use the server, as `scheme://host:port`."""
    hosts: Collection[str] = ()
    """Names, in lower case, that the server answers to apart from this machine's own."""
    auth: TokenAuth | None = None
    """Asks for the token; None asks for none."""
    network: bool = False
    """Whether other machines are served, over TLS."""


def access_middleware(
    policy: AccessPolicy, on_authenticated: Callable[[web.Request], None] = lambda request: None
) -> Middleware:
    """Refuses requests before any route. `on_authenticated` gets those that show the token."""

    async def admit(request: web.Request, handler: Handler, shared: Mapping[str, str]) -> web.StreamResponse:
        _check_page(request, policy)
        if not policy.network and not is_loopback(request.remote or ""):
            raise web.HTTPForbidden(text="This server answers its own machine only.\n")
        if shared and request.method == "OPTIONS":
            return web.Response(status=204, headers=_PREFLIGHT)
        if policy.auth is not None:
            link = request.query.get("token") if request.path == "/" or is_upgrade(request) else None
            _check_token(request, policy.auth, link)
            on_authenticated(request)
            if link is not None and not is_upgrade(request):
                return _exchange_link(request, policy.auth)
        return await handler(request)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        shared = _cors_headers(request, policy.origins)
        try:
            response = await admit(request, handler, shared)
        except web.HTTPException as refused:
            refused.headers.update(shared)  # without them the page can't read the reason
            raise
        response.headers.update(shared)
        return response

    return check


def is_upgrade(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _is_cross_site(request: web.Request) -> bool:
    return request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def _check_page(request: web.Request, policy: AccessPolicy) -> None:
    """Raises `HTTPForbidden` for a page of another site, and logs the setting that would allow it."""
    # A name can be rebound, an address can't: the one of ours that a client came in by is right.
    names = {*policy.hosts, own_end(request)} if policy.network else policy.hosts
    hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
    if len(hosts) != 1 or not is_own_host(hosts[0], names):
        log.warning(
            "a request to the name %s was refused. If that is a reverse proxy of yours, add the name to "
            "server.allowed_hosts",
            _quoted(hosts),
        )
        raise web.HTTPForbidden(
            text="This server doesn't answer to that name. If it is yours, add it to server.allowed_hosts.\n"
        )
    origin = origins[0] if origins else None
    schemes = ("https",) if policy.network else ("http", "https")
    # Another site's page may link to this server, but not load from it.
    embedded = _is_cross_site(request) and request.headers.get("Sec-Fetch-Mode") != "navigate"
    allowed = is_allowed_origin(origin, hosts[0], policy.origins, schemes)
    if len(origins) > 1 or (origin is None and embedded) or not allowed:
        if origins:
            log.warning(
                "a page of %s was refused. If it is yours, add that origin to server.allowed_origins",
                _quoted(origins),
            )
        raise web.HTTPForbidden(
            text="A page from elsewhere may not use this server. If it is yours, add its origin to "
            "server.allowed_origins.\n"
        )


def _quoted(values: Sequence[str]) -> str:
    """A client's headers, short and in one line."""
    return repr(", ".join(values)[:_QUOTED])


def _cors_headers(request: web.Request, origins: Collection[str]) -> dict[str, str]:
    """Headers that let an allowed page of another origin read `/health`; none for all else."""
    sent = request.headers.getall("Origin", [])
    if request.path != _HEALTH or len(sent) != 1 or sent[0] not in origins:
        return {}
    return {"Access-Control-Allow-Origin": sent[0], "Vary": "Origin"}


def _check_token(request: web.Request, auth: TokenAuth, link: str | None) -> None:
    """Raises the `HTTPException` that answers a request without the token; `link` is a link's."""
    kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = link if link is not None else bearer.strip() if kind.lower() == "bearer" else None
    cookie = request.cookies.get(_cookie_name(request))
    match auth.check(request.remote or "", token, cookie, now()):
        case AuthResult.MISSING:
            headers = {"WWW-Authenticate": "Bearer"}
            if _is_cross_site(request):
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


def _exchange_link(request: web.Request, auth: TokenAuth) -> web.Response:
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
    return f"{prefix}localvoice-{request.url.port}-{_local_address(request)[1]}"


def own_end(request: web.Request) -> str:
    """This machine's address that a request came in by; empty if its connection is lost already."""
    return _canonical(_local_address(request)[0])


def _local_address(request: web.Request) -> tuple[str, int]:
    return (request.get_extra_info("sockname") or ("", 0))[:2]


@lru_cache(_NAMES_KNOWN)
def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
