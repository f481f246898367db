"""Where the server listens, with which token and certificate, and by which links."""

from pathlib import Path

import pytest

from localvoice.config import ConfigError, ServerSettings
from localvoice.server import endpoint
from localvoice.server.certificate import Certificate
from localvoice.server.endpoint import Endpoint, open_endpoint
from tests.support.pem_files import parts

TOKEN = "sixteen letters & more"


def lan(folder: Path, **settings: object) -> Endpoint:
    return open_endpoint(ServerSettings.model_validate({"lan": True, **settings}), folder)


def certificate_of(found: Endpoint) -> Certificate:
    assert found.certificate is not None
    return found.certificate


@pytest.fixture
def two_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ("192.168.1.5", "10.0.0.5", "fd00::2")
    monkeypatch.setattr(endpoint, "network_addresses", lambda: found)


def test_without_lan_only_this_machine_is_served_and_nothing_is_written(tmp_path: Path) -> None:
    found = open_endpoint(ServerSettings(), tmp_path / "tls")
    assert found == Endpoint("127.0.0.1")
    assert found.links(8787) == ("http://127.0.0.1:8787",)
    assert open_endpoint(ServerSettings(host="::1"), tmp_path).links(1) == ("http://[::1]:1",)
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_plain_http_is_for_this_machine_alone(host: str, tmp_path: Path) -> None:
    settings = ServerSettings.model_validate({"host": host, "token": TOKEN})
    with pytest.raises(ConfigError, match="--lan"):
        open_endpoint(settings, tmp_path)


@pytest.mark.parametrize(
    ("given", "listens"),
    [
        ({}, "0.0.0.0"),
        ({"host": "127.0.0.1"}, "127.0.0.1"),
        ({"host": "localhost"}, "localhost"),
        ({"host": "192.168.1.5"}, "192.168.1.5"),
        ({"host": "::"}, "::"),
    ],
)
def test_lan_listens_everywhere_unless_an_address_is_named(
    given: dict[str, str], listens: str, tmp_path: Path
) -> None:
    assert lan(tmp_path, **given).host == listens


def test_the_certificate_is_for_all_that_this_machine_is_called(
    tmp_path: Path, two_networks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Box")
    names = certificate_of(lan(tmp_path)).names
    assert {"localhost", "box", "box.local", "192.168.1.5", "10.0.0.5", "fd00::2", "127.0.0.1"} <= set(names)
    monkeypatch.setattr("socket.gethostname", lambda: "box.home.example")
    assert "box.home.example" in certificate_of(lan(tmp_path)).names
    monkeypatch.setattr("socket.gethostname", lambda: "Bob's böx")
    assert "localhost" in certificate_of(lan(tmp_path / "new")).names


def test_a_token_is_new_at_each_start_unless_it_is_set(tmp_path: Path) -> None:
    tokens = {lan(tmp_path).token for _ in range(5)}
    assert len(tokens) == 5 and all(token and len(token) >= 32 for token in tokens)
    assert {lan(tmp_path, token=TOKEN).token for _ in range(2)} == {TOKEN}


def test_a_token_for_this_machine_alone_is_in_its_link_and_no_certificate_is_made(tmp_path: Path) -> None:
    found = open_endpoint(ServerSettings.model_validate({"token": TOKEN}), tmp_path)
    assert found == Endpoint("127.0.0.1", TOKEN)
    assert found.links(99) == ("http://127.0.0.1:99/?token=sixteen%20letters%20%26%20more",)
    assert not list(tmp_path.iterdir()) and TOKEN not in repr(found)


def test_the_cookies_secret_lasts_as_long_as_the_key(tmp_path: Path) -> None:
    first, second = lan(tmp_path), lan(tmp_path)
    assert first.secret == second.secret != lan(tmp_path / "other").secret
    assert repr(first.secret) not in repr(first)
    alone = Endpoint("127.0.0.1", TOKEN)
    assert alone.secret != Endpoint("127.0.0.1", TOKEN).secret, "without a key, with the process"


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
