"""A server in a process of its own, and a real browser whose microphone is a WAV file."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.transports.webrtc.addresses import has_network
from tests.support.folders import SUPPORT

WITHOUT_AIORTC = SUPPORT / "without_aiortc"
HAS_NETWORK = has_network()
"""Without an interface beside loopback, WebRTC can't connect, and the page's voice takes the WebSocket."""
RATE = 48_000
LAUNCH = (
    "--no-sandbox",  # Chromium refuses to run as root otherwise, and it opens nothing but our own page
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> str | None:
    """Debian's Chromium, or what else there is."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@contextmanager
def running(*command: str, **environment: str) -> Iterator[str]:
    """The address of a server in a process of its own, started as a user starts it."""
    # As a user's would be: without the settings of this machine, or asyncio's costly debug mode of our tests.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LOCALVOICE_") and name != "PYTHONASYNCIODEBUG"
    }
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, env=inherited | environment, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"https?://[^\s]+", line):
                yield found[0]
                break
        else:
            pytest.fail("the server ended before it was ready")
    finally:
        process.terminate()
        process.communicate(timeout=15)
    assert process.returncode == 0


MANY = {"LOCALVOICE_LIMITS_CONVERSATIONS": "10"}
"""Each test's page is another conversation, and some are cut off."""
REAL = ("-m", "localvoice.cli", "serve", "--profile", "tiny", "--port", "0")


def silence(seconds: float) -> AudioFrame:
    return AudioFrame(np.zeros(int(seconds * RATE), np.int16), RATE)
