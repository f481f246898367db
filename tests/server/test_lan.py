"""The server on the network: over TLS, and only with the token."""

import asyncio
import json
import logging
import re
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import CookieJar
from yarl import URL

from localvoice.config import ServerSettings
from localvoice.server.endpoint import open_endpoint
from localvoice.server.security import HEADERS
from localvoice.transports.webrtc import addresses
from localvoice.transports.webrtc import sdp as offers
from localvoice.transports.webrtc.addresses import network_addresses
from localvoice.transports.webrtc.stun import StunAnswerer
from tests.support.fakes import FakeLlm, FakeStt, fake_engines
from tests.support.full_server import full, refusal
from tests.support.lan_server import BEARER, TOKEN, lan_site, trusting
from tests.support.server_site import Site, serving
from tests.support.webrtc_browser import calling

PATHS = ("/", "/ws", "/health", "/metrics", "/app.js", "/nowhere")


async def statuses(site: Site, **headers: str) -> set[int]:
    """What every route, and every upgrade, answers."""
    found: set[int] = set()
    for path in PATHS:
        async with site.http.get(site.url + path, headers=headers) as response:
            found.add(response.status)
            assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
            shared = response.headers.get("Access-Control-Allow-Origin")
            assert shared is None or (path, shared) == ("/health", "https://mine.example")
            if response.status in (401, 403):
                assert (await response.text()).endswith(".\n"), "a sentence"
    for path in ("/", "/ws"):
        try:
            async with site.http.ws_connect(site.url + path, headers=headers) as socket:
                found.add(101 if (await socket.receive_json())["type"] == "ready" else 0)
        except aiohttp.WSServerHandshakeError as refused:
            found.add(refused.status)
    return found


# --- the token ---


async def test_without_the_token_nothing_is_served_not_even_to_this_machine(tmp_path: Path) -> None:
    async with lan_site(tmp_path) as site:
        assert await statuses(site) == {401}
        assert await statuses(site, Origin=site.url) == {401}
        assert await statuses(site, Authorization="Basic " + TOKEN) == {401}
        async with site.http.get(site.url + "/ws?token=" + TOKEN) as response:
            assert response.status == 401, "in an address it counts on the page and for WebSockets alone"


async def test_a_wrong_token_opens_nothing(tmp_path: Path) -> None:
    async with lan_site(tmp_path) as site:
        assert await statuses(site, Authorization="Bearer " + TOKEN[:-1]) == {403}
    async with lan_site(tmp_path) as site:
        port = site.url.rpartition(":")[2]
        assert await statuses(site, Cookie=f"__Host-localvoice-{port}-{port}={TOKEN}") == {403}
    async with lan_site(tmp_path) as site:
        async with site.http.get(site.url + "/?token=wrong", headers=BEARER) as response:
            assert response.status == 403 and "Set-Cookie" not in response.headers


async def test_with_the_token_a_program_is_served(tmp_path: Path) -> None:
    async with lan_site(tmp_path) as site:
        assert await statuses(site, **BEARER) == {101, 200, 400, 404}  # 400: /ws without an upgrade


async def test_the_link_gives_a_cookie_and_leaves_the_address(tmp_path: Path) -> None:
    async with (
        lan_site(tmp_path) as site,
        site.http.get(site.url + "/", params={"token": TOKEN}, allow_redirects=False) as response,
    ):
        assert response.status == 303 and response.headers["Location"] == "./"
        assert response.headers["Cache-Control"] == "no-store"
        (header,) = response.headers.getall("Set-Cookie")
        name, *attributes = header.split("; ")
        assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"], "and no Domain"
        assert name.startswith("__Host-localvoice-") and TOKEN not in header
        assert await statuses(site, Cookie=name, Origin=site.url) == {101, 200, 400, 404}


async def test_a_browser_follows_the_link_to_the_page(tmp_path: Path) -> None:
    async with lan_site(tmp_path) as site:
        connector = aiohttp.TCPConnector(ssl=trusting(tmp_path))
        async with aiohttp.ClientSession(connector=connector, cookie_jar=CookieJar(unsafe=True)) as browser:
            async with browser.get(site.url + "/", params={"token": TOKEN}) as page:
                assert page.status == 200 and str(page.url) == site.url + "/"
                assert "<html" in await page.text()


async def test_guessing_is_slowed_down_for_that_address(tmp_path: Path) -> None:
    async with lan_site(tmp_path) as site:
        found = []
        for _ in range(30):
            async with site.http.get(site.url + "/?token=guess") as response:
                found.append(response.status)
        assert set(found) == {403, 429} and found[:10] == [403] * 10
        async with site.http.get(site.url + "/health", headers=BEARER) as response:
            assert response.status == 429 and response.headers["Retry-After"] == "1"
        await asyncio.sleep(1.1)
        async with site.http.get(site.url + "/health", headers=BEARER) as response:
            assert response.status == 200


async def test_the_token_is_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with lan_site(tmp_path) as site:
        for path in ("/?token=" + TOKEN, "/nowhere?token=" + TOKEN, "/?token=wrong"):
            async with site.http.get(site.url + path, headers=BEARER) as response:
                await response.read()
    assert caplog.records and TOKEN not in caplog.text and "BEGIN" not in caplog.text


