"""The stock client, as npm has it, in a real Chromium, on a page of another origin: all that it can do."""

import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from localvoice.audio.wav import wav_bytes
from localvoice.transports.webrtc.sdp import MAX_RESTING
from tests.support.browser import HAS_NETWORK, silence
from tests.support.fake_server import STORY
from tests.support.fakes import loud
from tests.support.stock import Event, Stock, StockClient, order, the

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not HAS_NETWORK,
        reason="WebRTC needs a network interface beside loopback, and this machine has none up",
    ),
]

SHARES: Final = 20
HEARD: Final = (
    "What do you see?",
    "Tell me a story.",
    "What have I heard?",
    "Tell me a story.",
    "How many messages were you given?",
    "What have I heard?",
)


def test_a_conversation_from_the_first_connection_through_a_drop(
    stock: Stock, scripted: Callable[..., Any], application: str
) -> None:
    with scripted(f"--origin={application}", *HEARD) as address, stock() as client:
        check_connection(client, address)
        check_turn(client)
        check_interruption(client)
        check_reconnection(client)


def check_connection(client: StockClient, address: str) -> None:
    took = client.start(address, initialRetryDelayMs=50)
    again = []
    if took > 1000:  # a busy machine may be late once
        client.do("close")
        again = [client.start(address)]
    assert min([took, *again]) < 1000
    assert client.do("state") == "connected"
    servers = {url.rpartition(":")[0] for url in client.do("asked")}
    assert servers == {"stun:127.0.0.1"}, "it asks nobody else"
    client.do("share")


def check_order(turn: list[Event], *words: str) -> None:
    """Words in this order; the voice begins while they are still being written, and ends last."""
    seen = [name for name in order(turn) if name != "ttsTrack"]
    voice = [name for name in seen if name.startswith("tts")]
    assert voice == ["ttsStart", "ttsComplete"] and seen[-1] == "ttsComplete"
    assert seen.index("llmChunk") < seen.index("ttsStart")
    rest = [event for event in turn if not event[0].startswith("tts")]
    assert order(rest) == list(words)


def check_turn(client: StockClient) -> None:
    client.do("look", 64)
    before = client.do("events")
    assert not [event for event in before if event[0] not in ("stateChange", "ttsTrack")]
    client.do("say")
    turn = client.until("ttsComplete")[len(before) :]
    check_order(turn, "speechStart", "speechEnd", "transcript", "llmChunk", "llm")
    assert [event[1:] for event in turn if event[0] == "transcript"] == [[HEARD[0], True]]
    reply = the("llm", turn)
    assert "".join(event[1] for event in turn if event[0] == "llmChunk") == reply
    assert reply.strip() == "I see 1: [(64, 64)].", "the camera's picture, which it sends at speech-start"
    assert client.do("voice") > 0


def check_interruption(client: StockClient) -> None:
    client.do("say")
    client.until("ttsStart")
    time.sleep(1)
    client.do("say")
    # The LLM writes on while the user speaks, so its words may come between the two as well.
    cut = [event for event in client.until("ttsCancelled") if event[0] not in ("llmChunk", "llm")]
    assert order(cut) == ["speechStart", "ttsCancelled"]
    after = client.until("ttsComplete")
    check_order(after, "speechEnd", "transcript", "llmChunk", "llm")
    kept = the("llm", after).strip().removeprefix("I said: ")
    assert STORY.startswith(kept) and 3 <= len(kept.split()) < 60, "history holds the words that were heard"


def check_reconnection(client: StockClient) -> None:
    """Its socket goes in the middle of a reply; it comes back by itself, with its microphone."""
    session = client.do("session")
    client.do("say")
    client.until("ttsStart")
    time.sleep(0.7)
    client.do("cut")
    assert client.until("reconnected")[-1] == ["reconnected", True]
    back = client.until("ttsTrack")
    assert ["stateChange", "connected"] in [*back, *client.do("events")]
    assert client.do("session") == session
    client.do("say")
    check_order(
        turn := client.until("ttsComplete"), "speechStart", "speechEnd", "transcript", "llmChunk", "llm"
    )
    # Four turns came before; all have a question and what was heard of its answer.
    assert the("llm", turn).startswith("I was given 9 messages")
    assert client.do("voice") > 0, "on the new connection its voice is heard, too"


