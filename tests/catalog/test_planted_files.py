"""Pipes, huge files and loops of links in the place of files of ours: nothing waits, nothing fills memory."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from localvoice.catalog import ModelFilesError, VerifiedCache, verify
from localvoice.catalog.verify import CACHE_NAME, LOCK_NAME, find_problems, read_pins
from localvoice.config import ConfigError
from localvoice.files import read_regular
from tests.support.fake_hub import DATA, FakeHub, fetch, hub_source, model
from tests.support.session_folder import Open, put, record, session_files
from tests.support.session_folder import open_store as open_store
from tests.support.session_folder import place as place
from tests.support.session_folder import quick_keys as quick_keys

Plant = Callable[[Path], None]

pytestmark = pytest.mark.timeout(20)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def huge(path: Path) -> None:
    """Two GiB that take no room on the disk."""
    with path.open("wb") as file:
        file.truncate(2 << 30)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def folder_there(path: Path) -> None:
    path.mkdir()


plants = pytest.mark.parametrize("plant", [pipe, huge, loop, folder_there])


@plants
def test_a_file_is_read_whole_or_refused(plant: Plant, tmp_path: Path) -> None:
    plant(tmp_path / "it")
    with pytest.raises(OSError):
        read_regular(tmp_path / "it", 1 << 20)
    (tmp_path / "other").write_bytes(b"abc")
    assert read_regular(tmp_path / "other", 3) == b"abc"
    with pytest.raises(OSError, match="larger"):
        read_regular(tmp_path / "other", 2)


@plants
def test_in_the_place_of_what_was_verified(plant: Plant, tmp_path: Path) -> None:
    plant(tmp_path / CACHE_NAME)
    assert not VerifiedCache(tmp_path).has("gate/gate.onnx", tmp_path.stat(), None)


@pytest.mark.parametrize("plant", [pipe, huge, folder_there])
def test_in_the_place_of_the_pins(plant: Plant, tmp_path: Path) -> None:
    plant(tmp_path / LOCK_NAME)
    with pytest.raises(ModelFilesError, match="lock.toml: cannot be used: .*Delete it"):
        read_pins(tmp_path)


def test_pins_that_this_user_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, most: int) -> bytes:  # root, whom no folder keeps out, may run this test
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(verify, "read_regular", refuse)
    with pytest.raises(ModelFilesError, match="lock.toml: cannot be read: Permission denied. .*--models-dir"):
        read_pins(tmp_path)


@plants
@pytest.mark.parametrize("key", [None, "a passphrase"])
def test_in_the_place_of_a_session(
    plant: Plant, key: str | None, open_store: Open, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(open_store(key), record())
    put(open_store(key), record("another id"))
    file = session_files(place)[0]
    file.unlink()
    plant(file)
    with caplog.at_level(logging.WARNING):
        assert len(open_store(key).read_all()) == 1
    assert file.name in caplog.text


@pytest.mark.parametrize("plant", [pipe, huge, folder_there])
def test_in_the_place_of_the_salt(plant: Plant, open_store: Open, place: Path) -> None:
    open_store().close()
    plant(place / "salt")
    with pytest.raises(ConfigError, match="sessions"):
        open_store("a passphrase")


@pytest.mark.parametrize("plant", [pipe, huge, loop])
@pytest.mark.parametrize("name", ["gate.onnx.part", "gate.onnx.part.json", "gate.onnx.part.json.{pid}.part"])
def test_in_the_place_of_what_a_download_keeps(plant: Plant, name: str, hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    (folder / "gate").mkdir(parents=True)
    plant(folder / "gate" / name.format(pid=os.getpid()))
    fetch([model(hub_source())], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


def test_a_loop_of_links_in_the_place_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "gate").symlink_to("gate")
    with pytest.raises(ModelFilesError, match=r"gate/gate\.onnx: its symbolic links can't be followed"):
        find_problems([model(hub_source())], tmp_path)
    (tmp_path / "gate").unlink()
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "gate.onnx").symlink_to("gate.onnx")
    with pytest.raises(ModelFilesError, match="its symbolic links"):
        find_problems([model(hub_source())], tmp_path)
