"""Pictures on the page: chosen, pasted or dropped, and sent with the next words. Scripted engines."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from localvoice.audio.frames import AudioFrame
from tests.support.browser import silence
from tests.support.page import ANSWER_MS, ask

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
        ask(page, "Which one did you see better?")
        expect(agent.last).to_contain_text("I see 0", timeout=ANSWER_MS)
        expect(page.locator("#problem")).to_be_hidden()
        kinds = page.evaluate("window.sent.map((text) => JSON.parse(text).type)")
    assert [kind for kind in kinds if kind != "offer"] == ["attachments", "text", "text"]


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