def test_utterances_in_one_piece_with_tools_stages_and_errors(
    stock: Stock, scripted: Callable[..., Any], application: str
) -> None:
    words = ("Hello", "Please add it", "I want to buy it")
    with scripted(f"--origin={application}", "--playbook", *words) as address, stock() as client:
        client.start(address)

        def ask() -> list[Event]:
            client.do("send", list(wav_bytes(loud(0.6))))
            return client.until("ttsComplete")

        turn = ask()
        assert the("transcript", turn) == "Hello" and the("llm", turn).strip() == "You said Hello"
        heard = sum(event[1] for event in turn if event[0] == "ttsChunk")
        assert heard > 0, "without a microphone there is no track, and its voice comes in messages"
        turn = ask()
        begun, ended = the("toolCallStart", turn), the("toolCallEnd", turn)
        assert (begun["name"], begun["arguments"]) == ("add_numbers", {"a": 1, "b": 2})
        assert (ended["callId"], ended["result"]) == (begun["callId"], 3) and ended["durationMs"] >= 0
        assert the("stageChange", ask()) == {"from": "welcome", "to": "order", "reason": "keyword buy"}
        client.do("send", list(b"no sound at all"))
        assert client.until("error")[-1][1]["code"] == "INVALID_AUDIO_FORMAT"
        assert client.do("state") == "connected"


def test_a_microphone_that_is_shared_for_each_question(
    stock: Stock, scripted: Callable[..., Any], application: str
) -> None:
    """Push-to-talk: the browser adds a section to its offer each time, and the connection lives on."""
    with (
        scripted(f"--origin={application}", *(f"Question {n}" for n in range(3))) as address,
        stock() as client,
    ):
        client.start(address)
        for _ in range(SHARES):
            client.do("share")
            client.do("unshare")
        assert client.do("state") == "connected"
        client.do("share")
        in_use = 3  # the data channel, the agent's voice, and the microphone
        assert client.do("sections") <= in_use + MAX_RESTING + 1, "Chromium uses rejected ones again"
        client.do("say")
        assert the("transcript", client.until("ttsComplete")) == "Question 0"
        assert client.do("voice") > 0
        assert not [event for event in client.do("events") if event[0] in ("error", "reconnecting")]


def test_a_camera_that_is_on_for_long(stock: Stock, scripted: Callable[..., Any], application: str) -> None:
    """The client sends a frame at each sound of the user's: the last is what the question is about."""
    heard = ("", "", "", "", "", "What do you see?")
    with scripted(f"--origin={application}", *heard) as address, stock() as client:
        client.start(address)
        client.do("share")
        client.do("look", 64)
        for _ in heard[1:]:  # coughs
            client.do("say", 300)
            client.until("speechEnd")
        client.do("say")
        events = client.until("ttsComplete")
        assert the("llm", events).strip() == "I see 1: [(64, 64)]."
        assert not [event for event in client.do("events") if event[0] == "error"]


def test_what_a_browser_has_recorded(stock: Stock, scripted: Callable[..., Any], application: str) -> None:
    """`sendAudio(await recordOnce())`: a WebM file in Chromium."""
    spoken = silence(0.5), loud(1.0, 48_000)
    with scripted(f"--origin={application}", "Hello") as address, stock(*spoken) as client:
        client.start(address)
        client.do("record", 2500)
        turn = client.until("ttsComplete")
        assert the("transcript", turn) == "Hello" and the("llm", turn).strip() == "You said Hello"
        assert not [event for event in client.do("events") if event[0] == "error"]
