"""Voice-to-voice time and its stages, measured at a loopback client over WebRTC.

Starts a real server, speaks clips into it in real time, and hears when the answer begins. From the last
voiced sample of the clip to the first audible frame at the client. A turn without an answer counts as the
time-out. Prints a table and writes JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from voice_client import VoiceClient, voice_client

from localvoice.audio.frames import AudioFrame, concatenate, read_wav
from localvoice.catalog import load_catalog, models_folder, ready
from localvoice.engines.piper import PiperTts

QUESTIONS: Final = (
    "What is the capital of France?",
    "How many days are there in a week?",
    "Can you tell me what a volcano is?",
    "What should I cook for dinner tonight?",
    "Why is the sky blue?",
    "Who wrote the play Romeo and Juliet?",
    "What is a good name for a small brown dog?",
    "How do I make a cup of tea?",
    "Tell me something about the moon.",
    "What do bees make?",
)
TIMEOUT: Final = 15.0
STAGES: Final = {
    "voiceToVoiceMs": "voice to voice, at the server",
    "endpointMs": "  end of turn known",
    "sttMs": "  transcription (overlaps)",
    "firstTokenMs": "  LLM: first token",
    "firstAudioMs": "  first sound after it",
}


@dataclass
class Result:
    """All figures of one run, in ms."""

    profile: str
    machine: dict[str, Any]
    ready_seconds: float = 0.0
    memory_mb: float | None = None
    """The server's largest resident size; None where the system has no /proc."""
    voice_to_voice: list[float] = field(default_factory=list)
    barge_in: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    failures: int = 0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="base")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--interruptions", type=int, default=5)
    parser.add_argument("--clips", type=Path, help="folder of WAV files to speak instead of made ones")
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    options = parser.parse_args()
    clips = _read_clips(options.clips) if options.clips else asyncio.run(_make_clips(options.profile))
    result = asyncio.run(_measure(options.profile, clips, options.turns, options.interruptions))
    _show(result, Console())
    options.out.mkdir(exist_ok=True)
    path = options.out / f"{options.profile}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(asdict(result), indent=1))
    print(f"All figures are in {path}.")


async def _measure(profile: str, clips: list[AudioFrame], turns: int, interruptions: int) -> Result:
    result = Result(profile, _machine())
    begun = time.monotonic()
    async with _server(profile) as (address, process):
        result.ready_seconds = round(time.monotonic() - begun, 2)
        async with voice_client(address) as client:
            pings = asyncio.create_task(_ping(client))
            for number in range(turns):
                await _one_turn(client, clips[number % len(clips)], result)
                if sys.stderr.isatty():
                    print(f"\rturn {number + 1}/{turns}", end="", file=sys.stderr, flush=True)
            for number in range(interruptions):
                await _one_interruption(client, clips[number % len(clips)], result)
            print(file=sys.stderr)
            pings.cancel()
        result.memory_mb = _peak_memory(process)
    return result


async def _one_turn(client: VoiceClient, clip: AudioFrame, result: Result) -> None:
    ended = client.mouth.say(clip)
    metrics: dict[str, Any] = {}
    try:
        async with asyncio.timeout_at(ended + TIMEOUT):
            heard = await client.first_sound_after(ended)
            metrics = await client.wait_for("turn-metrics")
        result.voice_to_voice.append(1000 * (heard - ended))
        async with asyncio.timeout(60):
            await client.wait_for("tts-complete")
    except TimeoutError:
        result.failures += 1
        if not metrics:
            result.voice_to_voice.append(1000 * TIMEOUT)
    for name in STAGES:
        if name in metrics:
            result.stages[name].append(metrics[name])
    await asyncio.sleep(0.5)


async def _one_interruption(client: VoiceClient, clip: AudioFrame, result: Result) -> None:
    """Speak over the answer; from the first voiced sample until the client hears nothing any more."""
    loop = asyncio.get_running_loop()
    ended = client.mouth.say(clip)
    try:
        async with asyncio.timeout_at(ended + TIMEOUT):
            await client.first_sound_after(ended)
            await asyncio.sleep(0.4)
            started = loop.time()
            client.mouth.say(clip)
            await client.wait_for("tts-cancelled")
            await asyncio.sleep(0.4)
            result.barge_in.append(1000 * (client.last_sound - started))
        async with asyncio.timeout(60):
            await client.wait_for("tts-complete")
    except TimeoutError:
        result.failures += 1
    await asyncio.sleep(0.5)


@asynccontextmanager
async def _server(profile: str) -> AsyncIterator[tuple[str, int]]:
    """A server process of its own, as a user starts it; its address and process id once it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "localvoice.cli", "serve", "--profile", profile, "--port", "0",
        "--log-level", "warning", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            if found := re.search(rb"http://\S+", line):
                yield found[0].decode(), process.pid
                break
        else:
            sys.exit("The server did not start; its message is above.")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _ping(client: VoiceClient) -> None:
    while True:
        await client.send({"type": "ping", "timestamp": time.time()})
        await asyncio.sleep(15)


async def _make_clips(profile: str) -> list[AudioFrame]:
    """The questions, spoken by the profile's own voice."""
    files = ready(load_catalog(), profile, models_folder())
    voice = await PiperTts.load(files.profile.tts, files.voice_file, files.voice_config_file, 1)
    clips = []
    for question in QUESTIONS:
        clips.append(concatenate([frame async for frame in voice.synthesize(question)]))
    await voice.close()
    return clips


def _read_clips(folder: Path) -> list[AudioFrame]:
    clips = [read_wav(path) for path in sorted(folder.glob("*.wav"))]
    return clips or sys.exit(f"There is no WAV file in {folder}.")


def _peak_memory(process: int) -> float | None:
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return round(int(found[1]) / 1000, 1) if found else None


def _machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*: (.+)", info.read_text())):
        model = found[1]
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _show(result: Result, console: Console) -> None:
    machine = result.machine
    table = Table(
        "ms", "p50", "p95", "n",
        title=f"profile {result.profile} · {machine['cores']} cores, {machine['cpu']}",
    )  # fmt: skip
    rows = [("voice to voice, at the client", result.voice_to_voice)]
    rows += [(label, result.stages[name]) for name, label in STAGES.items()]
    rows.append(("interruption: onset to silence", result.barge_in))
    for label, values in rows:
        if values:
            table.add_row(
                label, f"{statistics.median(values):.0f}", f"{_percentile(values, 95):.0f}", str(len(values))
            )
    console.print(table)
    if len(result.voice_to_voice) > 20:
        first, *later = result.voice_to_voice
        begun, late = statistics.median(later[:10]), statistics.median(later[-10:])
        console.print(
            f"The first turn took {first / statistics.median(later):.2f} times as long as the others, "
            f"the last ten {late / begun:.2f} times as long as the ten after the first."
        )
    memory = "unknown" if result.memory_mb is None else f"{result.memory_mb:.0f} MB"
    console.print(
        f"Server ready after {result.ready_seconds} s. Memory: {memory}. Failed turns: {result.failures}."
    )


def _percentile(values: list[float], percent: int) -> float:
    """The nearest rank: a value that was measured."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


if __name__ == "__main__":
    main()
