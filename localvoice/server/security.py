"""Who may talk to the server: pages of its own, from this machine.

A browser lets any web page send requests to 127.0.0.1. Two headers tell them apart, and no page can forge
them: `Host`, which a page that rebinds its own name to 127.0.0.1 gets wrong, and `Origin`.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from localvoice.config import ConfigError

# Nothing lenient, such as a URL library's: what it would mend, a browser would not send.
_AUTHORITY: Final = re.compile(r"(?:(?P<name>[A-Za-z0-9.-]+)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::\d{1,5})?")

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
    """Only this machine is served. Raises `ConfigError` for an address that others could reach."""
    if not _is_this_machine(host):
        raise ConfigError(
            f"The server listens on this machine only, so --host can't be {host}. From another device, use a "
            "tunnel: `ssh -L 8787:127.0.0.1:8787 THIS-MACHINE`, then open http://127.0.0.1:8787 there."
        )


def is_own_host(host: str) -> bool:
    """Whether a Host header names this machine, on whatever port (a tunnel may change it)."""
    found = _AUTHORITY.fullmatch(host)
    return found is not None and _is_this_machine((found["name"] or found["ipv6"]).lower())


def is_allowed_origin(origin: str | None, host: str, others: Collection[str]) -> bool:
    """Whether a page of this origin may use the server. Programs send no Origin; a browser always does."""
    return origin is None or origin in (f"http://{host}", f"https://{host}") or origin in others


def guard(allowed_origins: Collection[str]) -> Middleware:
    """Middleware that turns strangers away with 403, before any route, and sets a safe page's headers."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        host = request.headers.get("Host", "")
        if not is_own_host(host):
            raise web.HTTPForbidden(text="This server answers on 127.0.0.1 and localhost only.\n")
        if not is_allowed_origin(origin, host, allowed_origins):
            raise web.HTTPForbidden(
                text="A page from elsewhere may not use this server. If it is yours, add it to "
                "allowed_origins.\n"
            )
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    return check


def _is_this_machine(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
