"""What is done between turns: room is made in the LLM's context, and the next prompt is read ahead."""

import asyncio
from collections.abc import Sequence

from localvoice.engines.chat import ChatMessage, Prompt, ToolOffer
from tests.support.fakes import LLM_FAILED, FakeLlm, FakeStt, loud, silent
from tests.support.histories import noted
from tests.support.session_room import LONG, STEP, Room, Rooms

CONTEXT = 1200


class SmallLlm(FakeLlm):
    context_tokens = CONTEXT


async def tells(r: Room, *words: str) -> None:
    for each in words:
        r.session.answer_text(each)
        await r.session.settle()
        await asyncio.sleep(STEP)


async def test_nothing_that_was_told_is_lost_in_a_brisk_talk(room: Rooms) -> None:
    """Each turn follows at once, and the context holds half of them."""
    llm = SmallLlm()
    r = room(llm=llm, agent={"summarise": True})
    for number in range(28):
        r.session.answer_text(f"My fact {number} is {number}.")
        await r.session.settle()
        r.session.answer_text("Tell me more about the sea.")
        await r.session.settle()
        said = " ".join(message.content for message in llm.asked[-1])
        assert all(f"My fact {told} is {told}." in said for told in range(number + 1)), f"turn {number}"
        assert llm.prompt_tokens(llm.asked[-1]) <= CONTEXT - 256
    assert noted(r.conversation.history) and not any(llm.asides), "no one waits for notes"


async def test_all_that_fits_is_given_word_for_word(room: Rooms) -> None:
    r = room(llm=FakeLlm(), agent={"summarise": True})
    await tells(r, *(f"Question {number}?" for number in range(30)))
    assert len(r.llm.asked[-1]) == 1 + 29 * 2 + 1
    assert not noted(r.conversation.history)


async def test_room_is_made_between_turns_so_that_what_was_read_ahead_is_of_use(room: Rooms) -> None:
    llm = SmallLlm()
    r = room(llm=llm, agent={"summarise": True})
    for number in range(60):
        await tells(r, f"My fact {number} is {number}.")
        assert not number or llm.asked[-1][:-1] == llm.prepared[-2], f"turn {number}"
    assert noted(r.conversation.history)


async def test_a_prompt_that_cannot_be_made_between_turns_is_left_to_the_turn(room: Rooms) -> None:
    class Failing(FakeLlm):
        failing = False

        async def prompt(self, *arguments: object) -> Prompt:
            if self.failing:
                raise LLM_FAILED
            return await super().prompt(*arguments)  # type: ignore[arg-type]

    llm = Failing()
    r = room(llm=llm, agent={"summarise": True})
    await tells(r, "My name is Ada.")
    llm.failing = True
    r.session.answer_text("Hello?")
    await asyncio.sleep(STEP)
    llm.failing = False
    await r.session.settle()
    await tells(r, "And now?")
    assert llm.asked[-1][-1].content.endswith("And now?")


async def test_after_forgetting_the_llm_is_given_the_end_of_a_long_talk_and_notes(room: Rooms) -> None:
    """It has forgotten all that it had read, and reading all of it again would keep the user waiting."""
    r = room(llm=FakeLlm(), agent={"summarise": True})
    await tells(r, *(f"My fact {number} is {'very ' * 20}nice." for number in range(40)))
    whole = len(r.llm.asked[-1])
    await tells(r, "Forget that.", "And now?")
    given = r.llm.asked[-1]
    assert whole == 80 and 20 < len(given) < 60
    told = " ".join(message.content for message in given)
    assert "My fact 0 " in told and "My fact 38 " in told and "My fact 39 " not in told


async def test_the_prompts_of_a_talk_belong_together_until_something_is_forgotten(room: Rooms) -> None:
    talks: list[object] = []

    class Watching(FakeLlm):
        async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
            assert isinstance(messages, Prompt)
            talks.append(messages.talk)

    r = room(llm=Watching())
    await tells(r, "Hello.", "How are you?")
    one, *same = talks
    assert one is not None and all(talk is one for talk in same)
    talks.clear()
    await tells(r, "Forget that.")
    after = talks[-1]
    assert after is not one
    await tells(room(llm=Watching()), "Hello.")
    assert talks[-1] not in (one, after, None)


async def test_while_the_user_speaks_on_over_a_reply_the_next_prompt_is_read(room: Rooms) -> None:
    llm = FakeLlm()
    r = room(FakeStt("And now?"), llm, agent={"summarise": True, "history_messages": 4})
    await tells(r, "My name is Ada.", "I live in Bath.")
    llm.script = [LONG]
    r.session.answer_text("Talk.")
    await asyncio.sleep(STEP)
    llm.prepared.clear()
    asked = len(llm.asked)
    await r.until("tts-start")
    await r.user(loud(3.0))
    assert "tts-cancelled" in r.told()
    assert llm.prepared and len(llm.asked) == asked, "what the next answer begins with, and no more"
    await r.user(silent(0.7))
    await r.session.settle()


async def test_what_is_read_at_the_start_begins_every_conversation(room: Rooms) -> None:
    r = room(llm=FakeLlm())
    await r.agent.warm_up()
    at_the_start = r.llm.prepared[-1]
    r.session.answer_text("Hello?")
    await r.session.settle()
    assert at_the_start and r.llm.asked[0][: len(at_the_start)] == at_the_start
