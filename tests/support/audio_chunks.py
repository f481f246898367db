"""Speech as a client sends it in `audio-chunk` messages."""

import base64
from collections.abc import Iterator
from typing import Any

from localvoice.audio.frames import AudioFrame, concatenate
from tests.support.fakes import loud, silent
from tests.support.server_site import Client

RATE = 48_000
CHUNK_SECONDS = 0.05


def chunk(frame: AudioFrame) -> dict[str, Any]:
    data = base64.b64encode(frame.samples.astype("<i2").tobytes()).decode()
    return {"data": data, "sampleRate": frame.rate}


def cut(sound: AudioFrame, seconds: float = CHUNK_SECONDS) -> Iterator[AudioFrame]:
    size = round(seconds * sound.rate)
    for start in range(0, len(sound.samples), size):
        yield AudioFrame(sound.samples[start : start + size], sound.rate)


def utterance(rate: int = RATE) -> AudioFrame:
    return concatenate([silent(0.3, rate), loud(0.8, rate), silent(0.8, rate)])


async def send_at_once(client: Client, sound: AudioFrame) -> None:
    """The server's pace is the sound's own, so a test need not wait for it."""
    for piece in cut(sound):
        await client.send("audio-chunk", **chunk(piece))
