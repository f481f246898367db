"""What the user wants forgotten is gone: from the history, from what the LLM has read, and from the disk."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from localvoice import Playbook, Stage
from localvoice.contract.messages import Forgotten, LlmReply, TranscriptMessage
from localvoice.conversation.history import History
from localvoice.conversation.store import SessionStore
from localvoice.engines.chat import ChatMessage, ToolCall
from localvoice.engines.pictures import Image
from localvoice.tools import ToolContext, tool
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, fake_engines, until
from tests.support.histories import noted
from tests.support.server_site import serving
from tests.support.session_room import LONG, STEP, Room, Rooms
from tests.support.wrong_messages import PICTURE

NOTHING = "There is nothing to forget."


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"a secret about {what}"


@tool
async def remind_me(context: ToolContext) -> str:
    """Say something later."""
    context.announce(600.0, "Your secret is due.")
    return "in ten minutes"


async def typed(r: Room, *words: str) -> None:
    for each in words:
        r.session.answer_text(each)
        await r.session.settle()
        await asyncio.sleep(STEP)


def replies(r: Room) -> list[str]:
    return [message.text for message in r.all(LlmReply)]


def asked(r: Room) -> str:
    """All that the LLM was ever given, to answer or to read ahead."""
    given = [*r.llm.asked, *r.llm.prepared]
    return " ".join(message.content for messages in given for message in messages)


@pytest.mark.virtual_clock
async def test_the_last_exchange_by_voice(room: Rooms) -> None:
    r = room(FakeStt("I am Tom.", "My secret is plum.", "Forget that.", "Who am I?"))
    for _ in range(3):
        await r.says()
        await r.session.settle()
        await asyncio.sleep(STEP)
    assert r.said() == [("user", "I am Tom."), ("assistant", "I am fine.")]
    assert r.all(Forgotten) == [Forgotten(1, False, True)]
    assert replies(r)[-1] == "Forgotten." and r.tts.said[-1] == "Forgotten."
    assert r.states()[-1] == "idle"
    assert r.llm.forgets == 1
    assert len(r.llm.asked) == 2, "neither a draft nor a reply was asked for it"
    assert "Forget" not in asked(r)
    assert "plum" not in str(r.llm.prepared[-1]), "read ahead again, without it"

    r.llm.asked.clear()
    r.llm.prepared.clear()
    await r.says()
    await r.session.settle()
    assert "Tom" in asked(r) and "plum" not in asked(r) and "Forgotten" not in asked(r)


@pytest.mark.virtual_clock
async def test_the_last_exchange_by_typing_and_by_the_button(room: Rooms) -> None:
    r = room()
    await typed(r, "One.", "Two.", "Three.", "Please forget what I just said.")
    assert [words for _, words in r.said()] == ["One.", "I am fine.", "Two.", "I am fine."]
    r.session.forget(everything=False)
    await r.session.settle()
    assert [words for _, words in r.said()] == ["One.", "I am fine."]
    assert [(each.exchanges, each.said) for each in r.all(Forgotten)] == [(1, True), (1, False)]
    assert r.told().index("forgotten") < r.told().index("llm", r.told().index("forgotten"))
    assert r.conversation.turns == 3, "to forget is no turn of the conversation"


@pytest.mark.virtual_clock
async def test_calls_and_results_go_with_it(room: Rooms) -> None:
    call = ToolCall("call-1", "look_up", {"what": "plums"})
    r = room(llm=FakeLlm("Hello.", [call], "It is sweet."), tools=[look_up])
    await typed(r, "Hi.", "Look up plums.")
    assert "tool" in [role for role, _ in r.said()]
    await typed(r, "Forget that.")
    assert r.said() == [("user", "Hi."), ("assistant", "Hello.")]


@pytest.mark.virtual_clock
async def test_a_reply_that_is_being_spoken_stops_and_is_forgotten(room: Rooms) -> None:
    r = room(FakeStt("Forget that."), llm=FakeLlm(LONG))
    r.session.answer_text("Tell me a secret.")
    await r.until("tts-start")
    await asyncio.sleep(1)
    await r.says()
    await r.session.settle()
    assert r.said() == []
    assert "tts-cancelled" in r.kinds()
    assert replies(r)[-1] == "Forgotten."


@pytest.mark.virtual_clock
async def test_everything_goes_with_pictures_timers_and_announcements(room: Rooms) -> None:
    call = ToolCall("call-1", "remind_me", {})
    r = room(llm=FakeLlm([call], "I will."), tools=[remind_me])
    await typed(r, "Remind me.", "And now?")
    r.conversation.attach([Image(b"secret")])
    assert r.conversation.reminders.pending()
    await typed(r, "Forget everything.")
    assert r.said() == [] and not r.conversation.attachments
    assert not r.conversation.reminders.pending() and not r.conversation.announcements
    assert r.all(Forgotten) == [Forgotten(2, True, True)]
    assert replies(r)[-1] == "I have forgotten everything."
    r.conversation.reminders.after(1.0, "Later ones are kept.")
    assert r.conversation.reminders.pending()
    r.conversation.reminders.clear()


@pytest.mark.virtual_clock
async def test_everything_takes_the_recordings_along_and_owns_up_to_the_log(room: Rooms) -> None:
    deleted: list[str] = []

    async def delete(session_id: str) -> bool:
        deleted.append(session_id)
        return len(deleted) == 1

    r = room(monitor={"transcripts": True}, delete_recordings=delete)
    await typed(r, "My secret is plum.", "Forget that.")
    assert not deleted and replies(r)[-1] == "Forgotten. The log on the disk still has it."
    await typed(r, "Forget everything.")
    assert deleted == [r.conversation.id]
    assert replies(r)[-1] == "I have forgotten everything. The log on the disk still has it."
    await typed(r, "Forget everything.")
    assert "could not be changed" in replies(r)[-1]


@pytest.mark.virtual_clock
async def test_pictures_go_with_the_words_and_before_them(room: Rooms) -> None:
    class Seeing(FakeLlm):
        sees = True

    r = room(llm=Seeing())
    r.conversation.attach([Image(b"secret")])
    await typed(r, "What is this?")
    r.conversation.attach([Image(b"another")])
    await typed(r, "Forget that.")
    assert r.said() == [] and not r.conversation.attachments
    await typed(r, "Hi.")
    assert not any(message.images for message in r.llm.asked[-1])


@pytest.mark.virtual_clock
async def test_there_may_be_nothing_to_forget(room: Rooms) -> None:
    r = room(FakeStt("Forget that."))
    await r.says()
    await r.session.settle()
    assert r.all(Forgotten) == [Forgotten(0, False, True)]
    assert replies(r) == [NOTHING]
    assert [message.text for message in r.all(TranscriptMessage)] == ["Forget that."]
    assert not r.said() and not r.llm.asked
    assert r.llm.forgets == 1, "the LLM may have read what came to nothing"


@pytest.mark.virtual_clock
async def test_notes_that_hold_it_go_and_are_made_anew_without_it(room: Rooms) -> None:
    r = room(agent={"summarise": True, "history_messages": 2})
    await typed(r, "My plum.", "My pear.", "My fig.", "My kiwi.")
    await asyncio.sleep(1)
    history = r.conversation.history
    assert noted(history) == "My plum. My pear. My fig."
    await typed(r, "Forget that.", "Forget that.", "Forget that.")
    await asyncio.sleep(1)
    assert [words for role, words in r.said() if role == "user"] == ["My plum."]
    assert "pear" not in str(history.save())
    assert "pear" not in str(r.llm.prepared[-1])


@pytest.mark.virtual_clock
async def test_a_playbook_keeps_its_stage_and_not_its_data(room: Rooms) -> None:
    playbook = Playbook(
        id="p", name="P", stages=(Stage(id="a", name="A", system_prompt="For {name}."),), initial_stage="a"
    )
    r = room(playbook=playbook)
    await typed(r, "Hi.")
    director: Any = r.conversation.director
    director.data["name"] = "Plum"
    await typed(r, "Forget that.")
    assert director.data == {"name": "Plum"}
    await typed(r, "Forget everything.")
    assert director.data == {} and "Plum" not in str(director.save())
    assert director.brief().system_prompt.endswith("For {name}.")


async def test_the_button_and_the_disk(tmp_path: Path) -> None:
    """Over the wire, with sessions on disk: the file is written again before the client is told."""
    folder = tmp_path / "sessions"

    def on_disk() -> str:
        return " ".join(path.read_text() for path in folder.iterdir())

    async with serving(fake_engines(llm=FakeLlm()), sessions_dir=folder) as site, site.client() as client:
        for words in ("My secret is plum.", "Another is pear."):
            await client.send("attachments", attachments=[{**PICTURE, "alt": f"a picture: {words}"}])
            await client.send("text", text=words)
            await client.expect("tts-complete")
        await asyncio.sleep(0.1)
        assert "plum" in on_disk()
        await client.send("forget")
        told = await client.expect("forgotten")
        assert told == {"type": "forgotten", "exchanges": 1, "all": False, "said": False}
        assert "plum" in on_disk() and "pear" not in on_disk()
        await client.expect("tts-complete")
        await client.send("forget", all=True)
        assert (await client.expect("forgotten"))["all"] is True
        assert "plum" not in on_disk()
        await client.expect("tts-complete")
        assert {path.suffix for path in folder.iterdir()} == {".json", ""}, "no copy is left"
    assert "plum" not in on_disk()


async def test_a_disk_that_refuses_is_owned_up_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = fake_engines(tts=FakeTts())
    async with serving(engines, sessions_dir=tmp_path / "sessions") as site, site.client() as client:
        await client.send("text", text="My secret is plum.")
        await client.expect("tts-complete")

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(SessionStore, "write", full)
            await client.send("forget")
            assert "could not be changed" in (await client.expect("llm"))["text"]
        await client.expect("tts-complete")


def test_a_message_of_the_agents_alone_is_no_exchange() -> None:
    history = History()
    assert not history.forget_last()
    history.add_assistant("Your tea is ready.")
    assert not history.forget_last()
    history.add_user("Thanks.")
    history.add_assistant("You are welcome.")
    history.add_user("And?")
    assert history.forget_last() and history.forget_last() and not history.forget_last()
    assert history.messages == [ChatMessage("assistant", "Your tea is ready.")]
    assert History.restore(history.save()).messages == history.messages


async def test_what_the_llm_has_read_ends_with_its_session() -> None:
    llm = FakeLlm()
    async with serving(fake_engines(llm=llm), session_minutes=1e-4) as site:
        async with site.client() as client:
            await client.send("text", text="My secret is plum.")
            await client.expect("tts-complete")
            ended = client.received[0]["id"]
        await site.until_alone()
        await asyncio.sleep(0.05)
        async with site.client() as client:
            await client.send("reconnect", sessionId=ended)
            await client.expect("reconnect-ack")
            assert client.errors() == ["SESSION_EXPIRED"]
            await client.sync()
            assert llm.forgets == 1


async def test_the_others_prompts_are_read_again_when_a_session_has_ended() -> None:
    llm = FakeLlm()
    async with serving(fake_engines(llm=llm), session_minutes=1e-4) as site, site.client() as stays:
        async with site.client() as client:
            await client.send("text", text="My secret is plum.")
            await client.expect("tts-complete")
            ended = client.received[0]["id"]
        await asyncio.sleep(0.05)
        read = len(llm.prepared)
        await stays.send("reconnect", sessionId=ended)
        await stays.expect("reconnect-ack")
        assert stays.errors() == ["SESSION_EXPIRED"]
        await until(lambda: llm.forgets == 1 and len(llm.prepared) > read)
        assert "plum" not in str(llm.prepared[read:])
