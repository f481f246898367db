"""A session's id resumes the conversation: it is in no log, no name of a file and no figure. Its tag is."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from localvoice import Playbook
from localvoice.application.hooks import Hooks
from localvoice.engines.chat import ToolCall
from localvoice.observability.adapters import ConsoleMetrics
from localvoice.observability.debug_audio import DebugAudio
from localvoice.observability.hook_sets import verbose_hooks
from localvoice.observability.log_context import session_tag, show_transcripts
from localvoice.process.logs import set_up_logging
from localvoice.tools import ToolContext, ToolError, ToolRegistry, tool
from tests.support.fakes import TTS_FAILED, FakeLlm, FakeTts, fake_engines
from tests.support.playbook_talk import said, stage, way
from tests.support.server_site import Site, serving


@tool
async def fails(context: ToolContext) -> str:
    """Never works."""
    raise ToolError("it is out of order")


@pytest.fixture
def screen() -> Iterator[io.StringIO]:
    """Where this process's log goes, in JSON and at its most talkative."""
    root, screen = logging.getLogger(), io.StringIO()
    level, before = root.level, list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    root.handlers.clear()
    set_up_logging("debug", Console(file=screen), "json", transcripts=True)
    yield screen
    root.handlers[:] = before
    root.setLevel(level)
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    show_transcripts(False)


def brought(folder: Path) -> dict[str, Any]:
    """All that tells of a conversation, and a playbook, tools and hooks that give it something to tell."""

    def broken(*_: object) -> None:
        raise RuntimeError("a broken hook")

    sound = DebugAudio(folder)
    stages = (stage("a", tools=("fails",)), stage("b"))
    return {
        "hooks": Hooks.combine(verbose_hooks(payloads=True), sound.hooks(), Hooks(on_turn_end=broken)),
        "metrics": ConsoleMetrics(),
        "tools": ToolRegistry([fails]),
        "playbook": Playbook(
            id="p", name="p", initial_stage="a", stages=stages, transitions=(way("t", said("on")),)
        ),
        "delete_recordings": sound.forget,
    }


async def converse(site: Site) -> str:
    """A conversation in which much happens, and which is gone on with; its id."""
    async with site.client() as client:
        session_id: str = client.received[0]["id"]
        for words in ("Hello.", "Go on."):
            await client.send("text", text=words)
            await client.expect("tts-complete")
        await client.send("reconnect", sessionId="unknown")
        await client.send("reconnect", sessionId=session_id, more="than it takes")
        await client.send("audio", data=session_id)
        await client.sync()
    await site.until_alone()
    async with site.client() as again:
        await again.send("reconnect", sessionId=session_id)
        assert (await again.expect("reconnect-ack"))["success"]
        await again.send("text", text="Hello again.")
        await again.expect("error")
        await again.sync()
    return session_id


def files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]


async def test_a_session_is_told_by_its_tag_alone(screen: io.StringIO, tmp_path: Path) -> None:
    sound, saved = tmp_path / "sound", tmp_path / "saved"
    llm = FakeLlm([ToolCall("call-1", "fails", {})], "It fails.", "Here we are.", "Hello.")
    voice = FakeTts(None, None, TTS_FAILED)
    engines = fake_engines(llm=llm, tts=voice)
    async with serving(engines, brought=brought(sound), sessions_dir=str(saved)) as site:
        session_id = await converse(site)
    (name,) = (name for name in files(saved) if session_tag(session_id) in name)
    record = json.loads((saved / name).read_text())
    (saved / name).write_text(
        json.dumps(record | {"history": {"messages": [{"role": "tool", "content": ""}]}})
    )
    async with serving(fake_engines(), brought=brought(sound), sessions_dir=str(saved)):
        pass  # it can't read that file, and says so
    log = screen.getvalue()
    assert session_id[:8] not in log
    assert f'"session_id": "{session_tag(session_id)}"' in log and "is left alone" in log
    for event in ("tool_error", "transition", "connection", "disconnect", "tts_error", "a broken hook"):
        assert event in log, "it has happened, and was told"
    assert not any(session_id[:8] in name for name in files(tmp_path))
    assert any(session_tag(session_id) in name for name in files(sound))
