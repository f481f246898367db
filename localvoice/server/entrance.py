"""Where the server listens: this machine alone, or the network with TLS and a token."""

import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import platformdirs

from localvoice.config import ConfigError, ServerSettings
from localvoice.server.certificate import Certificate, keep_certificate, own_certificate
from localvoice.server.security import check_listen_address, is_loopback
from localvoice.transports.candidates import network_addresses

TLS_FOLDER: Final = platformdirs.user_data_path("localvoice", appauthor=False) / "tls"
_EVERYWHERE: Final = "0.0.0.0"
_TOKEN_BYTES: Final = 24
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True)
class Lan:
    """What it takes to serve the network."""

    token: str
    """Whoever shows it may use the server."""
    certificate: Certificate
    """What the server is known by."""


@dataclass(frozen=True)
class Entrance:
    """Where the server listens, and for whom."""

    host: str
    """Address to listen on."""
    lan: Lan | None = None
    """None serves this machine alone."""

    def links(self, port: int) -> tuple[str, ...]:
        """Addresses of the page, the best one for another device first; with the token, if there is one."""
        if self.lan is None:
            return (f"http://{_in_url(self.host)}:{port}",)
        query = quote(self.lan.token, safe="")
        return tuple(f"https://{_in_url(host)}:{port}/?token={query}" for host in self._hosts(self.lan))

    def _hosts(self, lan: Lan) -> tuple[str, ...]:
        certificate = lan.certificate
        if not certificate.self_made:
            named = [name for name in certificate.names if not (name.startswith("*") or is_loopback(name))]
            if named:
                return tuple(named)
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return (self.host,)
        if not address.is_unspecified:
            return (self.host,)
        reachable = [each for each in network_addresses() if (":" in each) == (address.version == 6)]
        return (*reachable, "localhost")


def open_entrance(settings: ServerSettings, folder: Path = TLS_FOLDER) -> Entrance:
    """Where and how to listen; in LAN mode with a certificate, kept in the folder, and a token.

    Reads and writes files. Raises `ConfigError` for an address that others could reach without that.
    """
    if not settings.lan:
        check_listen_address(settings.host)
        return Entrance(settings.host)
    given = settings.token
    token = secrets.token_urlsafe(_TOKEN_BYTES) if given is None else given.get_secret_value()
    host = _EVERYWHERE if is_loopback(settings.host) else settings.host
    return Entrance(host, Lan(token, _certificate(settings, folder)))


def _certificate(settings: ServerSettings, folder: Path) -> Certificate:
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is not None and key is not None:
        return own_certificate(certificate, key)
    if certificate is not None or key is not None:
        raise ConfigError(
            "server.tls_cert and server.tls_key belong together: give both, or none for a certificate that "
            "is made here."
        )
    return keep_certificate(folder, _machine_names())


def _machine_names() -> tuple[str, ...]:
    """What this machine is called on its network, by name and address."""
    name = socket.gethostname().lower()
    names = ["localhost"]
    if _HOST_NAME.fullmatch(name):
        names += [name] if "." in name else [name, f"{name}.local"]  # the latter is its mDNS name
    return tuple(dict.fromkeys([*names, *network_addresses(), "127.0.0.1", "::1"]))


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
