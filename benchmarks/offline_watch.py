"""The real server under strace, from its start through a conversation: what it sent to whom.

`python -m benchmarks.offline_watch --out FILE` writes what it saw as JSON, in the network that it is run in.
The command `offline` runs it in one of the loopback alone, and in the machine's own.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel

from benchmarks.client import Client, socket_client, voice_client
from benchmarks.clips import QUESTIONS, spoken
from benchmarks.report import Profile
from benchmarks.system_calls import TRACED, Calls, read_calls
from localvoice.audio.frames import AudioFrame
from localvoice.files import local_path
from localvoice.transports.webrtc.addresses import has_network, host_addresses

SET_BY_OURSELVES: Final = (
    "ORT_DISABLE_TELEMETRY",
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "GOMP_SPINCOUNT",
)
"""What `configure_process` sets: it must not reach the server from outside."""
FOREIGN: Final = "a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host"
HIDDEN: Final = "a=candidate:2 1 udp 2113937151 3f6c1d5e-0000-4000-8000-000000000000.local 50001 typ host"
"""A client's offers to send to another machine, and to look a name up by multicast."""
START_SECONDS: Final = 180
TURN_SECONDS: Final = 120


class CannotWatch(RuntimeError):
    """The server or the conversation failed, so nothing is proven; the text says how."""


class Turn(BaseModel):
    asked: str
    """What the server understood, or what was typed."""
    answered: str


class Sighting(BaseModel):
    """What the server did from its start to its end."""

    voice: str
    """How speech came and went: WebRTC or WebSocket."""
    turns: list[Turn]
    calls: Calls
    kept: list[str]
    """Files that it left in the user's home."""

    @property
    def silent(self) -> bool:
        """Whether it sent, looked up and kept nothing."""
        return not self.calls.findings and not self.kept


async def watch(profile: str, spoken_turns: int) -> Sighting:
    """Start the server, type one question and speak the others, and judge what it did.

    Raises `CannotWatch` if it doesn't start or doesn't answer.
    """
    clips = await spoken(profile, QUESTIONS[:spoken_turns])
    by_webrtc = has_network()
    with tempfile.TemporaryDirectory() as scratch:
        trace, home = Path(scratch) / "trace.txt", Path(scratch) / "home"
        home.mkdir()
        async with _server(profile, trace, home) as address:
            # A foreign candidate can only be offered where there is something to connect to.
            calling = voice_client(address, (FOREIGN, HIDDEN)) if by_webrtc else socket_client(address)
            async with calling as client:
                turns = await _talk(client, clips)
        calls = read_calls(trace.read_text(errors="replace").splitlines(), host_addresses())
        kept = sorted(str(path.relative_to(home)) for path in home.rglob("*"))
    if not calls.addresses:
        raise CannotWatch("strace did not even see the server listen: what it saw proves nothing.")
    return Sighting(voice="WebRTC" if by_webrtc else "WebSocket", turns=turns, calls=calls, kept=kept)


@asynccontextmanager
async def _server(profile: str, trace: Path, home: Path) -> AsyncIterator[str]:
    """The address of a server under strace, as a user would start it, ended when the block is left."""
    # Without CI: onnxruntime hides its telemetry where it thinks that it is being tested.
    left_out = ("CI", "PYTHONASYNCIODEBUG", *SET_BY_OURSELVES)
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    own = {"LOCALVOICE_AGENT_MAX_TOKENS": "20", "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    log = trace.with_name("server.log")
    process = await asyncio.create_subprocess_exec(
        *("strace", "-f", "--seccomp-bpf", "-v", "-s", "64", "-e", f"trace={TRACED}", "-o", str(trace)),
        *(sys.executable, "-m", "localvoice.cli", "serve", "--profile", profile, "--port", "0"),
        stdout=PIPE,
        stderr=log.open("wb"),
        stdin=DEVNULL,
        env=inherited | own,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            address = await _address(process)
        if address is None:
            raise CannotWatch(f"The server did not start:\n{log.read_text(errors='replace')[-2000:]}")
        yield address
    except TimeoutError as late:
        raise CannotWatch(f"No answer in time:\n{log.read_text(errors='replace')[-2000:]}") from late
    finally:
        if process.returncode is None:
            # strace and the server: a dying strace would only let it go.
            os.killpg(process.pid, signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 20)


async def _address(process: Process) -> str | None:
    """What the server prints once it listens; None if it ends before."""
    assert process.stdout is not None
    async for line in process.stdout:
        if found := re.search(rb"http://\S+", line):
            return found[0].decode()
    return None


async def _talk(client: Client, clips: list[AudioFrame]) -> list[Turn]:
    """One typed question, then the spoken ones; each answered to its end, and heard."""
    typed = "Hello."
    await client.send({"type": "text", "text": typed})
    turns = [Turn(asked=typed, answered=await _answer(client))]
    for clip in clips:
        client.say(clip)
        async with asyncio.timeout(TURN_SECONDS):
            while not (words := await client.wait_for("transcript"))["isFinal"]:
                pass
        turns.append(Turn(asked=words["text"], answered=await _answer(client)))
    return turns


async def _answer(client: Client) -> str:
    """The words of the next reply, once they were heard."""
    before = client.ears.last
    async with asyncio.timeout(TURN_SECONDS):
        words: str = (await client.wait_for("llm"))["text"]
        await client.wait_for("tts-complete")
    if client.ears.last <= before:
        raise CannotWatch(f"The reply {words!r} was not heard.")
    return words


def main(
    out: Annotated[Path, typer.Option(help="Where what was seen goes, as JSON.", parser=local_path)],
    profile: Profile = "tiny",
    spoken_turns: Annotated[int, typer.Option(help="Questions to speak after the typed one.")] = 1,
) -> None:
    """Watch one server in the network that this runs in."""
    if shutil.which("strace") is None:
        sys.exit("This needs strace (Debian: apt install strace).")
    try:
        seen = asyncio.run(watch(profile, spoken_turns))
    except CannotWatch as failure:
        sys.exit(str(failure))
    out.write_text(seen.model_dump_json(indent=1), "utf-8")


if __name__ == "__main__":
    typer.run(main)
