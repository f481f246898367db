"""What pictures cost the process: one is decoded at a time, and none is kept for a client that has gone."""

import asyncio
import base64
import gc
import threading
import time
from collections.abc import Callable

import pytest

from localvoice.contract.client_messages import Attachment
from localvoice.engines.pictures import Image
from localvoice.server import inbound
from localvoice.server.inbound import PayloadDecoder
from tests.support.fakes import FakeLlm, fake_engines, until
from tests.support.images import png
from tests.support.server_site import Client, serving
from tests.support.wrong_messages import PNG

LARGE = base64.b64encode(png(64, 48)).decode()


def seeing(delay: float = 0.0) -> FakeLlm:
    llm = FakeLlm(delay=delay)
    llm.sees = True
    return llm


Kept = Callable[[FakeLlm], int]


@pytest.fixture
def kept() -> Kept:
    """How many pictures of this test are in memory, but for the fake, which forgets what it was asked."""
    others = pictures()

    def count(llm: FakeLlm) -> int:
        llm.asked.clear()
        llm.prepared.clear()
        return sum(all(each is not other for other in others) for each in pictures())

    return count


def pictures() -> list[Image]:
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, Image)]


async def say(client: Client, words: str = "What do you see?") -> None:
    await client.send("text", text=words)
    await client.expect("tts-complete")


async def test_pictures_go_with_the_connection_and_the_conversation_comes_back(kept: Kept) -> None:
    llm = seeing()
    async with serving(fake_engines(llm=llm)) as site:
        async with site.client() as client:
            (session,) = [message["id"] for message in client.received]
            await say(client, "Hello.")
            await client.send("attachments", attachments=[{"data": PNG}] * 4)
            await client.sync()
            assert kept(llm) == 4
        await site.until_alone()
        assert kept(llm) == 0
        async with site.client() as client:
            await client.send("reconnect", sessionId=session)
            assert (await client.expect("reconnect-ack"))["success"]
            await say(client, "How are you?")
            last = llm.asked[-1]
            assert [message.content for message in last if message.role == "user"] == [
                "Hello.",
                "How are you?",
            ]
            assert not any(message.images for message in last)


async def test_pictures_of_a_question_that_is_left_unanswered_go_too(kept: Kept) -> None:
    llm = seeing(delay=10)
    async with serving(fake_engines(llm=llm)) as site:
        async with site.client() as client:
            await client.send("attachments", attachments=[{"data": PNG}] * 2)
            await client.send("text", text="What do you see?")
            await until(lambda: llm.running == 1)
        await site.until_alone()
        assert kept(llm) == 0


async def test_all_clients_together_have_a_budget(monkeypatch: pytest.MonkeyPatch, kept: Kept) -> None:
    monkeypatch.setattr(inbound, "MAX_IMAGE_BYTES", 5 * len(base64.b64decode(LARGE)) // 2)
    llm = seeing()
    async with serving(fake_engines(llm=llm)) as site, site.client() as other:
        async with site.client() as first:
            await first.send("attachments", attachments=[{"data": LARGE}] * 2)
            await first.sync()
            await other.send("attachments", attachments=[{"data": LARGE}])
            error = await other.expect("error")
            assert error["code"] == "RATE_LIMITED" and "as many pictures as it can" in error["message"]
            assert "Try again in 5 s" in error["message"]
            await say(first)
            await until(lambda: kept(llm) == 0)
            await other.send("attachments", attachments=[{"data": LARGE}])
            await say(other)
            assert len(llm.asked[-1][-1].images) == 1
            await until(lambda: kept(llm) == 0)
            await first.send("attachments", attachments=[{"data": LARGE}] * 2)
            await first.sync()
        await site.until_connections(1)
        await other.send("attachments", attachments=[{"data": LARGE}] * 2)
        await other.sync()
        assert other.errors() == ["RATE_LIMITED"] and first.errors() == []


async def test_one_is_decoded_at_a_time_also_where_clients_go(monkeypatch: pytest.MonkeyPatch) -> None:
    now = most = 0
    lock = threading.Lock()

    def decode(_attachment: Attachment) -> Image:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return Image(b"...")

    monkeypatch.setattr(inbound, "decode_image", decode)
    decoding = PayloadDecoder()
    attachment = Attachment(data="AAAA")
    clients = [asyncio.create_task(decoding.images([attachment] * 2)) for _ in range(8)]
    await until(lambda: most == 1)
    for client in clients[:4]:
        client.cancel()
    done = await asyncio.gather(*clients, return_exceptions=True)
    assert [isinstance(each, list) for each in done] == [False] * 4 + [True] * 4
    assert most == 1
    await decoding.close()
