"""The page under a path of a real nginx, on a server that asks for a token; a real Chromium."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.nginx import nginx
from tests.support.page import ANSWER_MS

pytestmark = pytest.mark.e2e


def test_the_page_connects_under_a_path_and_with_the_token_of_its_link(
    browse: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    with scripted("--token", "only the invited know it") as link, browse() as page:
        address, _, query = link.partition("/?")
        with nginx(tmp_path, address, "/voice/") as proxy:
            for start in (address + "/", f"{proxy}/voice/"):
                assert page.goto(start).status == 401
                page.goto(f"{start}?{query}")
                expect(page.locator("#link")).to_have_attribute("data-link", "ready", timeout=ANSWER_MS)
                assert page.url == start
                page.context.clear_cookies()
