"""A person's way through the page, in a real Chromium, with the real models of the tiny profile."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from localvoice.audio.frames import AudioFrame
from tests.support.browser import HAS_NETWORK, LAUNCH, silence
from tests.support.page import ANSWER_MS, HEARD, RECORD_LEVELS, expect_spoken_answer, interruption, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


def test_a_spoken_question_is_shown_and_answered_by_voice(
    browse: Callable[..., Any], address: str, speak: Callable[[str], AudioFrame]
) -> None:
    with browse(silence(1), speak("What is the capital of France?")) as page:
        page.goto(address)
        page.click("#talk")
        expect_spoken_answer(page, "capital of")
        expect(page.locator("#problem")).to_be_hidden()
        expect(page.locator("body")).to_have_attribute("data-voice", "on" if HAS_NETWORK else "socket")


@pytest.mark.alone
def test_an_interruption_silences_the_agent_within_half_a_second(
    browse: Callable[..., Any], talkative_address: str, speak: Callable[[str], AudioFrame]
) -> None:
    question = speak("Please tell me a long story about a dragon and a king.")
    with browse(silence(1), question, silence(14), speak("Stop. That is enough, thank you.")) as page:
        page.add_init_script(RECORD_LEVELS)
        page.goto(talkative_address)
        page.click("#talk")
        cut = page.locator('#captions [data-role="agent"][data-cut="true"]')
        expect(cut).to_have_count(1, timeout=ANSWER_MS)
        page.wait_for_timeout(500)
        levels: list[tuple[float, float, float]] = page.evaluate("window.levels")
    onset, silent = interruption(levels)
    assert silent - onset <= 500, f"silent {silent - onset:.0f} ms after the user began to speak"


def test_a_typed_question_is_answered_by_text_and_voice_without_a_microphone(
    browse: Callable[..., Any], address: str
) -> None:
    refusing = tuple(flag for flag in LAUNCH if flag != "--use-fake-ui-for-media-stream")
    with browse(arguments=refusing) as page:
        page.goto(address)
        page.fill("#text", "Say hello to me.")
        page.press("#text", "Enter")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent).not_to_be_empty(timeout=ANSWER_MS)
        wait_until(page, f"window.localvoice.remoteLevel() > {HEARD}")
        expect(page.locator("#problem")).to_be_hidden()


def test_a_refused_microphone_is_told_in_words(browse: Callable[..., Any], address: str) -> None:
    refusing = tuple(flag for flag in LAUNCH if flag != "--use-fake-ui-for-media-stream")
    with browse(arguments=(*refusing, "--deny-permission-prompts")) as page:
        page.goto(address)
        page.click("#talk")
        expect(page.locator("#problem")).to_contain_text("microphone", timeout=10_000)


def test_the_page_loads_nothing_from_elsewhere(
    browse: Callable[..., Any], address: str, speak: Callable[[str], AudioFrame]
) -> None:
    """Through a whole conversation, sockets and worklets among what it loads."""
    requested: list[str] = []
    with browse(silence(1), speak("What is the capital of France?")) as page:
        page.context.on("request", lambda request: requested.append(request.url))
        page.on("websocket", lambda socket: requested.append(socket.url))
        page.goto(address)
        page.click("#talk")
        expect_spoken_answer(page, "capital of")
    parts = [urlsplit(url) for url in requested]
    assert {"http", "ws"} <= {part.scheme for part in parts}
    own = urlsplit(address).netloc
    assert [part.geturl() for part in parts if part.scheme != "data" and part.netloc != own] == []


def test_the_page_could_not_ask_elsewhere(browse: Callable[..., Any], address: str) -> None:
    """Not even this machine on another port: the browser refuses, by the policy that the page came with."""
    elsewhere: list[str] = []
    with browse() as page:
        page.context.on("requestfinished", lambda request: elsewhere.append(request.url))
        page.goto(address)
        refused = page.evaluate(
            """async () => {
              const broken = new Promise((resolve) =>
                document.addEventListener('securitypolicyviolation', (event) =>
                  resolve(event.effectiveDirective)));
              await fetch('http://localhost:9/').catch(() => null);
              return broken;
            }"""
        )
    assert refused == "connect-src"
    assert not any(urlsplit(url).port == 9 for url in elsewhere)
