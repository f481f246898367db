"""What is unknown or broken gets one INVALID_MESSAGE and costs nothing: WebSocket and data channel."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localvoice.contract.client_messages import parse
from localvoice.contract.errors import VoiceError
from tests.support.fakes import FakeLlm, FakeStt, fake_engines
from tests.support.server_site import Client, Site, serving
from tests.support.webrtc_browser import calling, needs_a_network
from tests.support.wrong_messages import GOOD, NO_MESSAGES, ON_THE_CHANNEL, PNG, TOO_LARGE, good, wrong

Send = Callable[[str | bytes], Awaitable[None]]
UNLIMITED = {"limits": {"message_burst": 100_000, "turns_per_minute": 100_000, "megabytes_per_second": 1_000}}


def by_socket(client: Client) -> Send:
    async def send(message: str | bytes) -> None:
        if isinstance(message, bytes):
            await client.socket.send_bytes(message)
        else:
            await client.socket.send_str(message)

    return send


async def refused(client: Client, send: Send, message: str | bytes) -> str:
    """Send it; the one answer, which must be an error."""
    before = len(client.received)
    await send(message)
    await client.expect("error")
    await client.sync()
    error, pong = client.received[before:]
    shown = message[:200]
    assert (error["type"], error["code"], pong["type"]) == ("error", "INVALID_MESSAGE", "pong"), shown
    assert len(error["message"]) < 500 and error["message"].isprintable(), shown
    return str(error["message"])


async def goes_on(site: Site, client: Client, stt: FakeStt, llm: FakeLlm) -> None:
    """Nothing was asked or kept, and the next turn is answered."""
    assert not llm.asked and not stt.heard
    assert await site.counts() == (1, 1)
    errors = len(client.errors())
    await client.send("text", text="Hi.")
    await client.expect("tts-complete")
    assert len(client.errors()) == errors
    assert [message.content for message in llm.asked[0] if message.role == "user"] == ["Hi."]
    assert not any(message.images for message in llm.asked[0])


@pytest.mark.parametrize("kind", GOOD)
async def test_each_message_is_taken_as_it_should_be(kind: str) -> None:
    """So that the tests below refuse for the reason that they name."""
    async with serving(groups=UNLIMITED) as site, site.client() as client:
        await client.socket.send_str(good(kind))
        await client.sync()
        assert "INVALID_MESSAGE" not in client.errors()
        await client.socket.send_str(json.dumps({"type": kind, **GOOD[kind], "unknown": [1, {"a": None}]}))
        await client.sync()
        assert "INVALID_MESSAGE" not in client.errors(), "fields of a later protocol are ignored"


@pytest.mark.parametrize("kind", GOOD)
async def test_each_wrong_field_is_named(kind: str) -> None:
    stt, llm = FakeStt(), FakeLlm()
    async with serving(fake_engines(stt, llm), UNLIMITED) as site, site.client() as client:
        for place, message in wrong(kind):
            words = await refused(client, by_socket(client), message)
            expected = "image" if words.startswith("The ") else place.rsplit(".", 1)[-1]
            assert expected in words, message[:300]
        await goes_on(site, client, stt, llm)


@needs_a_network
@pytest.mark.parametrize("kind", ON_THE_CHANNEL)
async def test_each_wrong_field_is_named_on_the_data_channel(kind: str) -> None:
    stt, llm = FakeStt(), FakeLlm()
    async with serving(fake_engines(stt, llm), UNLIMITED) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            for place, message in wrong(kind):
                words = await refused(client, sender(browser.channel), message)
                expected = "image" if words.startswith("The ") else place.rsplit(".", 1)[-1]
                assert expected in words, message[:300]
            await goes_on(site, client, stt, llm)
        told = [each for each in browser.on_channel if each["type"] == "error"]
        assert told == [each for each in client.received if each["type"] == "error"], "on both, once each"


def sender(channel: Any) -> Send:
    async def send(message: str | bytes) -> None:
        channel.send(message)

    return send


@pytest.mark.parametrize(
    "message", [*NO_MESSAGES.values(), *TOO_LARGE.values()], ids=[*NO_MESSAGES, *TOO_LARGE]
)
async def test_what_is_no_message_is_refused(message: str | bytes) -> None:
    stt, llm = FakeStt(), FakeLlm()
    async with serving(fake_engines(stt, llm)) as site, site.client() as client:
        await refused(client, by_socket(client), message)
        await goes_on(site, client, stt, llm)


@needs_a_network
async def test_what_is_no_message_is_refused_on_the_data_channel() -> None:
    stt, llm = FakeStt(), FakeLlm()
    async with serving(fake_engines(stt, llm), UNLIMITED) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            send = sender(browser.channel)
            for name, message in NO_MESSAGES.items():
                assert "can't be understood" in await refused(client, send, message), name
            for kind in set(GOOD) - set(ON_THE_CHANNEL):
                assert f"{kind} belongs on the WebSocket" in await refused(client, send, good(kind))
            assert browser.connection.sctp is not None
            vars(browser.connection.sctp)["_remote_max_message_size"] = 0  # a client that keeps to no limit
            await refused(client, send, json.dumps({"type": "text", "text": "a" * 300_000}))
            await goes_on(site, client, stt, llm)


async def test_more_pictures_than_may_wait_are_refused_whole() -> None:
    stt, llm = FakeStt(), FakeLlm()
    llm.sees = True
    async with serving(fake_engines(stt, llm)) as site, site.client() as client:
        await client.send("attachments", attachments=[{"data": PNG}] * 3)
        words = await refused(
            client, by_socket(client), json.dumps({"type": "attachments", "attachments": [{"data": PNG}] * 2})
        )
        assert "At most 4" in words
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
        assert len(llm.asked[0][-1].images) == 3


# --- whatever comes ---

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = sorted({name for fields in GOOD.values() for name in fields})
nearly = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(GOOD))}, optional=dict.fromkeys(NAMES, values)
).map(json.dumps)
mangled = st.tuples(st.sampled_from(sorted(GOOD)), st.integers(0, 60), st.text(max_size=5)).map(
    lambda drawn: good(drawn[0])[: drawn[1]] + drawn[2] + good(drawn[0])[drawn[1] + 1 :]
)


def is_refused(message: str | bytes) -> bool:
    try:
        parse(message)
    except VoiceError:
        return True
    return False


junk = st.one_of(st.text(), st.binary(), values.map(json.dumps), nearly, mangled).filter(is_refused)


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(st.lists(junk, min_size=5, max_size=30))
async def test_whatever_comes_is_refused_and_the_session_goes_on(messages: list[str | bytes]) -> None:
    stt, llm = FakeStt(), FakeLlm()
    async with serving(fake_engines(stt, llm), UNLIMITED) as site, site.client() as client:
        for message in messages:
            await by_socket(client)(message)
        await client.sync()
        assert client.errors() == ["INVALID_MESSAGE"] * len(messages)
        assert not llm.asked and not stt.heard and await site.counts() == (1, 1)
        await client.send("text", text="Hi.")
        await client.expect("llm")
