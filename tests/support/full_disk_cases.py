"""On a file system that is full, read-only or gone: tests/catalog/test_full_disk.py runs it on a real one.

It runs as root of a namespace of its own, with the small disk mounted at $SMALL_DISK.
"""

import asyncio
import contextlib
import io
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundle
import pytest
from rich.console import Console

from localvoice.audio.wav import wav_bytes
from localvoice.catalog import DownloadError
from localvoice.cli import _opened
from localvoice.config import ConfigError
from localvoice.conversation.store import SessionStore
from localvoice.observability.debug_audio import DebugAudio
from localvoice.process.logs import set_up_logging
from localvoice.server.certificate import keep_certificate
from tests.support.error_watch import SAID, ask
from tests.support.fake_hub import DATA, FakeHub, fetch, hub_source, left_in, model
from tests.support.fakes import loud, until
from tests.support.server_site import Site, serving


class Disk:
    """A file system of 4 MB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Nothing fits any more; or only so many bytes do, by the page."""
        if leave:
            with self._ballast.open("ab") as file:
                file.write(b"x" * (shutil.disk_usage(self.path).free - leave))
            return
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        assert shutil.disk_usage(self.path).free == 0

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def mount(self, how: str) -> None:
        """Mount it again, such as "ro"."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk(Path(os.environ["SMALL_DISK"]))
    yield disk
    disk.mount("rw")
    for left in disk.path.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


async def until_saving(site: Site, works: bool) -> None:
    """Until the server's health says whether it can save sessions."""
    async with asyncio.timeout(8):
        while True:
            async with site.http.get(site.url + "/health") as response:
                if (await response.json())["sessions_saved"] is works:
                    return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("trouble", ["full", "removed"])
