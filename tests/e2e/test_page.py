"""What the page shows beside words: tools, stages, announcements, pictures. Scripted engines."""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from localvoice.audio.frames import AudioFrame

from .conftest import silence
from .page import ANSWER_MS, REMEMBER_SOCKETS, ask, wait_until

pytestmark = pytest.mark.e2e

DRAW = """
([width, height, type]) => {
  // Noise is what compresses worst.
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  image.data.forEach((_, i) => { image.data[i] = i % 4 === 3 ? 255 : Math.random() * 256; });
  context.putImageData(image, 0, 0);
  return canvas.toDataURL(type);
}
"""
REMEMBER_SENT = """
const sent = [];
Object.defineProperty(window, 'sent', { value: sent });
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) { sent.push(text); return send.call(this, text); };
"""
GIVE_FILE = """
([how, url]) => {
  const bytes = Uint8Array.from(atob(url.split(',')[1]), (letter) => letter.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], 'given.png', { type: 'image/png' }));
  const event = how === 'paste'
    ? new ClipboardEvent('paste', { clipboardData: given, bubbles: true, cancelable: true })
    : new DragEvent('drop', { dataTransfer: given, bubbles: true, cancelable: true });
  document.getElementById('text').dispatchEvent(event);
}
"""


def picture(page: Page, width: int, height: int, kind: str = "image/png") -> dict[str, Any]:
    """A file to choose."""
    url = page.evaluate(DRAW, [width, height, kind])
    data = base64.b64decode(url.partition(",")[2])
    return {"name": "picture", "mimeType": kind, "buffer": data}


def shown(page: Page) -> list[str]:
    """The entries' roles in order."""
    roles: list[str] = page.locator("#captions > li").evaluate_all("items => items.map(i => i.dataset.role)")
    return roles


def test_a_tool_is_named_and_then_done(browse: Callable[..., Any], scripted: Callable[..., Any]) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        ask(page, "Please add them.")
        tool = page.locator('#captions [data-role="tool"]')
        expect(tool).to_have_attribute("data-outcome", "done", timeout=ANSWER_MS)
        expect(tool).to_have_text("add numbers done")
        expect(page.locator('#captions [data-role="agent"]')).to_contain_text("The tool says 3.")
        assert shown(page) == ["user", "tool", "agent"]


