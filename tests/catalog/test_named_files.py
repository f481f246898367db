"""Pipes, folders and devices where the user names a file: what can be used is, and nothing is waited for."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localvoice import cli, files, load_playbook, setting_sources
from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.catalog import load_catalog
from localvoice.catalog.network import Route
from localvoice.catalog.sources import hub_headers, pip_settings
from localvoice.config import ConfigError
from localvoice.files import NamedOutput, read_named
from localvoice.server.certificate import own_certificate
from localvoice.setting_sources import load_settings
from tests.support.fakes import loud
from tests.support.named_pipes import pipe as pipe
from tests.support.named_pipes import reader as reader

pytestmark = pytest.mark.timeout(20)

Use = Callable[[Path, pytest.MonkeyPatch], object]


@pytest.fixture
def writer(pipe: Path, reader: int) -> Iterator[int]:
    """A program that has it open as well, and writes nothing by itself."""
    descriptor = os.open(pipe, os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PATIENCE_SECONDS", 0.05)


def substituted(content: bytes) -> Path:
    """What a shell gives a program for `<(...)`."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(content)

    threading.Thread(target=write, name="the program in brackets").start()
    return Path(f"/dev/fd/{reading}")


def certificates(path: Path, environment: pytest.MonkeyPatch) -> object:
    environment.setenv("SSL_CERT_FILE", str(path))
    return Route()


def hub_token(path: Path, environment: pytest.MonkeyPatch) -> object:
    environment.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(path))
    return hub_headers()


def settings_of_pip(path: Path, environment: pytest.MonkeyPatch) -> object:
    environment.setenv("PIP_CONFIG_FILE", str(path))
    return pip_settings()


READ: dict[str, Use] = {
    "settings": lambda path, _: load_settings(path),
    "catalogue": lambda path, _: load_catalog(path),
    "playbook": lambda path, _: load_playbook(path),
    "sound": lambda path, _: read_wav(path),
}
LEFT_TO_LIBRARIES: dict[str, Use] = {
    "certificate": lambda path, _: own_certificate(path, path),
    "SSL_CERT_FILE": certificates,
    "pip's certificates": lambda path, _: Route(ca_file=str(path)),
    "hub's token": hub_token,
    "pip's settings": settings_of_pip,
}


def refusal(use: Use, path: Path) -> str:
    """What the user is told."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("HF_TOKEN", raising=False)
        with pytest.raises(Exception, match=str(path)) as raised:
            use(path, environment)
    assert not isinstance(raised.value, OSError), "the command line has a sentence for it"
    return str(raised.value)


@pytest.mark.parametrize("use", (READ | LEFT_TO_LIBRARIES).values(), ids=READ | LEFT_TO_LIBRARIES)
def test_a_pipe_that_no_program_writes_to_is_refused_at_once(use: Use, pipe: Path) -> None:
    assert "pipe" in refusal(use, pipe) or "no regular file" in refusal(use, pipe)


@pytest.mark.parametrize("use", READ.values(), ids=READ)
@pytest.mark.usefixtures("impatient", "writer")
def test_a_pipe_from_which_nothing_comes_is_refused_after_a_while(use: Use, pipe: Path) -> None:
    assert "nothing comes from it" in refusal(use, pipe)


@pytest.mark.parametrize(
    "use",
    [*READ.values(), LEFT_TO_LIBRARIES["certificate"], LEFT_TO_LIBRARIES["hub's token"]],
)
def test_a_folder_is_refused(use: Use, tmp_path: Path) -> None:
    refusal(use, tmp_path)


def test_a_device_without_an_end_is_refused() -> None:
    assert "larger than 256 KiB" in refusal(READ["playbook"], Path("/dev/zero"))


def test_what_a_program_writes_is_read_to_its_end() -> None:
    assert load_settings(substituted(b'profile = "tiny"')).profile == "tiny"
    assert read_wav(substituted(wav_bytes(loud(10.0)))).seconds == 10.0  # more than a pipe holds
    assert "tiny" in load_catalog(substituted(b"[profiles.tiny]\n")).profiles
    assert read_named(Path("/dev/null"), 10) == b""


def test_a_folder_in_the_place_of_the_usual_settings_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setting_sources, "DEFAULT_FILE", tmp_path)
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load_settings()
    monkeypatch.setattr(setting_sources, "DEFAULT_FILE", tmp_path / "none")
    load_settings()


@pytest.mark.parametrize("name", ["pipe", "", "absent/reply.wav"])
def test_where_the_reply_cannot_go_is_told_before_anything_is_loaded(
    name: str, pipe: Path, tmp_path: Path
) -> None:
    question = tmp_path / "question.wav"
    question.write_bytes(wav_bytes(loud(0.1)))
    out = tmp_path / name
    words = ("turn", str(question), "--out", str(out), "--models-dir", str(tmp_path))
    error = CliRunner().invoke(cli.app, words).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith(f"The reply can't be written to {out}: ")


def test_a_reply_replaces_what_a_file_held_only_when_there_is_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"held before")
    for path in (old, new):
        with NamedOutput(path):
            pass
    assert old.read_bytes() == b"held before" and not new.exists()
    for path in (old, new):
        with NamedOutput(path) as output:
            output.write(b"reply")
        assert path.read_bytes() == b"reply"


def test_a_reply_goes_into_a_pipe_as_fast_as_it_is_read(reader: int, pipe: Path) -> None:
    content = bytes(range(256)) * 1_000  # more than a pipe holds
    with NamedOutput(pipe) as output:
        writing = threading.Thread(target=output.write, args=(content,))
        writing.start()
        got = b""
        os.set_blocking(reader, True)
        while len(got) < len(content):
            got += os.read(reader, 65_536)
        writing.join()
    assert got == content


@pytest.mark.usefixtures("impatient", "reader")
def test_a_pipe_that_is_not_read_on_is_not_waited_for(pipe: Path) -> None:
    with NamedOutput(pipe) as output, pytest.raises(OSError, match="stands still"):
        output.write(bytes(1 << 20))
