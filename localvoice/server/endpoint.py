"""Where the server listens, and for which clients: this machine, or the network with TLS and a token."""

import errno
import ipaddress
import os
import re
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from localvoice.config import ConfigError, ServerSettings
from localvoice.conversation.store import SessionStore
from localvoice.files import DATA_FOLDER
from localvoice.server.certificate import Certificate, keep_certificate, own_certificate
from localvoice.server.listener import listening_sockets
from localvoice.server.security import check_allowed, check_listen_address
from localvoice.transports.webrtc.addresses import is_loopback, network_addresses

TLS_FOLDER: Final = None if DATA_FOLDER is None else DATA_FOLDER / "tls"
_ALL_ADDRESSES: Final = "0.0.0.0"
_TOKEN_BYTES: Final = 24
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True)
class Endpoint:
    """Where the server listens, and what a client needs."""

    host: str
    """Address to listen on."""
    token: str | None = field(default=None, repr=False)
    """What clients have to show. None answers every client of this machine."""
    certificate: Certificate | None = None
    """For TLS, and with it the network. None serves this machine alone."""
    token_made: bool = False
    """Whether the token was made for this process, so that the user doesn't know it yet."""

    @property
    def secret(self) -> bytes:
        """For `TokenAuth`: that of the certificate's key, which outlasts this process, or a new one."""
        return secrets.token_bytes() if self.certificate is None else self.certificate.secret

    def links(self, port: int) -> tuple[str, ...]:
        """Addresses of the page, the best one for another device first; with the token, if there is one."""
        scheme = "http" if self.certificate is None else "https"
        end = "" if self.token is None else f"/?token={quote(self.token, safe='')}"
        return tuple(
            f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{end}" for host in self._hosts()
        )

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


def open_endpoint(settings: ServerSettings, folder: Path | None = TLS_FOLDER) -> Endpoint:
    """Where and how to listen; in LAN mode with a certificate, kept in the folder, and a token.

    Reads and writes files. Raises `ConfigError` for an address that others could reach without that, and for
    allowed origins and host names that no browser sends.
    """
    check_allowed(settings.allowed_origins, settings.allowed_hosts)
    token = None if settings.token is None else settings.token.get_secret_value()
    if not settings.lan:
        check_listen_address(settings.host)
        return Endpoint(settings.host, token)
    host = settings.host if "host" in settings.model_fields_set else _ALL_ADDRESSES
    certificate = _certificate(settings, folder)
    if token is None:
        return Endpoint(host, secrets.token_urlsafe(_TOKEN_BYTES), certificate, token_made=True)
    return Endpoint(host, token, certificate)


def check_before_loading(settings: ServerSettings, host: str) -> None:
    """Check the port and the sessions' folder before models are loaded. Raises `ConfigError`."""
    check_port(host, settings.port)
    if settings.sessions_dir is not None:
        # Without the key: deriving it takes time, and the server does so when it starts.
        SessionStore(settings.sessions_dir, None).close()


def check_port(host: str, port: int) -> None:
    """Bind the port for a moment, as the server will. Raises `ConfigError` if that fails."""
    try:
        for each in listening_sockets(host, port):
            each.close()
    except OSError as error:
        raise cannot_listen(host, port, error) from error


def cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """The error for a port that can't be bound."""
    # asyncio writes addresses into its errors; a name that can't be resolved has no number of the system's.
    known = error.errno is not None and error.errno in errno.errorcode
    reason = os.strerror(error.errno or 0) if known else error.strerror or str(error)
    return ConfigError(
        f"The server can't listen on {host}:{port} ({reason}). If another one runs already, use that, or "
        "give this one a port of its own with --port."
    )


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
    """This machine's names and addresses on its network."""
    name = socket.gethostname().lower()
    names = ["localhost"]
    if _HOST_NAME.fullmatch(name):
        names += [name] if "." in name else [name, f"{name}.local"]  # the latter is its mDNS name
    return tuple(dict.fromkeys([*names, *network_addresses(), "127.0.0.1", "::1"]))
