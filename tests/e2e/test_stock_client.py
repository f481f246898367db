"""The stock client's order, exactly, from its first connection through a drop; a real Chromium.

The client itself is `stock_client.js`; what it relies on is checked here.
"""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from fakes import loud
from wrong_messages import PNG

from localvoice.audio.wav import wav_bytes

from .conftest import HAS_NETWORK, silence
from .fake_server import STORY

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not HAS_NETWORK,
        reason="WebRTC needs a network interface beside loopback, and this machine has none up",
    ),
]

CLIENT: Final = (Path(__file__).parent / "stock_client.js").read_text().partition("async (")
OWN_ADDITIONS: Final = {"state", "turn-metrics", "reply-heard"}
"""A stock client doesn't know these, and ignores them."""
HEARD: Final = (
    "What do you see?",
    "Tell me a story.",
    "What did you say?",
    "Tell me a story.",
    "How many messages were you given?",
)


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    """Types in order as a stock client sees them, each run of one type as one."""
    known = [message["type"] for message in messages if message["type"] not in OWN_ADDITIONS]
    return [kind for at, kind in enumerate(known) if at == 0 or known[at - 1] != kind]


def the(kind: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [message for message in messages if message["type"] == kind]
    return found


@pytest.mark.parametrize("read", ["channel", "socket"])
def test_the_stock_clients_order(browse: Callable[..., Any], scripted: Callable[..., Any], read: str) -> None:
    wav = base64.b64encode(wav_bytes(loud(0.6))).decode()
    with scripted(*HEARD) as address, browse(silence(1)) as page:
        page.goto(address)
        begun = time.time()
        found = page.evaluate("async (" + CLIENT[2], {"read": read, "wav": wav, "picture": PNG})
    check_connection(found, begun)
    check_turn(found)
    check_interruption(found)
    check_reconnection(found)


def check_order(turn: list[dict[str, Any]], *words: str) -> None:
    """Words in this order; the voice begins while they are still being written, and ends last."""
    seen = kinds(turn)
    voice = [kind for kind in seen if kind.startswith("tts")]
    assert voice == ["tts-start", "tts-complete"] and seen[-1] == "tts-complete"
    assert seen.index("llm-chunk") < seen.index("tts-start")
    rest = [message for message in turn if not message["type"].startswith("tts")]
    assert kinds(rest) == list(words)


def check_connection(found: dict[str, Any], begun: float) -> None:
    assert (found["firstMessage"]["type"], found["firstMessage"]["protocolVersion"]) == ("ready", 1)
    assert [url.rpartition(":")[0] for url in found["servers"]] == ["stun:127.0.0.1"], "it asks nobody else"
    assert min(found["milliseconds"]) < 1000, "a busy machine may be late once"
    assert len(found["pongs"]) > 5 and found["pongs"] == sorted(found["pongs"])
    assert all(begun - 1 < stamp / 1000 < time.time() + 1 for stamp in found["pongs"]), "echoed unchanged"
    assert found["same"], "payload goes both ways, so a client may read either"


def check_turn(found: dict[str, Any]) -> None:
    check_order(found["turn"], "speech-start", "speech-end", "transcript", "llm-chunk", "llm")
    assert the("transcript", found["turn"]) == {"type": "transcript", "text": HEARD[0], "isFinal": True}
    chunks = [message for message in found["turn"] if message["type"] == "llm-chunk"]
    assert [chunk["done"] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    reply = the("llm", found["turn"])["text"]
    assert "".join(chunk["content"] for chunk in chunks) == reply
    assert reply.strip() == "I see 1: [(1, 1)].", "the picture that was sent ahead on the data channel"
    assert found["energy"] > 0, "its voice is to be heard on the track"


def check_interruption(found: dict[str, Any]) -> None:
    # The LLM writes on while the user speaks, so its words may come between the two as well.
    words = ("llm-chunk", "llm")
    until_cut = [message for message in found["interruption"] if message["type"] not in words]
    assert kinds(until_cut) == ["speech-start", "tts-cancelled"]
    after = found["afterInterruption"]
    check_order(after, "speech-end", "transcript", "llm-chunk", "llm")
    kept = the("llm", after)["text"].strip().removeprefix("I said: ")
    assert STORY.startswith(kept) and 3 <= len(kept.split()) < 60, "history holds the words that were heard"


def check_reconnection(found: dict[str, Any]) -> None:
    old, new = found["ids"]
    assert old != new
    assert found["ack"] == {
        "type": "reconnect-ack",
        "success": True,
        "sessionId": old,
        "historyRecovered": True,
    }
    check_order(found["resumed"], "transcript", "llm-chunk", "llm")
    # Four turns came before; all have a question and what was heard of its answer.
    assert the("llm", found["resumed"])["text"].startswith("I was given 9 messages")
    assert found["energyAgain"] > 0, "on the new connection its voice is heard, too"
