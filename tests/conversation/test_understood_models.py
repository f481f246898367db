"""What takes no LLM, with the models of the tiny profile: a real voice that slows down and gets louder."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from localvoice import LocalVoice, PacedTts
from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.levels import PEAK
from localvoice.config import Settings
from localvoice.conversation.manner import LOUDEST, SLOWEST, Manner, spoken
from localvoice.engines.chat import ReplyItem
from tests.support.folders import MODELS
from tests.support.tiny_engines import need_files

pytestmark = pytest.mark.integration
SENTENCE = "The seven tall ships sailed slowly along the quiet coast in the evening."


async def test_a_conversation_by_voice_that_asks_no_llm() -> None:
    need_files()
    settings = Settings.model_validate(
        {"profile": "tiny", "models_dir": MODELS, "agent": {"emergency_number": "144"}}
    )
    asked: list[object] = []
    voice = LocalVoice(settings, console=Console(quiet=True))
    async with voice.dialogue() as dialogue:
        tts, llm = dialogue._session._agent.engines.tts, dialogue._session._agent.engines.llm
        assert isinstance(tts, PacedTts)
        reply = llm.reply

        def note(*given: Any, **named: Any) -> AsyncGenerator[ReplyItem, None]:
            asked.append(given)
            return reply(*given, **named)

        llm.reply = note  # type: ignore[method-assign]
        async with aclosing(tts.synthesize("What can you do?")) as frames:
            question = concatenate([frame async for frame in frames])
        abilities = await dialogue.say(question)
        again = await dialogue.say("Say that again.")
        slower = await dialogue.say("Can you say that again more slowly?")
        assert "timers" in abilities.reply and again.reply == abilities.reply
        assert slower.reply.endswith(abilities.reply)
        assert slower.sound.seconds > 1.15 * again.sound.seconds
        assert "144" in (await dialogue.say("I have chest pain.")).reply
        silence = await dialogue.say("Okay, stop.")
        assert not silence.reply and not len(silence.sound.samples) and not silence.errors
        assert not asked
        await _check_voice(tts)


async def _check_voice(tts: PacedTts) -> None:
    frames = {}
    manners = {"usual": Manner(), "slow": Manner(speed=SLOWEST), "loud": Manner(volume=LOUDEST)}
    for name, manner in manners.items():
        async with aclosing(spoken(tts, SENTENCE, manner)) as said:
            frames[name] = concatenate([frame async for frame in said])
    usual, slow, loud = frames["usual"], frames["slow"], frames["loud"]
    assert 1.4 < slow.seconds / usual.seconds < 2, "each of its sounds has a least length"
    assert len(slow.word_ends) == len(usual.word_ends) == len(SENTENCE.split())
    assert loud.rms_dbfs > usual.rms_dbfs + 5
    assert np.abs(loud.samples).max() / 32767 <= PEAK and _rounded_share(loud) < 0.02


def _rounded_share(frame: AudioFrame) -> float:
    """Of its samples, how many lie where peaks are rounded."""
    return float((np.abs(frame.samples) > 0.8 * 32767).mean())