def test_a_failed_tool_is_named_and_the_reply_goes_on(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        ask(page, "Please break.")
        tool = page.locator('#captions [data-role="tool"]')
        expect(tool).to_have_attribute("data-outcome", "failed", timeout=ANSWER_MS)
        expect(tool).to_have_text("break down failed")
        expect(page.locator('#captions [data-role="agent"]')).to_contain_text("broke down")
        expect(page.locator("#problem")).to_be_hidden()


def test_a_stage_change_is_a_note(browse: Callable[..., Any], scripted: Callable[..., Any]) -> None:
    with scripted("--playbook") as address, browse() as page:
        page.goto(address)
        ask(page, "I want to buy a lamp.")
        stage = page.locator('#captions [data-role="stage"]')
        expect(stage).to_have_text("welcome → order", timeout=ANSWER_MS)
        expect(page.locator('#captions [data-role="agent"]')).to_contain_text("You said", timeout=ANSWER_MS)


def test_an_announcement_is_a_line_of_the_agents(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        ask(page, "Please remind me.")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent).to_have_count(2, timeout=ANSWER_MS)
        expect(agent.last).to_contain_text("Your reminder is due.", timeout=ANSWER_MS)
        assert shown(page) == ["user", "tool", "agent", "agent"]


def test_an_announcement_after_a_cut_reply_is_shown(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    """What comes right after a cut belongs to what was cut; what comes in a turn of its own doesn't."""
    with scripted() as address, browse() as page:
        page.add_init_script(REMEMBER_SOCKETS)
        page.goto(address)
        ask(page, "Please remind me.")
        expect(page.locator('#captions [data-role="tool"]')).to_have_attribute(
            "data-outcome", "done", timeout=ANSWER_MS
        )
        ask(page, "Tell me a story.")
        cut = page.locator('#captions [data-role="agent"]').last
        expect(cut).to_contain_text("sentence", timeout=ANSWER_MS)
        page.evaluate("window.sockets.at(-1).close()")
        expect(cut).to_have_attribute("data-cut", "true")
        agent = page.locator('#captions [data-role="agent"]', has_text="Your reminder is due.")
        expect(agent).to_be_visible(timeout=ANSWER_MS)


def test_chosen_pictures_go_with_the_next_typed_words(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.add_init_script(REMEMBER_SENT)
        page.goto(address)
        files = [picture(page, 2000, 1000), picture(page, 300, 600, "image/jpeg")]
        page.set_input_files("#files", files)
        expect(page.locator("#pictures img")).to_have_count(2)
        ask(page, "What do you see?")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent).to_contain_text("I see 2: [(1024, 512), (300, 600)].", timeout=ANSWER_MS)
        expect(page.locator("#pictures")).to_be_hidden()
        expect(page.locator('#captions [data-role="user"] img')).to_have_count(2)
        # Pictures stay with words whose answer nobody heard: the second question would be of them too.
        expect(page.locator("#state")).to_have_attribute("data-state", "idle", timeout=ANSWER_MS)
        ask(page, "What do you see?")
        expect(agent.last).to_contain_text("I see 0", timeout=ANSWER_MS)
        expect(page.locator("#problem")).to_be_hidden()
        kinds = page.evaluate("window.sent.map((text) => JSON.parse(text).type)")
    assert [kind for kind in kinds if kind != "offer"] == ["attachments", "text", "text"]


def test_words_typed_before_the_reply_is_aloud_are_answered(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted("--voice-delay", "1.5") as address, browse() as page:
        page.goto(address)
        agent = page.locator('#captions [data-role="agent"]')
        ask(page, "A story.")
        expect(agent).to_contain_text("sentence number 3", timeout=ANSWER_MS)
        ask(page, "Rather add them.")  # more of the story is on its way meanwhile
        expect(agent).to_have_count(2, timeout=ANSWER_MS)
        expect(agent.last).to_contain_text("The tool says 3.")
        expect(page.locator("#state")).to_have_attribute("data-state", "idle", timeout=ANSWER_MS)
        assert shown(page) == ["user", "agent", "user", "tool", "agent"]
        story, answer = agent.all()
        expect(story).to_have_attribute("data-cut", "true")
        expect(answer).to_have_attribute("data-turn-ms", re.compile(r"\d+"))


def test_four_pictures_that_compress_badly_fit_one_message(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.add_init_script(REMEMBER_SENT)
        page.goto(address)
        page.set_input_files("#files", [picture(page, 1500, 1500, "image/jpeg")] * 5)
        note = page.locator('#captions [data-role="note"]')
        expect(note).to_contain_text("At most 4 pictures", timeout=ANSWER_MS)
        expect(page.locator("#pictures img")).to_have_count(4)
        ask(page, "What do you see?")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent).to_contain_text("I see 4: [(1024, 1024),", timeout=ANSWER_MS)
        largest = page.evaluate("Math.max(...window.sent.map((text) => text.length))")
    assert 100_000 < largest < 4 * 1024 * 1024


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_a_picture_can_be_given_and_taken_back(
    browse: Callable[..., Any], scripted: Callable[..., Any], how: str
) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        url = page.evaluate(DRAW, [40, 30, "image/png"])
        for count in (1, 2):
            page.evaluate(GIVE_FILE, [how, url])
            expect(page.locator("#pictures img")).to_have_count(count)
        page.click("#pictures li:first-child button")
        expect(page.locator("#pictures img")).to_have_count(1)
        ask(page, "What do you see?")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent).to_contain_text("I see 1: [(40, 30)].", timeout=ANSWER_MS)


def test_what_is_no_picture_is_refused_in_words(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        no_picture = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
        page.set_input_files("#files", [no_picture, picture(page, 2100, 100)])
        notes = page.locator('#captions [data-role="note"]')
        expect(notes.nth(0)).to_contain_text("“notes.txt” is no picture", timeout=10_000)
        expect(notes.nth(1)).to_contain_text("too long and narrow", timeout=10_000)
        expect(page.locator("#pictures")).to_be_hidden()


def test_a_picture_goes_with_the_next_spoken_words(
    browse: Callable[..., Any], scripted: Callable[..., Any], speak: Callable[[str], AudioFrame]
) -> None:
    sounds = silence(2), speak("Tell me what you can see.")
    with scripted("What do you see?") as address, browse(*sounds) as page:
        page.goto(address)
        page.set_input_files("#files", [picture(page, 80, 60)])
        expect(page.locator("#pictures img")).to_have_count(1)
        page.click("#talk")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent).to_contain_text("I see 1: [(80, 60)].", timeout=ANSWER_MS)
        expect(page.locator("#pictures")).to_be_hidden()
        expect(page.locator('#captions [data-role="user"] img')).to_have_count(1)


def test_whole_replies_are_heard_without_webrtc(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    """With streaming speech off, the reply comes as one WAV."""
    with scripted("--whole-replies", webrtc=False) as address, browse() as page:
        page.goto(address)
        ask(page, "Tell me a story.")
        wait_until(page, "window.localvoice.remoteLevel() > 0.01")
        ask(page, "Stop.")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent.first).to_have_attribute("data-cut", "true", timeout=ANSWER_MS)
        expect(agent.last).to_have_attribute("data-turn-ms", re.compile("."), timeout=ANSWER_MS)
        expect(page.locator("#state")).to_have_attribute("data-state", "idle", timeout=ANSWER_MS)
        page.wait_for_timeout(1000)
        assert page.evaluate("window.localvoice.remoteLevel()") == 0


def test_an_answer_shows_where_its_time_went(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        ask(page, "Please add them.")
        timing = page.locator('#captions [data-role="agent"] .timing')
        timing.locator("summary").click(timeout=ANSWER_MS)
        expect(timing.locator("summary")).to_contain_text(re.compile(r"Answered in \d+\.\d\d s"))
        rows = timing.locator("[data-stage]")
        names = rows.evaluate_all("rows => rows.map(row => row.dataset.stage)")
        assert names == ["token", "piece", "voice"], "typed: nobody spoke and nothing was transcribed"
        widths = rows.locator(".bar").evaluate_all("bars => bars.map(bar => bar.offsetWidth)")
        assert len(widths) == 3 and all(width > 0 for width in widths)
        expect(timing.locator(".advice")).to_contain_text("Longest: ")


def test_the_button_forgets_the_last_exchange(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        forget = page.locator("#forget")
        expect(forget).to_be_hidden()
        ask(page, "My name is Tom.")
        idle(page, 1)
        ask(page, "Please add them: plum.")
        idle(page, 2)
        assert shown(page) == ["user", "agent", "user", "tool", "agent"]
        forget.click()
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent.last).to_have_text(re.compile("Forgotten."), timeout=ANSWER_MS)
        idle(page, 2)
        assert shown(page) == ["user", "agent", "agent"]
        assert "plum" not in page.content()
        ask(page, "How many messages?")
        expect(agent.last).to_contain_text("given 3 messages", timeout=ANSWER_MS)


def test_words_that_ask_for_it_are_gone_with_what_they_mean(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        agent = page.locator('#captions [data-role="agent"]')
        ask(page, "Forget that.")
        expect(agent.last).to_contain_text("There is nothing to forget.", timeout=ANSWER_MS)
        ask(page, "My name is Tom.")
        expect(agent.last).to_contain_text("You said", timeout=ANSWER_MS)
        idle(page, 2)
        ask(page, "My secret is plum.")
        expect(agent).to_have_count(3, timeout=ANSWER_MS)
        ask(page, "Forget that.")
        expect(agent.last).to_contain_text("Forgotten.", timeout=ANSWER_MS)
        assert "plum" not in page.content()
        expect(page.locator("#captions")).to_contain_text("My name is Tom.")
        idle(page, 3)
        ask(page, "Forget everything.")
        expect(page.locator("#captions")).not_to_contain_text("Tom", timeout=ANSWER_MS)
        expect(agent).to_have_text(re.compile("I have forgotten everything."), timeout=ANSWER_MS)
        idle(page, 1)
        assert shown(page) == ["agent"]


def test_the_page_keeps_nothing_in_the_browser(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse() as page:
        page.goto(address)
        ask(page, "My secret is plum.")
        idle(page, 1)
        kept = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
        assert kept == [0, 0, ""] and page.context.cookies() == []
        assert page.evaluate("indexedDB.databases().then((all) => all.length)") == 0
        assert page.evaluate("globalThis.caches ? caches.keys().then((all) => all.length) : 0") == 0
        page.reload()
        wait_until(page, "window.localvoice.connected")
        assert "plum" not in page.content()


def idle(page: Page, replies: int) -> None:
    """Wait until so many replies are shown and the last one has been spoken."""
    agent = page.locator('#captions [data-role="agent"]')
    expect(agent).to_have_count(replies, timeout=ANSWER_MS)
    expect(page.locator("#state")).to_have_attribute("data-state", "idle", timeout=ANSWER_MS)
