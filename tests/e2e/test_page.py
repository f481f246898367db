"""What the page shows beside words: tools, stages, announcements, times. Scripted engines."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.page import ANSWER_MS, REMEMBER_SOCKETS, ask, shown, wait_until

pytestmark = pytest.mark.e2e


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
        assert page.evaluate("window.sockets[0].url").endswith("/ws?interim=true"), (
            "captions show all at once"
        )
        page.evaluate("window.sockets.at(-1).close()")
        expect(cut).to_have_attribute("data-cut", "true")
        agent = page.locator('#captions [data-role="agent"]', has_text="Your reminder is due.")
        expect(agent).to_be_visible(timeout=ANSWER_MS)


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


def test_whole_replies_are_heard_without_webrtc(
    browse: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    """With streaming speech off, the reply comes as one WAV."""
    with scripted("--whole-replies", webrtc=False) as address, browse() as page:
        page.goto(address)
        ask(page, "Tell me a story.")
        wait_until(page, "window.localvoice.remoteLevel() > 0.01")
        ask(page, "But why?")
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
