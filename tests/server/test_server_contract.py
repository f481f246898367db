"""What a client and an operator get of the whole contract, from a running server."""

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest

from localvoice.audio.wav import read_wav, wav_bytes
from localvoice.contract.metrics import Metric
from localvoice.engines.chat import ToolCall
from localvoice.observability.adapters import InMemoryMetrics
from localvoice.observability.prometheus import PrometheusMetrics
from localvoice.tools import ToolRegistry, tool
from tests.support.fakes import FakeLlm, FakeStt, fake_engines, loud, until
from tests.support.hook_recorder import Recorder
from tests.support.server_site import LONG, serving
from tests.support.webrtc_browser import calling, needs_a_network

PNG = base64.b64encode(
    base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
).decode()


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def utterance() -> str:
    return base64.b64encode(wav_bytes(loud(0.5))).decode()


async def test_a_whole_turn_over_the_websocket_with_speech_in_one_piece() -> None:
    engines = fake_engines(FakeStt("How are you?"), FakeLlm("I am fine. And you?"))
    async with serving(engines, {"agent": {"streaming_speech": False}}) as site, site.client() as client:
        await client.send("audio", data=utterance())
        await client.expect("tts-complete")
        kinds = client.kinds("state", "turn-metrics", "ready")
        assert kinds == ["transcript", "llm-chunk", "llm", "tts", "tts-start", "tts-complete"]
        (whole,) = [message for message in client.received if message["type"] == "tts"]
        assert whole["format"] == "wav" and read_wav(base64.b64decode(whole["data"])).seconds > 0.2


@needs_a_network
async def test_speech_in_one_piece_goes_over_the_track_where_there_is_one() -> None:
    engines = fake_engines(llm=FakeLlm("I am fine. And you?"))
    groups = {"agent": {"streaming_speech": False}}
    async with serving(engines, groups) as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await browser.add_microphone()
        await until(lambda: bool(browser.heard))
        await asyncio.sleep(0.3)
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
        assert not {"tts", "tts-chunk"} & set(client.kinds())
        await browser.until_heard()


async def test_tools_are_told_as_they_happen() -> None:
    llm = FakeLlm([ToolCall("call-1", "add", {"a": 1, "b": 2})], "Three.")
    async with serving(fake_engines(llm=llm), brought={"tools": ToolRegistry([add])}) as site:
        async with site.client() as client:
            await client.send("text", text="Add one and two.")
            end = await client.expect("tool-call-end")
            start = next(each for each in client.received if each["type"] == "tool-call-start")
            assert start == {
                "type": "tool-call-start",
                "name": "add",
                "callId": "call-1",
                "arguments": {"a": 1, "b": 2},
            }
            assert (end["callId"], end["result"]) == ("call-1", 3) and "error" not in end
            assert end["durationMs"] >= 0
            await client.expect("tts-complete")


async def test_attachments_wait_for_the_next_utterance() -> None:
    llm = FakeLlm("A dot.", "Two dots.")
    llm.sees = True
    async with serving(fake_engines(llm=llm)) as site, site.client() as client:
        await client.send("attachments", attachments=[{"data": PNG, "mimeType": "image/png", "alt": "a dot"}])
        await client.sync()
        assert not client.errors() and not llm.asked
        await client.send("text", text="What is this?")
        await client.expect("tts-complete")
        (image,) = llm.asked[0][-1].images
        assert (image.alt, image.mime_type) == ("a dot", "image/png")
        url = f"data:image/png;base64,{PNG}"
        await client.send("audio", data=utterance(), attachments=[{"data": PNG}, {"data": url}])
        await client.expect("tts-complete")
        assert len(llm.asked[1][-1].images) == 2


@pytest.mark.parametrize(
    "attachment",
    [
        {"data": "///"},
        {"data": base64.b64encode(b"no picture").decode()},
        {"alt": "nothing"},
        {"data": 7},
        "x",
    ],
)
async def test_a_broken_attachment_is_refused_and_costs_nothing(attachment: Any) -> None:
    llm = FakeLlm("Well.")
    async with serving(fake_engines(llm=llm)) as site, site.client() as client:
        await client.send("attachments", attachments=[{"data": PNG}, attachment])
        await client.sync()
        assert client.errors() == ["INVALID_MESSAGE"]
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
        assert not llm.asked[0][-1].images, "of a message with a broken one none is taken"


@needs_a_network
async def test_attachments_may_come_over_the_data_channel() -> None:
    llm = FakeLlm("A dot.")
    llm.sees = True
    async with serving(fake_engines(llm=llm)) as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        assert browser.channel is not None
        browser.channel.send(f'{{"type": "attachments", "attachments": [{{"data": "{PNG}"}}]}}')
        browser.channel.send('{"type": "text", "text": "What is this?"}')
        await client.expect("llm")
        assert len(llm.asked[0][-1].images) == 1


