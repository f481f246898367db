"""A server that is ended and started again: the page says so, and goes on with its conversation."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import running, silence
from tests.support.folders import ROOT, SUPPORT
from tests.support.page import ANSWER_MS, ask, expect_note

pytestmark = [pytest.mark.e2e, pytest.mark.faults]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_the_page_waits_for_it(browse: Callable[..., Any], tmp_path: Path) -> None:
    command = (str(SUPPORT / "staged_process.py"), "none", "serve", "--port", str(free_port()))
    environment = {
        "LOCALVOICE_SERVER_SESSIONS_DIR": str(tmp_path / "sessions"),
        "PYTHONPATH": str(ROOT),
    }
    with browse(silence(1)) as page:
        with running(*command, **environment) as address:
            page.goto(address)
            ask(page, "check 1.")
            expect(page.locator('#captions [data-role="agent"]')).to_contain_text(
                "Reply to check 1", timeout=ANSWER_MS
            )
        expect(page.locator("#problem")).to_be_visible(timeout=ANSWER_MS)
        expect(page.locator("#problem")).to_contain_text("connection dropped")
        with running(*command, **environment):
            expect_note(page, "goes on")
            expect(page.locator("#problem")).to_be_hidden()
            ask(page, "check 2.")
            expect(page.locator('#captions [data-role="agent"]').last).to_contain_text(
                "Reply to check 2", timeout=ANSWER_MS
            )
