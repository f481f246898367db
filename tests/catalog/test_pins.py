"""Files without a SHA-256 in the catalogue: the hub's record at their first download pins them."""

import tomllib
from pathlib import Path

import pytest

from localvoice.catalog import DownloadError, ModelFilesError
from localvoice.catalog.schema import Model
from localvoice.catalog.verify import find_problems
from tests.support.fake_hub import (
    COMMIT,
    DATA,
    FakeHub,
    fetch,
    hub_source,
    left_in,
    model,
    sha256,
)


@pytest.mark.parametrize("large", [True, False])
def test_unpinned_file_is_pinned_at_its_first_download(hub: FakeHub, folder: Path, large: bool) -> None:
    unpinned = model(hub_source(revision="v1"), pinned=False)
    hub.add_file("me/gate", "gate.onnx", DATA, revision="v1", large=large)
    assert "was not downloaded by localvoice" not in str(find_problems([unpinned], folder))
    fetch([unpinned], folder)
    lock = tomllib.loads((folder / "lock.toml").read_text())
    assert lock == {
        "gate/gate.onnx": {
            "source": "hub me/gate@v1 gate.onnx",
            "commit": COMMIT,
            "size": len(DATA),
            "sha256": sha256(DATA),
        }
    }
    assert find_problems([unpinned], folder) == {}
    (folder / "gate" / "gate.onnx").write_bytes(b"X" + DATA[1:])
    assert "is damaged" in find_problems([unpinned], folder)["gate/gate.onnx"]
    hub.add_file("me/gate", "gate.onnx", DATA[::-1], revision="v1", large=large)
    with pytest.raises(DownloadError, match="wrong SHA-256"):
        fetch([unpinned], folder)


@pytest.mark.parametrize("large", [True, False])
def test_unpinned_file_must_be_what_the_hub_says(hub: FakeHub, folder: Path, large: bool) -> None:
    path = hub.add_file("me/gate", "gate.onnx", DATA, large=large)
    page = hub._pages[path]
    hub._pages[path] = type(page)(b"X" + DATA[1:], page.headers)
    with pytest.raises(DownloadError, match="is not what the hub's record says"):
        fetch([model(hub_source(), pinned=False)], folder)
    assert left_in(folder) == [] and not (folder / "lock.toml").exists()


def test_unpinned_file_of_another_source_needs_a_new_pin(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    hub.add_file("me/gate", "gate.onnx", DATA[::-1], revision="v2")
    fetch([model(hub_source(), pinned=False)], folder)
    moved = model(hub_source(revision="v2"), pinned=False)
    assert "was not downloaded by localvoice" in find_problems([moved], folder)["gate/gate.onnx"]
    fetch([moved], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA[::-1]


def test_unpinned_file_without_a_record_fails_before_anything_is_fetched(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/other", "gate.onnx", DATA)
    with pytest.raises(DownloadError, match="hub me/gate@main gate.onnx: 127.0.0.1 answers 404"):
        fetch([model(hub_source(), pinned=False), model(hub_source(repo="me/other"), name="other")], folder)
    assert all(request.method == "HEAD" for request in hub.requests)


def test_spoilt_lock_is_told(hub: FakeHub, folder: Path) -> None:
    folder.mkdir()
    (folder / "lock.toml").write_text("[x]\nsha256 = 1\n")
    with pytest.raises(ModelFilesError, match=r"lock\.toml: cannot be used"):
        fetch([model(hub_source(), pinned=False)], folder)


def of_unknown_size(data: bytes = DATA) -> Model:
    """Its SHA-256 is published, its size is not."""
    pinned = model(hub_source(), data=data)
    return pinned.model_copy(update={"files": (pinned.files[0].model_copy(update={"size": None}),)})


@pytest.mark.parametrize("large", [True, False])
def test_the_hub_tells_the_size_of_a_file_whose_sum_is_known(hub: FakeHub, folder: Path, large: bool) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA, large=large)
    fetch([of_unknown_size()], folder)
    assert (folder / "gate" / "gate.onnx").read_bytes() == DATA
    assert tomllib.loads((folder / "lock.toml").read_text())["gate/gate.onnx"]["size"] == len(DATA)
    assert find_problems([of_unknown_size()], folder) == {}
    (folder / "gate" / "gate.onnx").write_bytes(DATA[:-1])
    assert "must have" in find_problems([of_unknown_size()], folder)["gate/gate.onnx"]


def test_another_file_than_the_sum_says_is_refused_before_its_bytes_come(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", DATA)
    with pytest.raises(DownloadError, match=rf"its SHA-256 is {sha256(DATA)}, must be "):
        fetch([of_unknown_size(b"other")], folder)
    assert all(request.method == "HEAD" for request in hub.requests)
    hub.add_file("me/gate", "gate.onnx", DATA, large=False)  # whose record is no SHA-256
    with pytest.raises(DownloadError, match="wrong SHA-256"):
        fetch([of_unknown_size(b"other")], folder)
    assert left_in(folder) == []


def test_a_file_of_unknown_size_may_be_put_there_by_hand(folder: Path) -> None:
    (folder / "gate").mkdir(parents=True)
    (folder / "gate" / "gate.onnx").write_bytes(DATA)
    assert find_problems([of_unknown_size()], folder) == {}
    (folder / "gate" / "gate.onnx").write_bytes(b"something else")
    assert "is damaged" in find_problems([of_unknown_size()], folder)["gate/gate.onnx"]
