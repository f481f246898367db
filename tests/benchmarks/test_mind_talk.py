"""The runner of the suite: what it records, its pauses, and a few entries with the real tiny models."""

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import mind
from benchmarks.mind.talk import Call, Talker, Voice
from localvoice.config import Settings
from localvoice.conversation.agent import Agent
from localvoice.engines.chat import ToolCall
from localvoice.tools import ToolRegistry, tool
from localvoice.transports.dialogue import dialogue
from tests.support.fakes import FakeLlm, fake_engines
from tests.support.tiny_engines import need_files


@tool
async def shelf(book: str) -> str:
    """Tell where a book stands."""
    return f"{book}: on the third shelf"


def talker(llm: FakeLlm) -> Talker:
    voice = Voice()
    engines = replace(fake_engines(llm=llm), tts=voice)
    agent = Agent(Settings(), engines, tools=ToolRegistry([shelf]))
    return Talker(lambda: dialogue(agent), voice)


@pytest.mark.virtual_clock
async def test_an_answer_is_recorded_with_its_calls() -> None:
    llm = FakeLlm([ToolCall("1", "shelf", {"book": "Emma"})], "On the third shelf.", "I am fine.")
    first, second = [reply async for reply in talker(llm).converse(["Where do I find Emma?", "And you?"])]
    assert (first.said, first.text, first.errors) == ("Where do I find Emma?", "On the third shelf.", ())
    assert first.calls == (Call("shelf", {"book": "Emma"}, "Emma: on the third shelf"),)
    assert (second.calls, second.words) == ((), 3) and second.first_ms is not None


@pytest.mark.virtual_clock
async def test_the_user_speaks_again_after_the_pause() -> None:
    loop, times = asyncio.get_running_loop(), []
    talk = talker(FakeLlm("One two three.", "Four."))
    async for _ in talk.converse(["So?", "And?", "Well?"], lambda reply: 10.0 * reply.words):
        times.append(round(loop.time()))
    assert [later - earlier for earlier, later in pairwise(times)] == [30, 10]


@pytest.mark.integration
def test_three_entries_are_asked_graded_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_files()
    asked = ["capital-australia", "timer-no-fifteen", "tell-joke"]
    mind.main("tiny", only=asked, ungraded=tmp_path / "ungraded.toml", out=tmp_path)
    (file,) = tmp_path.glob("*.json")
    written = json.loads(file.read_text())
    assert written["figures"]["all"]["n"] == 3
    answers = {each["id"]: each["replies"] for each in written["answers"]}
    assert {name: len(replies) for name, replies in answers.items()} == dict(
        zip(asked, (1, 2, 1), strict=True)
    )
    for reply in (reply for replies in answers.values() for reply in replies):
        assert reply["errors"] == []
        assert not reply["text"] or 0 < reply["first_ms"] <= reply["end_ms"]
    assert "tuning · profile tiny" in capsys.readouterr().out
