"""Where the server listens: on this machine alone, or on the network with TLS and a token."""

import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from localvoice.config import ConfigError, ServerSettings
from localvoice.files import DATA_FOLDER
from localvoice.server.certificate import Certificate, keep_certificate, own_certificate
from localvoice.server.security import check_allowed, check_listen_address, is_loopback
from localvoice.transports.webrtc.candidates import network_addresses

TLS_FOLDER: Final = None if DATA_FOLDER is None else DATA_FOLDER / "tls"
_EVERYWHERE: Final = "0.0.0.0"
_TOKEN_BYTES: Final = 24
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True)
class Entrance:
    """Where the server listens, and for whom."""

    host: str
    """Address to listen on."""
    token: str | None = field(default=None, repr=False)
    """What clients have to show. None lets in everyone on this machine."""
    certificate: Certificate | None = None
    """For TLS, and by it for the network. None serves this machine alone."""
    token_made: bool = False
    """Whether the token is good until the end of this process only, and its user doesn't know it yet."""

    @property
    def secret(self) -> bytes:
        """For `Doorkeeper`: that of the certificate's key, which outlasts this process, or a new one."""
        return secrets.token_bytes() if self.certificate is None else self.certificate.secret

    def links(self, port: int) -> tuple[str, ...]:
        """Addresses of the page, the best one for another device first; with the token, if there is one."""
        scheme = "http" if self.certificate is None else "https"
        end = "" if self.token is None else f"/?token={quote(self.token, safe='')}"
        return tuple(f"{scheme}://{_in_url(host)}:{port}{end}" for host in self._hosts())

    def _hosts(self) -> tuple[str, ...]:
        certificate = self.certificate
        if certificate is None:
            return (self.host,)
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


def open_entrance(settings: ServerSettings, folder: Path | None = TLS_FOLDER) -> Entrance:
    """Where and how to listen; in LAN mode with a certificate, kept in the folder, and a token.

    Reads and writes files. Raises `ConfigError` for an address that others could reach without that, and for
    origins and names to allow that aren't any.
    """
    check_allowed(settings.allowed_origins, settings.allowed_hosts)
    token = None if settings.token is None else settings.token.get_secret_value()
    if not settings.lan:
        check_listen_address(settings.host)
        return Entrance(settings.host, token)
    host = settings.host if "host" in settings.model_fields_set else _EVERYWHERE
    certificate = _certificate(settings, folder)
    if token is None:
        return Entrance(host, secrets.token_urlsafe(_TOKEN_BYTES), certificate, token_made=True)
    return Entrance(host, token, certificate)


def _certificate(settings: ServerSettings, folder: Path | None) -> Certificate:
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is not None and key is not None:
        return own_certificate(certificate, key)
    if certificate is not None or key is not None:
        raise ConfigError(
            "server.tls_cert and server.tls_key belong together: give both, or none for a certificate that "
            "is made here."
        )
    if folder is None:
        raise ConfigError(
            "This user has no home folder to keep a certificate in. Give one as server.tls_cert and "
            "server.tls_key."
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
