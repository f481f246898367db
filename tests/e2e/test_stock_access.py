"""The stock client, as npm has it, before a full server and before one that asks for a token."""

import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from playwright.sync_api import Error

from localvoice.audio.wav import wav_bytes
from tests.support.browser import HAS_NETWORK, silence
from tests.support.fakes import loud
from tests.support.stock import Stock, StockClient

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not HAS_NETWORK,
        reason="WebRTC needs a network interface beside loopback, and this machine has none up",
    ),
]

TOKEN: Final = "only the invited know it"
IN_VAIN_SECONDS: Final = 10
"""It waits for 30 s on a WebSocket that is opened and closed again."""


def refused(client: StockClient, address: str, query: str = "") -> None:
    """It doesn't get in, hears of it at once, and tries again by itself."""
    begun = time.monotonic()
    with pytest.raises(Error, match="WebSocket connection failed"):
        client.start(address, query)
    assert time.monotonic() - begun < IN_VAIN_SECONDS
    assert client.do("state") == "reconnecting"


def test_a_full_server_has_it_try_again_until_there_is_a_place(
    browse: Callable[..., Any], scripted: Callable[..., Any], application: str
) -> None:
    arguments = (f"--origin={application}", "--conversations=1", "Hello?")
    with scripted(*arguments) as address, browse(silence(1)) as page:
        served = StockClient(page, application)
        other = StockClient(page.context.new_page(), application)
        served.start(address)
        served.do("send", list(wav_bytes(loud(0.6))))
        served.until("ttsComplete")
        refused(other, address)
        served.do("close")
        other.until("stateChange")  # connecting
        while other.do("state") != "connected":
            other.until("stateChange")


def test_the_token_in_its_address_lets_it_in(
    stock: Stock, scripted: Callable[..., Any], application: str
) -> None:
    with scripted(f"--origin={application}", f"--token={TOKEN}") as link, stock() as client:
        address = link.partition("?")[0]
        refused(client, address)
        client.do("close")
        client.start(address, "?token=" + TOKEN.replace(" ", "%20"))
        assert client.do("state") == "connected"
