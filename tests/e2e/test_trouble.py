"""What a person meets when something is missing, in a real Chromium."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from .conftest import LAUNCH

pytestmark = pytest.mark.e2e


def test_a_missing_microphone_is_told_in_words(browse: Callable[..., Any], address: str) -> None:
    without = tuple(flag for flag in LAUNCH if flag != "--use-fake-device-for-media-stream")
    with browse(arguments=without) as page:
        page.goto(address)
        page.click("#talk")
        expect(page.locator("#problem")).to_contain_text("microphone", timeout=10_000)
        expect(page.locator("#text")).to_be_enabled()
