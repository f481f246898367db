"""Sessions on disk: private, whole whenever the power goes, sealed with a key, and never deleted unread."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localvoice.agent import session_store
from localvoice.agent.reminders import LIMIT
from localvoice.agent.session_store import SavedReminder, SessionRecord, SessionStore, SessionWriter
from localvoice.config import ConfigError

Open = Callable[..., SessionStore]


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real cost is meant to take its time."""
    monkeypatch.setattr(session_store, "_SCRYPT_COST", 16)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "sessions"


@pytest.fixture
def open_store(place: Path) -> Iterator[Open]:
    """Opens the folder anew, as a restarted process would."""
    opened: list[SessionStore] = []

    def reopen(key: str | None = None) -> SessionStore:
        close()
        opened.append(SessionStore(place, key))
        return opened[-1]

    def close() -> None:
        for store in opened:
            store.close()

    yield reopen
    close()


def record(session_id: str = "an id", text: str = "My secret is 4711.", turns: int = 1) -> SessionRecord:
    return SessionRecord(
        id=session_id,
        history={"messages": [{"role": "user", "content": text}]},
        director={"stage": "greeting"},
        reminders=(SavedReminder(due=2e9, text="The tea is ready."),),
        announcements=("Hello again.",),
        turns=turns,
        told_blind=True,
        started=1e9,
        last_active=1.5e9,
    )


def put(store: SessionStore, kept: SessionRecord) -> None:
    store.write(kept.id, kept.model_dump_json().encode())


def session_files(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.suffix in (".json", ".sealed", ".tmp")]


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


# --- what can't be read ---


