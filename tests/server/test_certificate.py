"""The certificate of LAN mode: made once, kept from others, replaced when it must be, or the user's own."""

import ipaddress
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from localvoice.config import ConfigError
from localvoice.server import certificate
from localvoice.server.certificate import keep_certificate, own_certificate
from tests.support.pem_files import parts

NAMES = ("localhost", "box", "box.local", "192.168.1.5", "fd00::2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tls"


def test_it_is_made_for_these_names_and_kept_from_others(folder: Path) -> None:
    made = keep_certificate(folder, NAMES)
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700
    found = x509.load_pem_x509_certificate(file.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "box", "box.local"]
    addresses = [ipaddress.ip_address("192.168.1.5"), ipaddress.ip_address("fd00::2")]
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert made.names == NAMES and made.self_made
    assert len(made.fingerprint.split(":")) == 32
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found.not_valid_after_utc - found.not_valid_before_utc < timedelta(days=398)


def test_it_is_kept_while_it_serves(folder: Path) -> None:
    first = keep_certificate(folder, NAMES)
    assert keep_certificate(folder, NAMES).fingerprint == first.fingerprint
    assert keep_certificate(folder, NAMES[:3]).fingerprint == first.fingerprint, "away from home"


def test_a_new_address_makes_a_new_one(folder: Path) -> None:
    first = keep_certificate(folder, NAMES)
    second = keep_certificate(folder, (*NAMES, "10.0.0.7"))
    assert second.fingerprint != first.fingerprint and "10.0.0.7" in second.names


@pytest.mark.parametrize(("days", "kept"), [(29, False), (31, True)])
def test_near_its_end_it_is_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, days: int, kept: bool
) -> None:
    monkeypatch.setattr(certificate, "_VALIDITY", timedelta(days=days))
    first = keep_certificate(folder, NAMES)
    assert (keep_certificate(folder, NAMES).fingerprint == first.fingerprint) is kept


def test_from_a_clock_that_went_ahead_it_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "_CLOCK_SKEW", timedelta(days=-2))
    first = keep_certificate(folder, NAMES)
    monkeypatch.undo()
    assert keep_certificate(folder, NAMES).fingerprint != first.fingerprint


def test_a_key_that_others_could_read_is_not_used_any_more(folder: Path) -> None:
    first = keep_certificate(folder, NAMES)
    (file,) = folder.iterdir()
    file.chmod(0o640)
    assert keep_certificate(folder, NAMES).fingerprint != first.fingerprint
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["cut", "nothing", "garbage", "another key", "no key"])
def test_a_damaged_one_is_replaced(folder: Path, tmp_path: Path, damage: str) -> None:
    first = keep_certificate(folder, NAMES)
    keep_certificate(tmp_path / "other", NAMES)
    file, other = folder / "certificate.pem", tmp_path / "other" / "certificate.pem"
    key, mark, public = file.read_text().partition("-----BEGIN CERTIFICATE-----")
    other_key = other.read_text().partition(mark)[0]
    contents = {
        "cut": key + mark + public[:100],
        "nothing": "",
        "garbage": "\0" * 100,
        "another key": other_key + mark + public,
        "no key": mark + public,
    }
    file.write_text(contents[damage])
    assert keep_certificate(folder, NAMES).fingerprint != first.fingerprint


def test_a_folder_that_cannot_be_used_is_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigError, match=r"data/tls.*server\.tls_cert"):
        keep_certificate(tmp_path / "data" / "tls", NAMES)


def test_the_key_is_never_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = keep_certificate(folder, NAMES)
    key = (folder / "certificate.pem").read_text().splitlines()[1]
    assert key not in caplog.text and key not in repr(made)


# --- the user's own ---


def test_a_certificate_of_ones_own_is_used_as_it_is(folder: Path) -> None:
    found = own_certificate(*parts(folder))
    assert found.names == ("voice.home.example",) and not found.self_made


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True), (0o660, True)])
def test_a_key_of_ones_own_that_others_can_use_is_told_with_what_to_do(
    folder: Path, caplog: pytest.LogCaptureFixture, mode: int, told: bool
) -> None:
    cert, key = parts(folder)
    key.chmod(mode)
    own_certificate(cert, key)
    assert (f"run `chmod 600 {key}`" in caplog.text) is told


def test_one_that_cannot_be_used_is_told_with_what_is_wanted(folder: Path, tmp_path: Path) -> None:
    cert, key = parts(folder)
    _, other_key = parts(tmp_path / "other")
    sealed = tmp_path / "sealed.pem"
    private = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    seal = BestAvailableEncryption(b"secret")
    sealed.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, seal))
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no PEM")
    nameless, nameless_key = parts(tmp_path / "nameless", names=())
    for first, second in (
        (cert, tmp_path / "absent.pem"),
        (tmp_path / "absent.pem", key),
        (cert, other_key),
        (cert, sealed),
        (cert, garbage),
        (garbage, key),
        (key, cert),
        (nameless, nameless_key),
    ):
        with pytest.raises(ConfigError, match=r"server\.tls_cert.*both as PEM"):
            own_certificate(first, second)
