"""Downloads where the environment names proxies, exceptions from them and certificates."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest

from localvoice.catalog import DownloadError, sources, transfer
from localvoice.catalog.errors import NetworkSettingError
from localvoice.catalog.network import Route
from tests.support.fake_hub import DATA, FakeHub, fetch, hub_source, model, package_source
from tests.support.tiny_proxy import TinyProxy, tiny_proxy


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
            monkeypatch.delenv(name)


@pytest.fixture
def proxy() -> Iterator[TinyProxy]:
    with tiny_proxy() as running:
        yield running


@pytest.fixture
def remote(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The hub under a name that only the proxy finds, with a file."""
    monkeypatch.setenv("HF_ENDPOINT", f"http://hub.invalid:{hub.port}")
    hub.add_file("me/gate", "gate.onnx", DATA, large=False)
    return hub


@pytest.mark.parametrize(
    ("variable", "scheme", "protocol"),
    [
        ("ALL_PROXY", "socks5://", "socks"),
        ("all_proxy", "socks5h://", "socks"),
        ("ALL_PROXY", "socks://", "socks"),
        ("HTTP_PROXY", "http://", "http"),
        ("http_proxy", "", "http"),
    ],
)
def test_a_file_comes_through_the_proxy(
    variable: str,
    scheme: str,
    protocol: str,
    remote: FakeHub,
    proxy: TinyProxy,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, scheme + proxy.address)
    monkeypatch.setenv(
        "NO_PROXY", "localhost,127.0.0.1,::1,[::1],fd07:b51a:cc66:f0::/64,10.0.0.0/8,[bad,http://"
    )
    fetch([model(hub_source())], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert set(proxy.asked) == {(protocol, "hub.invalid")}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "foo://user:secret@proxy.example:3128"),
        ("ALL_PROXY", "socks4://user:secret@proxy.example:1080"),
        ("http_proxy", "http://user:secret@proxy.example:port"),
        ("HTTPS_PROXY", "http://"),
        ("ALL_PROXY", "http://[::1"),
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:99999"),
        ("ALL_PROXY", "socks5://user:secret@xn--"),
        ("SSL_CERT_FILE", "/nonexistent/secret.pem"),
        ("SSL_CERT_DIR", "/nonexistent/secret"),
        ("REQUESTS_CA_BUNDLE", os.devnull),
        ("HF_ENDPOINT", "http://user:secret@[hub"),
        ("HF_ENDPOINT", "ftp://hub.example"),
        ("HF_ENDPOINT", "hub.example"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_sentence(
    variable: str, value: str, hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(DownloadError) as caught:
        fetch([model(hub_source())], folder)
    said = str(caught.value)
    assert said.startswith(variable) and "unset it" in said and "\n" not in said
    assert "user" not in said and ("secret" not in said or "CERT" in variable)


@pytest.mark.parametrize(
    "index",
    ["http://[index", "http://index.example:port/simple", "ftp://index.example", "nonsense", "/a/folder"],
)
def test_an_index_that_is_none_leaves_the_hub(
    index: str, hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index)
    hub.add_file("me/gate", "gate.onnx", DATA)
    shown = fetch([model(package_source(("gate-data==1.0", "gate.onnx")), hub_source())], folder)
    assert "A source failed" in shown and (folder / "gate" / "gate.onnx").read_bytes() == DATA


@pytest.mark.parametrize("token", ["ключ", "two\nlines", "a\x00b"])
def test_a_token_that_is_none_is_named_and_not_shown(
    token: str, hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "get_token", lambda: token)
    hub.add_file("me/gate", "gate.onnx", DATA)
    with pytest.raises(DownloadError, match="HF_TOKEN holds characters that no token has") as caught:
        fetch([model(hub_source())], folder)
    assert token not in str(caught.value)


def test_the_password_of_a_mirror_is_not_shown(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://user:secret@127.0.0.1:{hub.port}")
    with pytest.raises(DownloadError, match="404 not found|404 Not Found") as caught:
        fetch([model(hub_source())], folder)
    assert "secret" not in str(caught.value) and f"127.0.0.1:{hub.port}/me/gate" in str(caught.value)


def test_a_wrong_setting_of_pip_leaves_the_hub(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CERT", "/nonexistent/ca.pem")
    hub.add_file("me/gate", "gate.onnx", DATA)
    shown = fetch([model(package_source(("gate-data==1.0", "gate.onnx")), hub_source())], folder)
    assert "pip's cert setting names /nonexistent/ca.pem" in shown
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


def test_a_proxy_that_is_away_is_named(
    remote: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(
            DownloadError, match="no connection to hub.invalid by the proxy of ALL_PROXY: .*refused"
        ):
            fetch([model(hub_source())], folder)


@pytest.mark.parametrize("address", ["http://a..b:3128", "socks5://a..b:1080", f"http://{'x' * 64}:3128"])
def test_a_proxy_whose_name_is_none_is_told(
    address: str, remote: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    with pytest.raises(DownloadError, match="by the proxy of ALL_PROXY: that is no host name"):
        fetch([model(hub_source())], folder)


def test_folders_of_certificates_may_be_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = f"{tmp_path / 'none'}{os.pathsep}{tmp_path}"
    monkeypatch.setenv("SSL_CERT_DIR", folders)
    made = Mock(wraps=ssl.create_default_context)
    monkeypatch.setattr(ssl, "create_default_context", made)
    Route()
    made.assert_called_once_with(capath=folders)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\xff"])
def test_a_server_that_is_no_socks_proxy_is_told(
    answer: bytes, remote: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs up, speaks HTTP, or wants a login."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{server.getsockname()[1]}")

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(512)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(DownloadError, match="no connection to hub.invalid by the proxy of ALL_PROXY: "):
            fetch([model(hub_source())], folder)
        thread.join()


def test_a_proxy_that_says_nothing_is_given_up(
    remote: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(DownloadError, match="by the proxy of ALL_PROXY: "):
            fetch([model(hub_source())], folder)


@pytest.mark.parametrize(
    ("listed", "url", "direct"),
    [
        ("hub.example", "https://hub.example/x", True),
        ("hub.example", "https://files.hub.example/x", True),
        ("hub.example", "https://otherhub.example/x", False),
        (".hub.example, *.b.example", "https://files.b.example/x", True),
        ("hub.example:8080", "https://hub.example:8080/x", True),
        ("hub.example:8080", "https://hub.example/x", False),
        ("HUB.example", "https://Hub.Example/x", True),
        ("http://hub.example", "https://hub.example/x", True),
        ("10.0.0.0/8", "http://10.1.2.3/x", True),
        ("10.0.0.0/8", "http://11.1.2.3/x", False),
        ("127.0.0.1", "http://127.0.0.1:8000/x", True),
        ("[::1]", "http://[::1]:8000/x", True),
        ("fd00::/8", "http://[fd12::1]/x", True),
        ("fd00::/8", "http://10.1.2.3/x", False),
        ("*", "https://hub.example/x", True),
        ("/,[,::/999,\x00", "https://hub.example/x", False),
        ("", "https://hub.example/x", False),
    ],
)
def test_exceptions_from_the_proxy(
    listed: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    monkeypatch.setattr(os, "environ", {**os.environ, "NO_PROXY": listed})
    assert (Route().proxy_for(httpx.URL(url)) is None) is direct


def test_pips_own_proxy_has_no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    found = Route("proxy.example:3128").proxy_for(httpx.URL("https://hub.example/x"))
    assert found is not None and found.address == "http://proxy.example:3128"
    with pytest.raises(NetworkSettingError, match="pip's proxy setting"):
        Route("foo://proxy.example")
