"""Sessions on disk: private, whole whenever the power goes, and sealed with a key."""

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localvoice.config import ConfigError
from localvoice.conversation.store import SessionStore
from tests.support.session_folder import Open, put, record, session_files
from tests.support.session_folder import open_store as open_store
from tests.support.session_folder import place as place
from tests.support.session_folder import quick_keys as quick_keys

# --- what is kept, and from whom ---


@pytest.mark.parametrize("key", [None, "a passphrase"])
def test_what_was_written_is_read_after_a_restart(open_store: Open, key: str | None) -> None:
    store = open_store(key)
    put(store, record("one", "first"))
    put(store, record("two"))
    put(store, record("one", "latest"))
    kept = {each.id: each for each in open_store(key).read_all()}
    assert kept == {"one": record("one", "latest"), "two": record("two")}


@pytest.mark.parametrize("key", [None, "a passphrase"])
def test_what_is_removed_is_gone_from_the_disk(open_store: Open, place: Path, key: str | None) -> None:
    store = open_store(key)
    put(store, record())
    store.remove("an id")
    store.remove("an id")
    assert session_files(place) == []
    assert store.read_all() == []


@pytest.mark.parametrize("key", [None, "a passphrase"])
def test_only_the_owner_can_read(open_store: Open, place: Path, key: str | None) -> None:
    before = os.umask(0)
    try:
        put(open_store(key), record())
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o600}


def test_the_name_of_a_file_does_not_tell_the_id(open_store: Open, place: Path) -> None:
    put(open_store(), record("open sesame"))
    (file,) = session_files(place)
    assert "sesame" not in file.name
    assert len(file.stem) == 64


def test_with_a_key_nothing_can_be_read_from_the_files(open_store: Open, place: Path) -> None:
    store = open_store("a passphrase")
    put(store, record("open sesame"))
    (file,) = session_files(place)
    first = file.read_bytes()
    put(store, record("open sesame"))
    assert file.read_bytes() != first, "the same conversation looks different each time"
    everything = b"".join(path.read_bytes() for path in place.iterdir())
    for secret in (b"sesame", b"4711", b"greeting", b"tea", b"passphrase"):
        assert secret not in everything


def test_an_id_can_be_anything(open_store: Open, place: Path) -> None:
    put(open_store(), record("../../escape\0"))
    assert [each.id for each in open_store().read_all()] == ["../../escape\0"]
    assert len(session_files(place)) == 1


# --- whenever the power goes ---


def test_a_full_disk_leaves_what_was_there(
    open_store: Open, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    put(store, record(turns=1))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "fsync", full)
        put(store, record(turns=2))
    assert len(session_files(place)) == 1, "no half copy is left, either"
    assert store.read_all() == [record(turns=1)]


def test_half_a_copy_of_a_dead_process_is_cleared_away(open_store: Open, place: Path) -> None:
    put(open_store(), record())
    (file,) = session_files(place)
    file.with_name(file.name + ".tmp").write_bytes(b'{"version":1,"id"')
    assert open_store().read_all() == [record()]
    assert session_files(place) == [file]


_WRITES_FOR_EVER = """
import sys
from pathlib import Path
from localvoice.conversation.store import SessionRecord, SessionStore
store = SessionStore(Path(sys.argv[1]), None)
turns = 0
while True:
    turns += 1
    record = SessionRecord(
        id="x", history={"a": "b" * 300_000}, director={}, turns=turns, started=0.0, last_active=0.0
    )
    store.write("x", record.model_dump_json().encode())
    print(turns, flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_session(
    open_store: Open, place: Path
) -> None:
    command = [sys.executable, "-c", _WRITES_FOR_EVER, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "1\n"
        with pytest.raises(ConfigError, match="Another localvoice keeps its sessions"):
            open_store()
        time.sleep(0.2)
        child.kill()
        written = 1 + len(child.stdout.readlines())
    (kept,) = open_store().read_all()
    assert kept.turns in (written, written + 1), "what was reported as written is there"
    assert len(session_files(place)) == 1


# --- folders that can't be used ---


def test_a_folder_that_others_can_look_into(place: Path) -> None:
    place.mkdir(parents=True)
    place.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        SessionStore(place, None)
    assert list(place.iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"can't be used .*server\.sessions_dir"):
            SessionStore(folder, None)


def test_an_empty_key(place: Path) -> None:
    with pytest.raises(ConfigError, match="passphrase"):
        SessionStore(place, "")
    assert not place.exists()


def test_a_damaged_salt(open_store: Open, place: Path) -> None:
    put(open_store("a passphrase"), record())
    salt = (place / "salt").read_bytes()
    (place / "salt").write_bytes(b"short")
    with pytest.raises(ConfigError, match="salt is damaged"):
        open_store("a passphrase")
    (place / "salt").write_bytes(salt)
    assert open_store("a passphrase").read_all() == [record()], "the folder is not held by what failed"


def test_two_folders_have_keys_of_their_own(open_store: Open, place: Path, tmp_path: Path) -> None:
    put(open_store("a passphrase"), record())
    other = SessionStore(tmp_path / "other", "a passphrase")
    put(other, record())
    other.close()
    assert (place / "salt").read_bytes() != (tmp_path / "other" / "salt").read_bytes()
