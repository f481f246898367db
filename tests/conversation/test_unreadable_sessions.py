"""Files of sessions that can't be read: left alone, told in a line, and no others are hidden by them."""

import contextlib
import logging
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localvoice.config import ConfigError
from localvoice.conversation import store as session_store
from localvoice.conversation.store import SessionStore
from localvoice.tools.reminders import LIMIT
from tests.support.session_folder import Open, put, record, session_files
from tests.support.session_folder import open_store as open_store
from tests.support.session_folder import place as place
from tests.support.session_folder import quick_keys as quick_keys


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


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=60)
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
