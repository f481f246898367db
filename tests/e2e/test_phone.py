"""The page over TLS by this machine's address on its network, as a phone opens it; in a real Chromium."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from localvoice.transports.webrtc.addresses import network_addresses
from tests.support.page import ANSWER_MS, HEARD, REMEMBER_SOCKETS, ask, wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not network_addresses(), reason="this machine has no address beside loopback"),
]


def test_the_link_opens_the_page_and_the_token_leaves_the_address_bar(
    browse: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    with scripted("--lan", str(tmp_path / "tls")) as link, browse(ignore_https_errors=True) as page:
        base = link.partition("?")[0]
        assert base.startswith(f"https://{network_addresses()[0]}:") and "?token=" in link
        page.goto(link)
        assert page.url == base
        ask(page, "Tell me a story.")
        agent = page.locator('#captions [data-role="agent"]')
        expect(agent).to_contain_text("This is sentence number 1", timeout=ANSWER_MS)
        wait_until(page, f"window.localvoice.remoteLevel() > {HEARD}")
        page.reload()
        assert page.url == base
        page.click("#talk")  # a microphone needs a page that the browser takes for safe
        expect(page.locator("body")).to_have_attribute("data-voice", "on", timeout=ANSWER_MS)
        expect(page.locator("#problem")).to_be_hidden()
        assert page.evaluate("document.cookie") == "", "no script reads the token"


def test_the_link_works_on_another_sites_page_too(
    browse: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    """As in web mail: the cookie, for this site alone, isn't sent with the redirect."""
    with scripted("--lan", str(tmp_path / "tls")) as link, browse(ignore_https_errors=True) as page:
        mail = {"body": f'<a href="{link}">Talk to it</a>', "content_type": "text/html"}
        page.route("http://mail.example/", lambda route: route.fulfill(**mail))
        page.goto("http://mail.example/")
        page.click("a")
        expect(page.locator("#link")).to_have_attribute("data-link", "ready", timeout=ANSWER_MS)
        assert page.url == link.partition("?")[0]


def test_without_the_link_there_is_no_page_but_a_sentence(
    browse: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    with scripted("--lan", str(tmp_path / "tls")) as link, browse(ignore_https_errors=True) as page:
        answer = page.goto(link.partition("?")[0])
        assert answer.status == 401
        expect(page.locator("body")).to_contain_text("Open the link with the token")
        assert page.goto(link.partition("?")[0] + "?token=of-yesterday").status == 403


def test_a_page_whose_token_is_not_right_any_more_says_so(
    browse: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    with scripted("--lan", str(tmp_path / "tls")) as link, browse(ignore_https_errors=True) as page:
        page.add_init_script(REMEMBER_SOCKETS)
        page.goto(link)
        expect(page.locator("#link")).to_have_attribute("data-link", "ready", timeout=ANSWER_MS)
        page.context.clear_cookies()  # what a start with another token comes to
        page.evaluate("window.sockets.at(-1).close()")
        expect(page.locator("#problem")).to_contain_text("link is out of date", timeout=ANSWER_MS)