def left_alone(store: SessionStore, place: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Read the folder, where one file can't be: nothing comes of it, it stays, and one line tells why."""
    before = {path: path.read_bytes() for path in session_files(place)}
    with caplog.at_level(logging.WARNING):
        assert store.read_all() == []
    assert {path: path.read_bytes() for path in session_files(place)} == before
    (line,) = caplog.messages
    assert "4711" not in line, "what was said is not for the log"
    return line


def test_another_key(open_store: Open, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(open_store("a passphrase"), record())
    assert "another key" in left_alone(open_store("another passphrase"), place, caplog)
    assert open_store("a passphrase").read_all() == [record()], "the right key still opens it"


def test_a_key_is_missing(open_store: Open, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(open_store("a passphrase"), record())
    assert "server.sessions_key" in left_alone(open_store(), place, caplog)


def test_a_key_was_added(open_store: Open, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(open_store(), record())
    assert "not encrypted" in left_alone(open_store("a passphrase"), place, caplog)


@pytest.mark.parametrize("at", [0, 12, -1])
def test_a_flipped_bit(open_store: Open, place: Path, caplog: pytest.LogCaptureFixture, at: int) -> None:
    put(open_store("a passphrase"), record())
    (file,) = session_files(place)
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    assert "damaged" in left_alone(open_store("a passphrase"), place, caplog)


@pytest.mark.parametrize("key", [None, "a passphrase"])
def test_a_file_under_another_sessions_name(
    open_store: Open, place: Path, caplog: pytest.LogCaptureFixture, key: str | None
) -> None:
    put(open_store(key), record())
    (file,) = session_files(place)
    file.rename(file.with_stem("0" * 64))
    assert left_alone(open_store(key), place, caplog)


def test_another_version(open_store: Open, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = record().model_dump_json().replace('"version":1', '"version":2')
    open_store().write("an id", text.encode())
    assert "another version" in left_alone(open_store(), place, caplog)


@pytest.mark.parametrize("key", [None, "a passphrase"])
def test_one_damaged_file_does_not_hide_the_others(
    open_store: Open, place: Path, key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(key)
    put(store, record("good"))
    put(store, record("bad"))
    bad = place / (session_store._name_of("bad") + (".sealed" if key else ".json"))
    bad.write_bytes(bad.read_bytes()[:20])
    bad.with_stem("1" * 64).mkdir()
    (place / "half a copy.tmp").mkdir()
    crowded = record("crowded")
    put(store, crowded.model_copy(update={"reminders": crowded.reminders * (LIMIT + 1)}))
    assert [each.id for each in open_store(key).read_all()] == ["good"]
    assert bad.exists()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["a pipe", "a link to a pipe", "a link to a device", "a socket"])
def test_what_is_no_file_is_not_waited_for(
    open_store: Open, place: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(open_store(), record("good"))
    odd = place / f"{'3' * 64}.json"
    pipe = odd if kind == "a pipe" else tmp_path / "pipe"
    os.mkfifo(pipe)
    if kind == "a socket":
        with contextlib.chdir(place), socket.socket(socket.AF_UNIX) as bound:  # its path may be too long
            bound.bind(odd.name)
    elif kind != "a pipe":
        odd.symlink_to(pipe if kind == "a link to a pipe" else "/dev/full")
    assert [each.id for each in open_store().read_all()] == ["good"]
    assert "can't be read: " in caplog.text


@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_the_salt_or_the_lock(open_store: Open, place: Path) -> None:
    open_store()
    (place / "lock").unlink()
    os.mkfifo(place / "lock", 0o600)
    open_store()
    os.mkfifo(place / "salt", 0o600)
    with pytest.raises(ConfigError, match="it is no regular file"):
        open_store("a passphrase")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=50).map(str.encode), sealed=st.booleans())
def test_no_content_of_a_file_breaks_the_start(
    open_store: Open, place: Path, content: bytes, sealed: bool
) -> None:
    store = open_store("a passphrase" if sealed else None)
    file = place / f"{'2' * 64}{'.sealed' if sealed else '.json'}"
    file.write_bytes(content)
    assert store.read_all() == []
    assert file.read_bytes() == content
    file.unlink()


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
from localvoice.agent.session_store import SessionRecord, SessionStore
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


# --- the writer ---


class HeldStore(SessionStore):
    """Each write waits until it is let through; keeps what happened."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None)
        self.done: list[tuple[str, bytes | None]] = []
        self.begun = threading.Semaphore(0)
        self.pass_on = threading.Semaphore(0)
        self.fails = False

    def write(self, session_id: str, record: bytes) -> None:
        self._hold(session_id, record)

    def remove(self, session_id: str) -> None:
        self._hold(session_id, None)

    def _hold(self, session_id: str, record: bytes | None) -> None:
        self.begun.release()
        assert self.pass_on.acquire(timeout=10)
        if self.fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.done.append((session_id, record))


@pytest.fixture
def held(place: Path) -> Iterator[HeldStore]:
    store = HeldStore(place)
    yield store
    store.close()


async def under_way(held: HeldStore) -> None:
    assert await asyncio.to_thread(held.begun.acquire, timeout=10)


async def test_of_writes_that_wait_the_newest_is_made_in_order(held: HeldStore) -> None:
    writer = SessionWriter(held)
    first = writer.write("a", b"1")
    await under_way(held)
    waiting = []
    for each in (b"2", b"3", b"4"):
        waiting.append(writer.write("a", each))
        await asyncio.sleep(0.01)
    assert not held.begun.acquire(blocking=False), "one at a time"
    held.pass_on.release(2)
    assert await asyncio.gather(first, *waiting) == [True] * 4
    assert held.done == [("a", b"1"), ("a", b"4")]


async def test_a_removal_comes_last(held: HeldStore) -> None:
    writer = SessionWriter(held)
    writer.write("a", b"1")
    await under_way(held)
    writer.write("a", b"2")
    writer.write("a", None)
    held.pass_on.release(2)
    await writer.flush()
    assert held.done == [("a", b"1"), ("a", None)]


async def test_sessions_do_not_wait_for_each_other(held: HeldStore) -> None:
    writer = SessionWriter(held)
    jobs = [writer.write("a", b"1"), writer.write("b", b"1")]
    await under_way(held)
    await under_way(held)
    held.pass_on.release(2)
    assert all(await asyncio.gather(*jobs))


async def test_a_failure_is_logged_once_and_told_each_time(
    held: HeldStore, caplog: pytest.LogCaptureFixture
) -> None:
    writer = SessionWriter(held)
    held.pass_on.release(10)
    held.fails = True
    with caplog.at_level(logging.INFO):
        assert [await writer.write("a", b"1") for _ in range(3)] == [False] * 3
        assert writer.failing
        held.fails = False
        assert await writer.write("a", b"1")
        assert not writer.failing
    assert len(caplog.messages) == 2
    assert "No space left" in caplog.messages[0] and "again" in caplog.messages[1]
    assert held.done == [("a", b"1")]


async def test_nothing_is_kept_of_what_is_written(held: HeldStore) -> None:
    writer: Any = SessionWriter(held)
    held.pass_on.release(5)
    for session_id in "abcde":
        writer.write(session_id, b"1")
    await writer.flush()
    assert not writer._jobs and not writer._waiting
