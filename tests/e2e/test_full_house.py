"""A page that comes while others have all places: it says so, and is in as soon as there is one. Scripted."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.page import ANSWER_MS, ask, wait_until

pytestmark = pytest.mark.e2e

REMEMBER_PROBLEMS = """
const seen = [];
Object.defineProperty(window, 'problemsSeen', { value: seen });
addEventListener('DOMContentLoaded', () => {
  const box = document.getElementById('problem');
  new MutationObserver(() => {
    const now = box.hidden ? 'none' : box.dataset.problem;
    if (seen.at(-1) !== now) seen.push(now);
  }).observe(box, { attributes: true });
});
"""


def converse(page: Page) -> None:
    ask(page, "Hello?")
    agent = page.locator('#captions [data-role="agent"]')
    expect(agent.last).to_contain_text("You said", timeout=ANSWER_MS)
    expect(page.locator("#state")).to_have_attribute("data-state", "idle", timeout=ANSWER_MS)


def expect_full(page: Page) -> None:
    problem = page.locator("#problem")
    expect(problem).to_have_attribute("data-problem", "full", timeout=ANSWER_MS)
    expect(problem).to_be_visible()
    expect(problem).to_contain_text("Others are talking")
    expect(problem).to_contain_text("Next attempt in")


def test_a_full_server_is_said_to_be_full_and_is_tried_again_by_itself(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted("--conversations", "1") as address, browse() as one:
        one.goto(address)
        converse(one)
        other = one.context.new_page()
        other.clock.install()
        other.add_init_script(REMEMBER_PROBLEMS)
        other.goto(address)
        expect_full(other)
        before = other.evaluate("window.problemsSeen")
        other.click("#problem-action")
        other.wait_for_timeout(600)
        expect_full(other)
        assert other.evaluate("window.problemsSeen") == before, "it doesn't flicker"
        one.close()
        other.clock.fast_forward(20_000)
        wait_until(other, "window.localvoice.connected")
        expect(other.locator("#problem")).to_be_hidden()
        converse(other)


def test_a_tab_that_begins_when_all_slots_are_taken_keeps_its_session(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    with scripted("--conversations", "1") as address, browse() as one:
        other = one.context.new_page()
        other.goto(address)
        wait_until(other, "window.localvoice.connected")
        session = other.evaluate("window.localvoice.sessionId")
        one.goto(address)
        converse(one)
        ask(other, "And me?")
        expect_full(other)
        one.close()
        other.click("#problem-action")
        wait_until(other, "window.localvoice.connected")
        assert other.evaluate("window.localvoice.sessionId") == session
        converse(other)
