"""Where the server listens, with which token, and what it invites people to open."""

import io
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import pytest
import segno
from rich.console import Console
from test_certificate import parts

from localvoice.config import ConfigError, ServerSettings
from localvoice.server import entrance
from localvoice.server.certificate import Certificate, keep_certificate
from localvoice.server.entrance import Entrance, Lan, open_entrance
from localvoice.server.invitation import print_invitation

TOKEN = "sixteen letters & more"


def lan(folder: Path, **settings: object) -> Entrance:
    return open_entrance(ServerSettings.model_validate({"lan": True, **settings}), folder)


def lan_of(found: Entrance) -> Lan:
    assert found.lan is not None
    return found.lan


@pytest.fixture
def two_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ("192.168.1.5", "10.0.0.5", "fd00::2")
    monkeypatch.setattr(entrance, "network_addresses", lambda: found)


def test_without_lan_only_this_machine_is_served_and_nothing_is_written(tmp_path: Path) -> None:
    found = open_entrance(ServerSettings(), tmp_path / "tls")
    assert found == Entrance("127.0.0.1", None)
    assert found.links(8787) == ("http://127.0.0.1:8787",)
    assert open_entrance(ServerSettings(host="::1"), tmp_path).links(1) == ("http://[::1]:1",)
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_plain_http_is_for_this_machine_alone(host: str, tmp_path: Path) -> None:
    settings = ServerSettings.model_validate({"host": host, "token": TOKEN})
    with pytest.raises(ConfigError, match="--lan"):
        open_entrance(settings, tmp_path)


@pytest.mark.parametrize(
    ("host", "listens"),
    [("127.0.0.1", "0.0.0.0"), ("localhost", "0.0.0.0"), ("192.168.1.5", "192.168.1.5"), ("::", "::")],
)
def test_lan_listens_everywhere_unless_an_address_is_named(host: str, listens: str, tmp_path: Path) -> None:
    assert lan(tmp_path, host=host).host == listens


def test_the_certificate_is_for_all_that_this_machine_is_called(
    tmp_path: Path, two_networks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Box")
    names = lan_of(lan(tmp_path)).certificate.names
    assert {"localhost", "box", "box.local", "192.168.1.5", "10.0.0.5", "fd00::2", "127.0.0.1"} <= set(names)
    monkeypatch.setattr("socket.gethostname", lambda: "box.home.example")
    assert "box.home.example" in lan_of(lan(tmp_path)).certificate.names
    monkeypatch.setattr("socket.gethostname", lambda: "Bob's böx")
    assert "localhost" in lan_of(lan(tmp_path / "new")).certificate.names


def test_a_token_is_new_at_each_start_unless_it_is_set(tmp_path: Path) -> None:
    tokens = {lan_of(lan(tmp_path)).token for _ in range(5)}
    assert len(tokens) == 5 and min(map(len, tokens)) >= 32
    assert {lan_of(lan(tmp_path, token=TOKEN)).token for _ in range(2)} == {TOKEN}


def test_links_hold_the_token_and_this_machines_addresses(tmp_path: Path, two_networks: None) -> None:
    query = "?token=sixteen%20letters%20%26%20more"
    assert lan(tmp_path, token=TOKEN).links(99) == (
        f"https://192.168.1.5:99/{query}",
        f"https://10.0.0.5:99/{query}",
        f"https://localhost:99/{query}",
    )
    assert lan(tmp_path, token=TOKEN, host="10.0.0.5").links(99) == (f"https://10.0.0.5:99/{query}",)
    found = lan(tmp_path, token=TOKEN, host="::").links(99)
    assert found == (f"https://[fd00::2]:99/{query}", f"https://localhost:99/{query}")


def test_a_certificate_of_ones_own_says_what_the_links_are(tmp_path: Path) -> None:
    cert, key = parts(tmp_path / "own", ("localhost", "*.home.example", "voice.home.example"))
    found = lan(tmp_path, token=TOKEN, tls_cert=cert, tls_key=key)
    assert [link.partition(":99")[0] for link in found.links(99)] == ["https://voice.home.example"]
    assert not (tmp_path / "certificate.pem").exists(), "none is made"


@pytest.mark.parametrize("given", ["tls_cert", "tls_key"])
def test_half_a_certificate_is_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        lan(tmp_path, **{given: tmp_path / "some.pem"})


# --- the invitation ---


def invitation(certificate: Certificate, *links: str, terminal: bool = True) -> str:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=terminal, width=60, color_system="truecolor" if terminal else None
    )
    print_invitation(console, links, certificate)
    return out.getvalue()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    # With letters that rich would make pictures of.
    return replace(keep_certificate(tmp_path, ["localhost"]), fingerprint=":".join(["AB", "0B", "CL"] * 10))


LINK, OTHER = "https://192.168.1.5:8787/?token=" + "x" * 32, "https://localhost:8787/?token=" + "x" * 32


def test_it_shows_links_whole_and_the_fingerprint_to_compare(certificate: Certificate) -> None:
    told = invitation(certificate, LINK, OTHER, terminal=False).splitlines()
    assert LINK in told and OTHER in told and certificate.fingerprint in told
    assert "warn" in " ".join(told) and not any("█" in line for line in told), "no QR code in a log file"


def test_a_certificate_that_browsers_may_know_needs_no_comparison(tmp_path: Path) -> None:
    own = lan_of(lan(tmp_path, **dict(zip(("tls_cert", "tls_key"), parts(tmp_path / "own"), strict=True))))
    assert own.certificate.fingerprint not in invitation(own.certificate, LINK)


def test_the_qr_code_is_the_first_links_black_on_white(certificate: Certificate) -> None:
    told = invitation(certificate, LINK, OTHER)
    drawn = [line for line in told.splitlines() if line.startswith("\x1b[30;107m")]
    shades = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    modules: list[tuple[int, ...]] = []
    for line in drawn:
        characters = [shades[each] for each in line.removeprefix("\x1b[30;107m").removesuffix("\x1b[0m")]
        modules += zip(*characters, strict=True)
    wanted = [tuple(row) for row in segno.make(LINK, micro=False, error="l").matrix_iter(border=4)]
    assert [given for _, given in zip_longest(wanted, modules[: len(wanted)])] == wanted
    assert not any(any(row) for row in modules[len(wanted) :])
