"""Tools, announcements, pictures and speech at the end, in a live session."""

import asyncio
import base64
from typing import Any

import pytest

from localvoice.audio.wav import read_wav
from localvoice.contract.messages import ToolCallEnd, ToolCallStart, TtsMessage
from localvoice.engines.chat import CALL_NOTHING, ToolCall
from localvoice.engines.pictures import Image
from localvoice.tools import ToolContext, tool
from tests.support.fakes import FakeLlm, FakeStt, FakeTts
from tests.support.session_room import LONG, Rooms, codes

pytestmark = pytest.mark.virtual_clock


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def wake_up(seconds: float, context: ToolContext) -> str:
    """Wake the user up."""
    context.announce(seconds, "Wake up!")
    return "set"


def call(name: str = "add", **arguments: Any) -> ToolCall:
    return ToolCall(f"call-{name}-{len(arguments)}", name, arguments)


async def test_an_answer_without_a_tool_costs_one_request(room: Rooms) -> None:
    llm = FakeLlm("Good morning.")
    r = room(llm=llm, tools=[add])
    r.session.answer_text("Good morning.")
    await r.session.settle()
    assert len(llm.asked) == 1 and llm.offers[0] is not None, "with the tools on offer"
    assert r.said()[-1] == ("assistant", "Good morning.")


async def test_a_tool_runs_and_its_answer_reaches_the_llm(room: Rooms) -> None:
    llm = FakeLlm([call(a=2, b=3)], "That makes five.")
    r = room(llm=llm, tools=[add])
    r.session.answer_text("What is two plus three?")
    await r.session.settle()
    assert r.told() == [
        "tool-call-start",
        "tool-call-end",
        "llm-chunk",
        "llm",
        "tts-start",
        "tts-complete",
    ]
    (start,), (end,) = r.all(ToolCallStart), r.all(ToolCallEnd)
    assert start.arguments == {"a": 2, "b": 3} and (end.result, end.error) == (5, None)
    assert [message.role for message in llm.asked[1]] == ["system", "user", "assistant", "tool"]
    assert llm.asked[1][-1].content == "5"
    assert [role for role, _ in r.said()] == ["user", "assistant", "tool", "assistant"]
    assert llm.offers[0] is not None and llm.offers[0].tools[0].name == "add"


async def test_a_failed_tool_is_an_answer_too(room: Rooms) -> None:
    @tool
    def broken() -> None:
        """Break."""
        raise RuntimeError("no such disk")

    llm = FakeLlm([call("broken")], "It did not work.")
    r = room(llm=llm, tools=[broken])
    r.session.answer_text("Try it.")
    await r.session.settle()
    assert codes(r) == ["TOOL_ERROR"] and "no such disk" in llm.asked[1][-1].content
    assert r.said()[-1] == ("assistant", "It did not work.")


async def test_the_llm_must_talk_after_ten_calls(room: Rooms) -> None:
    llm = FakeLlm(*[[call(a=1, b=number)] for number in range(10)], "Enough.")
    r = room(llm=llm, tools=[add])
    r.session.answer_text("Count.")
    await r.session.settle()
    choices = [offer.choice for offer in llm.offers if offer is not None]
    assert choices == ["auto"] * 10 + [CALL_NOTHING] and r.said()[-1] == ("assistant", "Enough.")


async def test_the_llm_must_talk_after_a_minute(room: Rooms) -> None:
    @tool
    async def slow() -> str:
        """Take your time."""
        await asyncio.sleep(25)
        return "well"

    llm = FakeLlm(*[[call("slow")]] * 3, "Enough.")
    r = room(llm=llm, tools=[slow])
    r.session.answer_text("Go.")
    await r.session.settle()
    assert [offer.choice for offer in llm.offers if offer is not None] == [
        "auto",
        "auto",
        "auto",
        CALL_NOTHING,
    ]


async def test_barge_in_cancels_a_tool(room: Rooms) -> None:
    seen: list[asyncio.Event] = []

    @tool
    async def forever(context: ToolContext) -> None:
        """Never end."""
        seen.append(context.cancelled)
        await asyncio.sleep(3600)

    llm = FakeLlm([call("forever")], "Yes?")
    r = room(llm=llm, tools=[forever])
    r.session.answer_text("Go.")
    await r.until("tool-call-start")
    await r.says()
    await r.session.settle()
    assert seen[0].is_set()
    assert [each.error for each in r.all(ToolCallEnd)] == ["The user interrupted."]
    prompt = llm.asked[-1]
    assert [message.role for message in prompt[1:]] == ["user", "assistant", "tool", "user"]