async def test_sessions_are_served_on_and_saved_when_they_can_be(
    disk: Disk, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localvoice")
    folder, away = disk.path / "sessions", disk.path / "away"
    async with serving(sessions_dir=folder) as site, site.client() as client:
        await turn(client)
        (file,) = folder.glob("*.json")
        await until(lambda: SAID in file.read_text())
        before = file.read_bytes()

        disk.fill() if trouble == "full" else folder.rename(away)
        for _ in range(2):
            await turn(client)
            await until_saving(site, False)
        assert client.errors() == []
        told = [line for line in caplog.messages if "sessions can't be saved" in line]
        assert len(told) == 1, "each turn would say so"
        if trouble == "full":
            assert file.read_bytes() == before and not list(folder.glob("*.tmp"))

        disk.free() if trouble == "full" else away.rename(folder)
        await turn(client)
        await until_saving(site, True)
        assert "sessions can be saved again" in caplog.text
        assert file.read_bytes() != before
    async with serving(sessions_dir=folder) as site, site.client() as again:
        await again.send("reconnect", sessionId=client.received[0]["id"])
        assert (await again.expect("reconnect-ack"))["historyRecovered"] is True


def test_a_server_whose_sessions_lie_on_a_read_only_disk_does_not_start(disk: Disk) -> None:
    SessionStore(disk.path / "sessions", None).close()
    disk.mount("ro")
    with pytest.raises(ConfigError, match=r"can't be used \(Read-only file system\)"):
        SessionStore(disk.path / "sessions", None)


async def turn(client: Any) -> None:
    await ask(client)
    await client.expect("tts-complete")
    await client.sync()


async def test_a_server_that_cannot_keep_its_key_on_the_disk_does_not_start(disk: Disk) -> None:
    folder = disk.path / "sessions"
    folder.mkdir(mode=0o700)
    disk.fill()
    with pytest.raises(ConfigError, match=r"can't be used \(No space left on device\)"):
        async with serving(sessions_dir=folder, sessions_key="a passphrase"):
            raise AssertionError("it started")
    assert [each.name for each in folder.iterdir() if each.name != "lock"] == []


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_log_file_that_cannot_be_written_is_told_once(disk: Disk, trouble: str, capfd: Any) -> None:
    root = logging.getLogger()
    root.handlers.clear()
    screen = io.StringIO()
    try:
        set_up_logging("info", Console(file=screen, width=200), file=disk.path / "log")
        log = logging.getLogger("localvoice.test")
        log.info("before")
        if trouble == "full":
            disk.fill()
        else:
            root.handlers[1].close()  # as at each start: a file that is open can't be made read-only
            disk.mount("ro")
        for _ in range(500):
            log.info("a line that is lost, and so on, and so on, and so on")
        assert screen.getvalue().count("can't be written") == 1
        if trouble == "full":
            disk.free()
        else:
            disk.mount("rw")
        log.info("after")
        assert screen.getvalue().count("can be written again") == 1
        lines = (disk.path / "log").read_text()
        assert "before" in lines and "after" in lines
        assert capfd.readouterr().err == "", "no traceback for each line"
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()


async def test_debug_audio_is_lost_and_written_again(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    folder = disk.path / "audio"
    recording = DebugAudio(folder)
    async with serving(brought={"hooks": recording.hooks()}) as site, site.client() as client:
        await turn(client)
        await until(lambda: len(list(folder.glob("*.wav"))) == 1)
        disk.fill()
        await turn(client)
        await until(lambda: "No space left on device" in caplog.text)
        assert client.errors() == [] and len(list(folder.glob("*.wav"))) == 1, "no half file is left"
        disk.free()
        await turn(client)
        await until(lambda: len(list(folder.glob("*.wav"))) == 2)
    await recording.close()


def test_a_download_says_what_it_needs_before_it_begins(hub: FakeHub, disk: Disk) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    disk.fill(leave=2_000_000)
    with pytest.raises(DownloadError, match=r"3\.1 MB are needed .*, 2\.0 MB are free"):
        fetch([model(hub_source())], disk.path / "models")


def test_a_download_that_fills_the_disk_keeps_what_came_and_goes_on_from_there(
    hub: FakeHub, disk: Disk
) -> None:
    folder = disk.path / "models"
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    hub.on_request = lambda path: disk.fill(leave=1_000_000) if path == store else None
    with pytest.raises(DownloadError, match="No space left on device") as caught:
        fetch([model(hub_source())], folder)
    assert "what has arrived is kept and resumed" in str(caught.value)
    assert (folder / "gate" / "gate.onnx.part").stat().st_size > 0
    assert not (folder / "gate" / "gate.onnx").exists()
    hub.on_request = lambda path: None
    disk.free()
    fetch([model(hub_source())], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert hub.asked(store)[-1].range is not None and left_in(folder) == ["gate.onnx"]


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_download_into_a_folder_that_takes_nothing(hub: FakeHub, disk: Disk, trouble: str) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    if trouble == "full":
        disk.fill()
    else:
        disk.mount("ro")
    with pytest.raises(DownloadError, match="--models-dir"):
        fetch([model(hub_source())], disk.path / "models")


@pytest.mark.parametrize(
    ("trouble", "why"), [("full", "No space left on device"), ("read-only", "Read-only file system")]
)
def test_a_certificate_that_cannot_be_kept(disk: Disk, trouble: str, why: str) -> None:
    folder = disk.path / "tls"
    if trouble == "full":
        folder.mkdir()
        disk.fill()
    else:
        disk.mount("ro")
    with pytest.raises(ConfigError, match=rf"can't be kept in .*{why}"):
        keep_certificate(folder, ["localhost"])
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_certificate_that_is_there_serves_on_from_a_full_and_read_only_disk(disk: Disk) -> None:
    first = keep_certificate(disk.path / "tls", ["localhost"])
    disk.fill()
    disk.mount("ro")
    assert keep_certificate(disk.path / "tls", ["localhost"]).fingerprint == first.fingerprint


def test_a_reply_that_cannot_be_written_is_one_sentence(disk: Disk) -> None:
    disk.fill()
    with (
        pytest.raises(ConfigError, match=r"can't be written to .*reply\.wav: No space left on device"),
        _opened(disk.path / "reply.wav") as reply,
    ):
        reply.write(wav_bytes(loud(3.0)))


@pytest.mark.parametrize(
    ("trouble", "why"), [("full", "No space left on device"), ("read-only", "Read-only file system")]
)
def test_a_bundle_that_cannot_be_written(
    disk: Disk, trouble: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def models(_profile: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "large").write_bytes(b"x" * 5_000_000)

    monkeypatch.setattr(bundle, "put_models", models)
    if trouble == "read-only":
        disk.mount("ro")
    with pytest.raises(SystemExit, match=rf"can't be written to .*dist \({why}\)\. Give another folder"):
        bundle.main("tiny", False, disk.path / "dist")
    assert trouble == "read-only" or list((disk.path / "dist").iterdir()) == []
