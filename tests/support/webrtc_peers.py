"""The server's side of WebRTC calls, for tests that look at it."""

from typing import Any

import pytest

from localvoice.transports.webrtc import peer as webrtc
from localvoice.transports.webrtc.peer import WebRtcPeer


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> list[WebRtcPeer]:
    """The server's side of each call."""
    made: list[WebRtcPeer] = []

    def make(*args: Any) -> WebRtcPeer:
        made.append(WebRtcPeer(*args))
        return made[-1]

    monkeypatch.setattr(webrtc, "WebRtcPeer", make)
    return made
