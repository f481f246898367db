"""A real server on the tiny profile and a real browser whose microphone is a WAV file."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.wav import wav_bytes
from localvoice.catalog import ModelFiles, ModelFilesError, load_catalog, models_folder, ready
from localvoice.engines.piper import PiperTts
from tests.support.browser import LAUNCH, MANY, RATE, REAL, WITHOUT_AIORTC, find_chromium, running, silence
from tests.support.folders import ROOT
from tests.support.stock import Stock, StockClient, served
from tests.support.stock_packages import bundled


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
        path = os.pathsep.join(map(str, [ROOT] if webrtc else [WITHOUT_AIORTC, ROOT]))
        return running("-m", "tests.support.fake_server", *arguments, PYTHONPATH=path)

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
