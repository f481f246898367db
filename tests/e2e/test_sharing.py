"""Push-to-talk with the stock client in Chromium: its microphone is shared and taken back time and again."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from localvoice.transports.offers import MAX_RESTING

from .conftest import HAS_NETWORK
from .stock import Stock, the

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not HAS_NETWORK,
        reason="WebRTC needs a network interface beside loopback, and this machine has none up",
    ),
]

SHARES: Final = 24
TALKS: Final = (0, 1, 8, SHARES - 1)
"""The shares in which the user speaks."""
IN_USE: Final = 3
"""The data channel, the agent's voice, and the microphone."""


def test_a_microphone_may_be_shared_as_often_as_one_likes(
    stock: Stock, scripted: Callable[..., Any], application: str
) -> None:
    heard = [f"This is number {number}" for number in TALKS]
    with scripted(f"--origin={application}", *heard) as address, stock() as client:
        client.start(address)
        energy = 0.0
        for number in range(SHARES):
            client.do("share")
            if number in TALKS:
                client.do("say")
                turn = client.until("ttsComplete")
                assert the("llm", turn).strip() == f"You said This is number {number}"
                assert not [event for event in turn if event[0] == "ttsChunk"], "its voice is on the track"
                assert (now := client.do("voice")) > energy, "which is played"
                energy = now
            client.do("unshare")
        assert client.do("state") == "connected"
        assert client.do("sections") <= IN_USE + MAX_RESTING + 1, "Chromium uses rejected ones again"
        assert not [event for event in client.do("events") if event[0] == "error"]
