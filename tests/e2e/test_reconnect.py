"""A browser whose connection drops is back in its conversation; a real Chromium, scripted engines."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import silence
from tests.support.fake_server import STORY
from tests.support.fakes import WORD_SECONDS
from tests.support.page import ANSWER_MS, HEARD, REMEMBER_SOCKETS, ask, expect_note, wait_until

pytestmark = pytest.mark.e2e


def health(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}/health", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def answered(page: Page, question: str) -> str:
    """What the agent answers, once it has said it."""
    count = page.locator('#captions [data-role="agent"]').count()
    ask(page, question)
    reply = page.locator('#captions [data-role="agent"]').nth(count)
    expect(reply).to_have_attribute("data-turn-ms", re.compile("."), timeout=ANSWER_MS)  # it is heard
    expect(page.locator("#state")).to_have_attribute("data-state", "idle", timeout=ANSWER_MS)
    return reply.locator(".words").text_content() or ""


def hear_a_story(page: Page, address: str) -> None:
    """The agent is in the middle of a long reply, and the page's sockets are at hand."""
    page.add_init_script(REMEMBER_SOCKETS)
    page.goto(address)
    ask(page, "Tell me a story.")
    expect(page.locator("#state")).to_have_attribute("data-state", "speaking", timeout=ANSWER_MS)


def test_a_socket_cut_in_the_middle_of_a_reply(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse(silence(1)) as page:
        hear_a_story(page, address)
        speaking_since = time.monotonic()
        wait_until(page, f"window.localvoice.remoteLevel() > {HEARD}")
        page.wait_for_timeout(1500)
        session = page.evaluate("window.localvoice.sessionId")
        page.evaluate("window.sockets.at(-1).close()")
        spoken_seconds = time.monotonic() - speaking_since
        expect_note(page, "goes on")
        wait_until(page, f"window.localvoice.remoteLevel() < {HEARD}")

        assert page.evaluate("window.sockets.length") == 2
        assert page.evaluate("window.localvoice.sessionId") == session
        found = health(address)
        assert (found["sessions"], found["connections"]) == (1, 1), "no session was left behind"

        cut = page.locator('#captions [data-role="agent"]').first
        expect(cut).to_have_attribute("data-cut", "true")
        expect(cut.locator(".cut-note")).to_contain_text("connection dropped")
        assert answered(page, "How many messages were you given?").startswith("I was given 3 messages")
        ask(page, "Tell me a story.")  # the newest reply is no more the one that was cut
        expect(page.locator("#state")).to_have_attribute("data-state", "speaking", timeout=ANSWER_MS)
        expect(page.locator("#problem")).to_be_hidden()
    assert spoken_seconds < 30


@pytest.mark.alone
def test_what_is_kept_of_the_cut_reply_is_what_was_heard(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse(silence(1)) as page:
        hear_a_story(page, address)
        begun = time.monotonic()
        page.wait_for_timeout(2000)
        page.evaluate("window.sockets.at(-1).close()")
        heard_seconds = time.monotonic() - begun
        expect_note(page, "goes on")
        kept = answered(page, "What have I heard?").strip().removeprefix("I said: ")
    assert STORY.startswith(kept) and kept != STORY
    words = len(kept.split())
    # The state changes when the sound begins, and the page learns of it a little later.
    assert words * WORD_SECONDS == pytest.approx(heard_seconds, abs=1.5)
    assert words > 10


def test_a_server_that_has_forgotten_is_told_and_the_talk_goes_on(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted() as address, browse(silence(1)) as page:
        page.add_init_script(
            "const send = WebSocket.prototype.send;"
            "WebSocket.prototype.send = function (text) {"
            '  return send.call(this, text.replace(/"sessionId":"[^"]*"/, \'"sessionId":"gone"\'));'
            "};" + REMEMBER_SOCKETS
        )
        page.goto(address)
        wait_until(page, "window.localvoice.connected")
        session = page.evaluate("window.localvoice.sessionId")
        answered(page, "Hello.")
        page.evaluate("window.sockets.at(-1).close()")
        expect_note(page, "forgotten")
        assert page.evaluate("window.localvoice.sessionId") != session
        assert answered(page, "How many messages were you given?").startswith("I was given 1 messages")
        expect(page.locator("#problem")).to_be_hidden()
