"""What lies between the server and a listener: the same clip spoken by a real Chromium and by our client.

A turn takes as long as the server says (from the last voiced window it heard to the sample it played) and the
way there and back. Only the second is looked at here, since it says how a client has to listen to measure
what a person in front of a browser hears. In the browser both sides are recorded in one audio context, to a
millisecond. Needs Chromium and playwright (`make test` installs the latter).
"""

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from bench_cli import parser_of, write_figures
from bench_site import Server, machine, server, spoken
from playwright.async_api import Page, WebSocket, async_playwright
from rich.console import Console
from rich.table import Table
from voice_client import voice_client

from localvoice.audio.frames import AUDIBLE, AudioFrame, concatenate
from localvoice.audio.wav import wav_bytes

RATE: Final = 48_000
SLOT_SECONDS: Final = 7.0
"""From one question of the browser's to the next."""
SHORT_ANSWERS: Final = {"LOCALVOICE_AGENT_MAX_TOKENS": "6", "LOCALVOICE_AGENT_TOOLS": "false"}
"""Which end before the next question."""
HELD: Final = (1, 2, 3)
"""Packets that our client holds back, in turn."""
FLAGS: Final = (
    "--no-sandbox",  # Chromium refuses to run as root otherwise, and it opens nothing but our own page
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
)

RECORD: Final = """
// Peaks of each ms: of what the microphone gives to the page, and of what the page hears.
const heard = { user: [], agent: [], peers: [] };
Object.defineProperty(window, 'heard', { value: heard });
const audio = new AudioContext({ sampleRate: 48000 });
const both = new ChannelMergerNode(audio, { numberOfInputs: 2 });
const recorder = audio.createScriptProcessor(2048, 2, 1);
both.connect(recorder).connect(audio.destination);
let position = 0;
recorder.onaudioprocess = ({ inputBuffer }) => {
  for (const [channel, peaks] of [heard.user, heard.agent].entries()) {
    const samples = inputBuffer.getChannelData(channel);
    for (let i = 0; i < samples.length; i += 1) {
      const ms = Math.floor((position + i) / 48);
      peaks[ms] = Math.max(peaks[ms] ?? 0, Math.round(32768 * Math.abs(samples[i])));
    }
  }
  position += inputBuffer.length;
};
const mono = { channelCount: 1, channelCountMode: 'explicit' };
const record = (stream, input) =>
  audio.createMediaStreamSource(stream).connect(new GainNode(audio, mono)).connect(both, 0, input);
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async () => {
  // Without processing: where speech ends must not be a matter of taste.
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await ask({ audio: plain });
  await audio.resume();
  record(stream.clone(), 0);
  return stream;
};
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(...words) {
    super(...words);
    heard.peers.push(this);
    this.addEventListener('track', ({ track }) => record(new MediaStream([track]), 1));
  }
};
"""

BUFFERED_MS: Final = """async () => {
  const all = [...(await window.heard.peers.at(-1).getStats()).values()];
  const sound = all.find((each) => each.type === 'inbound-rtp' && each.kind === 'audio');
  return (1000 * sound.jitterBufferDelay) / sound.jitterBufferEmittedCount;
}"""


@dataclass
class Way:
    """One listener's turns."""

    listener: str
    """Who listened, and how."""
    turns_ms: list[float] = field(default_factory=list)
    """From the last voiced sample to the first audible one, as the listener has it."""
    way_ms: list[float] = field(default_factory=list)
    """What of it isn't in the server's own figure."""
    buffered_ms: float | None = None
    """What the browser says that its jitter buffer holds back, on average."""

    def add(self, turn_ms: float, metrics: dict[str, Any]) -> None:
        """A turn as the listener has it, and the server's own figures for it."""
        self.turns_ms.append(round(turn_ms, 1))
        self.way_ms.append(round(turn_ms - metrics["voiceToVoiceMs"], 1))


def main() -> None:
    """Run the comparison."""
    parser = parser_of(__doc__, "tiny")
    parser.add_argument("--turns", type=int, default=8, help="of each listener")
    options = parser.parse_args()
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if name and (path := shutil.which(name))), None)
    if chromium is None:
        sys.exit(
            "There is no Chromium: install it (Debian: apt install chromium), or set CHROMIUM to its path."
        )
    ways = asyncio.run(_measure(options.profile, options.turns, chromium))
    _show(ways, Console())
    figures = {"machine": machine(), "ways": [vars(way) for way in ways]}
    write_figures(options.out, f"browser-{options.profile}", figures)


