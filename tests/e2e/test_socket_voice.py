"""Voice over the WebSocket, duplex and with barge-in, where WebRTC can't be had; in a real Chromium."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from localvoice.audio.frames import AudioFrame
from tests.support.browser import HAS_NETWORK, silence
from tests.support.page import (
    ANSWER_MS,
    HEARD,
    RECORD_LEVELS,
    REMEMBER_SOCKETS,
    ask,
    expect_spoken_answer,
    interruption,
    wait_until,
)

pytestmark = pytest.mark.e2e

NO_WEBRTC = "delete window.RTCPeerConnection;"
NEVER_CONNECTS = "RTCPeerConnection.prototype.setRemoteDescription = () => new Promise(() => {});"
NO_WORKLETS = NO_WEBRTC + "delete window.AudioWorkletNode;"
TROUBLE = """
const channels = [];
const create = RTCPeerConnection.prototype.createDataChannel;
const answer = RTCPeerConnection.prototype.setRemoteDescription;
RTCPeerConnection.prototype.createDataChannel = function (...words) {
  const channel = create.apply(this, words);
  channels.push(channel);
  return channel;
};
window.trouble = (begins) => {
  RTCPeerConnection.prototype.setRemoteDescription = begins ? () => new Promise(() => {}) : answer;
  if (begins) channels.at(-1).close();
};
"""
COUNT_CHUNKS = """
const chunks = [];
Object.defineProperty(window, 'chunks', { value: chunks });
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  const message = JSON.parse(text);
  if (message.type === 'audio-chunk') {
    const seconds = atob(message.data).length / 2 / message.sampleRate;
    chunks.push({ at: performance.now(), seconds, rate: message.sampleRate });
  }
  return send.call(this, text);
};
"""


def expect_voice_by_socket(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-voice", "socket", timeout=ANSWER_MS)
    expect(page.locator("#link")).to_contain_text("Connected by WebSocket")
    expect(page.locator('#captions [data-role="note"]').first).to_contain_text("WebSocket")
    expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.integration
def test_a_spoken_question_is_shown_and_answered_by_voice(
    browse: Callable[..., Any], address_without_webrtc: str, speak: Callable[[str], AudioFrame]
) -> None:
    with browse(silence(2), speak("What is the capital of France?")) as page:
        page.goto(address_without_webrtc)
        page.click("#talk")
        expect_voice_by_socket(page)
        expect_spoken_answer(page, "capital of")
        expect_voice_by_socket(page)


@pytest.mark.alone
def test_an_interruption_silences_the_agent_within_half_a_second(
    browse: Callable[..., Any],
    scripted: Callable[..., Any],
    speak: Callable[[str], AudioFrame],
) -> None:
    sounds = silence(2), speak("Please tell me a story."), silence(8), speak("What have I heard?")
    heard = "Tell me a story.", "What have I heard?"
    with scripted(*heard, webrtc=False) as address, browse(*sounds) as page:
        page.add_init_script(RECORD_LEVELS)
        page.goto(address)
        page.click("#talk")
        cut = page.locator('#captions [data-role="agent"][data-cut="true"]')
        expect(cut).to_have_count(1, timeout=ANSWER_MS)
        page.wait_for_timeout(500)
        levels: list[tuple[float, float, float]] = page.evaluate("window.levels")
        expect(cut.locator(".unsaid")).to_contain_text("sentence number 40")
        last = page.locator('#captions [data-role="agent"]').last
        expect(last).to_contain_text("I said: This is sentence number 1", timeout=ANSWER_MS)
        spoken = (cut.locator(".words").text_content() or "").partition("number")[0]
        assert spoken.strip() == "This is sentence"
        expect_voice_by_socket(page)
    onset, silent = interruption(levels)
    assert silent - onset <= 500, f"silent {silent - onset:.0f} ms after the user began to speak"


@pytest.mark.alone
@pytest.mark.parametrize("webrtc", [False, HAS_NETWORK], ids=["socket", "track"])
def test_a_cough_mutes_the_agent_and_then_it_goes_on(
    browse: Callable[..., Any], scripted: Callable[..., Any], speak: Callable[[str], AudioFrame], webrtc: bool
) -> None:
    """What the STT hears of the second utterance is nothing."""
    sounds = silence(2), speak("Please tell me a story."), silence(6), speak("Hum."), silence(20)
    with scripted("Tell me a story.", "", webrtc=webrtc) as address, browse(*sounds) as page:
        page.add_init_script(RECORD_LEVELS)
        page.goto(address)
        page.click("#talk")
        state = page.locator("#state")
        for expected in ("speaking", "listening", "speaking"):
            expect(state).to_have_attribute("data-state", expected, timeout=ANSWER_MS)
        page.wait_for_timeout(1000)
        assert page.evaluate("window.localvoice.remoteLevel()") > HEARD, "heard again"
        levels: list[tuple[float, float, float]] = page.evaluate("window.levels")
        expect(page.locator('#captions [data-cut="true"]')).to_have_count(0)
        expect(page.locator('#captions [data-role="user"]')).to_have_count(1)
    onset, silent = interruption(levels)
    assert silent - onset <= 500, "muted"


@pytest.mark.parametrize("broken", [NO_WEBRTC, NEVER_CONNECTS], ids=["no WebRTC", "never connects"])
def test_a_browser_whose_webrtc_does_not_work(
    browse: Callable[..., Any], scripted: Callable[..., Any], speak: Callable[[str], AudioFrame], broken: str
) -> None:
    sounds = silence(9), speak("Good morning, how are you?")
    with scripted("Tell me a story.") as address, browse(*sounds) as page:
        page.add_init_script(broken)
        page.goto(address)
        page.click("#talk")
        expect_voice_by_socket(page)
        user = page.locator('#captions [data-role="user"]')
        expect(user).to_contain_text("Tell me a story.", timeout=ANSWER_MS)
        wait_until(page, f"window.localvoice.remoteLevel() > {HEARD}")


def test_a_browser_that_can_send_no_voice_at_all_says_so_and_still_speaks(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.add_init_script(NO_WORKLETS)
        page.goto(address)
        page.click("#talk")
        expect(page.locator("#problem")).to_contain_text("can’t send your voice", timeout=10_000)
        expect(page.locator("body")).to_have_attribute("data-mic", "off")
        ask(page, "Tell me a story.")  # a short answer may have sounded before it is looked for
        wait_until(page, f"window.localvoice.remoteLevel() > {HEARD}")


def test_chunks_are_small_and_few_and_end_with_the_microphone(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted(webrtc=False) as address, browse() as page:
        page.add_init_script(COUNT_CHUNKS)
        page.goto(address)
        page.click("#talk")
        wait_until(page, "window.chunks.length >= 60")
        page.click("#talk")
        page.wait_for_timeout(2500)  # silence is sent for a while, so that last words are answered
        chunks: list[dict[str, float]] = page.evaluate("window.chunks")
        page.wait_for_timeout(500)
        assert page.evaluate("window.chunks.length") == len(chunks)
        expect(page.locator("#problem")).to_be_hidden()
    assert {round(each["seconds"], 2) for each in chunks} == {0.05}
    assert all(8_000 <= each["rate"] <= 48_000 for each in chunks)
    taken = (chunks[-1]["at"] - chunks[0]["at"]) / 1000
    assert len(chunks) / taken == pytest.approx(20, rel=0.1), "far below the limit of 50 messages a second"


def test_after_a_dropped_connection_the_microphone_goes_on(
    browse: Callable[..., Any], scripted: Callable[..., Any], speak: Callable[[str], AudioFrame]
) -> None:
    sounds = silence(2), speak("Good morning, how are you?"), silence(8), speak("And how is the weather?")
    heard = "Good morning.", "How many messages?"
    with scripted(*heard, webrtc=False) as address, browse(*sounds) as page:
        page.add_init_script(REMEMBER_SOCKETS)
        page.goto(address)
        page.click("#talk")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent).to_contain_text("You said Good morning.", timeout=ANSWER_MS)
        expect(page.locator("#state")).to_have_attribute("data-state", "idle", timeout=ANSWER_MS)
        page.evaluate("window.sockets.at(-1).close()")
        expect(agent.last).to_contain_text("given 3 messages", timeout=ANSWER_MS)
        expect_voice_by_socket(page)


@pytest.mark.skipif(not HAS_NETWORK, reason="WebRTC needs a network interface beside loopback")
def test_webrtc_that_has_worked_is_tried_again_with_the_next_connection(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.add_init_script(TROUBLE + REMEMBER_SOCKETS)
        page.goto(address)
        page.click("#talk")
        body = page.locator("body")
        expect(body).to_have_attribute("data-voice", "on", timeout=ANSWER_MS)
        page.evaluate("window.trouble(true)")
        expect_voice_by_socket(page)
        expect(body).to_have_attribute("data-mic", "on")
        page.evaluate("window.trouble(false)")
        page.evaluate("window.sockets.at(-1).close()")
        expect(body).to_have_attribute("data-voice", "on", timeout=ANSWER_MS)
        expect(body).to_have_attribute("data-mic", "on")