async def test_the_servers_hooks_and_figures() -> None:
    recorder, metrics = Recorder(), InMemoryMetrics()
    brought = {"hooks": recorder.hooks(), "metrics": metrics}
    async with serving(fake_engines(), brought=brought) as site:
        async with site.client() as client:
            session_id = client.received[0]["id"]
            await client.send("text", text="Hi.")
            await client.expect("tts-complete")
            assert metrics.current(Metric.CONNECTIONS_ACTIVE) == 1
            assert metrics.current(Metric.SESSIONS_ACTIVE) == 1
        await site.until_alone()
        await until(lambda: bool(recorder.of("on_disconnect")))
    ((connected, connection_id),) = recorder.of("on_connection")
    ((gone, timing),) = recorder.of("on_disconnect")
    assert connected == gone == session_id and connection_id and timing.duration_ms > 0
    assert metrics.current(Metric.CONNECTIONS_ACTIVE) == 0
    assert metrics.timings(Metric.SESSION_DURATION) and metrics.count(Metric.SESSION_TURNS) == 1


async def test_prometheus_reads_the_figures() -> None:
    from prometheus_client import CollectorRegistry
    from prometheus_client.parser import text_string_to_metric_families

    brought = {"metrics": PrometheusMetrics(CollectorRegistry())}
    async with serving(fake_engines(), brought=brought) as site, site.client() as client:
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
        await client.send("nonsense")
        await client.sync()
        async with site.http.get(site.url + "/metrics") as response:
            assert response.status == 200 and response.headers["Content-Type"].startswith("text/plain")
            families = {each.name: each for each in text_string_to_metric_families(await response.text())}
    assert families["llmrtc_connections_active"].samples[0].value == 1
    assert families["llmrtc_llm_ttft_ms"].type == "histogram"
    (errors,) = [each for each in families["llmrtc_errors"].samples if each.name.endswith("_total")]
    assert errors.labels["code"] == "INVALID_MESSAGE" and errors.value == 1


async def test_without_prometheus_there_is_no_metrics_page() -> None:
    async with serving(fake_engines()) as site, site.http.get(site.url + "/metrics") as response:
        assert response.status == 404


# --- sessions ---


@pytest.mark.parametrize("stage", ["listening", "transcript", "llm-chunk", "tts-start", "tts-complete"])
async def test_a_session_comes_back_from_any_stage_of_a_turn(stage: str) -> None:
    llm = FakeLlm(LONG, "Yes, I remember.", delay=0.005)
    engines = fake_engines(FakeStt("Tell me a story.", delay=0.05), llm)
    metrics = InMemoryMetrics()
    async with serving(engines, brought={"metrics": metrics}) as site:
        async with site.client() as first:
            session_id = first.received[0]["id"]
            if stage == "tts-complete":
                llm.script[0] = "A short one."
            await first.send("audio", data=utterance())
            if stage != "listening":
                await first.expect(stage)
        async with site.client() as second:
            own = second.received[0]["id"]
            await second.send("reconnect", sessionId=session_id)
            ack = await second.expect("reconnect-ack")
            assert ack == {
                "type": "reconnect-ack",
                "success": True,
                "sessionId": session_id,
                "historyRecovered": True,
            }
            assert own != session_id
            await second.send("text", text="Do you remember?")
            await second.expect("tts-complete")
            assert metrics.count(Metric.RECONNECTIONS) == 1
    said = [(message.role, message.content) for message in llm.asked[-1][1:]]
    assert said[-1][1].endswith("Do you remember?")
    if stage != "listening":
        assert said[0][0] == "user" and said[0][1].startswith("Tell me a story.")
    if stage == "tts-complete":
        assert said[1] == ("assistant", "A short one.")


async def test_the_newest_socket_waits_until_the_older_ones_turn_is_remembered() -> None:
    llm = FakeLlm(LONG, "Well.")
    async with serving(fake_engines(llm=llm)) as site, site.client() as older, site.client() as newest:
        await older.send("text", text="Tell me a story.")
        await older.expect("tts-start")
        await asyncio.sleep(0.7)
        await newest.send("reconnect", sessionId=older.received[0]["id"])
        await newest.expect("reconnect-ack")
        assert await older.closed() == 1001
        await newest.send("text", text="Go on.")
        await newest.expect("tts-complete")
    prompt = llm.asked[-1]
    assert [message.role for message in prompt] == ["system", "user", "assistant", "user"]
    assert LONG.startswith(prompt[2].content) and prompt[2].content, "what was heard of the story"


@pytest.mark.parametrize("key", [None, "a passphrase"])
async def test_sessions_survive_a_restart(tmp_path: Path, key: str | None) -> None:
    folder: dict[str, Any] = {"sessions_dir": tmp_path / "sessions", "sessions_key": key}
    llm = FakeLlm("The word is swordfish.", "Swordfish.")
    async with serving(fake_engines(llm=llm), **folder) as site, site.client() as client:
        session_id = client.received[0]["id"]
        await client.send("text", text="Remember swordfish.")
        await client.expect("tts-complete")
    file = max((tmp_path / "sessions").iterdir(), key=lambda each: each.stat().st_size)
    assert session_id not in file.name
    assert (b"swordfish" in file.read_bytes()) is (key is None)
    assert file.stat().st_mode & 0o077 == 0
    async with serving(fake_engines(llm=llm), **folder) as site, site.client() as client:
        await client.send("reconnect", sessionId=session_id)
        assert (await client.expect("reconnect-ack"))["historyRecovered"]
        await client.send("text", text="What did I ask you to keep?")
        await client.expect("tts-complete")
    assert [message.content for message in llm.asked[-1][1:]] == [
        "Remember swordfish.",
        "The word is swordfish.",
        "What did I ask you to keep?",
    ]


async def test_by_default_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving(fake_engines()) as site, site.client() as client:
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
    assert not os.listdir(tmp_path)
