"""Where the server listens, for which clients, and what it prints about that when it starts.

It serves this machine, or the network with TLS and a token. The token is shown on a terminal only, because
other output is kept: a service's goes to a journal that others may read, such as the group `adm`, a
container's to files.
"""

import errno
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Final
from urllib.parse import quote

import segno
from rich.console import Console
from rich.text import Text

from localvoice.config import ConfigError, ServerSettings
from localvoice.conversation.store import SessionStore
from localvoice.files import DATA_FOLDER, write_private
from localvoice.server.certificate import Certificate, keep_certificate, own_certificate
from localvoice.server.listener import listening_sockets
from localvoice.transports.webrtc.addresses import is_loopback, network_addresses

TLS_FOLDER: Final = None if DATA_FOLDER is None else DATA_FOLDER / "tls"
_ALL_ADDRESSES: Final = "0.0.0.0"
_TOKEN_BYTES: Final = 24
_QUERY: Final = "/?token="
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9._-]+|[0-9A-Fa-f:]+")
_ORIGIN: Final = re.compile(
    r"(?!http://.*:80$)(?!https://.*:443$)[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:\d{1,5})?"
)


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
        end = "" if self.token is None else _QUERY + quote(self.token, safe="")
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
    made = secrets.token_urlsafe(_TOKEN_BYTES)
    return Endpoint(host, token or made, _certificate(settings, folder), token_made=token is None)


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
    name = socket.gethostname().lower()
    names = ["localhost"]
    if _HOST_NAME.fullmatch(name):
        names += [name] if "." in name else [name, f"{name}.local"]  # the latter is its mDNS name
    return tuple(dict.fromkeys([*names, *network_addresses(), "127.0.0.1", "::1"]))


@contextmanager
def announced(
    console: Console, endpoint: Endpoint, links: Sequence[str], folder: Path | None = DATA_FOLDER
) -> Iterator[None]:
    """Print where the page is. Inside, a token that was made here is on the terminal or in a file.

    Raises `ConfigError` if neither is possible.
    """
    shown = endpoint.token is not None and console.file.isatty()
    with _kept(console, links, folder) if endpoint.token_made and not shown else nullcontext():
        if shown:
            _show_links(console, endpoint, links)
        else:
            if endpoint.token is not None and not endpoint.token_made:
                words = (
                    "Add /?token= and your server.token to the address. It isn't shown outside a terminal."
                )
                console.print(f"\n{words}")
            address = (links[0].partition(_QUERY)[0], "bold")
            console.print(Text.assemble("\nOpen ", address, " in a browser and talk."))
        if endpoint.certificate is not None and endpoint.certificate.self_made:
            _show_fingerprint(console, endpoint.certificate)
        console.print("Ctrl-C ends it.\n")
        yield


@contextmanager
def _kept(console: Console, links: Sequence[str], folder: Path | None) -> Iterator[None]:
    """Keep the links in a file while the token in them is valid, and print where."""
    if folder is None:
        raise ConfigError(
            "This user has no home folder to keep the link with the token in, and it isn't shown outside a "
            "terminal. Set server.token to one of your own."
        )
    file = folder / f"link-{links[0].partition(_QUERY)[0].rpartition(':')[2]}.txt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, "".join(f"{link}\n" for link in links).encode())
    except OSError as error:
        raise ConfigError(
            f"The link with the token can't be kept in {file} ({error.strerror or error}), and it isn't "
            "shown outside a terminal. Set server.token to one of your own."
        ) from error
    console.print("\nThe link with the token is in this file, which only you can read:\n")
    _print_exactly(console, str(file))
    try:
        yield
    finally:
        with suppress(OSError):  # it stays, as on a full disk; the token is not valid any more
            file.unlink()


def _show_links(console: Console, endpoint: Endpoint, links: Sequence[str]) -> None:
    """The links with the token, the first also as a QR code for a phone."""
    first, *others = links
    network = endpoint.certificate is not None
    where = (
        "on your phone, in the same network, or on any machine there" if network else "in a browser and talk"
    )
    console.print(f"\nOpen this link {where}:\n")
    _print_exactly(console, first)
    if network and console.encoding.startswith("utf"):  # others lack its blocks
        console.print(_qr_code(first))
    if others:
        console.print("This machine's other addresses:\n")
        for link in others:
            _print_exactly(console, link)
    console.print("Everyone who has the link can talk to this machine.\n")


def _show_fingerprint(console: Console, certificate: Certificate) -> None:
    console.print(
        "The browser will warn that it doesn't know the certificate, because this machine made it itself. "
        "Look at it there: it is the right one if its SHA-256 fingerprint is\n",
        highlight=False,
    )
    _print_exactly(console, certificate.fingerprint)


def _print_exactly(console: Console, text: str) -> None:
    # A link that is broken in two opens nothing, and rich takes the ":AB:" of a fingerprint for an emoji.
    console.print(f"{text}\n", style="bold", markup=False, emoji=False, highlight=False, soft_wrap=True)


def _qr_code(link: str) -> Text:
    """Two modules in each character, black on white whatever the terminal's colours are."""
    rows = [list(row) for row in segno.make(link, micro=False, error="l").matrix_iter(border=4)]
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=[0] * len(rows[0]))
    lines = ["".join(" ▀▄█"[upper + 2 * lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs]
    return Text("\n".join(lines) + "\n", style="black on bright_white", no_wrap=True)
