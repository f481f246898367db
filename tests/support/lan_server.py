"""A server in LAN mode, by TLS and with a token."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from localvoice.server.certificate import keep_certificate
from localvoice.server.endpoint import Endpoint
from tests.support.server_site import Site, serving

TOKEN = "only the invited know it"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def trusting(folder: Path) -> ssl.SSLContext:
    """A client that was told of the certificate, and believes no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "certificate.pem")
    return context


@asynccontextmanager
async def lan_site(
    folder: Path, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Site]:
    """Listens only on the loopback, so it runs on every machine; all else is as on a network."""
    certificate = keep_certificate(folder, ["localhost", "box.example", "127.0.0.1"])
    endpoint = Endpoint("127.0.0.1", TOKEN, certificate)
    options |= {"endpoint": endpoint, "trusted": trusting(folder), "headers": headers}
    async with serving(groups={"monitor": {"metrics": "prometheus"}}, **options) as site:
        assert site.url.startswith("https://127.0.0.1:")
        yield site
