"""A browser that sends no sound is still there: it is not taken for one that has vanished."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.browser import HAS_NETWORK, silence
from tests.support.page import REMEMBER_SOCKETS, wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.faults,
    pytest.mark.skipif(not HAS_NETWORK, reason="WebRTC needs a network interface beside loopback"),
]

GONE_MS = 8_000
"""Longer than a client that had vanished would be waited for."""
REMEMBER_PEERS = """
const peers = [];
Object.defineProperty(window, 'peers', { value: peers });
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(...words) { super(...words); peers.push(this); }
};
"""
WITHOUT_SOUND = {
    "muted": "document.getElementById('mute').click()",
    "without a microphone": "window.peers.at(-1).getSenders().forEach((sender) => sender.replaceTrack(null))",
}


@pytest.mark.parametrize("how", WITHOUT_SOUND)
def test_it_stays(how: str, browse: Callable[..., Any], scripted: Callable[..., Any]) -> None:
    with scripted() as address, browse(silence(1)) as page:
        page.add_init_script(REMEMBER_SOCKETS + REMEMBER_PEERS)
        page.goto(address)
        wait_until(page, "window.localvoice.connected")
        page.click("#talk")
        wait_until(page, "window.peers.length && window.peers.at(-1).connectionState === 'connected'")
        page.wait_for_timeout(2_000)
        page.evaluate(WITHOUT_SOUND[how])
        page.wait_for_timeout(GONE_MS)
        assert page.evaluate("window.peers.at(-1).connectionState") == "connected"
        assert page.evaluate("window.sockets.length") == 1
