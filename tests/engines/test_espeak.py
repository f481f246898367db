"""espeak-ng is told its voice once: the phonemes are the same, and nothing is lost."""

from collections.abc import Iterator
from itertools import product

import pytest
from piper import espeakbridge
from piper.phonemize_espeak import EspeakPhonemizer

from localvoice.engines import patches
from tests.support.memory import allocated_mb

TEXTS = (
    "The weather is mild in spring, with some rain, and warm in summer.",
    "She said déjà vu, Schadenfreude and señor. Да, конечно. 你好",  # words that switch the language
    "Is it 3.5 km, or 2 1/2? Dr. Smith; e.g. NASA (1969)!",
    "",
)


@pytest.fixture(autouse=True)
def patched() -> None:
    patches.load_espeak_voices_once()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The voices that are really loaded."""
    names: list[str] = []
    load = patches._load

    def counted(name: str) -> None:
        names.append(name)
        load(name)

    monkeypatch.setattr(patches, "_load", counted)
    monkeypatch.setattr(patches, "_loaded", None)
    yield names


def test_phonemes_are_those_of_a_voice_that_is_loaded_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    phonemizer = EspeakPhonemizer()
    asked = [(voice, text) for text, voice in product(TEXTS * 2, ("en-us", "de"))]
    asked += [(voice, text) for voice, text in product(("en-us", "de"), TEXTS * 2)]
    once = [phonemizer.phonemize(voice, text) for voice, text in asked]
    monkeypatch.setattr(espeakbridge, "set_voice", patches._load)
    each_time = [phonemizer.phonemize(voice, text) for voice, text in asked]
    monkeypatch.undo()
    patches._loaded = None
    assert once == each_time


def test_a_voice_is_loaded_when_it_changes(loads: list[str]) -> None:
    phonemizer = EspeakPhonemizer()
    for voice in ("en-us", "en-us", "de", "de", "en-us"):
        phonemizer.phonemize(voice, "weather")
    assert loads == ["en-us", "de", "en-us"]


def test_after_a_voice_that_there_is_not_the_next_is_loaded(loads: list[str]) -> None:
    phonemizer = EspeakPhonemizer()
    before = phonemizer.phonemize("en-us", "weather")
    with pytest.raises(RuntimeError):
        phonemizer.phonemize("no such voice", "weather")
    assert phonemizer.phonemize("en-us", "weather") == before
    assert loads == ["en-us", "no such voice", "en-us"]


def test_phonemes_lose_no_memory() -> None:
    phonemizer = EspeakPhonemizer()
    phonemizer.phonemize("en-us", TEXTS[0])
    before = allocated_mb()
    for _ in range(1000):
        phonemizer.phonemize("en-us", TEXTS[0])
    assert allocated_mb() < before + 0.3  # 1.7 MB where the voice is loaded each time
