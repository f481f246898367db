"""Resuming, retrying and hosts out of reach, against a fake hub on localhost."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from localvoice.catalog import DownloadError, network
from localvoice.catalog.errors import SourceError
from localvoice.catalog.network import Route
from localvoice.catalog.transfer import Transfer
from tests.support.fake_hub import (
    DATA,
    FakeHub,
    fetch,
    hub_source,
    left_in,
    model,
    package_source,
)


def test_connection_cut_in_the_middle_goes_on_where_it_was(hub: FakeHub, folder: Path) -> None:
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    hub.cut_once[store] = 2_000_000
    fetch([model(hub_source())], folder)
    assert [request.range for request in hub.asked(store)] == [None, "bytes=2000000-"]
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


def test_next_run_goes_on_where_the_last_was(hub: FakeHub, folder: Path) -> None:
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    hub.cut_once[store] = 2_000_000
    hub.on_request = lambda path: hub.status.update({store: 503}) if hub.asked(store)[1:] else None
    with pytest.raises(DownloadError, match="503 Service Unavailable, 2 retries were in vain"):
        fetch([model(hub_source())], folder)
    assert left_in(folder) == ["gate.onnx.part", "gate.onnx.part.json"]
    assert len(hub.asked(store)) == 4, "the first, one that goes on, two retries"
    hub.on_request = lambda path: None
    hub.status.clear()
    hub.requests.clear()
    fetch([model(hub_source())], folder)
    assert [request.range for request in hub.asked(store)] == ["bytes=2000000-"]
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert left_in(folder) == ["gate.onnx"]


@pytest.mark.parametrize("marker", ['{"origin": "hub other/gate@main gate.onnx"}', "", "[]", "{"])
def test_partial_file_of_another_source_is_thrown_away(hub: FakeHub, folder: Path, marker: str) -> None:
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    (folder / "gate").mkdir(parents=True)
    (folder / "gate" / "gate.onnx.part").write_bytes(b"other bytes")
    (folder / "gate" / "gate.onnx.part.json").write_text(marker)
    fetch([model(hub_source())], folder)
    assert [request.range for request in hub.asked(store)] == [None]
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


@pytest.mark.parametrize("size", [1000, len(DATA), len(DATA) + 5])
def test_spoilt_partial_file_is_fetched_again(hub: FakeHub, folder: Path, size: int) -> None:
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    (folder / "gate").mkdir(parents=True)
    (folder / "gate" / "gate.onnx.part").write_bytes(b"\0" * size)
    (folder / "gate" / "gate.onnx.part.json").write_text('{"origin": "hub me/gate@main gate.onnx"}')
    fetch([model(hub_source())], folder)
    assert hub.asked(store)[-1].range is None
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


def test_server_that_knows_no_ranges(hub: FakeHub, folder: Path) -> None:
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    hub.ignores_range.add(store)
    hub.cut_once[store] = 2_000_000
    fetch([model(hub_source())], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts its background jobs, CI perhaps among them, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_leaves_what_has_arrived(hub: FakeHub, folder: Path) -> None:
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    hub.cut_once[store] = 2_000_000

    def interrupt_the_retry(path: str) -> None:
        if hub.asked(store)[1:]:
            hub.on_request = lambda path: None
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.1)

    hub.on_request = interrupt_the_retry
    with pytest.raises(KeyboardInterrupt):
        fetch([model(hub_source())], folder)
    assert "gate.onnx.part" in left_in(folder) and "gate.onnx" not in left_in(folder)
    hub.requests.clear()
    fetch([model(hub_source())], folder)
    assert all(request.range for request in hub.asked(store))
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


def test_wheel_is_resumed(hub: FakeHub, folder: Path) -> None:
    wheel = hub.add_wheel("gate-data==1.0", {"data/gate.onnx": DATA})
    hub.cut_once[wheel] = 5000
    fetch([model(package_source(("gate-data==1.0", "data/gate.onnx")))], folder)
    assert [request.range for request in hub.asked(wheel)] == [None, "bytes=5000-"]
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


def test_host_out_of_reach_is_tried_once(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.2:{closed.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,127.0.0.2,localhost")
        tried: list[str] = []
        probe = network.connection_fault

        def counting(address: httpx.URL) -> str | None:
            tried.append(address.host)
            return probe(address)

        monkeypatch.setattr(network, "connection_fault", counting)
        hub.add_wheel("gate-data==1.0", {"gate.onnx": DATA})
        source = package_source(("gate-data==1.0", "gate.onnx"))
        names = ("gate", "b", "c", "d", "e")
        shown = fetch([model(hub_source(), source, name=name) for name in names], folder)
    assert tried.count("127.0.0.2") == 1
    assert shown.count("no connection to 127.0.0.2: Connection refused") == 1, "told once, not for each file"
    assert all((folder / name / "gate.onnx").read_bytes() == DATA for name in names)


def test_name_look_up_without_an_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, own_time: Callable[[], Callable[[], float]]
) -> None:
    let_go = threading.Event()

    def never(*_: object, **__: object) -> None:
        let_go.wait(10)
        raise OSError("too late")

    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(socket, "create_connection", never)
    spent = own_time()
    reason = network.connection_fault(httpx.URL("https://hub.example/x"))
    let_go.set()
    assert reason == "no connection to hub.example: no answer within 0 s"
    assert spent() < 1


def test_behind_a_proxy_the_host_itself_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(network, "connection_fault", lambda _: "tried")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "hub.example")
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *_: httpx.Response(200))
    with closing(Transfer(threading.Event(), Route(), 0)) as transfer:
        assert transfer.get("https://other.example/x", {}).status_code == 200
        with pytest.raises(SourceError, match="tried"):
            transfer.get("https://hub.example/x", {})