async def _measure(profile: str, turns: int, chromium: str) -> list[Way]:
    (clip,) = await spoken(profile, ("What is the capital of France?",))
    async with server(profile, **SHORT_ANSWERS) as site:
        ways = [await _by_client(site, clip, turns, held) for held in HELD]
        return [*ways, await _by_browser(site, clip, turns, chromium)]


async def _by_client(site: Server, clip: AudioFrame, turns: int, held: int) -> Way:
    way = Way(f"our client, {held} packets held back")
    async with voice_client(site.address, held_packets=held) as client:
        for _ in range(turns):
            async with asyncio.timeout(60):
                ended = client.mouth.say(clip)
                heard = await client.first_sound_after(ended)
                way.add(1000 * (heard - ended), await client.wait_for("turn-metrics"))
                await client.wait_for("tts-complete")
            await asyncio.sleep(0.5)
    return way


async def _by_browser(site: Server, clip: AudioFrame, turns: int, chromium: str) -> Way:
    way = Way("Chromium")
    metrics: list[dict[str, Any]] = []

    def follow(socket: WebSocket) -> None:
        socket.on("framereceived", lambda text: metrics.extend(_metrics_in(text)))

    with tempfile.TemporaryDirectory() as folder:
        microphone = Path(folder) / "microphone.wav"
        microphone.write_bytes(wav_bytes(_questions(clip, turns)))
        capture = f"--use-file-for-fake-audio-capture={microphone}%noloop"
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, capture])
            page = await browser.new_page()
            page.on("websocket", follow)
            await page.add_init_script(RECORD)
            await page.goto(site.address)
            await page.click("#talk")
            await page.wait_for_timeout(1000 * SLOT_SECONDS * (turns + 0.5))
            spans = voice_to_voice(await _peaks(page, "user"), await _peaks(page, "agent"))
            way.buffered_ms = round(await page.evaluate(BUFFERED_MS), 1)
            await browser.close()
    if not len(spans) == len(metrics) == turns:
        sys.exit(f"The browser heard {len(spans)} answers, the server gave {len(metrics)}: try again.")
    for span, each in zip(spans, metrics, strict=True):
        way.add(span, each)
    return way


def _questions(clip: AudioFrame, turns: int) -> AudioFrame:
    clip = clip.resampled(RATE)
    rest = np.zeros(int(SLOT_SECONDS * RATE) - len(clip.samples), np.int16)
    return concatenate([AudioFrame(rest[: 3 * RATE], RATE), *[clip, AudioFrame(rest, RATE)] * turns])


def _metrics_in(text: str | bytes) -> list[dict[str, Any]]:
    message = json.loads(text)
    return [message] if message["type"] == "turn-metrics" else []


async def _peaks(page: Page, side: str) -> list[int]:
    peaks: list[int] = await page.evaluate(f"window.heard.{side}")
    return peaks


def voice_to_voice(user: list[int], agent: list[int]) -> list[float]:
    """Of each question, ms from its last audible ms to the agent's first; peaks of each ms, both sides."""
    spoken_at = np.flatnonzero(np.array(user) > AUDIBLE)
    heard_at = np.flatnonzero(np.array(agent) > AUDIBLE)
    # Questions stand seconds apart, words don't.
    ends = [int(at) for at, gap in zip(spoken_at, np.diff([*spoken_at, 10**9]), strict=True) if gap > 3000]
    answers = [(end, heard_at[heard_at > end]) for end in ends]
    return [float(after[0] - end) for end, after in answers if len(after)]


def _show(ways: list[Way], console: Console) -> None:
    table = Table(
        "listener", "way there and back, ms", "least", "most", "in its jitter buffer, ms", "n",
        title="what a listener adds to the server's own voice-to-voice time",
    )  # fmt: skip
    for way in ways:
        middle, low, high = statistics.median(way.way_ms), min(way.way_ms), max(way.way_ms)
        buffered = "" if way.buffered_ms is None else f"{way.buffered_ms:.0f}"
        table.add_row(
            way.listener, f"{middle:.0f}", f"{low:.0f}", f"{high:.0f}", buffered, str(len(way.way_ms))
        )
    console.print(table)


if __name__ == "__main__":
    main()
