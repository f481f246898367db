"""What is done between turns: the next prompt is read ahead first, and notes wait for silence."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from localvoice.engines.types import ChatMessage, ReplyItem, Sampling, ToolOffer
from tests.support.fakes import FakeLlm, FakeStt, loud, silent
from tests.support.session_room import LONG, STEP, Room, Rooms

NOTE = "They told something."


class NotingLlm(FakeLlm):
    """Takes `seconds` to write a note."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.log: list[str] = []

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        await super().prepare(messages, offer)
        self.log.append("read")

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        if not aside:
            self.log.append("answer")
            async for item in super().reply(messages, sampling, offer):
                yield item
            return
        self.log.append("note begun")
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.log.append("note stopped")
            raise
        self.log.append("note")
        yield NOTE


async def tells(r: Room, *words: str) -> None:
    for each in words:
        r.session.answer_text(each)
        await r.session.settle()
        await asyncio.sleep(STEP)


async def test_the_next_prompt_is_read_before_notes_are_written_and_after(room: Rooms) -> None:
    llm = NotingLlm(0.1)
    r = room(llm=llm, agent={"summarise": True, "history_messages": 4})
    await tells(r, "My name is Ada.", "I live in Bath.")
    await asyncio.sleep(1.0)
    assert llm.log[-5:] == ["answer", "read", "note begun", "note", "read"]
    read = llm.prepared[-1]
    await tells(r, "Hello?")
    assert llm.asked[-1][1].content == f"Earlier in this conversation: {NOTE}\n\nI live in Bath."
    assert llm.asked[-1][:-1] == read, "with the note"


async def test_notes_give_way_to_the_user_and_are_written_later(room: Rooms) -> None:
    llm = NotingLlm(0.5)
    r = room(FakeStt("And now?"), llm, agent={"summarise": True, "history_messages": 4})
    await tells(r, "My name is Ada.", "I live in Bath.")
    await asyncio.sleep(STEP)
    assert llm.log[-1] == "note begun"
    await r.user(loud(0.5))
    assert llm.log[-2:] == ["note stopped", "read"], "as soon as the user speaks"
    await r.user(silent(0.7))
    await r.session.settle()
    assert llm.asked[-1][1].content == "I live in Bath."
    await asyncio.sleep(3.0)
    assert "note" in llm.log


async def test_no_note_is_written_while_the_user_speaks_on_over_a_reply(room: Rooms) -> None:
    llm = NotingLlm(0.5)
    r = room(FakeStt("And now?"), llm, agent={"summarise": True, "history_messages": 4})
    await tells(r, "My name is Ada.", "I live in Bath.")
    llm.script = [LONG]
    r.session.answer_text("Talk.")
    await asyncio.sleep(STEP)
    llm.log.clear()
    await r.until("tts-start")
    await r.user(loud(3.0))
    assert "tts-cancelled" in r.told()
    assert set(llm.log) == {"read"}, "what the next answer begins with, and no more"
    await r.user(silent(0.7))
    await r.session.settle()
    await asyncio.sleep(3.0)
    assert "note" in llm.log, "when no one speaks any more"


async def test_what_is_read_at_the_start_begins_every_conversation(room: Rooms) -> None:
    r = room(llm=FakeLlm())
    await r.agent.warm_up()
    at_the_start = r.llm.prepared[-1]
    r.session.answer_text("Hello?")
    await r.session.settle()
    assert at_the_start and r.llm.asked[0][: len(at_the_start)] == at_the_start
