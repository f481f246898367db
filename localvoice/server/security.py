"""Which requests the server answers: those of its own pages, from this machine or with the token.

A browser lets any web page send requests to 127.0.0.1 and to addresses of its network. Two headers tell them
apart, and no page can forge them: `Host`, which is wrong where a page rebinds its own name to our address,
and `Origin`. Where a page's request has no `Origin`, as for a picture, browsers send `Sec-Fetch-Site`.
"""

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
from localvoice.server.access import TokenAuth, check_token, exchange_link, local_address
from localvoice.transports.webrtc.addresses import is_loopback

log = logging.getLogger(__name__)

# Strict, unlike a URL library: what that would repair, no browser sends.
_AUTHORITY: Final = re.compile(
    r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?"
)
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9._-]+|[0-9A-Fa-f:]+")
_ORIGIN: Final = re.compile(
    r"(?!http://.*:80$)(?!https://.*:443$)[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:\d{1,5})?"
)

_HIGHEST_PORT: Final = 2**16 - 1
_NAMES_KNOWN: Final = 256
"""Hosts and addresses in each cache: the same few are checked several times for each request."""
_QUOTED: Final = 200
"""Characters of a client's header that go into the log."""
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
    """Raises `ConfigError` for an address that other machines reach: without TLS only this one is served."""
    if not is_loopback(host):
        raise ConfigError(
            f"The server listens on this machine only, so --host can't be {host}. `--lan` serves the "
            "network, over TLS and with a token. Or use a tunnel from the other device: `ssh -L "
            "8787:127.0.0.1:8787 THIS-MACHINE`, then open http://127.0.0.1:8787 there."
        )


def check_allowed(origins: Collection[str], hosts: Collection[str]) -> None:
    """Raises `ConfigError` for an origin or a host name that no browser sends, so that it allows nothing."""
    for origin in origins:
        if origin != "null" and _ORIGIN.fullmatch(origin) is None:
            raise ConfigError(
                f"server.allowed_origins holds {origin!r}, which is not an origin. Write it as browsers "
                "send it: `scheme://host:port` in lower case, without a path, and without the port 80 of "
                "http or 443 of https."
            )
    for host in hosts:
        if _HOST.fullmatch(host) is None:
            raise ConfigError(
                f"server.allowed_hosts holds {host!r}, which is not a host name. Write the name alone, "
                "such as `voice.example`, without scheme, port or path."
            )


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
            check_token(request, policy.auth, link, _is_cross_site(request))
            on_authenticated(request)
            if link is not None and not is_upgrade(request):
                return exchange_link(request, policy.auth)
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
    """Whether a request asks for a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


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


def _is_cross_site(request: web.Request) -> bool:
    return request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def own_end(request: web.Request) -> str:
    """This machine's address that a request came in by; empty if its connection is lost already."""
    return _canonical(local_address(request)[0])


@lru_cache(_NAMES_KNOWN)
def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
