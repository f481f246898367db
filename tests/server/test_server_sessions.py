"""Sessions over a real socket: clients that come back, clients that go, and a server that goes."""

import asyncio
import json

import aiohttp
import pytest

from localvoice.config import Settings
from localvoice.conversation.agent import Agent
from localvoice.conversation.conversation import Conversation
from localvoice.server.app import VoiceServer
from tests.support.fakes import FakeLlm, fake_engines
from tests.support.server_site import LONG, Client, serving

# --- sessions ---


async def test_a_session_is_gone_on_with_on_a_new_connection() -> None:
    llm = FakeLlm("Hello Ann.", "You are Ann.")
    async with serving(fake_engines(llm=llm)) as site:
        async with site.client() as client:
            await client.send("text", text="I am Ann.")
            await client.expect("tts-complete")
            await client.sync()
        await site.until_alone()
        async with site.client() as again:
            await again.send("reconnect", sessionId=client.received[0]["id"])
            ack = await again.expect("reconnect-ack")
            assert (ack["success"], ack["historyRecovered"]) == (True, True)
            assert ack["sessionId"] == client.received[0]["id"]
            assert await site.counts() == (1, 1), "the session that it began with is forgotten"
            await again.send("text", text="Who am I?")
            await again.expect("llm")
    assert [message.content for message in llm.asked[1][1:]] == ["I am Ann.", "Hello Ann.", "Who am I?"]


async def test_a_ping_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[str] = []
    monkeypatch.setattr(Conversation, "touch", lambda conversation: alive.append(conversation.id))
    async with serving() as site, site.client() as client:
        alive.clear()
        await client.sync()
        assert alive == [client.received[0]["id"]]


async def test_an_unknown_session_is_told_and_the_own_one_goes_on() -> None:
    async with serving() as site, site.client() as client:
        await client.send("reconnect", sessionId="made up by the client")
        ack = await client.expect("reconnect-ack")
        assert client.kinds("state") == ["ready", "error", "reconnect-ack"]
        assert client.errors() == ["SESSION_NOT_FOUND"]
        assert (ack["success"], ack["historyRecovered"]) == (False, False)
        assert ack["sessionId"] == client.received[0]["id"]
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")


async def test_an_expired_session_is_told() -> None:
    async with serving(session_minutes=0.2 / 60) as site:
        async with site.client() as client:
            old = client.received[0]["id"]
        await asyncio.sleep(0.3)
        async with site.client() as again:
            await again.send("reconnect", sessionId=old)
            assert (await again.expect("reconnect-ack"))["success"] is False
            assert again.errors() == ["SESSION_EXPIRED"]


async def test_the_newest_socket_wins() -> None:
    llm = FakeLlm(LONG, "Fine.")
    async with serving(fake_engines(llm=llm)) as site, site.client() as older, site.client() as newer:
        await older.send("text", text="Talk.")
        await older.expect("turn-metrics")
        await asyncio.sleep(0.3)
        await newer.send("reconnect", sessionId=older.received[0]["id"])
        assert (await newer.expect("reconnect-ack"))["success"] is True
        assert await older.closed() == aiohttp.WSCloseCode.GOING_AWAY
        assert await site.counts() == (1, 1)
        await newer.send("text", text="And?")
        await newer.expect("llm")
    roles = [message.role for message in llm.asked[1]]
    assert roles == ["system", "user", "assistant", "user"], "what was heard of the turn that ran is kept"


async def test_of_two_that_come_back_at_once_one_stays() -> None:
    async with serving() as site, site.client() as one, site.client() as two:
        async with site.client() as old:
            pass
        for client in (one, two):
            await client.send("reconnect", sessionId=old.received[0]["id"])
        await asyncio.wait(
            [asyncio.ensure_future(client.closed()) for client in (one, two)],
            return_when=asyncio.FIRST_COMPLETED,
            timeout=2,
        )
        assert (await site.counts())[0] == 1


async def test_a_client_without_a_ping_is_let_go_and_one_with_pings_stays() -> None:
    async with serving(ping_seconds=0.5) as site, site.client() as silent_one, site.client() as lively:
        for _ in range(5):
            await asyncio.sleep(0.2)
            await lively.sync()
        assert await silent_one.closed() is not None
        assert await site.counts() == (1, 2), "its session waits for it"


async def test_conversations_are_apart() -> None:
    llm = FakeLlm("One.", "Two.")
    async with serving(fake_engines(llm=llm)) as site, site.client() as one, site.client() as two:
        for client in (one, two):
            await client.send("text", text="Hi.")
            await client.expect("tts-complete")
        assert one.received[0]["id"] != two.received[0]["id"]
    assert [len(asked) for asked in llm.asked] == [2, 2]


# --- clients that go, and a server that goes ---


@pytest.mark.parametrize("after", ["ready", "llm-chunk", "tts-start"])
async def test_a_client_that_vanishes_leaves_nothing(after: str, caplog: pytest.LogCaptureFixture) -> None:
    llm = FakeLlm(LONG, delay=0.01)
    async with serving(fake_engines(llm=llm)) as site:
        client = await site.http.ws_connect(site.url)
        await client.send_json({"type": "text", "text": "Talk."})
        while (await client.receive_json())["type"] != after:
            pass
        lost = client._response.connection
        assert lost is not None and lost.transport is not None
        lost.transport.abort()
        await site.until_alone()
        assert llm.running == 0
        await client.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"], "clients do go"


async def test_a_client_that_reads_nothing_is_let_go_at_its_deadline() -> None:
    llm = FakeLlm(("x" * 200_000 + ". ") * 50)
    async with serving(fake_engines(llm=llm), ping_seconds=1.0) as site:
        port = int(site.url.rsplit(":", 1)[1])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        text = json.dumps({"type": "text", "text": "Talk."}).encode()
        writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        try:
            await asyncio.sleep(0.8)
            assert await site.counts() == (1, 1)
            await site.until_alone()
            assert llm.asked and not llm.running
        finally:
            writer.transport.abort()


async def test_when_the_server_stops_clients_are_told() -> None:
    llm = FakeLlm(LONG, delay=0.01)
    server = VoiceServer(Agent(Settings.model_validate({"server": {"port": 0}}), fake_engines(llm=llm)))
    async with aiohttp.ClientSession() as http:
        async with server.running() as url:
            clients = [Client(await http.ws_connect(url)) for _ in range(2)]
            await clients[0].send("text", text="Talk.")
            await clients[0].expect("tts-start")
            closing = [asyncio.ensure_future(client.closed()) for client in clients]
        assert await asyncio.gather(*closing) == [1001, 1001]
        assert llm.running == 0