async def test_an_announcement_is_said_when_its_time_has_come(room: Rooms) -> None:
    llm = FakeLlm([call("wake_up", seconds=30)], "I will.")
    r = room(llm=llm, tools=[wake_up])
    r.session.answer_text("Tell me when it is ready.")
    await r.session.settle()
    assert r.tts.said == ["I will."]
    await asyncio.sleep(31)
    await r.session.settle()
    assert r.tts.said == ["I will.", "Wake up!"] and len(llm.asked) == 2
    assert r.said()[-1] == ("assistant", "Wake up!") and r.told()[-3:] == ["llm", "tts-start", "tts-complete"]


async def test_an_announcement_waits_until_nobody_speaks(room: Rooms) -> None:
    r = room(llm=FakeLlm(LONG))
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    r.conversation.announce("Tea is ready.")
    await asyncio.sleep(0.5)
    assert "Tea is ready." not in r.tts.said
    await r.session.settle()
    assert r.tts.said[-1] == "Tea is ready."


async def test_an_announcement_can_be_interrupted(room: Rooms) -> None:
    r = room()
    r.conversation.announce("One two three four five six seven eight nine ten.")
    await r.until("tts-start")
    await asyncio.sleep(0.2)
    await r.says()
    await r.session.settle()
    assert "tts-cancelled" in r.told() and r.said()[0][0] == "assistant"
    assert len(r.said()[0][1].split()) < 10, "history holds what was heard"


async def test_an_announcement_that_is_cut_before_it_began_is_said_later(room: Rooms) -> None:
    r = room(FakeStt("Hello."), FakeLlm("Hi."))
    r.conversation.announce("Tea is ready.")
    r.session.answer_text("How are you?")
    await r.session.settle()
    assert r.tts.said == ["Hi.", "Tea is ready."]


# --- pictures ---


async def test_pictures_go_to_a_model_that_sees(room: Rooms) -> None:
    llm = FakeLlm("A cat.", "Yes.")
    llm.sees = True
    r = room(llm=llm)
    picture = Image(b"...", alt="a cat")
    r.conversation.attach([picture])
    r.session.answer_text("What is this?")
    await r.session.settle()
    r.session.answer_text("Really?")
    await r.session.settle()
    assert llm.asked[0][-1].images == (picture,)
    assert not any(message.images for message in llm.asked[1]) and "a cat" in llm.asked[1][1].content
    assert r.tts.said == ["A cat.", "Yes."]


@pytest.mark.parametrize("words", ["What does this label say?", "Read this label to me.", "Do you see it?"])
async def test_what_is_asked_about_a_picture_that_waits_is_for_a_model_that_sees(
    room: Rooms, words: str
) -> None:
    llm = FakeLlm("Keep cool.")
    llm.sees = True
    r = room(llm=llm, phrases={"limits": True})
    r.session.answer_text(words)
    await r.session.settle()
    assert not llm.asked
    r.conversation.attach([Image(b"...")])
    r.session.answer_text(words)
    await r.session.settle()
    assert r.tts.said[-1] == "Keep cool." and len(llm.asked) == 1


# --- speech at the end of the reply ---


async def test_without_streaming_the_whole_reply_is_one_sound(room: Rooms) -> None:
    r = room(llm=FakeLlm("One two. Three four five."), agent={"streaming_speech": False})
    r.session.answer_text("Count.")
    await r.session.settle()
    (whole,) = r.all(TtsMessage)
    assert whole.format == "wav" and read_wav(base64.b64decode(whole.data)).seconds == pytest.approx(
        0.3, abs=0.02
    )
    assert r.told() == ["llm-chunk", "llm", "tts", "tts-start", "tts-complete"]
    assert r.said()[-1] == ("assistant", "One two. Three four five.")


async def test_without_streaming_an_interruption_still_counts_what_was_heard(room: Rooms) -> None:
    r = room(llm=FakeLlm(LONG, "Yes?"), tts=FakeTts(), agent={"streaming_speech": False})
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    await asyncio.sleep(1)
    await r.says()
    await r.session.settle()
    heard = r.said()[1][1]
    assert 5 < len(heard.split()) < len(LONG.split())


async def test_transitions_of_state_are_traced(room: Rooms) -> None:
    r = room()
    await r.says()
    await r.session.settle()
    steps = [(each["from"], each["event"], each["to"]) for each in r.session.trace.as_dicts()]
    assert steps == [
        ("idle", "speech started", "listening"),
        ("listening", "turn started", "thinking"),
        ("thinking", "first sound", "speaking"),
        ("speaking", "turn ended", "idle"),
    ]
