"""Downloading: sources in order, only right bytes, enough room, one at a time."""

import io
import shutil
import threading
import time
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from localvoice.catalog import DownloadError, ModelFilesError, download_profile, load_catalog
from localvoice.catalog.display import Display
from localvoice.catalog.download import Downloads
from localvoice.catalog.verify import VerifiedCache
from tests.support.fake_hub import (
    BACKOFF_SECONDS,
    DATA,
    FakeHub,
    fetch,
    hub_source,
    left_in,
    model,
    package_source,
    sha256,
)


def test_hub_is_first(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    hub.add_wheel("gate-data==1.0", {"data/gate.onnx": DATA})
    shown = fetch([model(hub_source(), package_source(("gate-data==1.0", "data/gate.onnx")))], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert left_in(folder) == ["gate.onnx"]
    assert "gate/gate.onnx: 3.1 MB" in shown and "gate/gate.onnx: done, from hub me/gate@main" in shown
    assert not any(request.path.startswith(("/simple", "/files")) for request in hub.requests)


@pytest.mark.parametrize("speaks_json", [True, False])
def test_package_is_next(hub: FakeHub, folder: Path, speaks_json: bool) -> None:
    hub.index_speaks_json = speaks_json
    wheel = hub.add_wheel("gate-data==1.0", {"data/gate.onnx": DATA})
    hub.add_wheel("gate-data==2.0", {"data/gate.onnx": b"another version"})
    shown = fetch([model(hub_source(), package_source(("gate-data==1.0", "data/gate.onnx")))], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert left_in(folder) == ["gate.onnx"], "the wheel is deleted"
    assert [request.path for request in hub.requests] == [
        "/me/gate/resolve/main/gate.onnx",
        "/simple/gate-data/",
        wheel,
    ]
    assert "the next one is tried: 127.0.0.1 answers 404" in shown


def test_nothing_missing_asks_nothing(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    fetch([model(hub_source())], folder)
    hub.requests.clear()
    assert fetch([model(hub_source())], folder) == ""
    assert hub.requests == []


def test_downloaded_files_need_no_hashing_at_the_next_start(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    fetch([model(hub_source())], folder)
    status = (folder / "gate" / "gate.onnx").stat()
    assert VerifiedCache(folder).has("gate/gate.onnx", status, sha256(DATA))


def test_damaged_file_is_fetched_again(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    (folder / "gate").mkdir(parents=True)
    (folder / "gate" / "gate.onnx").write_bytes(b"X" + DATA[1:])
    fetch([model(hub_source())], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA


def test_wrong_hash_is_never_used(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", b"X" + DATA[1:])
    with pytest.raises(DownloadError, match=rf"wrong SHA-256 [0-9a-f]{{64}}, must be {sha256(DATA)}"):
        fetch([model(hub_source())], folder)
    assert left_in(folder) == []


def test_after_a_wrong_hash_comes_the_next_source(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", b"X" + DATA[1:])
    wheel = hub.add_wheel("gate-data==1.0", {"data/gate.onnx": DATA})
    final = folder / "gate" / "gate.onnx"

    def not_there_yet(path: str) -> None:
        assert path != wheel or not final.exists()

    hub.on_request = not_there_yet
    shown = fetch([model(hub_source(), package_source(("gate-data==1.0", "data/gate.onnx")))], folder)
    assert "the next one is tried: wrong SHA-256" in shown
    assert final.read_bytes() == DATA
    assert hub.asked(wheel)


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"more"])
def test_wrong_length_is_refused_before_the_bytes_come(hub: FakeHub, folder: Path, data: bytes) -> None:
    hub.add_file("me/gate", "gate.onnx", data)
    with pytest.raises(DownloadError, match=f"offers {len(data)} bytes, must be {len(DATA)}"):
        fetch([model(hub_source())], folder)
    assert not (folder / "gate").exists()


def test_reasons_of_all_sources_and_what_to_do(hub: FakeHub, folder: Path) -> None:
    hub.status["/me/gate/resolve/main/gate.onnx"] = 401
    hub.add_wheel("gate-data==2.0", {"data/gate.onnx": DATA})
    sources = [
        hub_source(),
        package_source(("gate-data==1.0", "data/gate.onnx")),
        package_source(("unknown==1.0", "x")),
    ]
    with pytest.raises(DownloadError) as told:
        fetch([model(*sources)], folder)
    text = str(told.value)
    assert "1 model file(s) could not be downloaded" in text and str(folder) in text
    assert "hub me/gate@main gate.onnx: 127.0.0.1 answers 401 Unauthorized: " in text and "HF_TOKEN" in text
    assert "package gate-data==1.0: 127.0.0.1 has no wheel of gate-data==1.0" in text
    assert "package unknown==1.0: 127.0.0.1 answers 404" in text
    for help_text in ("HTTPS_PROXY", "HF_ENDPOINT", "PIP_INDEX_URL", "--models-dir", "models verify"):
        assert help_text in text
    assert f"{folder / 'gate' / 'gate.onnx'}" in text and f"SHA-256 {sha256(DATA)}, {len(DATA)} bytes" in text
    assert f"{hub.url}/me/gate/resolve/main/gate.onnx" in text
    assert "secret-token" not in text


def test_one_bad_model_does_not_keep_the_others(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/other", "gate.onnx", DATA)
    other = model(hub_source(repo="me/other"), name="other")
    with pytest.raises(DownloadError) as told:
        fetch([model(hub_source()), other], folder)
    assert "other/gate.onnx" not in str(told.value)
    assert (folder / "other" / "gate.onnx").read_bytes() == DATA


def test_file_without_any_source_is_asked_for(hub: FakeHub, folder: Path) -> None:
    with pytest.raises(DownloadError, match="the catalogue names no source for it"):
        fetch([model()], folder)


def test_disk_too_small_is_told_before_anything_is_asked(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 4_000_000))
    source = package_source(("gate-data==1.0", "gate.onnx"))
    with pytest.raises(DownloadError, match=r"6\.1 MB are needed \(with room to unpack\), 4\.0 MB are free"):
        fetch([model(hub_source(), source)], folder)
    assert hub.requests == []


def test_disk_check_counts_what_is_there_already(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 2_000_000))
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    (folder / "gate").mkdir(parents=True)
    (folder / "gate" / "gate.onnx.part").write_bytes(DATA[:2_000_000])
    (folder / "gate" / "gate.onnx.part.json").write_text('{"origin": "hub me/gate@main gate.onnx"}')
    fetch([model(hub_source())], folder)
    assert [request.range for request in hub.asked(store)] == ["bytes=2000000-"]


def test_folder_that_cannot_be_written(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DownloadError, match="cannot be written: Permission denied.*--models-dir"):
        fetch([model(hub_source())], folder)


def test_link_that_leads_out_is_not_written_through(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "gate").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFilesError, match="leads out of the models folder"):
        fetch([model(hub_source())], folder)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_two_downloads_at_once_take_turns(hub: FakeHub, folder: Path) -> None:
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    hub.on_request = lambda path: time.sleep(0.2)
    shown: list[str] = []
    threads = [
        threading.Thread(target=lambda: shown.append(fetch([model(hub_source())], folder))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert len(hub.asked(store)) == 1
    assert sum("Another download into" in text for text in shown) == 1


def test_models_are_fetched_at_the_same_time(hub: FakeHub, folder: Path) -> None:
    meeting = threading.Barrier(3)
    names = ("gate", "b", "c")
    stores = [hub.add_file(f"me/{name}", "gate.onnx", DATA) for name in names]

    def meet(path: str) -> None:
        if path in stores:
            meeting.wait(5)

    hub.on_request = meet
    fetch([model(hub_source(repo=f"me/{name}"), name=name) for name in names], folder)
    assert not meeting.broken


def test_terminal_gets_a_bar_for_each_file(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    shown = io.StringIO()
    with (
        Display(Console(file=shown, width=200, force_terminal=True)) as display,
        closing(Downloads(folder, display, BACKOFF_SECONDS)) as downloads,
    ):
        downloads.bring([model(hub_source())])
    last = [line for line in shown.getvalue().splitlines() if "gate/gate.onnx" in line][-1]
    assert "━" in last and "3.1/3.1 MB" in last and "done, from hub me/gate@main" in last


def test_profile_is_downloaded_by_name(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    """Through the public function, for a user's profile whose models are all on the fake hub."""
    lines = []
    profile = ["[profiles.mine]", 'description = "mine"']
    wanted = {
        "stt": ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"],
        "llm": ["my.gguf"],
        "tts": ["my.onnx", "my.onnx.json"],
        "vad": ["vad.onnx"],
        "turn": ["turn.onnx"],
    }
    for role, files in wanted.items():
        profile.append(f'{role} = "my-{role}"')
        lines += [f"[models.my-{role}]", f'role = "{role}"', 'description = "x"', 'licence = "MIT"']
        lines.append("verified = false")
        for file in files:
            hub.add_file(
                f"me/{role}", file, f"{role} {file}".encode(), large=file.endswith((".bin", ".gguf"))
            )
            source = f'{{ hub = "me/{role}", revision = "main", path = "{file}" }}'
            lines += [f"[[models.my-{role}.files]]", f'name = "{file}"', f"sources = [{source}]"]
    own = tmp_path / "mine.toml"
    own.write_text("\n".join(lines + profile))
    shown = io.StringIO()
    count = download_profile(load_catalog(own), "mine", folder, Console(file=shown, width=200))
    assert count == 9
    assert f"Profile mine: all model files are in {folder}." in shown.getvalue()
    assert (folder / "my-llm" / "my.gguf").read_bytes() == b"llm my.gguf"
    assert "my-llm: not yet verified by a download" in shown.getvalue()
