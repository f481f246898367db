"""Every example does what it claims: by its own test, in a conversation of its own."""

import asyncio
import json
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest

from localvoice.api import LocalVoice
from localvoice.application.hooks import Hooks
from localvoice.contract.messages import StageChangeMessage, ToolCallEnd
from localvoice.languages import language
from localvoice.transports.dialogue import Answer
from tests.support.chat_server import ChatServer
from tests.support.example_stage import EXAMPLES, Stage, call, load, own_hooks, served
from tests.support.example_stage import plain_settings as plain_settings
from tests.support.example_stage import stage as stage
from tests.support.fakes import LLM_FAILED, STT_FAILED, TTS_FAILED, WORD_SECONDS, loud, until
from tests.support.webrtc_browser import calling, needs_a_network


@pytest.fixture
def example(request: pytest.FixtureRequest) -> ModuleType:
    """The example that the test is named after."""
    return load(request.node.originalname.removeprefix("test_"))


# --- all of them ---


def test_every_example_has_a_test_of_its_own() -> None:
    assert EXAMPLES and {f"test_{name}" for name in EXAMPLES} <= set(globals())


def test_the_examples_have_all_26_hooks() -> None:
    names: set[str] = set()
    for module in map(load, EXAMPLES):
        if "build" in vars(module) and module.__name__ != "example_own_metrics":
            hooks, *_ = module.build()._parts
            names |= own_hooks(hooks or Hooks())
    assert names == {each.name for each in fields(Hooks)} and len(names) == 26


# --- each of them ---


async def test_serve_with_a_tool(example: ModuleType, stage: Stage) -> None:
    stage.thinks(
        [call("opening_hours", day="tuesday")], "From ten to six.", [call("opening_hours", day="sunday")]
    )
    async with served(example.build()) as site, site.client() as client:
        await client.send("text", text="When are you open on Tuesday?")
        assert (await client.expect("tool-call-end"))["result"] == "from ten to six"
        assert (await client.expect("llm"))["text"] == "From ten to six."
        await client.expect("tts-complete")
        await client.send("text", text="And on Sunday?")
        assert (await client.expect("tool-call-end"))["error"] == "the shop is closed on sunday"
        await client.expect("tts-complete")
    offer, prompt = stage.llm.offers[0], stage.llm.asked[0][0].content
    assert offer is not None and "opening_hours" in {spec.name for spec in offer.tools}
    assert len(offer.tools) > 1, "beside the built-in ones"
    assert "bicycle shop" in prompt and "closed on sunday" in stage.llm.asked[3][-1].content


async def test_guardrails(example: ModuleType, stage: Stage) -> None:
    long = "You were right in all that you did, and they were not. " * 20
    stage.hears("My card number is 4111 1111 1111 1111.")
    stage.thinks(
        f"{long} You should sue them .",
        "Look here. It is at http://example.org there. Goodbye.",
        [call("pay", recipient="Eve", euros=5000)],
        "That is too much.",
        [call("pay", recipient="Eve", euros=5)],
        "It is paid.",
    )
    async with example.build().dialogue() as dialogue:
        card = await dialogue.say(loud(0.5))
        assert not stage.llm.asked and card.reply == "Please don't tell me your card number."
        advice = await dialogue.say("What should I do?")
        assert advice.reply == "I can't advise you on that; please ask a lawyer."
        assert not any("sue" in piece for piece in stage.tts.said)
        stage.tts.said.clear()
        await dialogue.say("Where is it?")
        assert stage.tts.said == ["Look here.", "I'll put the link on the screen.", "Goodbye."]
        assert "in all that you did" not in repr(stage.llm.asked[1]), "history doesn't keep what was rejected"
        refused, paid = await dialogue.say("Pay Eve 5000 euros."), await dialogue.say("Then 5 euros.")
    assert refused.reply == "One moment. That is too much." and not _results(refused)
    assert [error.code for error in refused.errors] == ["TOOL_ERROR"]
    assert "need a person's consent" in stage.llm.asked[3][-1].content
    assert _results(paid) == ["5.00 euros were paid to Eve"]
    assert set(stage.names()) == {"on_stt_end", "on_llm_end", "on_tts_start", "on_tool_start"}


def _results(answer: Answer) -> list[Any]:
    ends = [each for each in answer.messages if isinstance(each, ToolCallEnd)]
    return [each.result for each in ends if each.error is None]


