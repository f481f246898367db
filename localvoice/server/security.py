"""Who may talk to the server: pages of its own, from this machine; over the network, with the token.

A browser lets any web page send requests to 127.0.0.1, and to addresses of its network. Two headers tell
them apart, and no page can forge them: `Host`, which a page that rebinds its own name to our address gets
wrong, and `Origin`. Where a page's request has no `Origin`, as for a picture, browsers say `Sec-Fetch-Site`.
"""

import asyncio
import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from localvoice.config import ConfigError
from localvoice.server.doorkeeper import COOKIE, Doorkeeper, Verdict

# Nothing lenient, such as a URL library's: what it would mend, a browser would not send.
_AUTHORITY: Final = re.compile(r"(?:(?P<name>[A-Za-z0-9.-]+)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::\d{1,5})?")

_NAMES_KNOWN: Final = 256
"""Hosts and addresses that are remembered: the same few are judged several times for each request."""

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
    if found is None:
        return False
    name = _canonical((found["name"] or found["ipv6"]).lower())
    wildcard = "*." + name.partition(".")[2]  # of the user's own certificate; it stands for one label
    return is_loopback(name) or name in names or wildcard in names


def is_allowed_origin(
    origin: str | None, host: str, others: Collection[str], schemes: Collection[str] = ("http", "https")
) -> bool:
    """Whether a page of this origin may use the server. Programs send no Origin; a browser always does."""
    return origin is None or origin in [f"{scheme}://{host}" for scheme in schemes] or origin in others


def guard(
    allowed_origins: Collection[str], names: Collection[str] = (), door: Doorkeeper | None = None
) -> Middleware:
    """Middleware that turns strangers away before any route.

    Without a doorkeeper this machine alone is served; with one the network is: under these names and the
    addresses that clients come in by, over TLS, and not even this machine without the token.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if door is None:
            _check_page(request, (), allowed_origins, ("http", "https"))
            if not is_loopback(request.remote or ""):
                raise web.HTTPForbidden(text="This server answers its own machine only.\n")
            return await handler(request)
        # A name can be rebound, an address can't: whichever of ours a client came in by is right.
        _check_page(request, {*names, _own_end(request)}, allowed_origins, ("https",))
        link = request.query.get("token") if request.path == "/" else None
        _check_token(request, door, link)
        return await handler(request) if link is None else _welcome(door)

    return check


def _check_page(
    request: web.Request, names: Collection[str], others: Collection[str], schemes: Collection[str]
) -> None:
    """Raises `HTTPForbidden` for the page of somebody else."""
    hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
    if len(hosts) != 1 or not is_own_host(hosts[0], names):
        raise web.HTTPForbidden(text="This server doesn't answer to that name.\n")
    origin = origins[0] if origins else None
    from_elsewhere = origin is None and _is_fetched_from_elsewhere(request)
    if len(origins) > 1 or from_elsewhere or not is_allowed_origin(origin, hosts[0], others, schemes):
        raise web.HTTPForbidden(
            text="A page from elsewhere may not use this server. If it is yours, add it to allowed_origins.\n"
        )


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
    match door.judge(request.remote or "", token, request.cookies.get(COOKIE), now):
        case Verdict.MISSING:
            headers = {"WWW-Authenticate": "Bearer"}
            if _is_from_elsewhere(request):
                # A browser holds the cookie back where a link on another site's page is followed, but not
                # when our own answer sends it on.
                headers["Refresh"] = "0; url=/"
            raise web.HTTPUnauthorized(
                text="Open the link with the token that localvoice showed when it started. Programs send it "
                "as `Authorization: Bearer TOKEN`.\n",
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


def _welcome(door: Doorkeeper) -> web.Response:
    """Put the token's cookie in its place, so that the link stays in no address bar and no history."""
    response = web.Response(status=303, headers={"Location": "/", "Cache-Control": "no-store"})
    response.set_cookie(COOKIE, door.cookie, path="/", secure=True, httponly=True, samesite="Strict")
    return response


def _own_end(request: web.Request) -> str:
    """The address of ours that a request came in by."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return _canonical(name[0]) if name else ""


@lru_cache(_NAMES_KNOWN)
def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
