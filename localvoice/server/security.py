"""Who may talk to the server: its own pages, from this machine; with a token, only those who show it.

A browser lets any web page send requests to 127.0.0.1, and to addresses of its network. Two headers tell
them apart, and no page can forge them: `Host`, which a page that rebinds its own name to our address gets
wrong, and `Origin`. Where a page's request has no `Origin`, as for a picture, browsers say `Sec-Fetch-Site`.
"""

import asyncio
import ipaddress
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from localvoice.config import ConfigError
from localvoice.server.doorkeeper import Doorkeeper, Verdict

log = logging.getLogger(__name__)

# Nothing lenient, such as a URL library's: what it would repair, a browser would not send.
_AUTHORITY: Final = re.compile(
    r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?"
)
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9._-]+|[0-9A-Fa-f:]+")
_ORIGIN: Final = re.compile(
    r"(?!http://.*:80$)(?!https://.*:443$)[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:\d{1,5})?"
)

_HIGHEST_PORT: Final = 2**16 - 1
_NAMES_KNOWN: Final = 256
"""Hosts and addresses that are remembered: the same few are judged several times for each request."""
_QUOTED: Final = 200
"""Characters of what a stranger sent that go into the log."""
_PAGE: Final = "./"
"""The page, from all of our paths: a reverse proxy may put a path of its own before them."""
_HEALTH: Final = "/health"
_PREFLIGHT: Final = {"Access-Control-Allow-Methods": "GET", "Access-Control-Allow-Headers": "Authorization"}

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


def check_listen_address(host: str) -> None:
    """Without TLS only this machine is served. Raises `ConfigError` for an address that others reach."""
    if not is_loopback(host):
        raise ConfigError(
            f"The server listens on this machine only, so --host can't be {host}. `--lan` serves the "
            "network, over TLS and with a token. Or use a tunnel from the other device: `ssh -L "
            "8787:127.0.0.1:8787 THIS-MACHINE`, then open http://127.0.0.1:8787 there."
        )


def check_allowed(origins: Collection[str], hosts: Collection[str]) -> None:
    """Raises `ConfigError` for an origin or a name that no browser ever sends, and so would allow nothing."""
    for origin in origins:
        if origin != "null" and _ORIGIN.fullmatch(origin) is None:
            raise ConfigError(
                f"server.allowed_origins holds {origin!r}, which is no origin. Write it as browsers send it: "
                "`scheme://host:port` in lower case, without a path, and without the port 80 of http or 443 "
                "of https."
            )
    for host in hosts:
        if _HOST.fullmatch(host) is None:
            raise ConfigError(
                f"server.allowed_hosts holds {host!r}, which is no host name. Write the name alone, such as "
                "`voice.example`, without scheme, port or path."
            )


@lru_cache(_NAMES_KNOWN)
def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's for itself."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_own_host(host: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header is this machine's or one of the names, on any port: a tunnel may change it."""
    found = _AUTHORITY.fullmatch(host)
    if found is None or int(found["port"] or 0) > _HIGHEST_PORT:  # aiohttp stumbles over such a port
        return False
    name = _canonical((found["name"] or found["ipv6"]).lower())
    wildcard = "*." + name.partition(".")[2]  # of the user's own certificate; it stands for one label
    return is_loopback(name) or name in names or wildcard in names


def is_allowed_origin(
    origin: str | None, host: str, others: Collection[str], schemes: Collection[str] = ("http", "https")
) -> bool:
    """Whether a page of this origin may use the server. Programs send no Origin; a browser always does."""
    return origin is None or origin in [f"{scheme}://{host}" for scheme in schemes] or origin in others


@dataclass(frozen=True)
class Access:
    """Who is let in."""

    origins: Collection[str] = ()
    """Other web pages that may use the server, as `scheme://host:port`."""
    hosts: Collection[str] = ()
    """Names, in lower case, that the server answers to apart from this machine's own."""
    door: Doorkeeper | None = None
    """Asks for the token; None asks for none."""
    network: bool = False
    """Whether other machines are served, which takes TLS."""


def guard(access: Access, on_token: Callable[[web.Request], None] = lambda request: None) -> Middleware:
    """Middleware that turns strangers away before any route. `on_token` gets requests that show the token."""

    async def admit(request: web.Request, handler: Handler, shared: Mapping[str, str]) -> web.StreamResponse:
        _check_page(request, access)
        if not access.network and not is_loopback(request.remote or ""):
            raise web.HTTPForbidden(text="This server answers its own machine only.\n")
        if shared and request.method == "OPTIONS":
            return web.Response(status=204, headers=_PREFLIGHT)
        if access.door is not None:
            link = request.query.get("token") if request.path == "/" or is_upgrade(request) else None
            _check_token(request, access.door, link)
            on_token(request)
            if link is not None and not is_upgrade(request):
                return _welcome(request, access.door)
        return await handler(request)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        shared = _shared(request, access.origins)
        try:
            response = await admit(request, handler, shared)
        except web.HTTPException as refused:
            refused.headers.update(shared)  # or the page could not read why
            raise
        response.headers.update(shared)
        return response

    return check


