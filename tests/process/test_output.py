"""A server outlives whoever reads its output: real processes whose pipe, terminal or disk takes no more."""

import asyncio
import fcntl
import io
import os
import pty
import select
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest

from localvoice.process.output import last_words, outlive_output, spell_out
from tests.support.folders import ROOT, SUPPORT
from tests.support.server_site import Client

ANSWER = "Reply to playing 1"
SIGNALS = [signal.SIGTERM, signal.SIGHUP]


@contextmanager
def output(kind: str) -> Iterator[tuple[int, int]]:
    """Where the server writes, and where that is read."""
    if kind == "full disk":
        with open("/dev/full", "wb") as full, open(os.devnull, "rb") as nothing:
            yield full.fileno(), os.dup(nothing.fileno())
        return
    reading, writing = pty.openpty() if kind == "terminal" else os.pipe()
    try:
        yield writing, reading
    finally:
        os.close(writing)


def fill(pipe: int) -> None:
    """Write into a pipe until it takes no more."""
    poll = select.poll()
    poll.register(pipe, select.POLLOUT)
    while poll.poll(0):
        os.write(pipe, bytes(select.PIPE_BUF))


@asynccontextmanager
async def serving(
    writing: int, folder: Path | None = None, ignore: signal.Signals | None = None
) -> AsyncIterator[tuple[Process, str]]:
    """A server that logs all it does to `writing`, and its address once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment |= {"LOCALVOICE_LOG_LEVEL": "debug", "PYTHONASYNCIODEBUG": "1"}
    if folder is not None:
        environment["LOCALVOICE_SERVER_SESSIONS_DIR"] = str(folder)
    ignoring = () if ignore is None else ("env", f"--ignore-signal={ignore.name[3:]}")
    program = [
        *ignoring,
        sys.executable,
        str(SUPPORT / "staged_process.py"),
        "none",
        "serve",
        "--port",
        str(port),
    ]
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=writing, env=environment
    )
    address = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(30):
            while not await answers(http, address):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.1)
        yield process, address
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answers(http: aiohttp.ClientSession, address: str) -> bool:
    try:
        async with http.get(f"{address}/health") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def converse(address: str, words: str = "check 1.") -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(address) as ws:
        client = Client(ws)
        await client.send("text", text=words)
        await client.expect("tts-complete")


@pytest.mark.elsewhere
@pytest.mark.parametrize("kind", ["pipe", "terminal", "full disk", "stuck reader"])
async def test_it_serves_on_and_ends_in_order_though_nothing_is_read(kind: str) -> None:
    with output(kind) as (writing, reading):
        async with serving(writing, ignore=signal.SIGHUP) as (process, address):
            if kind == "stuck reader":
                await asyncio.to_thread(fill, writing)
            else:
                os.close(reading)
            for _ in range(2):
                await converse(address)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0
        if kind == "stuck reader":
            os.close(reading)


@pytest.mark.elsewhere
@pytest.mark.parametrize("number", SIGNALS)
async def test_a_conversation_is_saved_and_its_client_told_though_nothing_can_be_said(
    number: signal.Signals, tmp_path: Path
) -> None:
    with output("pipe") as (writing, reading):
        async with serving(writing, tmp_path / "sessions") as (process, address):
            async with aiohttp.ClientSession() as http, http.ws_connect(address) as ws:
                client = Client(ws)
                await client.send("text", text="playing 1.")
                await client.expect("tts-chunk")
                os.close(reading)  # as when Ctrl-C ends `tee` as well
                process.send_signal(number)
                if number is signal.SIGHUP:
                    await asyncio.sleep(0.2)
                    process.send_signal(number)  # the kernel's own, after the shell's
                assert await client.closed() == aiohttp.WSCloseCode.GOING_AWAY
            assert await asyncio.wait_for(process.wait(), 10) == 0
    assert ANSWER in "".join(path.read_text() for path in (tmp_path / "sessions").glob("*.json"))


@pytest.mark.elsewhere
async def test_a_hangup_that_is_ignored_stays_so() -> None:
    with output("pipe") as (writing, reading):
        async with serving(writing, ignore=signal.SIGHUP) as (process, address):
            process.send_signal(signal.SIGHUP)
            await converse(address)
            assert process.returncode is None
        os.close(reading)


@pytest.mark.parametrize("reader", ["reads", "is stuck", "has gone"])
def test_last_words_are_said_only_where_they_are_read(reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr("localvoice.process.output._STDERR", writing)
    if reader == "is stuck":
        os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)))
    if reader == "has gone":
        os.close(reading)
    assert last_words("Good-bye.") is (reader == "reads")
    os.close(writing)
    if reader != "has gone":
        assert os.read(reading, 100_000).strip(b"\0") == (b"Good-bye." if reader == "reads" else b"")
        os.close(reading)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", r'"Caf\xe9" ... \u65e5'), ("latin-1", r'"Café" ... \u65e5'), ("utf-8", "“Café” … 日")],
)
def test_an_encoding_that_lacks_a_letter_shows_another(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    spell_out()
    print("“Café” … 日", end="", flush=True)
    assert stream.buffer.getvalue().decode(encoding) == shown


def test_a_command_whose_answer_is_lost_says_so() -> None:
    """Unlike a server, which lives on: its user waits for the answer alone."""
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "localvoice.cli", "version"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "The output can't be written: No space left on device.\n")


def test_streams_that_were_replaced_stay() -> None:
    before = sys.stdout, sys.stderr
    outlive_output()
    assert (sys.stdout, sys.stderr) == before
