"""What is to be forgotten is gone from the page, and the browser keeps nothing. Scripted engines."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.page import ANSWER_MS, ask, shown, wait_until

pytestmark = pytest.mark.e2e


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
