"""What is said leaves no trace: the real server talks, ends or crashes, and the disk is searched for it."""

import asyncio
import base64
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.client import VoiceClient, voice_client
from benchmarks.clips import spoken
from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from tests.support.folders import ROOT

TYPED = "quetzalcoatl"
SPOKEN = "crocodile"


def traces(folder: Path, words: set[str]) -> list[str]:
    """Where under the folder one of the words stands, in a file's name or content, in any usual encoding."""
    encodings = ("utf-8", "utf-16-le", "utf-16-be")
    sought = {word.encode(encoding) for word in words for encoding in encodings}
    sought |= {base64.b64encode(word.encode()).rstrip(b"=")[:-1] for word in words}
    files = [path for path in folder.rglob("*") if path.is_file()]
    plain = [path for path in files if any(each in path.read_bytes().lower() for each in sought)]
    return [str(path) for path in plain] + [str(path) for path in files if any(w in path.name for w in words)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_word_on_disk_would_be_found(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(bytes(1000) + f"the {TYPED} flies".encode(encoding))
    assert traces(tmp_path, {TYPED}) and not traces(tmp_path, {SPOKEN})


def everything_in(home: Path) -> dict[str, str]:
    """Settings of the environment by which a program finds a place to write to."""
    places = {
        **dict.fromkeys(("HOME", "PWD"), home / "home"),
        "XDG_CACHE_HOME": home / "cache",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_DATA_HOME": home / "data",
        "XDG_STATE_HOME": home / "state",
        "XDG_RUNTIME_DIR": home / "run",
        **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), home / "temp"),
    }
    for place in places.values():
        place.mkdir(exist_ok=True)
    return {name: str(place) for name, place in places.items()}


@asynccontextmanager
async def server(home: Path, ending: signal.Signals) -> AsyncIterator[tuple[VoiceClient, list[bytes]]]:
    """The real server in fresh folders, its log at its most talkative; and what it prints until its end."""
    kept = ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    own = {name: value for name, value in os.environ.items() if name in kept}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "localvoice.cli", "serve", "--profile", "tiny", "--port", "0"),
        *("--log-level", "debug", "--models-dir", str(models_folder())),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=home / "home",
        env=own
        | everything_in(home)
        | {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LOCALVOICE_MONITOR_LOG_FILE": str(home / "log" / "localvoice.log"),
            "LOCALVOICE_AGENT_MAX_TOKENS": "20",
        },
    )
    assert process.stdout is not None
    printed: list[bytes] = []
    try:
        async with asyncio.timeout(120):
            while (found := re.search(rb"http://\S+", line := await process.stdout.readline())) is None:
                assert line, "the server ended before it was ready"
                printed.append(line)
            async with voice_client(found[0].decode()) as client:
                yield client, printed
    finally:
        if process.returncode is None:
            process.send_signal(ending)
        rest, _ = await asyncio.wait_for(process.communicate(), 20)
        printed.append(rest)
    assert process.returncode == (0 if ending is signal.SIGTERM else -ending)


@pytest.mark.integration
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGABRT], ids=lambda ending: ending.name)
async def test_nothing_that_was_said_is_on_disk_afterwards(tmp_path: Path, ending: signal.Signals) -> None:
    """Nor what was answered; and nothing but the log was written at all, also where the server crashes."""
    try:
        await asyncio.to_thread(ready, load_catalog(), "tiny", models_folder())  # it may read all of them
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    speech, request = await spoken(
        "tiny", (f"Have you ever seen a big {SPOKEN} in the river?", "Please forget what I just said.")
    )
    home = tmp_path / "everything"
    home.mkdir()
    replies: list[str] = []
    async with server(home, ending) as (client, printed):
        client.mouth.say(speech)
        async with asyncio.timeout(60):
            while not (heard := await client.wait_for("transcript"))["isFinal"]:
                pass
            sentence = heard["text"].lower().strip(" .?!")
            assert "big" in sentence and "river" in sentence, sentence
            replies.append((await client.wait_for("llm"))["text"])
            await client.wait_for("tts-complete")
            await client.send({"type": "text", "text": f"Tell me of the {TYPED}."})
            replies.append((await client.wait_for("llm"))["text"])
            await client.wait_for("tts-complete")
        await asyncio.sleep(1)  # what is done between turns
        client.mouth.say(request)
        async with asyncio.timeout(30):
            assert (await client.wait_for("forgotten"))["exchanges"] == 1
            await client.wait_for("tts-complete")
    # The voice is made anew each time, and a crocodile may be heard as something else: its words count.
    words = {TYPED, SPOKEN, sentence} | {reply.lower() for reply in replies if len(reply) > 12}
    assert traces(home, words) == []
    assert not any(word.encode() in b"".join(printed).lower() for word in words), "nor was it printed"
    written = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert written == {"log/localvoice.log"}
    assert "turn ended" in (home / "log" / "localvoice.log").read_text(), "the log tells of it all the same"