def is_upgrade(request: web.Request) -> bool:
    """Whether a request asks for a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _check_page(request: web.Request, access: Access) -> None:
    """Raises `HTTPForbidden` for a page from elsewhere, and logs what lets it in if it is the user's own."""
    # A name can be rebound, an address can't: whichever of ours a client came in by is right.
    names = {*access.hosts, own_end(request)} if access.network else access.hosts
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
    schemes = ("https",) if access.network else ("http", "https")
    from_elsewhere = origin is None and _is_fetched_from_elsewhere(request)
    allowed = is_allowed_origin(origin, hosts[0], access.origins, schemes)
    if len(origins) > 1 or from_elsewhere or not allowed:
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
    """What a stranger sent, short and in one line."""
    return repr(", ".join(values)[:_QUOTED])


def _shared(request: web.Request, origins: Collection[str]) -> dict[str, str]:
    """Headers that let an allowed page read the answer; none for other pages and other paths."""
    sent = request.headers.getall("Origin", [])
    if request.path != _HEALTH or len(sent) != 1 or sent[0] not in origins:
        return {}
    return {"Access-Control-Allow-Origin": sent[0], "Vary": "Origin"}


def _is_fetched_from_elsewhere(request: web.Request) -> bool:
    """Whether another site's page asks for this as a part of its own. Its links may be followed."""
    return _is_from_elsewhere(request) and request.headers.get("Sec-Fetch-Mode") != "navigate"


def _is_from_elsewhere(request: web.Request) -> bool:
    return request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def _check_token(request: web.Request, door: Doorkeeper, link: str | None) -> None:
    """Raises `HTTPUnauthorized`, `HTTPForbidden` or `HTTPTooManyRequests` without the token."""
    kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = link if link is not None else bearer.strip() if kind.lower() == "bearer" else None
    now = asyncio.get_running_loop().time()
    match door.judge(request.remote or "", token, request.cookies.get(_cookie(request)), now):
        case Verdict.MISSING:
            headers = {"WWW-Authenticate": "Bearer"}
            if _is_from_elsewhere(request):
                # A browser holds the cookie back where a link on another site's page is followed, but not
                # when our own answer sends it on.
                headers["Refresh"] = f"0; url={_PAGE}"
            raise web.HTTPUnauthorized(
                text="Open the link with the token that localvoice showed when it started. Programs send it "
                "as `Authorization: Bearer TOKEN`, WebSockets of a browser as `?token=TOKEN`.\n",
                headers=headers,
            )
        case Verdict.WRONG:
            raise web.HTTPForbidden(
                text="That token isn't right, or not any more. Open the link that localvoice showed when it "
                "started last.\n"
            )
        case Verdict.TOO_MANY:
            raise web.HTTPTooManyRequests(
                text="Too many wrong tokens came from your address. Try again in a second.\n",
                headers={"Retry-After": "1"},
            )


def _welcome(request: web.Request, door: Doorkeeper) -> web.Response:
    """Put the token's cookie in its place, so that the link stays in no address bar and no history."""
    response = web.Response(status=303, headers={"Location": _PAGE, "Cache-Control": "no-store"})
    name = _cookie(request)
    response.set_cookie(name, door.cookie, path="/", secure=request.secure, httponly=True, samesite="Strict")
    return response


def _cookie(request: web.Request) -> str:
    """The cookie's name.

    With the prefix `__Host-` browsers take it over TLS alone, and give it to this host alone. They give it to
    all of its ports, so the ports keep servers apart: ours those of a machine, the one that the browser knows
    those of several machines, where tunnels end on one.
    """
    prefix = "__Host-" if request.secure else ""
    return f"{prefix}localvoice-{request.url.port}-{_sockname(request)[1]}"


def own_end(request: web.Request) -> str:
    """The address of ours that a request came in by; empty if its connection is lost already."""
    return _canonical(_sockname(request)[0])


def _sockname(request: web.Request) -> tuple[str, int]:
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return (name[0], name[1]) if name else ("", 0)


@lru_cache(_NAMES_KNOWN)
def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
