"""A real server on the tiny profile and a real browser whose microphone is a WAV file."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright
from stock_packages import bundled

from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.wav import wav_bytes
from localvoice.catalog import ModelFiles, ModelFilesError, load_catalog, models_folder, ready
from localvoice.engines.piper import PiperTts
from localvoice.transports.candidates import has_network

from .stock import Stock, StockClient, served

TESTS = Path(__file__).parents[1]
WITHOUT_AIORTC = TESTS / "e2e" / "without_aiortc"
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


@pytest.fixture(scope="session")
def tiny_models() -> ModelFiles:
    try:
        return ready(load_catalog(), "tiny", models_folder())
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")


@pytest.fixture(scope="session")
def speak(tiny_models: ModelFiles) -> Callable[[str], AudioFrame]:
    """What the user says, spoken by Piper."""

    async def synthesize(text: str) -> AudioFrame:
        files = tiny_models
        voice = await PiperTts.load(files.profile.tts, files.voice_file, files.voice_config_file, 1)
        try:
            return concatenate([frame async for frame in voice.synthesize(text)]).resampled(RATE)
        finally:
            await voice.close()

    return lambda text: asyncio.run(synthesize(text))


@pytest.fixture(scope="session")
def chromium() -> str:
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium found: install it (Debian: apt install chromium) to run these tests")
    return path


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


@pytest.fixture(scope="session")
def address(tiny_models: ModelFiles) -> Iterator[str]:
    """A server with the models of the tiny profile."""
    with running(*REAL, LOCALVOICE_AGENT_MAX_TOKENS="120", **MANY) as address:
        yield address


@pytest.fixture
def talkative_address(tiny_models: ModelFiles) -> Iterator[str]:
    """The same with an agent that tells stories: a model so small, offered tools, says little."""
    with running(*REAL, LOCALVOICE_AGENT_MAX_TOKENS="120", **MANY, LOCALVOICE_AGENT_TOOLS="false") as address:
        yield address


@pytest.fixture(scope="module")
def address_without_webrtc(tiny_models: ModelFiles) -> Iterator[str]:
    """The same on a machine without aiortc."""
    with running(*REAL, LOCALVOICE_AGENT_MAX_TOKENS="120", **MANY, PYTHONPATH=str(WITHOUT_AIORTC)) as address:
        yield address


@pytest.fixture
def scripted() -> Callable[..., AbstractContextManager[str]]:
    """Runs a server with scripted engines: `with scripted("what it hears", …) as address`."""

    def run(*arguments: str, webrtc: bool = True) -> AbstractContextManager[str]:
        folders = [TESTS, TESTS.parent] if webrtc else [WITHOUT_AIORTC, TESTS, TESTS.parent]
        path = os.pathsep.join(map(str, folders))
        return running(str(TESTS / "e2e" / "fake_server.py"), *arguments, PYTHONPATH=path)

    return run


@pytest.fixture
def browse(chromium: str, tmp_path: Path) -> Callable[..., object]:
    """A browser page whose microphone plays the given sounds once, then silence."""

    @contextmanager
    def open_page(*sounds: AudioFrame, arguments: tuple[str, ...] = (), **context: object) -> Iterator[Page]:
        microphone = tmp_path / "microphone.wav"
        microphone.write_bytes(wav_bytes(concatenate([*sounds, silence(60)])))
        capture = f"--use-file-for-fake-audio-capture={microphone}%noloop"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=[*(arguments or LAUNCH), capture]
            )
            page = browser.new_context(**context).new_page()  # type: ignore[arg-type]
            page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
            yield page
            browser.close()

    return open_page


@pytest.fixture(scope="session")
def application() -> Iterator[str]:
    """The origin of an application whose page has the stock client."""
    with served(bundled()) as origin:
        yield origin


@pytest.fixture
def stock(application: str, browse: Callable[..., Any]) -> Stock:
    """The stock client in a browser: `with stock() as client`; takes what `browse` does."""

    @contextmanager
    def open_client(*sounds: AudioFrame, **context: object) -> Iterator[StockClient]:
        with browse(*(sounds or (silence(1),)), **context) as page:
            yield StockClient(page, application)

    return open_client


def silence(seconds: float) -> AudioFrame:
    return AudioFrame(np.zeros(int(seconds * RATE), np.int16), RATE)
