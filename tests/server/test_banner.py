"""What the start says about where the page is, on a terminal and elsewhere."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import pytest
import segno
from rich.console import Console

from localvoice.config import ConfigError, ServerSettings
from localvoice.server.certificate import Certificate, keep_certificate
from localvoice.server.endpoint import Endpoint, announced, open_endpoint

TOKEN = "x" * 32
LINK, OTHER = f"https://192.168.1.5:8787/?token={TOKEN}", f"https://localhost:8787/?token={TOKEN}"


class Output(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    # With letters that rich would make pictures of.
    return replace(keep_certificate(tmp_path, ["localhost"]), fingerprint=":".join(["AB", "0B", "CL"] * 10))


@contextmanager
def saying(endpoint: Endpoint, *links: str, terminal: bool, folder: Path) -> Iterator[str]:
    out = Output(terminal)
    # Colours may be forced where there is no terminal, as some services do.
    console = Console(file=out, force_terminal=True, width=60, color_system="truecolor" if terminal else None)
    with announced(console, endpoint, links, folder):
        yield out.getvalue()


def test_a_terminal_is_shown_links_whole_and_the_fingerprint_to_compare(
    certificate: Certificate, tmp_path: Path
) -> None:
    endpoint = Endpoint("0.0.0.0", TOKEN, certificate, token_made=True)
    with saying(endpoint, LINK, OTHER, terminal=True, folder=tmp_path / "links") as told:
        assert LINK in told and OTHER in told and certificate.fingerprint in told and "warn" in told
    assert not (tmp_path / "links").exists()


@pytest.mark.parametrize("token_made", [True, False], ids=["made here", "set"])
def test_elsewhere_no_token_is_shown(certificate: Certificate, tmp_path: Path, token_made: bool) -> None:
    endpoint = Endpoint("0.0.0.0", TOKEN, certificate, token_made=token_made)
    with saying(endpoint, LINK, OTHER, terminal=False, folder=tmp_path / "links") as told:
        assert TOKEN not in told and "█" not in told
        assert "https://192.168.1.5:8787" in told and certificate.fingerprint in told
        assert ("server.token" in told) is not token_made


def test_a_token_made_here_is_in_a_file_that_is_named_while_it_is_good(
    certificate: Certificate, tmp_path: Path
) -> None:
    endpoint = Endpoint("0.0.0.0", TOKEN, certificate, token_made=True)
    file = tmp_path / "links" / "link-8787.txt"
    with saying(endpoint, LINK, OTHER, terminal=False, folder=file.parent) as told:
        assert str(file) in told.splitlines()
        assert file.read_text().splitlines() == [LINK, OTHER]
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not file.exists()


def test_a_file_that_cant_be_removed_spoils_no_end(certificate: Certificate, tmp_path: Path) -> None:
    endpoint = Endpoint("0.0.0.0", TOKEN, certificate, token_made=True)
    folder = tmp_path / "links"
    with saying(endpoint, LINK, terminal=False, folder=folder):
        (folder / "link-8787.txt").unlink()
        folder.rmdir()
        folder.touch()


def test_where_it_can_be_read_nowhere_the_start_says_what_to_set(
    certificate: Certificate, tmp_path: Path
) -> None:
    (tmp_path / "links").write_text("a file")
    endpoint = Endpoint("0.0.0.0", TOKEN, certificate, token_made=True)
    with pytest.raises(ConfigError, match=r"Set server\.token"):
        with saying(endpoint, LINK, terminal=False, folder=tmp_path / "links"):
            pass


@pytest.mark.parametrize("terminal", [True, False])
def test_without_a_token_the_address_is_all_there_is_to_say(tmp_path: Path, terminal: bool) -> None:
    endpoint, address = Endpoint("127.0.0.1"), "http://127.0.0.1:8787"
    with saying(endpoint, address, terminal=terminal, folder=tmp_path / "links") as told:
        assert address in told and "token" not in told
    assert not (tmp_path / "links").exists()


def test_a_token_for_this_machine_needs_neither_qr_code_nor_fingerprint(tmp_path: Path) -> None:
    link = f"http://127.0.0.1:8787/?token={TOKEN}"
    with saying(Endpoint("127.0.0.1", TOKEN), link, terminal=True, folder=tmp_path) as told:
        assert link in told and "█" not in told and "fingerprint" not in told


def test_a_certificate_that_browsers_may_know_needs_no_comparison(
    certificate: Certificate, tmp_path: Path
) -> None:
    endpoint = Endpoint("0.0.0.0", TOKEN, replace(certificate, self_made=False))
    with saying(endpoint, LINK, terminal=True, folder=tmp_path) as told:
        assert certificate.fingerprint not in told


def test_the_qr_code_is_the_first_links_black_on_white(certificate: Certificate, tmp_path: Path) -> None:
    endpoint = Endpoint("0.0.0.0", TOKEN, certificate)
    with saying(endpoint, LINK, OTHER, terminal=True, folder=tmp_path) as told:
        drawn = [line for line in told.splitlines() if line.startswith("\x1b[30;107m")]
    shades = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    modules: list[tuple[int, ...]] = []
    for line in drawn:
        characters = [shades[each] for each in line.removeprefix("\x1b[30;107m").removesuffix("\x1b[0m")]
        modules += zip(*characters, strict=True)
    wanted = [tuple(row) for row in segno.make(LINK, micro=False, error="l").matrix_iter(border=4)]
    assert [given for _, given in zip_longest(wanted, modules[: len(wanted)])] == wanted
    assert not any(any(row) for row in modules[len(wanted) :])


def test_the_address_is_shown_without_markup(tmp_path: Path) -> None:
    out = Output(terminal=False)
    with announced(
        Console(file=out, markup=False), Endpoint("127.0.0.1"), ["http://127.0.0.1:8787"], tmp_path
    ):
        assert "Open http://127.0.0.1:8787 in a browser" in out.getvalue()


def test_a_user_without_a_home_folder_is_told_what_to_set(certificate: Certificate) -> None:
    endpoint = Endpoint("0.0.0.0", TOKEN, certificate, token_made=True)
    with pytest.raises(ConfigError, match="server.token"):
        with announced(Console(file=Output(False)), endpoint, [LINK], None):
            pass
    with pytest.raises(ConfigError, match="server.tls_cert"):
        open_endpoint(ServerSettings(lan=True), None)