async def test_turn_hooks(example: ModuleType, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.hears("How are you?", STT_FAILED)
    stage.thinks("I am well.", ["Oh", LLM_FAILED], "No voice.")
    stage.tts.script = [None, None, TTS_FAILED]
    english = language("en")
    assert english is not None
    shown = len(english.examples)
    async with example.build().dialogue() as dialogue:
        await dialogue.say(loud(0.5))
        spoken = capsys.readouterr().out
        (answered,) = stage.names()[-1:]
        assert answered == "on_turn_end" and stage.names()[:-1] == [
            "on_turn_start",
            "on_stt_start",
            "on_stt_end",
            "on_llm_start",
            "on_llm_chunk",
            "on_llm_end",
            "on_tts_start",
            "on_tts_chunk",
            "on_tts_end",
        ]
        for line in (
            "0.5 s of speech",
            "at -15 dBFS",
            "3 words were understood",
            f"fake-mind is given {2 + 2 * shown} messages",
            "begins with 'I'",
            "10 letters in",
            "3 words are to be spoken",
            "0.2 s of voice",
        ):
            assert line in spoken
        for said, code in ((loud(0.5), "STT_ERROR"), ("Hi.", "LLM_ERROR"), ("Hi.", "TTS_ERROR")):
            await dialogue.say(said)
            assert f"failed: {code}" in capsys.readouterr().out
    assert not example.LINES, "every turn that began has ended"


async def test_tool_hooks(example: ModuleType, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.thinks(
        [call("switch_lamp", room="kitchen", on=True)], "Done.", [call("switch_lamp", room="attic", on=True)]
    )
    async with example.build().dialogue() as dialogue:
        await dialogue.say("Light, please.")
        await dialogue.say("And in the attic.")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["starts", "did it", "starts", "failed"]
    assert lines[0]["arguments"] == {"room": "kitchen", "on": True} and example.LAMPS["kitchen"]
    assert lines[1]["result"] == "the lamp in the kitchen is on" and lines[1]["milliseconds"] >= 0
    assert "there is no lamp in the attic" in lines[3]["error"]


async def test_asks_first(example: ModuleType, stage: Stage) -> None:
    late = call("send_message", recipient="Anna", text="I'm late.")
    stage.thinks([call("read_notes")], "Milk, and Ben.", [late], "She knows.")
    async with example.build().dialogue() as dialogue:
        read = await dialogue.say("What did I note?")
        assert _results(read) == [["buy milk", "call Ben"]]
        asked = await dialogue.say("Tell Anna that I'm late.")
        assert (
            asked.reply == "Shall I send “I'm late” to Anna? Shall I use send message, yes or no?"
            and asked.sound.seconds > 0
        )
        assert not example.OUTBOX
        sent = await dialogue.say("Yes, please.")
        assert _results(sent) == ["sent to Anna"] and example.OUTBOX == [("+49 30 901820", "I'm late.")]
    stage.thinks([call("delete_notes")], "They are still there.")
    async with example.build().dialogue() as dialogue:
        asked = await dialogue.say("Delete my notes.")
        kept = await dialogue.say("No, don't.")
    assert asked.reply == "Shall I use delete notes, yes or no?" and example.NOTES
    assert kept.reply == "They are still there." and "the user said no" in stage.llm.asked[-1][-1].content


@needs_a_network
async def test_server_hooks(example: ModuleType, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(example.build()) as site:
        async with site.client() as client, calling(client) as browser:
            session_id = client.received[0]["id"]
            await browser.connect()
            await browser.add_microphone()
            await asyncio.sleep(0.5)  # DTLS is there; the first frames are not
            browser.microphone.speech_frames = 30
            await client.expect("tts-complete")
            await client.send("nonsense")
            await client.expect("error")
        await until(lambda: stage.names()[-1] == "on_disconnect")
    assert stage.names() == [
        "on_connection",
        "on_speech_start",
        "on_speech_end",
        "on_error",
        "on_disconnect",
    ]
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{session_id} is here; 1 in all" and all(session_id in line for line in told)
    assert told[3].startswith(f"{session_id}: INVALID_MESSAGE in server: INVALID_MESSAGE")


async def test_playbook_hooks(example: ModuleType, stage: Stage) -> None:
    stage.thinks("Whom do you visit?", "On the shelf, please.")
    diary = example.Diary()
    async with example.build(diary).dialogue() as dialogue:
        await dialogue.say("Hello.")
        answer = await dialogue.say("I bring a parcel.")
    assert answer.reply == "Ah, the post! On the shelf, please."
    assert [line for line in diary.lines if "ends after" not in line] == [
        "welcome begins",
        "turn 1 in welcome, 0 calls: Whom do you visit?",
        "brings_a_parcel: welcome -> parcel",
        "parcel begins, after welcome",
        "complete in parcel, in turn 2",
        "turn 2 in parcel, 0 calls: Ah, the post! On the shelf, please.",
    ]
    assert stage.names()[2:5] == ["on_stage_exit", "on_transition", "on_stage_enter"]
    assert "on the shelf" in stage.llm.asked[1][0].content, "the next stage gives the answer"


async def test_support_desk(example: ModuleType, stage: Stage) -> None:
    wish = call("playbook_intent", intent="other", confidence=100)  # the first stage asks for it
    stage.thinks([wish], [call("look_up_order", number="4217")], "It comes tomorrow.")
    async with LocalVoice(playbook=example.PLAYBOOK, tools=example.TOOLS).dialogue() as dialogue:
        answer = await dialogue.say("Where is my order 4217?")
    (change,) = [each for each in answer.messages if isinstance(each, StageChangeMessage)]
    assert (change.from_, change.to) == ("welcome", "order") and answer.reply == "It comes tomorrow."
    assert _results(answer)[0]["item"] == "a kettle"


async def test_hook_sets(
    example: ModuleType,
    stage: Stage,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO", logger="localvoice.observability.hook_sets")
    stage.thinks("My secret is 42.", "Oh.")
    async with example.build().dialogue() as dialogue:
        await dialogue.say("Hi.")
        await dialogue.say("Hi.")
    assert capsys.readouterr().out == "16 letters a turn\n10 letters a turn\n"
    events = [vars(each).get("event") for each in caplog.records]
    assert [each for each in events if each] == 2 * ["llm_end", "tts_end", "turn_end"]
    assert "duration_ms" in caplog.text and "42" not in caplog.text


async def test_own_metrics(example: ModuleType, stage: Stage) -> None:
    stage.thinks("Well.", [LLM_FAILED])
    summary = example.Summary()
    assert str(summary) == "0 turns, at most 0 people at once\nerrors: none"
    async with served(example.build(summary)) as site, site.client() as client:
        for kind in ("tts-complete", "error"):
            await client.send("text", text="Hi.")
            await client.expect(kind)
    assert str(summary).startswith("2 turns, half of them within 0.")
    assert str(summary).endswith("at most 1 people at once\nerrors: 1 x LLM_ERROR")


async def test_prometheus_metrics(example: ModuleType, stage: Stage) -> None:
    stage.thinks([call("order_drink", drink="tea")], "It is on its way.")
    async with served(example.build()) as site, site.client() as client:
        await client.send("text", text="A tea, please.")
        await client.expect("tts-complete")
        async with site.http.get(site.url + "/metrics") as response:
            figures = await response.text()
    assert 'bar_drinks_total{drink="tea"} 1.0' in figures
    assert 'llmrtc_tool_calls_total{tool="order_drink"} 1.0' in figures


async def test_own_llm(example: ModuleType, stage: Stage) -> None:
    server = ChatServer("It is noon.")
    async with server.serving() as url:
        async with example.build(url, "small").dialogue() as dialogue:
            assert (await dialogue.say("Are we late?")).reply == "It is noon."
    assert server.asked[0]["messages"][-1] == {"role": "user", "content": "Are we late?"}
    assert stage.llm.asked == []


async def test_from_frames(example: ModuleType, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.hears("Are we late?")
    stage.thinks("It is noon.")
    sound = await example.answer(loud(0.5, 44_100))
    assert sound.rate == 24_000 and sound.seconds == pytest.approx(3 * WORD_SECONDS, abs=0.05)
    told = capsys.readouterr()
    assert told.out == "you:   Are we late?\nagent: It is noon.\nagent: It is noon.\n"
    assert stage.stt.heard[0].rate == 16_000 and "Models are ready" in told.err


@pytest.mark.virtual_clock
async def test_live_frames(example: ModuleType, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.hears("Are we late?")
    stage.thinks("It is noon.")
    heard = await example.call(loud(0.6, 8_000))
    assert capsys.readouterr().out == "caller: Are we late?\nagent:  It is noon.\n"
    assert heard.rate == 8_000
    first = heard.without_lead_in().seconds
    assert heard.seconds - first == pytest.approx(0.6 + 0.512, abs=0.1), "answered when they had finished"
    assert first >= 3 * WORD_SECONDS
