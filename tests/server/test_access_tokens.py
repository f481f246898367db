"""The token without TLS, on this machine alone, and the token of WebSockets that can send no header."""

import logging
from pathlib import Path

import aiohttp
import pytest
from aiohttp import CookieJar

from tests.support.lan_server import BEARER, TOKEN, lan_site
from tests.support.server_site import Site, serving

PATHS = ("/", "/ws", "/health", "/metrics", "/app.js")
OTHER = "https://mine.example"


async def test_on_this_machine_nothing_is_served_without_the_token_that_is_set() -> None:
    async with serving(token=TOKEN) as site:
        for path in PATHS:
            async with site.http.get(site.url + path) as response:
                assert response.status == 401, path
            async with site.http.get(
                site.url + path, headers={"Authorization": "Bearer of none"}
            ) as response:
                assert response.status == 403, path
        for path in ("/", "/ws", "/ws?token=wrong"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await site.http.ws_connect(site.url + path)
            assert refused.value.status in (401, 403)
        async with site.http.get(site.url + "/health", headers=BEARER) as response:
            assert response.status == 200


async def test_its_link_opens_the_page_and_leaves_a_cookie_of_this_port() -> None:
    async with serving(token=TOKEN) as site:
        async with site.http.get(site.url + "/", params={"token": TOKEN}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "./")
            (header,) = response.headers.getall("Set-Cookie")
        name, *attributes = header.split("; ")
        port = site.url.rpartition(":")[2]
        assert name.startswith(f"localvoice-{port}-{port}=") and TOKEN not in header
        assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict"], "there is no TLS"
        async with aiohttp.ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
            async with browser.get(site.url + "/", params={"token": TOKEN}) as page:
                assert (page.status, str(page.url)) == (200, site.url + "/")
            async with browser.ws_connect(site.url + "/ws") as socket:
                assert (await socket.receive_json())["type"] == "ready"


async def cookie_of(site: Site, host: str) -> str:
    """The name of the cookie that the link leaves where the browser knows the server by this `Host`."""
    opened = site.http.get(
        site.url + "/", params={"token": TOKEN}, headers={"Host": host}, allow_redirects=False
    )
    async with opened as response:
        return response.headers["Set-Cookie"].partition("=")[0]


async def test_servers_that_share_a_host_have_a_cookie_each(tmp_path: Path) -> None:
    """Browsers send a host's cookies to all of its ports: to several servers of a machine, and to tunnels."""
    async with serving(token=TOKEN) as one, serving(token=TOKEN) as other:
        tunnels = {await cookie_of(one, "localhost:9000"), await cookie_of(one, "localhost:9001")}
        proxied = {await cookie_of(one, "localhost"), await cookie_of(other, "localhost")}
    assert len(tunnels) == len(proxied) == 2
    async with lan_site(tmp_path) as one, lan_site(tmp_path) as other:
        on_network = [await cookie_of(each, each.url.partition("//")[2]) for each in (one, other)]
    assert len(set(on_network)) == 2 and all(name.startswith("__Host-") for name in on_network)


async def test_without_a_token_everyone_on_this_machine_is_served() -> None:
    async with serving() as site, site.http.get(site.url + "/health") as response:
        assert response.status == 200


@pytest.mark.parametrize("path", ["/", "/ws"])
async def test_a_browsers_websocket_shows_the_token_in_its_address(path: str, tmp_path: Path) -> None:
    """As that of a page of another origin, to which the cookie isn't sent."""
    async with lan_site(tmp_path, allowed_origins=[OTHER]) as site:
        headers = {"Origin": OTHER}
        async with site.http.ws_connect(f"{site.url}{path}?token={TOKEN}", headers=headers) as socket:
            assert (await socket.receive_json())["type"] == "ready"
        for query, origin in (("wrong", OTHER), (TOKEN, "https://evil.example")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await site.http.ws_connect(f"{site.url}{path}?token={query}", headers={"Origin": origin})
            assert refused.value.status == 403


async def test_the_token_in_a_websockets_address_is_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with lan_site(tmp_path) as site:
        address = f"{site.url}/ws?token={TOKEN.replace(' ', '%20')}"
        for protocols in ((), (TOKEN,)):  # the latter is where other servers take it
            async with site.http.ws_connect(address, protocols=protocols) as socket:
                await socket.receive_json()
                await socket.send_str("no message")
                await socket.receive_json()
        headers = {"Origin": "https://evil.example", "Upgrade": "websocket"}
        async with site.http.get(address, headers=headers) as response:
            await response.read()
    assert caplog.records
    assert not [each for each in (TOKEN, TOKEN.replace(" ", "%20")) if each in caplog.text]
