"""The end of a process whose models crash or hang: real processes, native calls, sessions on disk."""

import asyncio
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from localvoice import cli
from tests.support.error_watch import SAID, ask
from tests.support.fakes import until
from tests.support.folders import ROOT, SUPPORT
from tests.support.processes import python_process
from tests.support.server_site import Client, Site

CHILD = SUPPORT / "crashing_server.py"


@asynccontextmanager
async def child(folder: Path, word: str) -> AsyncIterator[tuple[Process, Site]]:
    arguments = ("-X", "faulthandler", str(CHILD), str(folder), word)
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin", "HOME": str(folder.parent)}
    async with python_process(*arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=paths) as process:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            url = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession() as http:
            yield process, Site(url, http)


async def said_and_saved(client: Client, folder: Path) -> None:
    await ask(client)
    await client.expect("tts-complete")
    await until(lambda: any(SAID in file.read_text() for file in folder.glob("*.json")))


async def test_a_model_that_aborts_leaves_the_sessions_and_names_its_thread(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    async with child(folder, "Crash") as (process, site):
        async with site.client() as client:
            session = client.received[0]["id"]
            await said_and_saved(client, folder)
            await ask(client)
            assert process.stderr is not None
            async with asyncio.timeout(8):
                told = (await process.stderr.read()).decode()
                assert await process.wait() == -signal.SIGABRT
        assert "Fatal Python error: Aborted" in told and "in abort" not in told
        assert "jobs.py" in told, "it says which thread crashed, and where"
        assert SAID not in told
    async with child(folder, "Fine") as (_, site), site.client() as client:
        await client.send("reconnect", sessionId=session)
        ack = await client.expect("reconnect-ack")
        assert ack["success"] is True and ack["historyRecovered"] is True


async def test_a_model_that_hangs_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    async with child(folder, "Hang") as (process, site):
        async with site.client() as client:
            await said_and_saved(client, folder)
            await ask(client)
            await client.expect("llm")
            assert process.stderr is not None
            assert await process.stderr.readline() == b"in a native call\n"
        async with asyncio.timeout(20):
            _, told = await process.communicate(b"end\n")
        assert process.returncode == 1
        assert "the process ends without it" in told.decode()


def test_a_hangup_changes_nothing_while_the_interpreter_ends() -> None:
    """A shell and the kernel may each send one. By then Python has given signals their defaults back."""
    program = """
import os, signal
from localvoice.process.ending import exit_at_signal, exit_without_threads
class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), hangup=signal.SIGHUP):
        kill(process, hangup)
last = Last()
exit_at_signal()
exit_without_threads()
"""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


def test_a_signal_counts_though_code_at_the_start_catches_the_cancellation() -> None:
    program = """
import asyncio, os, signal
from localvoice.process.ending import run_until_signal
async def main(ending):
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        await asyncio.sleep(60)  # an application's own engine that warms up
    except asyncio.CancelledError:
        pass
    await ending.asked()
    print("ended in order")
run_until_signal(main, lambda: None)
"""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ended in order\n", b"")


def test_the_command_line_says_where_native_code_crashed(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled: list[bool] = []
    monkeypatch.setattr(cli, "app", lambda: None)
    monkeypatch.setattr(cli, "configure_process", lambda **_: None)
    monkeypatch.setattr("faulthandler.enable", lambda: enabled.append(True))
    cli.main()
    assert enabled
