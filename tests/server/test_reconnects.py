"""Connections that drop at a random moment of each stage, and come back: nothing is lost, nor done twice.

`make prove WHAT=faults` drops 50 in each stage. A failure names the seed.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator
from random import Random
from typing import Final

import pytest
from aiohttp import WSMsgType

from localvoice.engines.chat import ChatMessage
from tests.support.cut_clients import cut
from tests.support.cut_clients import times as times
from tests.support.fakes import until
from tests.support.server_site import Client, Site, serving
from tests.support.turn_stages import FOR_EVER, GROUPS, STAGES, Cast, StagedLlm, reply_to

SEED: Final = 20_261_122
LATEST_SECONDS: Final = 0.3
"""After a stage has begun, at which the connection drops."""
SPOKEN: Final = ("speaking", "transcribing", "draft", "held")


async def drop(client: Client, random: Random) -> None:
    """As a network does it, as a process that is killed, or as a page that is closed."""
    how = random.choice(("reset", "closed", "amid closing", "still open"))
    if how == "closed":
        await client.socket.close()
    elif how == "amid closing":
        closing = asyncio.ensure_future(client.socket.close())
        await asyncio.sleep(0)
        cut(client)
        await asyncio.wait([closing])
    elif how == "reset":
        cut(client)


async def come_back(site: Site, session: str, number: int) -> None:
    """Reconnect, ask something, and hear the answer; then all before it is in order."""
    async with site.client() as client:
        await client.send("reconnect", sessionId=session)
        ack = await client.expect("reconnect-ack")
        assert (ack["success"], ack["sessionId"], ack["historyRecovered"]) == (True, session, True)
        await client.send("text", text=f"check {number}.")
        while (await client.expect("llm"))["text"].strip() != reply_to("check", str(number)):
            pass
        await client.expect("tts-complete")


async def until_counts(site: Site, wanted: tuple[int, int]) -> None:
    """Wait until there are so many connections and sessions."""
    async with asyncio.timeout(8):
        while await site.counts() != wanted:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.05)


def check(history: list[ChatMessage], asked: dict[int, str], cast: Cast) -> None:
    """What the LLM was given last: each question once and in order, of each reply what was heard, once."""
    said = [message for message in history if message.role == "user"]
    found = [number for message in said for number in map(int, re.findall(r"\w+ (\d+)\.", message.content))]
    assert found == sorted(set(found)), "each question once, in its order"
    understood = {int(number) for words in cast.stt.known for number in re.findall(r"\d+", words)}
    missing = {number for number, stage in asked.items() if stage not in SPOKEN} - set(found)
    assert not missing, "what was typed is there"
    assert set(found) <= set(asked) | understood
    replies = [each.content for each in history if each.role == "assistant" and not each.tool_calls]
    for reply in replies:
        matched = re.match(r"Reply( to (\w+) (\d+))?", reply)
        assert matched, reply
        if matched[3]:
            assert reply_to(matched[2], matched[3]).startswith(reply.strip().rstrip(".")), reply
    heard = Counter(re.findall(r"Reply to \w+ (\d+)", " ".join(replies)))
    assert all(count == 1 for count in heard.values()), "each reply once"
    calls = [call.call_id for each in history for call in each.tool_calls]
    answers = [each.tool_call_id for each in history if each.role == "tool"]
    assert calls == answers and len(set(calls)) == len(calls), "each call has its answer"
    assert len(cast.runs) == len(set(cast.runs)) == len(calls), "and was made once"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("stage", STAGES)
async def test_at_every_stage(stage: str, times: int, caplog: pytest.LogCaptureFixture) -> None:
    random = Random(f"{SEED} {stage}")
    cast = Cast()
    async with serving(cast.engines, GROUPS, {"tools": cast.tools}) as site:
        async with site.client() as first:
            session = first.received[0]["id"]
        asked: dict[int, str] = {}
        for number in range(1, 2 * times, 2):
            async with site.client() as client:
                await client.send("reconnect", sessionId=session)
                await client.expect("reconnect-ack")
                if stage != "idle":
                    asked[number] = stage
                await STAGES[stage](client, cast, number)
                await asyncio.sleep(random.uniform(0, LATEST_SECONDS))
                await drop(client, random)
                await come_back(site, session, number + 1)
                asked[number + 1] = "check"
            check(cast.llm.asked[-1], asked, cast)
        await site.until_alone()
        assert (await site.counts())[1] == 1, "no other session is left"
        await until(lambda: not cast.work.under_way)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_storm_of_reconnects() -> None:
    """All want the same session at once: one of them gets to keep it, and its history is whole."""
    cast = Cast()
    async with serving(cast.engines, GROUPS, {"tools": cast.tools}) as site:
        async with site.client() as old:
            await old.send("text", text="playing 1.")
            await old.expect("tts-chunk")
            session = old.received[0]["id"]

            async def rush() -> None:
                async with site.client() as client:
                    await client.send("reconnect", sessionId=session)
                    while (await client.socket.receive()).type is WSMsgType.TEXT:
                        pass

            rushing = {asyncio.ensure_future(rush()) for _ in range(20)}
            left = rushing
            async with asyncio.timeout(30):
                while len(left) > 1:
                    _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            await until_counts(site, (1, 1))
            await come_back(site, session, 2)
            await asyncio.wait(rushing)
    check(cast.llm.asked[-1], {1: "playing", 2: "check"}, cast)


class SlowToEnd(StagedLlm):
    """It leaves its work only after a while, as a model does that is amid a token."""

    async def _write(self, stage: str, number: str) -> AsyncGenerator[str, None]:
        try:
            yield f"Reply to {stage} {number}, "
            yield "and so on. "
            if stage == "writing":
                await asyncio.sleep(FOR_EVER)
        finally:
            if stage == "writing":
                await asyncio.sleep(1.0)


async def test_one_that_goes_while_it_waits_for_the_older_one_to_let_go() -> None:
    """The next one waits for that as well: or its question would come before what was heard until then."""
    cast = Cast()
    cast.llm = SlowToEnd(cast.work)
    async with serving(cast.engines, GROUPS) as site, site.client() as oldest:
        session = oldest.received[0]["id"]
        await oldest.send("text", text="writing 1.")
        await oldest.expect("tts-chunk")
        await asyncio.sleep(0.5)
        async with site.client() as second:
            await second.send("reconnect", sessionId=session)
            await asyncio.sleep(0.1)
            cut(second)
        await asyncio.sleep(0.1)
        async with site.client() as third:
            await third.send("reconnect", sessionId=session)
            await third.expect("reconnect-ack")
            await third.send("text", text="check 2.")
            await third.expect("llm")
        await oldest.closed()
        await site.until_alone()
        assert await site.counts() == (0, 1)
    said = [(each.role, each.content) for each in cast.llm.asked[-1][1:]]
    assert [role for role, _ in said] == ["user", "assistant", "user"], said


async def test_one_that_goes_while_it_waits_does_not_keep_the_session_for_ever() -> None:
    cast = Cast()
    cast.llm = SlowToEnd(cast.work)
    async with serving(cast.engines, GROUPS, session_minutes=2 / 60, ping_seconds=0.5) as site:
        async with site.client() as older:
            session = older.received[0]["id"]
            await older.send("text", text="writing 1.")
            await older.expect("llm-chunk")
            async with site.client() as newer:
                await asyncio.sleep(0.2)
                await newer.send("reconnect", sessionId=session)
                await newer.closed()  # it sent no ping, and the older one had not let go yet
        await site.until_alone()
        await asyncio.sleep(2.2)
        async with site.client() as again:
            await again.send("reconnect", sessionId=session)
            await again.expect("reconnect-ack")
            assert again.errors() == ["SESSION_EXPIRED"]
