"""The TLS certificate for the network: a self-signed one, made once and kept, or one of the user's own."""

import hashlib
import ipaddress
import logging
import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localvoice.config import ConfigError
from localvoice.files import check_regular, is_open_to_others, write_private

log = logging.getLogger(__name__)

_FILE: Final = "certificate.pem"
"""Key and certificate in one file, so that they always belong together."""
_VALIDITY: Final = timedelta(days=365)
"""Apple's systems refuse more than 825 days."""
_RENEW_BEFORE: Final = timedelta(days=30)
_CLOCK_SKEW: Final = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    context: ssl.SSLContext
    """With certificate and key loaded; TLS 1.2 and newer."""
    names: tuple[str, ...]
    """Host names, in lower case, and addresses that it names, in its own order."""
    fingerprint: str
    """Its SHA-256, as browsers show it."""
    self_made: bool
    """Browsers don't know it, so they warn."""
    secret: bytes = field(repr=False)
    """Derived from the key: only its owner knows it, and it lasts as long as the key."""


def keep_certificate(folder: Path, names: Collection[str]) -> Certificate:
    """The certificate that is kept in the folder, or a new one if it lacks a name or expires soon.

    The file is readable by its owner only. Raises `ConfigError` if the folder can't be used.
    """
    path = folder / _FILE
    try:
        if not _is_usable(path, names):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, _make(names))
        return _load(path, path, self_made=True)
    except OSError as error:
        raise ConfigError(
            f"The certificate can't be kept in {folder} ({error.strerror or error}). Correct that, or "
            "give one of your own with server.tls_cert and server.tls_key."
        ) from error


def own_certificate(certificate: Path, key: Path) -> Certificate:
    """The user's own certificate and key, both PEM. Raises `ConfigError` if they can't be used."""
    try:
        check_regular(certificate)  # OpenSSL opens them itself, and would wait for a pipe
        check_regular(key)
        found = _load(certificate, key, self_made=False)
        is_open = is_open_to_others(key)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ConfigError(
            f"server.tls_cert {certificate} and server.tls_key {key} can't be used ({error}). Give a "
            "certificate with its chain and the key that belongs to it, both as PEM, the key not encrypted."
        ) from error
    if is_open:
        log.warning(
            "other accounts of this machine can use the key %s and pose as this server: run `chmod 600 %s`",
            key,
            key,
        )
    return found


def _load(certificate: Path, key: Path, self_made: bool) -> Certificate:
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = _names_of(found)
    if not names:
        raise ValueError("it names no host in its subjectAltName")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # With no password given, OpenSSL would ask for one on the terminal.
    context.load_cert_chain(certificate, key, password="")
    secret = hashlib.sha256(b"localvoice secret " + key.read_bytes()).digest()
    return Certificate(context, names, found.fingerprint(SHA256()).hex(":").upper(), self_made, secret)


def _is_usable(path: Path, names: Collection[str]) -> bool:
    """Whether the kept one is whole, private, valid for another month, and has all these names."""
    try:
        if path.stat().st_mode & 0o077:
            return False
        content = path.read_bytes()
        found = x509.load_pem_x509_certificate(content)
        if load_pem_private_key(content, None).public_key() != found.public_key():
            return False
    except (FileNotFoundError, ValueError, TypeError):
        return False
    now = datetime.now(UTC)
    lasts = found.not_valid_before_utc <= now < found.not_valid_after_utc - _RENEW_BEFORE
    return lasts and set(names) <= set(_names_of(found))


def _make(names: Collection[str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localvoice on this machine")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        # Useless for any other site, even if a browser trusts it and the key is stolen.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
    return (*names, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))
