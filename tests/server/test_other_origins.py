"""Pages of other origins and servers under other names: what lets them in is said in the log."""

import logging

import aiohttp
import pytest

from tests.support.server_site import Site, serving

OTHER = "https://mine.example"
PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


async def status(site: Site, path: str = "/ws", **headers: str) -> int:
    """What an upgrade is answered with."""
    try:
        async with site.http.ws_connect(site.url + path, headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status


async def test_a_refused_origin_is_logged_with_the_setting_that_allows_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as site:
        assert await status(site, Origin=OTHER) == 403
    (told,) = warnings_in(caplog)
    assert f"'{OTHER}'" in told and "server.allowed_origins" in told
    caplog.clear()
    async with serving(allowed_origins=[OTHER]) as site:
        assert await status(site, Origin=OTHER) == 101
    assert not warnings_in(caplog)


async def test_a_refused_name_is_logged_with_the_setting_that_allows_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as site:
        assert await status(site, Host="voice.example") == 403
    (told,) = warnings_in(caplog)
    assert "'voice.example'" in told and "server.allowed_hosts" in told
    caplog.clear()
    async with serving(allowed_hosts=["Voice.example"]) as site:
        for origin in ("https://voice.example", "http://voice.example"):
            assert await status(site, Host="voice.example", Origin=origin) == 101
        assert await status(site, Host="voice.example.evil.example") == 403
        assert await status(site, Host="voice.example", Origin="https://evil.example") == 403


async def test_what_a_stranger_sends_is_short_and_in_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as site:
        for sent in ({"Origin": "x" * 8_000}, {"Origin": "http://red\xff"}, {"Host": "x" * 8_000}):
            assert await status(site, **sent) == 403
    told = warnings_in(caplog)
    assert len(told) == 3 and max(map(len, told)) < 350 and all(line.isprintable() for line in told)


async def test_an_allowed_page_reads_the_health_and_nothing_else() -> None:
    async with serving(allowed_origins=[OTHER]) as site:
        headers = {"Origin": OTHER, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        for path, shared in (("/health", OTHER), ("/", None), ("/app.js", None)):
            async with site.http.get(site.url + path, headers=headers) as response:
                assert response.status == 200
                assert response.headers.get("Access-Control-Allow-Origin") == shared
        async with site.http.get(
            site.url + "/health", headers={"Origin": "https://evil.example"}
        ) as response:
            assert response.status == 403 and "Access-Control-Allow-Origin" not in response.headers


async def test_an_allowed_page_may_send_the_token_for_it() -> None:
    token = "only the invited know it"
    async with serving(allowed_origins=[OTHER], token=token) as site:
        async with site.http.options(site.url + "/health", headers=PREFLIGHT | {"Origin": OTHER}) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Headers"] == "Authorization"
            assert response.headers["Access-Control-Allow-Origin"] == OTHER
        headers = {"Origin": OTHER, "Authorization": f"Bearer {token}"}
        async with site.http.get(site.url + "/health", headers=headers) as response:
            assert response.status == 200 and response.headers["Access-Control-Allow-Origin"] == OTHER
        stranger = PREFLIGHT | {"Origin": "https://evil.example"}
        async with site.http.options(site.url + "/health", headers=stranger) as response:
            assert response.status == 403


async def test_an_allowed_page_can_read_why_it_is_refused_the_health() -> None:
    async with serving(allowed_origins=[OTHER], token="only the invited know it") as site:
        allowed, stranger = {"Origin": OTHER}, {"Origin": "https://evil.example"}
        wrong = {"Authorization": "Bearer a token that is wrong"}
        for path, headers, status, shared in (
            ("/health", allowed, 401, OTHER),
            ("/health", allowed | wrong, 403, OTHER),
            ("/health", allowed | {"Host": "voice.example"}, 403, OTHER),
            ("/health", stranger, 403, None),
            ("/", allowed, 401, None),
        ):
            async with site.http.get(site.url + path, headers=headers) as response:
                assert response.status == status
                assert response.headers.get("Access-Control-Allow-Origin") == shared
