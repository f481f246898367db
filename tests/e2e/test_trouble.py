"""What a person meets when something is missing, in a real Chromium."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import LAUNCH

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


def test_a_missing_microphone_is_told_in_words(browse: Callable[..., Any], address: str) -> None:
    without = tuple(flag for flag in LAUNCH if flag != "--use-fake-device-for-media-stream")
    with browse(arguments=without) as page:
        page.goto(address)
        page.click("#talk")
        expect(page.locator("#problem")).to_contain_text("microphone", timeout=10_000)
        expect(page.locator("#text")).to_be_enabled()


def test_a_pulled_microphone_is_told_and_another_is_taken(browse: Callable[..., Any], address: str) -> None:
    with browse() as page:
        page.add_init_script(
            """const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wanted) => (window.heard = await ask(wanted));"""
        )
        page.goto(address)
        page.click("#talk")
        page.wait_for_selector('body[data-mic="on"]')
        first = page.evaluate("window.heard.id")
        # As the browser does when the device is gone; nothing that a page can call does it.
        page.evaluate("window.heard.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
        expect(page.locator("#problem")).to_contain_text("The microphone went away")
        expect(page.locator("#text")).to_be_enabled()
        page.click("#problem-action")
        page.wait_for_selector('body[data-mic="on"]')
        assert page.evaluate("window.heard.id") != first
        expect(page.locator("#problem")).to_be_hidden()
