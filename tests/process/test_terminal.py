"""What others say is shown on the terminal, and does nothing to it."""

import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from localvoice import cli
from localvoice.contract.messages import LlmReply, TranscriptMessage
from localvoice.process import options
from localvoice.process.output import open_terminal, plain
from localvoice.process.talk import _show

BAD = "so\x1b]0;owned\x07 \x1b[2Jit\x9b31m \x00is\r\x7f"
SHOWN = r"so\x1b]0;owned\x07 \x1b[2Jit\x9b31m \x00is\x0d\x7f"


def test_control_characters_are_spelt_out_and_words_of_any_language_stay() -> None:
    assert plain(BAD) == SHOWN
    assert plain("a\tb\n“ü 日本 שלום 🙂”") == "a\tb\n“ü 日本 שלום 🙂”"
    assert plain("open \u202efdp.exe\u202c") == r"open \u202efdp.exe\u202c", "not “open exe.pdf”"


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


def commands(text: str) -> list[str]:
    return [each for each in text if ord(each) < 0x20 and each != "\n" or 0x7F <= ord(each) < 0xA0]


def test_captions(shown: io.StringIO) -> None:
    console = open_terminal()
    console.file = shown
    _show(console, TranscriptMessage(BAD, True))
    _show(console, LlmReply(BAD))
    lines = shown.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].startswith("   you  so") and lines[1].startswith(" agent  so")
    assert not commands(shown.getvalue()) and "owned" in lines[0]


def test_tables_and_complaints(shown: io.StringIO) -> None:
    console = open_terminal(stderr=True)
    assert console.stderr
    console.file = shown
    table = Table("name")
    table.add_row(BAD)
    console.print(table)
    console.print(BAD, style="red", markup=False)
    assert not commands(shown.getvalue()) and shown.getvalue().count("owned") == 2


def test_colours_of_our_own_are_left(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console = open_terminal()
    console.file = shown
    console.print(Text.assemble(("here", "bold"), " it is"))
    with console.status("working …"):
        console.print("meanwhile")
    assert "\x1b[1mhere\x1b[0m it is\n" in shown.getvalue()
    assert r"\x" not in shown.getvalue()


@pytest.mark.parametrize("command", [["settings"], ["models", "list"], ["serve"]])
def test_what_looks_like_markup_is_shown(
    command: list[str], shown: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for console in (options.console, options.complaints):
        monkeypatch.setattr(console, "_file", shown)
        monkeypatch.setattr(console, "_width", 500)
    monkeypatch.setenv("LOCALVOICE_PROFILE", "[/b]")
    monkeypatch.setenv("LOCALVOICE_MODELS_DIR", str(tmp_path / "[/i]:smile:"))
    monkeypatch.setattr("sys.argv", ["localvoice", *command])
    for set_up in ("configure_process", "exit_at_signal", "set_up_logging"):
        monkeypatch.setattr(cli, set_up, lambda *_, **__: None)
    monkeypatch.setattr("localvoice.api.configure_process", lambda: None)  # what `serve` runs
    with pytest.raises(SystemExit):
        cli.main()
    assert ("[/i]:smile:" if "list" in command else "[/b]") in shown.getvalue()


def test_the_command_line_has_no_other(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    for console in (options.console, options.complaints):
        monkeypatch.setattr(console, "_file", shown)
        console.print(BAD, markup=False)
    assert not commands(shown.getvalue()) and shown.getvalue().count("owned") == 2
