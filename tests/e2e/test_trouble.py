"""What a person meets when something is missing or breaks; the stock client's order; in a real Chromium."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from localvoice.audio.frames import AudioFrame

from .conftest import LAUNCH, silence

pytestmark = pytest.mark.e2e

REMEMBER_SOCKETS = """
const sockets = [];
Object.defineProperty(window, 'sockets', { value: sockets });
const Original = window.WebSocket;
window.WebSocket = class extends Original {
  constructor(...words) { super(...words); sockets.push(this); }
};
"""

STOCK_ORDER = """
async () => {
  // WebSocket, ready, an offer with only a data channel; then, on the same connection, the microphone.
  const socket = new WebSocket(`ws://${location.host}/`);
  const waiting = [];
  const received = [];
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    received.push(data.slice(0, 200));
    for (const entry of [...waiting]) {
      if (entry.type !== message.type) continue;
      waiting.splice(waiting.indexOf(entry), 1);
      entry.resolve(message);
    }
  };
  const next = (type) => new Promise((resolve) => waiting.push({ type, resolve }));
  const ready = await next('ready');
  const begun = performance.now();
  const peer = new RTCPeerConnection({ iceServers: ready.iceServers });
  const channel = peer.createDataChannel('data', { ordered: true });
  const opened = new Promise((resolve) => { channel.onopen = resolve; });
  const onChannel = [];
  const done = new Promise((resolve) => {
    channel.onmessage = ({ data }) => {
      onChannel.push(JSON.parse(data).type);
      if (onChannel.at(-1) === 'tts-complete') resolve();
    };
  });
  const negotiate = async () => {
    await peer.setLocalDescription(await peer.createOffer());
    while (peer.iceGatheringState !== 'complete') await new Promise((resolve) => setTimeout(resolve, 5));
    const answered = next('signal');
    socket.send(JSON.stringify({ type: 'offer', signal: peer.localDescription }));
    await peer.setRemoteDescription((await answered).signal);
  };
  const within = (promise, step) => Promise.race([
    promise,
    new Promise((_, reject) => {
      const fail = () => reject(new Error(`stuck at ${step} (${peer.iceConnectionState}, `
        + `${peer.connectionState}, ${channel.readyState}): ${received.join(' ')}`));
      setTimeout(fail, 40000);
    }),
  ]);
  await within(negotiate(), 'the first offer');
  await within(opened, 'the data channel');
  const milliseconds = performance.now() - begun;
  const sound = new Promise((resolve) => {
    peer.ontrack = ({ track }) => {
      const player = new Audio();  // a track that nobody plays is not decoded
      player.srcObject = new MediaStream([track]);
      player.play();
      track.onunmute = resolve;
      if (!track.muted) resolve();  // its first packet may have come before this event
    };
  });
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  peer.addTrack(stream.getAudioTracks()[0], stream);
  await within(negotiate(), 'the second offer');
  await within(sound, 'the track');
  socket.send(JSON.stringify({ type: 'text', text: 'Say hello.' }));
  await within(done, 'the reply');
  const heard = [...(await peer.getStats()).values()].find((each) => each.type === 'inbound-rtp');
  const energy = heard.totalAudioEnergy;
  return { servers: ready.iceServers.map(({ urls }) => urls), milliseconds, onChannel, energy };
}
"""


def test_a_missing_microphone_is_told_in_words(browse: Callable[..., Any], address: str) -> None:
    without = tuple(flag for flag in LAUNCH if flag != "--use-fake-device-for-media-stream")
    with browse(arguments=without) as page:
        page.goto(address)
        page.click("#talk")
        expect(page.locator("#problem")).to_contain_text("microphone", timeout=10_000)
        expect(page.locator("#text")).to_be_enabled()


def test_after_a_dropped_connection_the_conversation_goes_on(
    browse: Callable[..., Any], address: str, speak: Callable[[str], AudioFrame]
) -> None:
    with browse(silence(1)) as page:
        page.add_init_script(REMEMBER_SOCKETS)
        page.goto(address)
        page.fill("#text", "Tell me a long story about a fox.")
        page.press("#text", "Enter")
        expect(page.locator("#state")).to_have_attribute("data-state", "speaking", timeout=60_000)
        page.evaluate("window.sockets.at(-1).close()")
        expect(page.locator('#captions [data-role="note"]')).to_contain_text("goes on", timeout=20_000)
        page.fill("#text", "Thank you.")
        page.press("#text", "Enter")
        expect(page.locator('#captions [data-role="agent"]')).to_have_count(2, timeout=60_000)
        expect(page.locator("#problem")).to_be_hidden()


def test_the_stock_clients_order_connects_within_a_second_and_asks_nobody_else(
    browse: Callable[..., Any], address: str
) -> None:
    with browse(silence(1)) as page:
        page.goto(address)
        found = page.evaluate(STOCK_ORDER)
    assert [url.rpartition(":")[0] for url in found["servers"]] == ["stun:127.0.0.1"]
    assert found["milliseconds"] < 1000
    assert {"llm-chunk", "llm", "tts-start", "tts-complete"} <= set(found["onChannel"])
    assert "tts-chunk" not in found["onChannel"], "its voice comes over the track"
    assert found["energy"] > 0, "and is to be heard there"