# --- whose page ---


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:{port}"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "https://127.0.0.1:1"},
        {"Origin": "https://localhost:{port}"},
        {"Origin": "https://user@127.0.0.1:{port}"},
        {"Host": "evil.example:{port}", "Origin": "https://evil.example:{port}"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.0.2.200:{port}", "Origin": "https://192.0.2.200:{port}"},
        {"Host": "box.example.evil.example"},
        {"Host": "localhost.:{port}"},
        {"Host": "127.1:{port}"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
    ids=str,
)
async def test_a_strangers_page_is_turned_away_though_it_had_the_token(
    headers: dict[str, str], tmp_path: Path
) -> None:
    async with lan_site(tmp_path) as site:
        port = site.url.rsplit(":", 1)[1]
        filled = {name: value.format(port=port) for name, value in headers.items()}
        assert await statuses(site, **BEARER, **filled) == {403}


async def test_all_names_of_the_certificate_are_answered_to(tmp_path: Path) -> None:
    async with lan_site(tmp_path) as site:
        port = site.url.rsplit(":", 1)[1]
        for host in ("localhost", "box.example", "127.0.0.1"):
            own = {"Host": f"{host}:{port}", "Origin": f"https://{host}:{port}"}
            assert await statuses(site, **BEARER, **own) == {101, 200, 400, 404}


async def test_a_page_that_is_allowed_needs_the_token_all_the_same(tmp_path: Path) -> None:
    async with lan_site(tmp_path, allowed_origins=["https://mine.example"]) as site:
        assert await statuses(site, Origin="https://mine.example") == {401}
        assert 101 in await statuses(site, Origin="https://mine.example", **BEARER)


# --- TLS ---


async def test_plain_http_gets_no_answer(tmp_path: Path) -> None:
    async with lan_site(tmp_path) as site:
        with pytest.raises(aiohttp.ClientError):
            await site.http.get(site.url.replace("https", "http") + "/health", headers=BEARER)


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    async with lan_site(tmp_path) as site:
        old = trusting(tmp_path)
        old.minimum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(aiohttp.ClientConnectorError):
            await site.http.get(site.url + "/health", headers=BEARER, ssl=old)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a greeting"])
async def test_a_client_that_never_agrees_on_tls_is_dropped(
    sent: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localvoice.server.listener.HANDSHAKE_SECONDS", 0.5)
    async with lan_site(tmp_path, headers=BEARER) as site:
        url = URL(site.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(sent)
        async with site.client() as client:
            await client.sync()
            async with asyncio.timeout(5):
                assert await reader.read() == b"", "it is closed"
            await client.sync()
        writer.close()


# --- all of it, by this machine's address on its network ---

needs_a_network_address = pytest.mark.skipif(
    not network_addresses(), reason="this machine has no address beside loopback"
)


@needs_a_network_address
async def test_a_client_on_the_network_is_called_where_its_socket_comes_from_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def remember(sdp: str, known: frozenset[str]) -> str:
        taken.append(addresses.keep_known(sdp, known))
        return taken[-1]

    # None of its addresses is known as this machine's own, as on another one.
    monkeypatch.setattr(addresses, "host_addresses", lambda: frozenset({"127.0.0.1", "::1"}))
    monkeypatch.setattr(offers, "keep_known", remember)
    endpoint = open_endpoint(ServerSettings.model_validate({"lan": True, "token": TOKEN}), tmp_path)
    async with serving(endpoint=endpoint, trusted=trusting(tmp_path), headers=BEARER) as site:
        async with site.client() as client, calling(client) as browser:
            await browser.connect()
    (sdp,) = taken
    assert set(re.findall(r"^a=candidate:\S+ \d+ udp \d+ (\S+)", sdp, re.M)) == {network_addresses()[0]}


@needs_a_network_address
async def test_a_conversation_by_this_machines_address_on_the_network(tmp_path: Path) -> None:
    settings = ServerSettings.model_validate({"lan": True, "token": TOKEN})
    endpoint = open_endpoint(settings, tmp_path)
    assert endpoint.host == "0.0.0.0"
    engines = fake_engines(FakeStt("How are you?"), FakeLlm("I am very well today, thank you."))
    options: dict[str, Any] = {"trusted": trusting(tmp_path), "headers": BEARER}
    async with serving(engines, endpoint=endpoint, **options) as site:
        address = network_addresses()[0]
        assert site.url.startswith(f"https://{address}:")
        async with site.client() as client, calling(client) as browser:
            (stun,) = client.received[0]["iceServers"]
            assert stun["urls"].startswith(f"stun:{address}:"), "loopback would be the client's own"
            await browser.connect()
            await browser.add_microphone()
            assert browser.channel is not None
            browser.channel.send(json.dumps({"type": "text", "text": "How are you?"}))
            await browser.until_heard()
            await client.expect("tts-complete")
            assert "transcript" in client.kinds() or "llm" in client.kinds()
            assert client.errors() == []
        headers = {"Authorization": "Bearer of nothing"}
        async with site.http.get(site.url + "/", headers=headers) as response:
            assert response.status == 403


@needs_a_network_address
async def test_a_client_without_a_slot_has_no_stun_answerer_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[tuple[Any, ...]]()
    really = StunAnswerer.open

    async def count(*where: Any) -> StunAnswerer:
        opened.append(where)
        return await really(*where)

    monkeypatch.setattr(StunAnswerer, "open", count)
    endpoint = open_endpoint(ServerSettings.model_validate({"lan": True, "token": TOKEN}), tmp_path)
    options: dict[str, Any] = {"trusted": trusting(tmp_path), "headers": BEARER}
    async with full(endpoint=endpoint, **options) as (site, (served,)):
        before = len(opened)
        for _ in range(3):
            async with site.client() as newcomer:
                assert newcomer.received[0]["iceServers"] == served.received[0]["iceServers"]
                await refusal(newcomer)
        assert len(opened) == before == 2, "this machine's own, and the network's"
