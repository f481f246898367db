"""Behind a real nginx: under a path, by the proxy's own name, and with a `Host` that the proxy changes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import CookieJar

from tests.support.nginx import nginx
from tests.support.server_site import serving

TOKEN = "only the invited know it"


@asynccontextmanager
async def behind(
    folder: Path, path: str = "/", host: str = "$http_host", **server: Any
) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """The proxied page's address, and a browser's worth of HTTP."""
    async with serving(**server) as site:
        proxy = nginx(folder, site.url, path, host)
        address = await asyncio.to_thread(proxy.__enter__)
        try:
            async with aiohttp.ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
                yield address + path, browser
        finally:
            await asyncio.to_thread(proxy.__exit__, None, None, None)


async def connects(address: str, browser: aiohttp.ClientSession, origin: str | None = None) -> None:
    origin = origin or "/".join(address.split("/")[:3])
    async with browser.ws_connect(f"{address}ws", headers={"Origin": origin}) as socket:
        assert (await socket.receive_json())["type"] == "ready"


async def test_under_a_path_with_a_token(tmp_path: Path) -> None:
    async with behind(tmp_path, "/voice/", token=TOKEN) as (address, browser):
        async with browser.get(address, params={"token": TOKEN}) as page:
            assert (page.status, str(page.url)) == (200, address), "the redirect stays under the path"
        async with browser.get(address + "app.js") as file:
            assert file.status == 200
        await connects(address, browser)


async def test_by_the_proxys_own_name_once_it_is_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = {"host": "voice.example"}
    async with behind(tmp_path, **name) as (address, browser):
        async with browser.get(address) as page:
            assert page.status == 403 and "server.allowed_hosts" in await page.text()
    assert "'voice.example'" in caplog.text and "server.allowed_hosts" in caplog.text
    async with behind(tmp_path, **name, allowed_hosts=["voice.example"]) as (address, browser):
        async with browser.get(address) as page:
            assert page.status == 200
        await connects(address, browser, origin="https://voice.example")


async def test_with_a_host_that_the_proxy_changes_the_log_says_what_to_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with behind(tmp_path, host="$proxy_host") as (address, browser):
        origin = address.removesuffix("/")
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await connects(address, browser)
    (told,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert f"'{origin}'" in told and "server.allowed_origins" in told
    allowed = ["https://voice.example"]
    async with behind(tmp_path, host="$proxy_host", allowed_origins=allowed) as (address, browser):
        await connects(address, browser, origin=allowed[0])
