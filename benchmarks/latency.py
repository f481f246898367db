"""Voice-to-voice time and its stages, measured at a loopback client over WebRTC, against the project's goals.

Starts a real server, speaks clips into it in real time, and hears when the answer begins: from the last
voiced sample of the clip to the first audible frame at the client. A turn without an answer counts as the
time-out, and so does one that is answered before it has ended. Prints tables and writes JSON.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from benchmarks.client import ServerReported, VoiceClient, voice_client
from benchmarks.clips import by_people, recorded, spoken
from benchmarks.latency_goals import Result, show
from benchmarks.programs import Program, running, serve
from benchmarks.report import RESULTS, Out, Profile, machine, progress, write_figures
from localvoice.audio.frames import AudioFrame

TIMEOUT: Final = 15.0
"""Seconds after which a turn without an answer is a failure, and what it counts as."""
REPLY_SECONDS: Final = 150.0
"""A small model that rambles speaks for over a minute; the next turn would interrupt it."""
INTO_ANSWER: Final = 0.4
"""Seconds into an answer at which it is interrupted."""


@dataclass(frozen=True)
class Scale:
    turns: int
    interruptions: int
    rounds: int
    idle_seconds: float


@dataclass
class Turn:
    milliseconds: float = 1000 * TIMEOUT
    """Voice to voice."""
    failed: bool = True
    """Nothing was heard, or something too soon."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """As the server tells them."""


def main(
    profile: Profile = "base",
    turns: int = 30,
    interruptions: int = 5,
    rounds: Annotated[int, typer.Option(help="Of two sessions that speak at the same time.")] = 8,
    idle: Annotated[float, typer.Option(help="Seconds of silence, for the CPU they cost.")] = 20,
    quick: Annotated[bool, typer.Option("--quick", help="Only turns and the interruptions.")] = False,
    clips: Annotated[Path | None, typer.Option(help="Folder of WAV files to speak.")] = None,
    people: Annotated[int, typer.Option(help="Turns with clips by people, after the made ones.")] = 10,
    out: Out = RESULTS,
) -> None:
    """Measure."""
    scale = Scale(turns, interruptions, 0 if quick else rounds, 0.0 if quick else idle)
    said = recorded(clips) if clips else asyncio.run(spoken(profile))
    result = Result(profile, machine())
    asyncio.run(measure(result, said, by_people(people), scale))
    show(result, Console())
    write_figures(out, profile, asdict(result))


async def measure(result: Result, clips: list[AudioFrame], people: list[AudioFrame], scale: Scale) -> None:
    result.clips = len(clips)
    begun = time.monotonic()
    async with running(*serve(result.profile), "--log-level", "warning") as site:
        result.ready_seconds = round(time.monotonic() - begun, 2)
        await _one_session(result, site, clips, people, scale)
        if scale.rounds:
            await _two_sessions(result, site, clips, scale.rounds)
        result.memory_mb = site.peak_memory_mb()
    progress("")


async def _one_session(
    result: Result, site: Program, clips: list[AudioFrame], people: list[AudioFrame], scale: Scale
) -> None:
    async with voice_client(site.address) as client:
        if scale.idle_seconds:  # first: after many turns the history is summed up in the silence
            progress(f"{scale.idle_seconds:.0f} s of silence")
            result.idle_percent = await _idle_percent(site, scale.idle_seconds)
        for number in range(scale.turns):
            progress(f"turn {number + 1}/{scale.turns}")
            turn = await one_turn(client, clips[number % len(clips)])
            result.voice_to_voice.append(turn.milliseconds)
            result.failures += turn.failed
            for name, values in result.stages.items():
                if (value := turn.metrics.get(name)) is not None:
                    values.append(value)
        for number, clip in enumerate(people):
            progress(f"turn of a person {number + 1}/{len(people)}")
            turn = await one_turn(client, clip)
            result.people.append(turn.milliseconds)
            result.failures += turn.failed
        for number in range(scale.interruptions):
            progress(f"interruption {number + 1}/{scale.interruptions}")
            await _interruption(client, clips[number % len(clips)], result)


async def _two_sessions(result: Result, site: Program, clips: list[AudioFrame], rounds: int) -> None:
    async with voice_client(site.address) as one, voice_client(site.address) as other:
        for number in range(rounds):
            progress(f"two at once, round {number + 1}/{rounds}")
            both = await asyncio.gather(
                one_turn(one, clips[number % len(clips)]), one_turn(other, clips[(number + 1) % len(clips)])
            )
            result.two_at_once += [turn.milliseconds for turn in both]
            result.failures += sum(turn.failed for turn in both)


async def one_turn(client: VoiceClient, clip: AudioFrame) -> Turn:
    loop = asyncio.get_running_loop()
    turn = Turn()
    client.forget()
    ended = client.mouth.say(clip)
    onset = client.mouth.onset
    await asyncio.sleep(ended - loop.time())
    too_soon = client.ears.last > onset  # it took a pause for the end
    with suppress(TimeoutError, ServerReported):
        async with asyncio.timeout_at(ended + TIMEOUT):
            heard = await client.ears.first_sound_after(ended)
            turn.metrics = await client.wait_for("turn-metrics")
        if not too_soon:
            turn.milliseconds, turn.failed = 1000 * (heard - ended), False
        async with asyncio.timeout(REPLY_SECONDS):
            await client.wait_for("tts-complete")
    await asyncio.sleep(0.5)
    return turn


async def _interruption(client: VoiceClient, clip: AudioFrame, result: Result) -> None:
    """Speak over an answer, and hear it fall silent and the next one begin."""
    client.forget()
    ended = client.mouth.say(clip)
    try:
        async with asyncio.timeout_at(ended + TIMEOUT):
            await client.ears.first_sound_after(ended)
            await asyncio.sleep(INTO_ANSWER)
            ended = client.mouth.say(clip)
            await client.wait_for("tts-cancelled")
            await asyncio.sleep(0.4)
            result.barge_in.append(1000 * (client.ears.last - client.mouth.onset))
        async with asyncio.timeout_at(ended + TIMEOUT):
            result.after_barge_in.append(1000 * (await client.ears.first_sound_after(ended) - ended))
        async with asyncio.timeout(REPLY_SECONDS):
            await client.wait_for("tts-complete")
    except (TimeoutError, ServerReported):
        result.failures += 1
    await asyncio.sleep(0.5)


async def _idle_percent(site: Program, seconds: float) -> float | None:
    await asyncio.sleep(8)  # connected, the prompt is read, and for 5 s there was no speech: it is at rest
    before = site.cpu_seconds()
    await asyncio.sleep(seconds)
    after = site.cpu_seconds()
    return None if before is None or after is None else round(100 * (after - before) / seconds, 2)
