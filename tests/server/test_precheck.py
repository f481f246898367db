"""What keeps the server from starting is said before the models are loaded."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from localvoice import LocalVoice, Settings, startup
from localvoice.config import ConfigError
from localvoice.server.endpoint import check_port
from localvoice.server.listener import listening_sockets

Groups = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: Any) -> None:
        pytest.fail("the models were loaded first")

    monkeypatch.setattr(startup, "loaded_engines", loaded)


async def refusal(groups: Groups) -> str:
    """What the server says when it is started with these settings."""
    groups = {**groups, "server": {"port": 0, **groups.get("server", {})}}
    with pytest.raises(ConfigError) as caught:
        async with LocalVoice(Settings.model_validate(groups)).serving():
            pass
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_port_in_use(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = await refusal({"server": {"host": host, "port": port}})
    assert f"can't listen on {host}:{port} (Address already in use)" in told and "--port" in told


async def test_a_name_with_an_address_that_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `localhost` has where IPv6 is switched off, but `/etc/hosts` still names `::1`."""
    lacking, own = ("192.0.2.1", 0), ("127.0.0.1", 0)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (lacking, own)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    check_port("localhost", 0)
    (listening,) = listening_sockets("localhost", 0)
    with listening:
        assert listening.getsockname()[0] == "127.0.0.1"
    found.pop()
    assert "(Cannot assign requested address)" in await refusal({"server": {"host": "localhost"}})


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "\udcff"])
async def test_what_is_no_host_name(host: str) -> None:
    with pytest.raises(ConfigError, match="that is not a host name"):
        check_port(host, 0)


async def test_a_folder_for_sessions_in_use_or_open_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    folder.mkdir(mode=0o755)
    assert "chmod 700" in await refusal({"server": {"sessions_dir": folder}})


@pytest.mark.parametrize(("group", "setting"), [("server", "sessions_dir"), ("monitor", "audio_dir")])
async def test_a_folder_that_is_refused(group: str, setting: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = await refusal({group: {setting: tmp_path / "file" / "folder"}})
    assert f"{group}.{setting}" in told and os.strerror(20) in told
